"""Whom do we ask about a content, and how long do we wait for an answer?

Theory of operation. One likely holder is asked first, with the bytes themselves if the content is
small. Everybody else online is asked when that one has not got it, or is slow to answer; and at
once about a large content, since all its holders are used together. An ask without an answer is
sent once more. A holder of some chunks is asked again from time to time while others are missing:
it may be fetching too. A content is *stuck* from when nobody is known to have what is missing.
It stays so for 3 s, during which a holder may appear, and as long again whenever one gets a chunk
that nobody had; an unanswered device adds 3 s from when it was asked or last heard of, so that a
slow link is not taken for an absence, up to a limit.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sharefs.errors import NoHolderOnline
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId
from sharefs.transfer.content import Asked, Content
from sharefs.transfer.peers import Peer
from sharefs.wire.transfer import SMALL_CONTENT_SIZE_BYTES_MAX

LARGE_CONTENT_SIZE_BYTES_MIN = 4 * MIB
WIDEN_READ_S = 0.15
WIDEN_FETCH_S = 1.0
REPEAT_S = 1.0
PATIENCE_S = 3.0
PATIENCE_S_MAX = 10.0

Peers = Mapping[DeviceId, Peer]


@dataclass(frozen=True, slots=True)
class Question:
    """An ask to be sent."""

    peer: Peer
    with_manifest: bool
    with_data: bool
    repeated: bool = False


def questions(
    content: Content, peers: Peers, distrusted: frozenset[DeviceId], now: float
) -> list[Question]:
    """What to ask now. Only of devices that share a space and are not distrusted."""
    stuck = content.stuck_since is not None
    large = content.size >= LARGE_CONTENT_SIZE_BYTES_MIN
    if not stuck and not large:
        return []
    asked = _first_questions(content, peers, distrusted, now)
    if stuck:
        asked += _manifest_question(content, peers, now)
        asked += _repetitions(content, peers, now)
    return asked


def _first_questions(
    content: Content, peers: Peers, distrusted: frozenset[DeviceId], now: float
) -> list[Question]:
    fresh = sorted(
        (
            (peer.cost(likely=peer.device in content.likely), peer.device)
            for peer in peers.values()
            if peer.device not in content.asks
            and peer.device not in distrusted
            and content.space_for(peer)
        ),
    )
    answer_coming = hopeful(content, peers, now)
    large = content.size >= LARGE_CONTENT_SIZE_BYTES_MIN
    if not fresh or (answer_coming and not large and not _late(content, now)):
        return []
    if not content.asks and not large:
        del fresh[1:]
    small = content.size <= SMALL_CONTENT_SIZE_BYTES_MAX
    with_manifest = content.layout is None
    best_gets_all = not (answer_coming or content.holders)
    return [
        Question(
            peers[device],
            with_manifest and (small or (best_gets_all and place == 0)),
            small and best_gets_all and place == 0 and not content.busy,
        )
        for place, (_, device) in enumerate(fresh)
    ]


def _manifest_question(content: Content, peers: Peers, now: float) -> list[Question]:
    """If holders are known and none is sending the manifest: ask one."""
    if content.layout is not None or not content.holders:
        return []
    limit = now - _widen_s(content)
    if any(a.with_manifest and not a.answered and a.at > limit for a in content.asks.values()):
        return []
    for device in content.holders:
        asked = content.asks.get(device)
        if asked and not asked.with_manifest:
            return [Question(peers[device], True, False)]
    return []


def _repetitions(content: Content, peers: Peers, now: float) -> list[Question]:
    repeated = []
    assert content.stuck_since is not None, "only what is stuck is asked for again"
    refresh = now < content.stuck_since + PATIENCE_S
    for device, asked in content.asks.items():
        if device not in peers or now < asked.at + REPEAT_S:
            continue
        if not asked.answered and not asked.repeated:
            repeated.append(Question(peers[device], asked.with_manifest, False, True))
        elif asked.answered and refresh and content.layout and device in content.holders:
            repeated.append(Question(peers[device], False, False))
    return repeated


def _widen_s(content: Content) -> float:
    return WIDEN_READ_S if content.urgent else WIDEN_FETCH_S


def _late(content: Content, now: float) -> bool:
    asked_at = min((asked.at for asked in content.asks.values()), default=now)
    return now >= asked_at + _widen_s(content)


def _expiry(asked: Asked, peer: Peer) -> float:
    """Until when an answer is waited for."""
    return min(max(asked.at, peer.heard_at) + PATIENCE_S, asked.at + PATIENCE_S_MAX)


def hopeful(content: Content, peers: Peers, now: float) -> bool:
    """Whether somebody may still answer."""
    return any(
        not asked.answered and device in peers and now < _expiry(asked, peers[device])
        for device, asked in content.asks.items()
    )


def patience_ends(content: Content, peers: Peers) -> float:
    """Until when a stuck content may become reachable."""
    assert content.stuck_since is not None, "only what is stuck is waited for"
    ends = content.stuck_since + PATIENCE_S
    for device, asked in content.asks.items():
        if not asked.answered and device in peers:
            ends = max(ends, _expiry(asked, peers[device]))
    return min(ends, content.stuck_since + PATIENCE_S_MAX)


def next_look(content: Content, peers: Peers, now: float) -> float:
    """When there may be something to ask, or to give up, about a stuck content."""
    ends = patience_ends(content, peers)
    times = [ends]
    for asked in content.asks.values():
        times += [asked.at + _widen_s(content), asked.at + REPEAT_S]
    return min((at for at in times if at > now), default=ends)


def no_holder(
    content: Content, distrusted: frozenset[DeviceId], name_of: Callable[[DeviceId], str]
) -> NoHolderOnline:
    """What to tell those who wait in vain, with who has the rest, and who might have it."""
    # Without the list of its chunks, nobody knows which are where.
    partly = _names(content.holders if content.layout else (), name_of)
    one = len(partly) == 1
    others = f": {' and '.join(partly)} {'holds' if one else 'hold'} other parts" if partly else ""
    denied = {device for device, asked in content.asks.items() if asked.answered}
    away = _names((d for d in content.likely if d not in distrusted | denied), name_of)
    hint = f" {' or '.join(away)} may have them." if away else ""
    return NoHolderOnline(f"Nobody who holds these bytes is online{others}.{hint}")


def _names(devices: Iterable[DeviceId], name_of: Callable[[DeviceId], str]) -> list[str]:
    """A person may have several."""
    return list(dict.fromkeys(map(name_of, devices)))
