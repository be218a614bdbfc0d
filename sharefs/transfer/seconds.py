"""Which chunks are to be asked of a second device, although a first one was asked?

Those that a program is blocked on, and the last ones of a content, when nothing else of it is left
to be asked for, if the second device will probably be much sooner: so that the slowest holder does
not decide when a content is complete. What is left to come when the chunk is here is cancelled.
"""

from collections.abc import Iterator, Mapping

from sharefs.records.ids import DeviceId
from sharefs.transfer.content import Content
from sharefs.transfer.events import Priority
from sharefs.transfer.peers import Peer

SECONDS_MAX = 2
"""Chunks of a content that are asked of two devices at a time."""
SECOND_GAIN = 2
SECOND_GAIN_S = 0.1
"""The second device has to take less than half of what the first one will, and this less. For what
a program is blocked on, the latter is enough."""
LOOK_AGAIN_S = 0.1


def candidates(content: Content, peer: Peer) -> Iterator[tuple[int, int, bool]]:
    """The (index, size in bytes, whether a program is blocked on it) of chunks that this device has
    and may be asked for."""
    holder = content.holders.get(peer.device)
    if holder is None or peer.flow.stalled or not content.useful:
        return
    wanted = content.wanted[Priority.READ]
    if not content.needed() & ~content.busy:
        wanted |= content.wanted[Priority.READ_AHEAD] | content.wanted[Priority.FETCH]
    wanted &= holder.chunks
    for index, device in list(content.requested.items()):
        if len(content.seconds) >= SECONDS_MAX:
            return
        if device == peer.device or index in content.seconds or not wanted >> index & 1:
            continue
        size_bytes, urgent = content.length(index), content.blocks(index)
        if peer.flow.admits(size_bytes, urgent=urgent):
            yield index, size_bytes, urgent


def second_is_sooner(
    content: Content, index: int, peer: Peer, peers: Mapping[DeviceId, Peer], now: float
) -> bool:
    """Whether a device would send a chunk so much sooner than who was asked that it pays."""
    first = peers[content.requested[index]]
    left_s = first.flow.awaited_s((content.id, index), now)
    ready_s = peer.flow.ready_in_s(content.length(index), now)
    return left_s > ready_s * (1 if content.blocks(index) else SECOND_GAIN) + SECOND_GAIN_S
