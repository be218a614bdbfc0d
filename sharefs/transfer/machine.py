"""Which bytes do we lack, and whom do we ask?

Theory of operation. Somebody wants a range of a content: a program that reads, its read-ahead, or
a fetch. Each content stands at a stage:

- QUEUED: at most 64 contents (`line`) are asked about at a time;
- ACTIVE: devices are asked (`asking`) until one offers the manifest, or a small content whole;
  then chunks are asked of all who hold them (`schedule`), with credit in bytes (`credit`);
- WAITING: nobody online has what is missing; a device that comes up is asked; after some seconds
  those who wait only for such chunks fail;
- PAUSED: a person holds back all who wait;
- IDLE: nobody waits; what was learnt of the holders is kept for the next read.

A chunk is *wanted*, then *requested* from one device (or, if that one is slow, from a second one
too), then *storing* (verified and written by `node`), then here. It goes back to wanted when the
device loses it, lacks it, goes away, or sent something else; in the last case the device is not
asked about that content again. What nobody wants any more is cancelled (`sparing`). What comes late
is still kept.

What it does not do: touch the bytes of chunks (only small contents that came whole are checked
here), or say no twice: answers from devices that were not asked, and whatever concerns contents
that nobody wants, are ignored.
"""

from collections.abc import Callable

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.arrivals import Arrivals
from sharefs.transfer.asking import (
    Question,
    hopeful,
    next_look,
    no_holder,
    patience_ends,
    questions,
)
from sharefs.transfer.books import Books
from sharefs.transfer.content import Asked, Content, Stage
from sharefs.transfer.devices import Devices
from sharefs.transfer.effects import Effect
from sharefs.transfer.events import Event, Priority
from sharefs.transfer.peers import short_name
from sharefs.transfer.snapshot import Progress, Standing, progress_of, standing_of
from sharefs.transfer.sparing import Sparing
from sharefs.transfer.stages import Stages
from sharefs.transfer.wants import Wants
from sharefs.wire.transfer import Ask


class Transfer:
    """The one machine of a node. `name_of` says how to name a device in a sentence."""

    def __init__(self, me: DeviceId, name_of: Callable[[DeviceId], str] = short_name) -> None:
        self._books = Books(me, name_of)
        self._stages = Stages(self._books)
        self._wants = Wants(self._books)
        self._devices = Devices(self._books, self._stages)
        self._arrivals = Arrivals(self._books, self._stages)
        self._sparing = Sparing(self._books)
        self._timer_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What is to be done, in this order."""
        match event:
            case (
                events.Wanted()
                | events.Unwanted()
                | events.Paused()
                | events.Resumed()
                | events.Cancelled()
            ):
                self._wants.handle(event, now)
            case events.PeerUp() | events.Answered() | events.PeerDown() | events.Received():
                self._devices.handle(event, now)
            case (
                events.ChunkArrived()
                | events.PieceArrived()
                | events.ChunkStored()
                | events.ChunkBad()
            ):
                self._arrivals.handle(event, now)
            case events.TimerFired():
                self._fire(now)
            case events.Unsaved(size_bytes):
                self._books.schedule.unsaved_bytes = size_bytes
            case events.LimitsChanged():
                self._limit(event, now)
            case _:
                self._arrivals.stored(event)
        self._settle(now)
        return self._books.take_effects()

    def expects(self, device: DeviceId, content_id: ContentId, index: int) -> bool:
        """Whether a chunk that has just come is worth verifying and writing: to be asked before
        ChunkArrived is handled. What was not asked for is kept only from whom we would ask."""
        return self._arrivals.expects(device, content_id, index)

    def standing(self, device: DeviceId) -> Standing | None:
        """How good the way to a device is, if it is online."""
        peer = self._books.peers.get(device)
        return standing_of(peer) if peer else None

    def snapshot(self, now: float) -> list[Progress]:
        """The contents that somebody waits for, in the order in which they were wanted."""
        return [
            progress_of(content, now)
            for content in self._books.contents.values()
            if content.waiters
        ]

    def progress(self, content_id: ContentId, now: float) -> Progress | None:
        """Of one content, if somebody waits for it."""
        content = self._books.contents.get(content_id)
        return progress_of(content, now) if content is not None and content.waiters else None

    def blocked(self, content_id: ContentId) -> int:
        """The chunks of a content that a program is blocked on, or soon may be."""
        content = self._books.contents.get(content_id)
        if content is None:
            return bitmap.NONE
        return content.wanted[Priority.READ] or content.wanted[Priority.READ_AHEAD]

    # --- time -----------------------------------------------------------------------------------

    def _fire(self, now: float) -> None:
        self._timer_at = None
        while (content_id := self._books.content_timers.pop_due(now)) is not None:
            self._books.touch(content_id)
        while (device := self._books.peer_timers.pop_due(now)) is not None:
            self._devices.time_out(device, now)
        self._sparing.fire(now)
        if self._books.schedule.is_due(now):
            self._books.hungry.update(dict.fromkeys(self._books.peers))

    def _limit(self, event: events.LimitsChanged, now: float) -> None:
        schedule = self._books.schedule
        schedule.limits.change(event.limits, now)
        schedule.ranks = {space: rank for space, rank in event.ranks.items() if rank}
        schedule.look_at = None
        self._books.hungry.update(dict.fromkeys(self._books.peers))

    # --- before `handle` returns ----------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Look at what was touched, let the next contents in, ask for chunks, set the timer."""
        self._stages.admit()
        while self._books.touched:
            touched, self._books.touched = self._books.touched, {}
            for content_id in touched:
                if content := self._books.contents.get(content_id):
                    self._review(content, now)
            self._stages.admit()
        if self._books.schedule.may_go_on():
            self._books.hungry.update(dict.fromkeys(self._books.peers))
        if self._books.hungry and self._books.schedule.limits:
            self._books.hungry.update(dict.fromkeys(self._books.peers))
        hungry = sorted(
            (
                self._books.peers[device]
                for device in self._books.hungry
                if device in self._books.peers
            ),
            key=lambda peer: peer.reluctance(now),
        )
        self._books.hungry.clear()
        for send in self._books.schedule.fill(hungry, now):
            self._books.do(send)
        for peer in hungry:
            if peer.flow.requests and peer.device not in self._books.peer_timers:
                self._books.peer_timers.set(peer.device, peer.flow.due())
        self._set_timer()

    def _set_timer(self) -> None:
        dues = (
            self._books.content_timers.earliest(),
            self._books.peer_timers.earliest(),
            self._sparing.earliest(),
            self._books.schedule.look_at,
            self._books.schedule.second_at,
        )
        at = min((due for due in dues if due is not None), default=None)
        if at is not None and (self._timer_at is None or at < self._timer_at):
            self._timer_at = at
            self._books.do(effects.SetTimer(at))

    def _review(self, content: Content, now: float) -> None:
        self._books.satisfy(content, content.satisfied())
        self._sparing.look(content, now)
        if not content.waiters:
            self._stages.retire(content)
        elif content.paused:
            self._stages.rest(content)
        elif content.stage in (Stage.IDLE, Stage.PAUSED):
            for device in sorted(content.asks.keys() - content.holders.keys()):
                # Who did not hold it, or did not answer, some time ago may be asked again.
                self._books.leave(content, device)
            self._stages.queue(content)
        elif content.stage is Stage.QUEUED:
            self._stages.queue(content)
        else:
            self._look(content, now)

    def _look(self, content: Content, now: float) -> None:
        """Ask, ask for chunks, or give up."""
        if content.reachable():
            content.stuck_since = None
        elif content.stuck_since is None:
            content.stuck_since = now
        distrusted = self._books.distrust.of(content.id)
        for question in questions(content, self._books.peers, distrusted, now):
            self._ask(content, question, now)
        for hurry in self._books.schedule.hurry(content):
            self._books.do(hurry)
        self._books.schedule.add(content)
        self._books.hungry.update(dict.fromkeys(content.holders))
        if content.stuck_since is None:
            self._books.content_timers.set(content.id, None)
            self._stages.move(content, Stage.ACTIVE)
        elif now >= patience_ends(content, self._books.peers):
            self._books.content_timers.set(content.id, None)
            self._give_up(content, now)
        else:
            self._books.content_timers.set(content.id, next_look(content, self._books.peers, now))
            coming = (
                content.requested or content.storing or hopeful(content, self._books.peers, now)
            )
            self._stages.move(content, Stage.ACTIVE if coming else Stage.WAITING)

    def _ask(self, content: Content, question: Question, now: float) -> None:
        peer = question.peer
        space = content.space_for(peer)
        assert space is not None, "only who shares a space is asked"
        with_data = question.with_data
        if with_data:
            # Where it may not come at once, its chunk is asked for when it may.
            with_data = self._books.schedule.try_take(content, peer, now)
        before = content.asks.get(peer.device)
        if question.repeated and before:
            before.repeated = True
        else:
            peer.questions += 1 if before is None or before.answered else 0
            asked = Asked(now, question.with_manifest, with_data)
            content.asks[peer.device] = asked
        ask = Ask(space, content.id, question.with_manifest, with_data)
        self._books.do(effects.Send(peer.device, ask))

    def _give_up(self, content: Content, now: float) -> None:
        """Fail those who wait only for what nobody online has."""
        error = no_holder(content, self._books.distrust.of(content.id), self._books.name_of)
        self._books.in_vain.add(content, error, now)
        self._books.fail(content, content.doomed(), error)
        if not content.waiters:
            self._stages.forget(content)
        elif content.paused:
            self._stages.rest(content)
