"""Which bytes do we lack, and whom do we ask?

Theory of operation. Somebody wants a range of a content: a program that reads, its read-ahead, or
a fetch. Each content stands at a stage:

- QUEUED: at most 64 contents (`line`) are asked about at a time;
- ACTIVE: devices are asked (`asking`) until one offers the manifest, or a small content whole;
  then chunks are asked of all who hold them (`schedule`), with credit in bytes (`credit`);
- WAITING: nobody online has what is missing; a device that comes up is asked; after some seconds
  those who wait only for such chunks fail;
- IDLE: nobody waits; what was learnt of the holders is kept for the next read.

A chunk is *wanted*, then *requested* from one device, then *storing* (verified and written by
`node`), then here. It goes back to wanted when the device loses it, lacks it, goes away, or sent
something else; in the last case the device is not asked about that content again. What comes
late is still kept.

What it does not do: touch the bytes of chunks (only small contents that came whole are checked
here), or say no twice: answers from devices that were not asked, and whatever concerns contents
that nobody wants, are ignored.
"""

from collections.abc import Callable

from sharefs.errors import NoHolderOnline, RemoteProtocolError, UserError
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.asking import (
    PATIENCE_S,
    Question,
    hopeful,
    next_look,
    no_holder,
    patience_ends,
    questions,
)
from sharefs.transfer.content import Asked, Content, Stage
from sharefs.transfer.effects import Effect
from sharefs.transfer.events import Event
from sharefs.transfer.line import Line
from sharefs.transfer.offers import manifest_in, verify_whole
from sharefs.transfer.peers import Distrust, Peer, short_name
from sharefs.transfer.schedule import UNSAFE_BYTES_MAX, Schedule
from sharefs.transfer.snapshot import Progress, progress_of
from sharefs.transfer.timers import Timers
from sharefs.transfer.vain import InVain
from sharefs.wire.transfer import Ask, Lack, Offer

IDLE_CONTENTS_MAX = 64
LOSSES_MAX = 2
"""A device that did not deliver chunks of a content this often is no longer taken for a holder."""
_MISFIT = "The list of the content's chunks does not add up to its size: it can not be fetched."


class Transfer:
    """The one machine of a node. `name_of` says how to name a device in a sentence."""

    def __init__(self, me: DeviceId, name_of: Callable[[DeviceId], str] = short_name) -> None:
        self._me = me
        self._name_of = name_of
        self._peers: dict[DeviceId, Peer] = {}
        self._contents: dict[ContentId, Content] = {}
        self._content_of: dict[int, ContentId] = {}
        """For each waiter."""
        self._distrust = Distrust()
        self._in_vain = InVain()
        self._line = Line()
        self._active = 0
        self._idle: dict[ContentId, None] = {}
        self._schedule = Schedule(self._peers)
        self._content_timers: Timers[ContentId] = Timers()
        self._peer_timers: Timers[DeviceId] = Timers()
        self._timer_at: float | None = None
        self._touched: dict[ContentId, None] = {}
        """Contents to be looked at before `handle` returns."""
        self._hungry: dict[DeviceId, None] = {}
        """Devices that may be asked for more before `handle` returns."""
        self._effects: list[Effect] = []

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What is to be done, in this order."""
        match event:
            case events.Wanted() | events.Unwanted():
                self._want(event, now)
            case events.PeerUp() | events.PeerDown() | events.Received():
                self._hear(event, now)
            case events.ChunkArrived() | events.ChunkStored() | events.ChunkBad():
                self._take_chunk(event, now)
            case events.TimerFired():
                self._fire(now)
            case events.Unsaved(size_bytes):
                self._schedule.unsaved_bytes = size_bytes
            case _:
                self._stored(event)
        self._settle(now)
        done, self._effects = self._effects, []
        return done

    def expects(self, device: DeviceId, content_id: ContentId, index: int) -> bool:
        """Whether a chunk that has just come is worth verifying and writing: to be asked before
        ChunkArrived is handled. What was not asked for is kept only from whom we would ask."""
        content = self._contents.get(content_id)
        if content is None or not content.useful or not content.knows(index):
            return False
        asked = content.requested.get(index) == device
        much = self._schedule.unsafe_bytes > UNSAFE_BYTES_MAX
        new = index not in content.storing and not content.have >> index & 1
        return new and (asked or not (much or device in self._distrust.of(content_id)))

    def snapshot(self, now: float) -> list[Progress]:
        """The contents that somebody waits for, in the order in which they were wanted."""
        return [progress_of(content, now) for content in self._contents.values() if content.waiters]

    # --- wants ----------------------------------------------------------------------------------

    def _want(self, event: events.WantEvent, now: float) -> None:
        match event:
            case events.Wanted():
                self._wanted(event, now)
            case events.Unwanted(waiter):
                content_id = self._content_of.pop(waiter, None)
                if content_id is not None:
                    self._contents[content_id].drop_waiter(waiter)
                    self._touched[content_id] = None

    def _wanted(self, event: events.Wanted, now: float) -> None:
        if max(event.start, 0) >= min(event.end, event.size):
            self._effects.append(effects.Satisfied(event.waiter))
            return
        content = self._contents.get(event.content)
        if content is None:
            content = Content(event.content, event.space, event.size)
            self._contents[event.content] = content
        if content.layout is None and event.manifest is not None:
            content.lay_out(event.manifest)
        if content.layout is not None and event.have:
            content.add_have(bitmap.from_bytes(event.have))
        content.add_waiter(event)
        self._content_of[event.waiter] = event.content
        if event.size != content.size or not content.fits:
            self._fail(content, [event.waiter], NoHolderOnline(_MISFIT))
        elif error := self._in_vain.error(content, event.waiter, now):
            self._fail(content, [event.waiter], error)
        self._touched[event.content] = None

    def _satisfy(self, content: Content, waiters: list[int]) -> None:
        for number in waiters:
            del content.waiters[number]
            del self._content_of[number]
            self._effects.append(effects.Satisfied(number))

    def _fail(self, content: Content, waiters: list[int], error: UserError) -> None:
        for number in waiters:
            content.drop_waiter(number)
            del self._content_of[number]
            self._effects.append(effects.Failed(number, error))

    # --- devices --------------------------------------------------------------------------------

    def _hear(self, event: events.PeerEvent, now: float) -> None:
        match event:
            case events.PeerUp():
                self._peer_up(event, now)
            case events.PeerDown(device):
                self._peers.pop(device, None)
                self._peer_timers.set(device, None)
                for content in self._contents.values():
                    self._leave(content, device)
            case events.Received(device, message):
                self._received(device, message, now)

    def _received(self, device: DeviceId, message: Offer | Lack, now: float) -> None:
        peer = self._peers.get(device)
        content = self._contents.get(message.content)
        if peer is None or content is None:
            return
        peer.heard_at = now
        if isinstance(message, Offer):
            self._offered(peer, content, message, now)
        else:
            self._lacking(peer, content, message)
        self._touched[content.id] = None

    def _peer_up(self, event: events.PeerUp, now: float) -> None:
        peer = self._peers.get(event.device)
        if peer is None:
            peer = self._peers[event.device] = Peer(event.device, now)
            self._in_vain.clear()
        peer.spaces = frozenset(event.spaces)
        for content in self._contents.values():
            if not content.space_for(peer):
                self._leave(content, event.device)
            elif event.device not in content.asks:
                self._touched[content.id] = None
                if content.stage is Stage.WAITING:
                    self._queue(content)

    def _leave(self, content: Content, device: DeviceId) -> None:
        """Expect nothing more of a device."""
        asked = content.asks.pop(device, None)
        peer = self._peers.get(device)
        if peer and asked and not asked.answered:
            peer.questions -= 1
        content.holders.pop(device, None)
        for index in [i for i, source in content.requested.items() if source == device]:
            content.release(index)
            if peer:
                peer.flow.forget((content.id, index))
        if content.waiters:
            self._touched[content.id] = None

    def _offered(self, peer: Peer, content: Content, offer: Offer, now: float) -> None:
        asked = content.asks.get(peer.device)
        if asked is None or peer.device in self._distrust.of(content.id):
            return
        if not asked.answered:
            asked.answered = True
            peer.questions -= 1
        chunks = bitmap.from_bytes(offer.bitmap) if offer.bitmap else bitmap.ALL
        holds = offer.holds and chunks != bitmap.NONE
        peer.answered(holds=holds)
        if not holds:
            content.holders.pop(peer.device, None)
            return
        content.learn(peer.device, chunks)
        if offer.data or (offer.manifest and content.layout is None):
            self._take_offered(peer.device, content, offer, now)

    def _take_offered(self, device: DeviceId, content: Content, offer: Offer, now: float) -> None:
        try:
            manifest, encoded = manifest_in(content, offer)
            whole = bool(offer.data) and not content.complete and not content.keeping_whole
            if whole:
                verify_whole(manifest, offer.data)
        except RemoteProtocolError:
            self._caught(device, content, "sent something else than it was asked for")
            return
        first_seen = content.layout is None
        if first_seen:
            content.lay_out(manifest)
        if not content.fits:
            self._fail(content, list(content.waiters), NoHolderOnline(_MISFIT))
        elif whole:
            content.keeping_whole = True
            content.keeping_manifest = False
            content.source(device, now).add(len(offer.data), now)
            keep = effects.KeepSmall(content.id, manifest, encoded, offer.data)
            self._effects.append(keep)
        elif first_seen:
            content.keeping_manifest = True
            self._effects.append(effects.KeepManifest(content.id, manifest, encoded))

    def _lacking(self, peer: Peer, content: Content, lack: Lack) -> None:
        holder = content.holders.get(peer.device)
        if holder is None or content.layout is None:
            return
        for index in lack.indexes:
            if index < content.layout.count:
                holder.chunks &= ~(1 << index)
                if content.requested.get(index) == peer.device:
                    content.release(index)
                    peer.flow.forget((content.id, index))
        self._hungry[peer.device] = None
        if not holder.chunks & bitmap.span(0, content.layout.count):
            del content.holders[peer.device]

    def _caught(self, device: DeviceId, content: Content, sentence: str) -> None:
        self._leave(content, device)
        if device in self._distrust.of(content.id):
            return
        self._distrust.add(content.id, device)
        told = f"{self._name_of(device)} {sentence}. It was dropped, and is fetched elsewhere."
        self._effects.append(effects.Report(device, told, content.id))

    # --- chunks ---------------------------------------------------------------------------------

    def _take_chunk(self, event: events.ChunkEvent, now: float) -> None:
        content = self._contents.get(event.content)
        match event:
            case events.ChunkArrived():
                self._chunk_arrived(event, content, now)
            case events.ChunkStored(_, _, index):
                if content and content.knows(index):
                    self._schedule.stored(content.stored(index))
                    if content.complete:
                        content.keeping_whole = False
                    if content.waiters and (content.stuck_since is not None or content.satisfied()):
                        self._touched[content.id] = None
            case events.ChunkBad(device, _, index):
                if content and content.knows(index):
                    self._schedule.stored(content.release(index))
                    self._touched[content.id] = None
                    if device != self._me:
                        self._caught(device, content, "sent a chunk that does not match its name")

    def _chunk_arrived(
        self, event: events.ChunkArrived, content: Content | None, now: float
    ) -> None:
        worth = content is not None and self.expects(event.device, event.content, event.index)
        peer = self._peers.get(event.device)
        if peer:
            peer.heard_at = now
            peer.flow.arrived((event.content, event.index), event.size_bytes, now)
            self._hungry[event.device] = None
        if content is None or not worth:
            return
        content.store(event.index, event.size_bytes)
        self._schedule.storing_bytes += event.size_bytes
        content.source(event.device, now).add(event.size_bytes, now)
        if holder := content.holders.get(event.device):
            holder.lost = 0

    def _stored(self, event: events.StoreEvent) -> None:
        content = self._contents.get(event.content)
        if content is None:
            return
        match event:
            case events.ManifestKept(_, have, coming):
                content.keeping_manifest = False
                content.keep(bitmap.from_bytes(have), bitmap.from_bytes(coming))
                self._touched[content.id] = None
            case events.ContentStored():
                self._satisfy(content, list(content.waiters))
                self._forget(content)
            case events.StoreFailed(_, error):
                self._fail(content, list(content.waiters), error)
                self._forget(content)
            case events.Freed():
                self._schedule.stored(sum(content.storing.values()))
                content.clear_have()
                self._touched[content.id] = None

    # --- time -----------------------------------------------------------------------------------

    def _fire(self, now: float) -> None:
        self._timer_at = None
        while (content_id := self._content_timers.pop_due(now)) is not None:
            self._touched[content_id] = None
        while (device := self._peer_timers.pop_due(now)) is not None:
            peer = self._peers[device]
            lost: dict[ContentId, None] = {}
            for content_id, index in peer.flow.give_up(now):
                content = self._contents.get(content_id)
                if content and content.requested.get(index) == device:
                    content.release(index)
                    lost[content_id] = None
            for content_id in lost:
                self._lost(self._contents[content_id], device, now)
            self._hungry[device] = None

    def _lost(self, content: Content, device: DeviceId, now: float) -> None:
        """A device did not deliver chunks of this content."""
        self._touched[content.id] = None
        holder = content.holders.get(device)
        if holder:
            holder.lost += 1
            if holder.lost >= LOSSES_MAX:
                del content.holders[device]
                # The patience for somebody to appear was spent in waiting for this device.
                content.stuck_since = now - PATIENCE_S

    # --- before `handle` returns ----------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Look at what was touched, let the next contents in, ask for chunks, set the timer."""
        self._admit()
        while self._touched:
            touched, self._touched = self._touched, {}
            for content_id in touched:
                if content := self._contents.get(content_id):
                    self._review(content, now)
            self._admit()
        if self._schedule.may_go_on():
            self._hungry.update(dict.fromkeys(self._peers))
        hungry = [self._peers[device] for device in self._hungry if device in self._peers]
        self._hungry.clear()
        for peer in sorted(hungry, key=lambda peer: peer.flow.stalled):
            self._effects += self._schedule.fill(peer, now)
            if peer.flow.requests and peer.device not in self._peer_timers:
                self._peer_timers.set(peer.device, peer.flow.due())
        self._set_timer()

    def _admit(self) -> None:
        while (content_id := self._line.pop(self._active)) is not None:
            self._move(self._contents[content_id], Stage.ACTIVE)
            self._touched[content_id] = None

    def _set_timer(self) -> None:
        dues = (self._content_timers.earliest(), self._peer_timers.earliest())
        at = min((due for due in dues if due is not None), default=None)
        if at is not None and (self._timer_at is None or at < self._timer_at):
            self._timer_at = at
            self._effects.append(effects.SetTimer(at))

    def _review(self, content: Content, now: float) -> None:
        self._satisfy(content, content.satisfied())
        if not content.waiters:
            self._retire(content)
        elif content.stage is Stage.IDLE:
            for device in sorted(content.asks.keys() - content.holders.keys()):
                # Who did not hold it, or did not answer, some time ago may be asked again.
                self._leave(content, device)
            self._queue(content)
        elif content.stage is Stage.QUEUED:
            self._line.push(content.id, urgent=content.urgent)
        else:
            self._look(content, now)

    def _look(self, content: Content, now: float) -> None:
        """Ask, ask for chunks, or give up."""
        if content.reachable():
            content.stuck_since = None
        elif content.stuck_since is None:
            content.stuck_since = now
        distrusted = self._distrust.of(content.id)
        for question in questions(content, self._peers, distrusted, now):
            self._ask(content, question, now)
        self._schedule.add(content)
        self._hungry.update(dict.fromkeys(content.holders))
        if content.stuck_since is None:
            self._content_timers.set(content.id, None)
            self._move(content, Stage.ACTIVE)
        elif now >= patience_ends(content, self._peers):
            self._content_timers.set(content.id, None)
            self._give_up(content, now)
        else:
            self._content_timers.set(content.id, next_look(content, self._peers, now))
            coming = content.requested or content.storing or hopeful(content, self._peers, now)
            self._move(content, Stage.ACTIVE if coming else Stage.WAITING)

    def _ask(self, content: Content, question: Question, now: float) -> None:
        peer = question.peer
        before = content.asks.get(peer.device)
        if question.repeated and before:
            before.repeated = True
        else:
            peer.questions += 1 if before is None or before.answered else 0
            asked = Asked(now, question.with_manifest, question.with_data)
            content.asks[peer.device] = asked
        space = content.space_for(peer)
        assert space is not None, "only who shares a space is asked"
        ask = Ask(space, content.id, question.with_manifest, question.with_data)
        self._effects.append(effects.Send(peer.device, ask))

    def _give_up(self, content: Content, now: float) -> None:
        """Fail those who wait only for what nobody online has."""
        error = no_holder(content, self._distrust.of(content.id), self._name_of)
        self._in_vain.add(content, error, now)
        self._fail(content, content.doomed(), error)
        if not content.waiters:
            self._forget(content)

    # --- stages ---------------------------------------------------------------------------------

    def _move(self, content: Content, stage: Stage) -> None:
        if content.stage is stage:
            return
        self._active += (stage is Stage.ACTIVE) - (content.stage is Stage.ACTIVE)
        if content.stage is Stage.QUEUED:
            self._line.discard(content.id)
        if content.stage is Stage.IDLE:
            self._idle.pop(content.id, None)
        content.stage = stage

    def _queue(self, content: Content) -> None:
        self._move(content, Stage.QUEUED)
        self._content_timers.set(content.id, None)
        self._line.push(content.id, urgent=content.urgent)
        if not content.urgent:
            # Its turn may come late: its patience begins then.
            content.stuck_since = None

    def _retire(self, content: Content) -> None:
        """Nobody waits: keep what was learnt for a while."""
        self._content_timers.set(content.id, None)
        if content.complete or not content.fits or content.stage is Stage.QUEUED:
            self._forget(content)
            return
        self._move(content, Stage.IDLE)
        content.stuck_since = None
        self._idle.pop(content.id, None)
        self._idle[content.id] = None
        if len(self._idle) > IDLE_CONTENTS_MAX:
            self._forget(self._contents[next(iter(self._idle))])

    def _forget(self, content: Content) -> None:
        assert not content.waiters, "nobody who waits is forgotten"
        self._move(content, Stage.IDLE)
        self._idle.pop(content.id, None)
        self._content_timers.set(content.id, None)
        self._schedule.discard(content.id)
        self._schedule.stored(sum(content.storing.values()))
        for device, asked in content.asks.items():
            if not asked.answered and device in self._peers:
                self._peers[device].questions -= 1
        del self._contents[content.id]
