"""Which records does a peer lack, and which do we?

Theory of operation. Each side tells its `Summary` of a space (roster digest, frontier, fingerprint
of the heads) when they meet, and a moment after something arrived from elsewhere. What makes up for
lost messages is a digest of that, `Idle`, every SUMMARY_INTERVAL_SECONDS: who has another one
answers with its Summary, so that peers who are equal say some 50 bytes each.

Who lacks something pulls: one pass at a time for a space, page by page from one peer, each page
kept as it comes, the peer's frontier merged only at the end (I6). Before that, a page advances no
author but by whole commits, each the next of its author: so much of a pass that is cut off is not
sent again, and is known to others. A pass that is cut off, stalls, or is rolled back is dropped and
begun anew, from any peer that is ahead.

New commits are pushed to every peer at once. A pushed commit that is whole and the next of its
author advances the author's frontier alone, and is pushed on to those who neither have it, as far
as they told, nor are named in the push as told: so where all are linked with all, it goes over each
link once. One that leaves a gap shows that the peer is ahead.

A page holds commits by the number that they have at its sender, and a commit moves to the end
there whenever a record of it that was missing is kept: else a page could have passed it by before
it had that record, and the frontier at the end of the pass would claim it.

An audit (I8; see `audit`) repairs what passes can not: equal frontiers with unequal heads, which a
bug leaves, or a liar, or a sender that lost its disk for good in the middle of a pass, as the last
page may have brought records that no frontier claims. Each side asks for what it lacks, and merges
no frontier. Heads of dead items (see `node.collection`) are in no fingerprint and not asked for:
who is given what one of them dominates sends it to the giver.

The serving side keeps no state: a `Pull` names the frontier and the cursor. Ignored: pages that
were not asked for, or for a pass that was dropped, as a page read before the ones before it may
lack what they rely on; spaces that we are not in. What a peer claims is checked when it is applied.
"""

from dataclasses import dataclass, field

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Frontier, SpaceId
from sharefs.sync.audit import Auditing, Question
from sharefs.sync.effects import (
    AddOperations,
    Answer,
    Apply,
    Compare,
    Correct,
    Effect,
    NotePassed,
    RenewIncarnation,
    Send,
    SendPage,
    SendRoster,
    SetTimer,
)
from sharefs.sync.events import (
    ApplyFailed,
    Committed,
    Compared,
    Event,
    PeerDown,
    PeerUp,
    Received,
    RolledBack,
    Stands,
    TimerFired,
)
from sharefs.sync.reconciliation import check
from sharefs.sync.shipment import (
    advanced_by,
    digest_of,
    entries_of,
    frontier_of,
    is_beyond,
    within,
)
from sharefs.wire.audit import AskRecords, AskSums, Records, Sums, Tombstones
from sharefs.wire.message import SyncMessage
from sharefs.wire.sync import (
    PUSH_TOLD_MAX,
    Idle,
    Page,
    Pull,
    PullRoster,
    Push,
    RosterOperations,
    Shipment,
    Summary,
)

SUMMARY_INTERVAL_SECONDS = 5.0
SUMMARY_DELAY_SECONDS = 0.3
PASS_STALLED_SECONDS = 10.0


@dataclass(slots=True)
class _Pass:
    number: int
    peer: DeviceId
    frontier: Frontier
    cursor: int
    progressed: float

    def pull(self, space: SpaceId) -> Send:
        pull = Pull(space, entries_of(self.frontier), self.cursor, self.number)
        return Send(self.peer, pull)


@dataclass(slots=True)
class _Space:
    roster: bytes
    frontier: Frontier
    fingerprint: bytes
    limits: Frontier
    peers: dict[DeviceId, Frontier] = field(default_factory=dict)
    """What each peer that is online was last known to have."""
    heard: set[DeviceId] = field(default_factory=set)
    """Those of them who told it themselves."""
    distrusted: set[DeviceId] = field(default_factory=set)
    """Peers not to pull from until they say more, or the roster here grows."""
    running: _Pass | None = None
    auditing: Auditing = field(default_factory=Auditing)
    arriving: tuple[DeviceId, Push] | None = None
    """A push that is being applied."""
    summary_due: float | None = None
    source: DeviceId | None = None
    """Who need not be told, as all that is new came from there."""

    @property
    def digest(self) -> bytes:
        """What an Idle says of all this."""
        return digest_of(self.roster, self.frontier, self.fingerprint)


class Sync:
    """The machine for all spaces of a node. `me` is our device."""

    def __init__(self, me: DeviceId) -> None:
        self._me = me
        self._spaces: dict[SpaceId, _Space] = {}
        self._online: dict[DeviceId, tuple[SpaceId, ...]] = {}
        self._next_round: float | None = None
        self._numbers = 0
        """The number of the last pass or audit: by the clock, so that a page which was on its way
        to an earlier process of ours is of none of this one's passes."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in what happened; do what is returned, in order."""
        match event:
            case Stands():
                effects = self._stands(event, now)
            case PeerUp():
                effects = self._peer_up(event, now)
            case PeerDown():
                effects = self._peer_down(event, now)
            case Received():
                effects = self._received(event.peer, event.message, now)
            case Committed():
                effects = self._committed(event)
            case ApplyFailed():
                effects = self._apply_failed(event, now)
            case RolledBack():
                effects = self._rolled_back(event)
            case Compared():
                effects = self._compared(event)
            case TimerFired():
                effects = self._timer_fired(now)
        return [*effects, *self._timer(now)]

    def hears(self, space: SpaceId) -> bool:
        """Whether a peer who is online has told how it stands, so that it may be told more."""
        return space in self._spaces and bool(self._spaces[space].heard)

    def _stands(self, event: Stands, now: float) -> list[Effect]:
        space = self._spaces.get(event.space)
        if space is None:
            return self._opened(event)
        if event.roster != space.roster:
            space.distrusted.clear()
        if event.source is not None and (
            is_beyond(event.frontier, space.frontier) or event.roster != space.roster
        ):
            self._tell_soon(space, event.source, now)
        space.roster, space.frontier = event.roster, dict(event.frontier)
        space.fingerprint, space.limits = event.fingerprint, event.limits
        return [*self._forward(space), *self._pull_if_behind(event.space, now)]

    def _opened(self, event: Stands) -> list[Effect]:
        """A space is new here, but maybe not to those who are online already."""
        sharing = [peer for peer, spaces in self._online.items() if event.space in spaces]
        known: dict[DeviceId, Frontier] = {peer: {} for peer in sharing}
        self._spaces[event.space] = _Space(
            event.roster, dict(event.frontier), event.fingerprint, event.limits, known
        )
        return [self._summary(peer, event.space) for peer in sharing]

    def _tell_soon(self, space: _Space, source: DeviceId, now: float) -> None:
        if space.summary_due is None:
            space.summary_due, space.source = now + SUMMARY_DELAY_SECONDS, source
        elif source != space.source:
            space.source = None

    def _peer_up(self, event: PeerUp, now: float) -> list[Effect]:
        self._online[event.peer] = event.spaces
        effects: list[Effect] = []
        for id, space in self._spaces.items():
            if id in event.spaces:
                space.peers.setdefault(event.peer, {})
                effects.append(self._summary(event.peer, id))
            else:
                effects += self._forget(event.peer, id, now)
        return effects

    def _peer_down(self, event: PeerDown, now: float) -> list[Effect]:
        self._online.pop(event.peer, None)
        effects: list[Effect] = []
        for id in self._spaces:
            effects += self._forget(event.peer, id, now)
        return effects

    def _forget(self, peer: DeviceId, id: SpaceId, now: float) -> list[Effect]:
        space = self._spaces[id]
        space.peers.pop(peer, None)
        space.distrusted.discard(peer)
        space.heard.discard(peer)
        space.auditing.forget(peer)
        if space.running is None or space.running.peer != peer:
            return []
        space.running = None
        return self._pull_if_behind(id, now)

    def _received(self, peer: DeviceId, message: SyncMessage, now: float) -> list[Effect]:
        space = self._spaces.get(message.space)
        if space is None:
            return []
        match message:
            case Summary():
                return self._summary_received(peer, space, message, now)
            case PullRoster():
                return [SendRoster(peer, message.space)]
            case RosterOperations():
                return [AddOperations(peer, message.space, message.operations)]
            case Pull():
                return [SendPage(peer, message)]
            case Page():
                return self._page_received(peer, space, message, now)
            case Push():
                return self._push_received(peer, space, message, now)
            case Idle():
                return self._idle_received(peer, space, message)
            case AskSums() | AskRecords() | Sums() | Records() | Tombstones():
                return self._audit_received(peer, space, message, now)

    def _summary_received(
        self, peer: DeviceId, space: _Space, message: Summary, now: float
    ) -> list[Effect]:
        frontier = frontier_of(message.frontier)
        effects: list[Effect] = [
            RenewIncarnation(message.space, incarnation, sequence)
            for (device, incarnation), sequence in frontier.items()
            if device == self._me
        ]
        if peer in space.peers:
            if peer not in space.heard and is_beyond(space.frontier, frontier):
                # What we made since it came was not pushed, as it had told us nothing yet.
                effects.append(self._summary(peer, message.space))
            space.heard.add(peer)
            space.peers[peer] = frontier
            space.distrusted.discard(peer)
        if message.roster != space.roster:
            effects.append(Send(peer, PullRoster(message.space)))
        else:
            effects.append(NotePassed(peer, message.space, frontier))
        effects += self._pull_if_behind(message.space, now)
        return effects + self._audit_if_differing(peer, space, message, now)

    def _idle_received(self, peer: DeviceId, space: _Space, message: Idle) -> list[Effect]:
        if message.digest != space.digest:
            return [self._summary(peer, message.space)]
        space.auditing.agrees(peer)
        if peer in space.peers:
            space.heard.add(peer)
            space.peers[peer] = dict(space.frontier)
        return [NotePassed(peer, message.space, dict(space.frontier))]

    # --- audits ---------------------------------------------------------------------------------

    def _audit_if_differing(
        self, peer: DeviceId, space: _Space, told: Summary, now: float
    ) -> list[Effect]:
        """Only where a pass would bring nothing."""
        theirs = within(frontier_of(told.frontier), space.limits)
        if told.roster != space.roster or theirs != space.frontier:
            return []
        if space.running is not None or peer not in space.peers:
            return []
        both = (space.fingerprint, told.fingerprint)
        if not space.auditing.is_due(peer, both, SUMMARY_INTERVAL_SECONDS, now):
            return []
        question = space.auditing.begin(told.space, peer, both, self._new_number(now), now)
        return [Send(peer, question)]

    def _audit_received(
        self,
        peer: DeviceId,
        space: _Space,
        message: Question | Sums | Records | Tombstones,
        now: float,
    ) -> list[Effect]:
        if isinstance(message, Tombstones):
            return [Apply(peer, message.space, message.shipments, {})]
        if isinstance(message, Question):
            if isinstance(message, AskSums):
                check(message)
            return [Answer(peer, message)]
        asked = space.auditing.asked(peer, message, now)
        if asked is None:
            return []
        if isinstance(message, Sums):
            assert isinstance(asked, AskSums), "sums answer a question for them"
            return [Compare(peer, asked.spans, message)]
        apply = Apply(peer, message.space, message.shipments, {})
        correct = Correct(peer, message.space, message.shipments)
        question = space.auditing.fetched(message)
        return [apply, correct, *([Send(peer, question)] if question else [])]

    def _compared(self, event: Compared) -> list[Effect]:
        auditing = self._spaces[event.space].auditing
        question = auditing.found(event.peer, event.number, event.findings)
        return [Send(event.peer, question)] if question else []

    def _new_number(self, now: float) -> int:
        self._numbers = max(self._numbers + 1, int(now * 1000))
        return self._numbers

    # --- passes ---------------------------------------------------------------------------------

    def _pull_if_behind(self, id: SpaceId, now: float) -> list[Effect]:
        space = self._spaces[id]
        if space.running is not None:
            return []
        ahead = [
            peer
            for peer, frontier in space.peers.items()
            if peer not in space.distrusted
            and is_beyond(within(frontier, space.limits), space.frontier)
        ]
        if not ahead:
            return []
        space.running = _Pass(self._new_number(now), ahead[0], dict(space.frontier), 0, now)
        return [space.running.pull(id)]

    def _page_received(self, peer: DeviceId, space: _Space, page: Page, now: float) -> list[Effect]:
        running = space.running
        if running is None or (running.peer, running.number) != (peer, page.pass_number):
            return []
        if running.cursor != page.asked:
            return []
        if not page.complete and page.cursor <= page.asked:
            raise RemoteProtocolError("a page that leads nowhere")
        running.cursor, running.progressed = page.cursor, now
        if not page.complete:
            reached = advanced_by(page.shipments, space.frontier)
            return [Apply(peer, page.space, page.shipments, reached), running.pull(page.space)]
        merged = frontier_of(page.frontier)
        apply = Apply(peer, page.space, page.shipments, merged)
        space.running = None
        assert peer in space.peers, "a pass ends when its peer is gone"
        space.peers[peer] = merged
        return [apply]

    def _push_received(self, peer: DeviceId, space: _Space, push: Push, now: float) -> list[Effect]:
        commit = push.shipment.commit
        key = (commit.device, commit.incarnation)
        known = space.peers.get(peer)
        if known is not None:
            known[key] = max(known.get(key, 0), commit.last)
        if not space.frontier.get(key, 0) < commit.last <= space.limits.get(key, commit.last):
            return []
        reached = advanced_by((push.shipment,), space.frontier)
        if reached:
            space.arriving = (peer, push)
            return [Apply(peer, push.space, (push.shipment,), reached)]
        return self._pull_if_behind(push.space, now)

    def _forward(self, space: _Space) -> list[Effect]:
        """What a push brought is here: whoever may lack it gets it as well."""
        if space.arriving is None:
            return []
        (source, push), space.arriving = space.arriving, None
        commit = push.shipment.commit
        key = (commit.device, commit.incarnation)
        told = (source, *push.told)
        lacking = [
            peer
            for peer, known in space.peers.items()
            if peer not in told and known.get(key, 0) < commit.last
        ]
        return _push(push.space, push.shipment, lacking, told)

    def _committed(self, event: Committed) -> list[Effect]:
        peers = list(self._spaces[event.space].peers)
        return _push(event.space, event.shipment, peers, ())

    def _apply_failed(self, event: ApplyFailed, now: float) -> list[Effect]:
        space = self._spaces[event.space]
        if space.running is not None and space.running.peer == event.peer:
            space.running = None
        space.auditing.fail(event.peer)
        space.arriving = None
        space.distrusted.add(event.peer)
        ask = Send(event.peer, PullRoster(event.space))
        return [ask, *self._pull_if_behind(event.space, now)]

    def _rolled_back(self, event: RolledBack) -> list[Effect]:
        """A pass must not end as if its pages had been kept."""
        space = self._spaces[event.space]
        space.running = space.arriving = None
        space.auditing.roll_back()
        return []

    def _summary(self, peer: DeviceId, id: SpaceId) -> Effect:
        space = self._spaces[id]
        entries = entries_of(space.frontier)
        return Send(peer, Summary(id, space.roster, entries, space.fingerprint))

    def _timer_fired(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        every = self._next_round is not None and now >= self._next_round
        if every:
            self._next_round = None
        for id, space in self._spaces.items():
            stalled = space.running
            if stalled is not None and now >= stalled.progressed + PASS_STALLED_SECONDS:
                space.running = None
                space.distrusted.add(stalled.peer)
                effects += self._pull_if_behind(id, now)
            stalls_at = space.auditing.stalls_at(PASS_STALLED_SECONDS)
            if stalls_at is not None and now >= stalls_at:
                space.auditing.give_up()
            told: list[DeviceId] = []
            if space.summary_due is not None and now >= space.summary_due:
                space.summary_due = None
                told = [peer for peer in space.peers if peer != space.source]
            effects += [self._summary(peer, id) for peer in told]
            if every:
                idle = Idle(id, space.digest)
                effects += [Send(peer, idle) for peer in space.peers if peer not in told]
        return effects

    def _timer(self, now: float) -> list[Effect]:
        if self._next_round is None:
            self._next_round = now + SUMMARY_INTERVAL_SECONDS
        times = [self._next_round]
        for space in self._spaces.values():
            if space.summary_due is not None:
                times.append(space.summary_due)
            if space.running is not None:
                times.append(space.running.progressed + PASS_STALLED_SECONDS)
            stalls_at = space.auditing.stalls_at(PASS_STALLED_SECONDS)
            if stalls_at is not None:
                times.append(stalls_at)
        return [SetTimer(min(times))]


def _push(
    space: SpaceId, shipment: Shipment, peers: list[DeviceId], told: tuple[DeviceId, ...]
) -> list[Effect]:
    push = Push(space, shipment, (*told, *peers)[:PUSH_TOLD_MAX])
    return [Send(peer, push) for peer in peers]
