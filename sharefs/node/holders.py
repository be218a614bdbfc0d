"""Who holds which entry's bytes, as far as is known, and how do others know what we hold?

Carries out what `transfer.telling` decides. What is told is true for good: it is read from what is
committed, and sent in that order when the disk has it, too.
"""

import itertools
import logging
import time
from collections.abc import Iterable, Iterator

from sharefs.errors import DiskFull
from sharefs.node.peers import Peers
from sharefs.node.replica import Replica
from sharefs.node.state import State
from sharefs.records.ids import ContentId, DeviceId, Incarnation, SpaceId
from sharefs.records.intervals import Intervals, clipped, intervals_of, steps_of, union
from sharefs.records.shown import Shown
from sharefs.store.holders import OURS, SEQUENCE_MAX, holders_at, partial_holders_at
from sharefs.store.sums import Author
from sharefs.transfer import telling
from sharefs.transfer.telling import Telling
from sharefs.wire.holdings import (
    STATEMENTS_MAX,
    STEPS_MAX,
    AskHeld,
    Held,
    HeldPage,
    Place,
    Spoken,
    Statement,
)

log = logging.getLogger("sharefs.node")

INTERVALS_AT_ONCE = STEPS_MAX // 2
TRY_AGAIN_SECONDS = 1.0
_KINDS = (False, True)
"""What is held whole, and what is held in part."""

_Said = tuple[tuple[DeviceId, ...], Held | HeldPage | AskHeld]


class Holders:
    """In the loop, but for what says otherwise."""

    def __init__(self, state: State, peers: Peers) -> None:
        self._state = state
        self._peers = peers
        self._machine = Telling()
        self._timer_at: float | None = None
        self._changed: dict[int, dict[Author, Intervals]] = {}
        """What others are to be told of, by the space's number."""
        self._sealed: dict[SpaceId, tuple[Incarnation, int]] = {}
        self._waiting: list[_Said] = []
        """What is said once the disk has it."""
        self._syncing = False

    # --- what is known: from any thread ---------------------------------------------------------

    def of(self, row: Shown) -> list[DeviceId]:
        """The other members' devices that hold all of an entry, as far as is known, those that are
        online first."""
        with self._state.store.readers.lent() as connection:
            found = holders_at(connection, row.space, row.version)
        return self._members(found, row)

    def partly(self, row: Shown) -> list[DeviceId]:
        """As `of`, those that hold some of it and not all: nobody relies on these to keep it."""
        with self._state.store.readers.lent() as connection:
            found = partial_holders_at(connection, row.space, row.version)
            whole = holders_at(connection, row.space, row.version) if found else ()
        return self._members([device for device in found if device not in whole], row)

    def _members(self, found: Iterable[DeviceId], row: Shown) -> list[DeviceId]:
        members = self._state.replica_numbered(row.space).roster.devices
        known = [device for device in found if device in members and device != self._state.me]
        return sorted(known, key=lambda device: (not self._peers.is_online(device), device))

    def is_online(self, device: DeviceId) -> bool:
        """Whether it is here now."""
        return self._peers.is_online(device)

    def online(self, row: Shown) -> list[DeviceId]:
        """Those of them who are here now."""
        return [device for device in self.of(row) if self._peers.is_online(device)]

    # --- what happens ---------------------------------------------------------------------------

    def peer_up(self, device: DeviceId, spaces: tuple[SpaceId, ...]) -> None:
        """It is online, or shares more spaces than before."""
        self._run(telling.PeerUp(device, spaces))

    def peer_down(self, device: DeviceId) -> None:
        """It is offline."""
        self._run(telling.PeerDown(device))

    def received(self, device: DeviceId, message: Held | AskHeld | HeldPage) -> None:
        """Raises RemoteProtocolError."""
        self._run(telling.Received(device, message))

    def committed(self) -> None:
        """After COMMIT: see what is other than it was."""
        spaces: dict[int, None] = {}
        for (number, author), ranges in self._state.store.holding.take_changed().items():
            changed = self._changed.setdefault(number, {})
            changed[author] = union(changed.get(author, ()), ranges)
            spaces[number] = None
        for id, replica in self._state.replicas.items():
            if replica.number in spaces or self._sealed.get(id, replica.sealed) != replica.sealed:
                self._run(telling.Changed(id))
            self._sealed[id] = replica.sealed

    # --- effects --------------------------------------------------------------------------------

    def _run(self, event: telling.Event) -> None:
        for effect in self._machine.handle(event, time.monotonic()):
            self._do(effect)

    def _do(self, effect: telling.Effect) -> None:
        match effect:
            case telling.TellSum(device, space):
                self._say((device,), Held(space, (), self._spoken(space)))
            case telling.TellChanges(space, devices):
                self._tell_changes(space, devices)
            case telling.Ask(device, message):
                self._state.send(device, message)
            case telling.Answer(device, question):
                self._say((device,), self._page(question))
            case telling.Keep(device, message):
                self._keep(device, message)
            case telling.SetTimer(at):
                self._set_timer(at)

    def _set_timer(self, at: float) -> None:
        self._timer_at = at

        def fire() -> None:
            if self._timer_at == at:
                self._timer_at = None
                self._run(telling.TimerFired())

        self._state.loop.at(at, fire)

    # --- what others say ------------------------------------------------------------------------

    def promised(self, device: DeviceId, space: SpaceId, contents: Iterable[ContentId]) -> None:
        """It promised to keep these: so it holds them, though it may not have said so yet. In a
        transaction."""
        replica, store = self._state.replicas.get(space), self._state.store
        if replica is None:
            return
        for row in itertools.chain.from_iterable(map(replica.shelf.entries_of, contents)):
            author, at = row.version[:2], row.version.sequence
            known = store.holders.intervals(row.space, device, author, at, at, 1)
            if not known and store.holders.has_room(row.space, device):
                store.holders.splice(row.space, device, author, at, at, ((at, at),))
                store.holders.splice(row.space, device, author, at, at, (), partial=True)

    def _keep(self, device: DeviceId, message: Held | HeldPage) -> None:
        space = self._state.replicas[message.space].number
        holders = self._state.store.holders
        if not holders.has_room(space, device):
            log.warning("what a device holds is in too many pieces to be known all")
        elif isinstance(message, Held):
            for statement in message.statements:
                self._state_of(space, device, statement)
        else:
            self._keep_page(space, device, message)
        if message.spoken is not None:
            holders.set_spoken(space, device, message.spoken.incarnation, message.spoken.upto)
            agrees = holders.digest(space, device) == message.spoken.digest
            self._run(telling.Compared(device, message.space, agrees))

    def _state_of(self, space: int, device: DeviceId, statement: Statement) -> None:
        author, first, last = _author_of(statement), statement.first, statement.last
        holders = self._state.store.holders
        stated = [(_stated(statement, partial), partial) for partial in _KINDS]
        for held, partial in stated:
            holders.splice(space, device, author, first, last, held, partial=partial)

    def _keep_page(self, space: int, device: DeviceId, page: HeldPage) -> None:
        """What is not mentioned, the device does not hold."""
        holders = self._state.store.holders
        known = holders.authors(space, device)
        for partial in _KINDS:
            stated: dict[Author, Intervals] = {}
            for statement in page.statements:
                author = _author_of(statement)
                stated[author] = union(stated.get(author, ()), _stated(statement, partial))
            for author in sorted({*known, *stated}):
                first, last = _between(author, page.after, page.until)
                if first <= last:
                    held = clipped(stated.get(author, ()), first, last)
                    holders.splice(space, device, author, first, last, held, partial=partial)

    # --- what we say ----------------------------------------------------------------------------

    def _spoken(self, space: SpaceId) -> Spoken:
        replica = self._state.replicas[space]
        return Spoken(*replica.sealed, self._state.store.holders.digest(replica.number, OURS))

    def _tell_changes(self, space: SpaceId, devices: tuple[DeviceId, ...]) -> None:
        replica = self._state.replicas.get(space)
        if replica is None:
            # What made it was rolled back.
            return
        changed = self._changed.pop(replica.number, {})
        if not devices:
            return
        batches = list(_batches(self._statements(replica, changed)))
        for statements in batches[:-1]:
            self._say(devices, Held(space, statements, None))
        last = batches[-1] if batches else ()
        self._say(devices, Held(space, last, self._spoken(space)))

    def _statements(
        self, replica: Replica, changed: dict[Author, Intervals]
    ) -> Iterator[Statement]:
        for author, ranges in sorted(changed.items()):
            for first, last in ranges:
                while first <= last:
                    some = self._some(replica.number, author, first, last, INTERVALS_AT_ONCE)
                    yield some
                    first = some.last + 1

    def _some(self, space: int, author: Author, first: int, last: int, limit: int) -> Statement:
        """Some of what we hold, not much more than so many intervals, up to where that is all."""
        holders = self._state.store.holders
        held = []
        for partial in _KINDS:
            found = holders.intervals(space, OURS, author, first, last, limit, partial=partial)
            last = last if len(found) < limit else found[-1][1]
            held.append(found)
        whole, some = (steps_of(clipped(each, first, last), first) for each in held)
        return Statement(*author, first, last, whole, some)

    def _page(self, question: AskHeld) -> HeldPage:
        replica = self._state.replicas[question.space]
        statements: list[Statement] = []
        room = INTERVALS_AT_ONCE
        for author in self._state.store.holders.authors(replica.number, OURS):
            first, last = _between(author, question.after, None)
            if first > last:
                continue
            some = self._some(replica.number, author, first, last, room)
            room -= _size(some) // 2
            if some.whole or some.partial:
                statements.append(some)
            if some.last < last or room <= 0 or len(statements) == STATEMENTS_MAX:
                until = Place(*author, some.last)
                return HeldPage(question.space, question.after, until, tuple(statements), None)
        spoken = self._spoken(question.space)
        return HeldPage(question.space, question.after, None, tuple(statements), spoken)

    # --- when the disk has it -------------------------------------------------------------------

    def _say(self, devices: tuple[DeviceId, ...], message: Held | HeldPage) -> None:
        self._waiting.append((devices, message))
        if not self._syncing:
            self._sync(self._take_waiting())

    def _take_waiting(self) -> list[_Said]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _sync(self, said: list[_Said]) -> None:
        """What was read was committed; a batch that is rolled back does not change that."""
        self._syncing = True

        def sync() -> None:
            try:
                self._state.store.make_durable()
            except DiskFull as error:
                log.warning("what is held here is not told yet: %s", error)
                self._state.loop.post(try_later)
            else:
                self._state.loop.post(done)

        def try_later() -> None:
            self._state.loop.at(time.monotonic() + TRY_AGAIN_SECONDS, again)

        def again() -> None:
            self._sync(said)

        def done() -> None:
            for devices, message in said:
                # A space that was just made may have been rolled back.
                for device in devices if message.space in self._state.replicas else ():
                    self._state.send(device, message)
            self._syncing = False
            if self._waiting:
                self._sync(self._take_waiting())

        self._state.in_pool(sync)


def _author_of(statement: Statement) -> Author:
    return (statement.device, statement.incarnation)


def _stated(statement: Statement, partial: bool) -> Intervals:
    steps = statement.partial if partial else statement.whole
    return intervals_of(steps, statement.first, statement.last)


def _size(statement: Statement) -> int:
    """In steps."""
    return len(statement.whole) + len(statement.partial)


def _between(author: Author, after: Place | None, until: Place | None) -> tuple[int, int]:
    """An author's sequences between two places; there are none if the last is before the first."""
    first, last = 0, SEQUENCE_MAX
    if after is not None:
        at = (after.device, after.incarnation)
        first = after.sequence + 1 if author == at else 0 if author > at else SEQUENCE_MAX + 1
    if until is not None:
        at = (until.device, until.incarnation)
        last = until.sequence if author == at else SEQUENCE_MAX if author < at else -1
    return first, last


def _batches(statements: Iterable[Statement]) -> Iterator[tuple[Statement, ...]]:
    """In as many messages as are needed."""
    batch: list[Statement] = []
    steps = 0
    for statement in statements:
        if batch and (steps + _size(statement) > STEPS_MAX or len(batch) == STATEMENTS_MAX):
            yield tuple(batch)
            batch, steps = [], 0
        batch.append(statement)
        steps += _size(statement)
    if batch:
        yield tuple(batch)
