"""How do the effects of `sync` come about?"""

import logging
import secrets
import time
from collections.abc import Callable

from sharefs.errors import DiskFull, RemoteProtocolError
from sharefs.node.replica import PAGE_SIZE_BYTES_MAX, AuthorUnknown, Overtaken, Replica
from sharefs.node.state import State, now_ms
from sharefs.records.ids import DeviceId, Frontier, Incarnation, SpaceId
from sharefs.sync import effects, events, machine
from sharefs.sync.audit import Question
from sharefs.sync.reconciliation import compare, tell
from sharefs.wire.audit import AskRecords, AskSums, Records, Sums, Tombstones, Wanted
from sharefs.wire.message import SyncMessage
from sharefs.wire.sync import Pull, RosterOperations, Shipment

log = logging.getLogger("sharefs.node")

FLUSH_AGAIN_SECONDS = 1.0
ASTRAY_TOLD_MS = 7 * 24 * 3600 * 1000
KNOWN_BETTER = (
    "Other members know more of this device's past than this device does, as after a restored"
    " backup: it goes on under a new number, and nothing is lost."
)


class Exchange:
    """Runs the machine of sync. In the loop only, but for `flushed`, which the pool posts.

    Own commits go: sealed in a batch, committed, synced to disk by the pool, pushed. Pages are read
    between batches, when all is committed, and synced if it was not.
    """

    def __init__(
        self,
        state: State,
        roster_grew: Callable[[Replica], None],
        note_passed: Callable[[DeviceId, SpaceId, Frontier], None],
    ) -> None:
        self._state = state
        self._note_passed = note_passed
        self._machine = machine.Sync(state.me)
        self._roster_grew = roster_grew
        self._timer_at: float | None = None
        self._pages: dict[tuple[DeviceId, SpaceId], Pull] = {}
        """The last one that each has asked for: nobody needs two at a time."""
        self._questions: dict[tuple[DeviceId, SpaceId], Question] = {}
        """As the pages, of audits."""
        self._comparisons: list[effects.Compare] = []
        self._corrections: list[tuple[DeviceId, SpaceId, tuple[Wanted, ...]]] = []
        """Tombstones that a peer lacks."""
        self._told_closed: dict[SpaceId, int] = {}
        """How many closed incarnations of a space the person was told of."""
        self._sealed: list[tuple[Replica, Shipment]] = []
        """In this batch."""
        self._committed: list[tuple[Replica, Shipment]] = []
        """In batches before, but maybe not durable."""
        self._flushing: list[tuple[Replica, Shipment]] | None = None
        """What the pool has the disk sync now."""

    def open_space(self, replica: Replica) -> None:
        """A space is here, or was joined."""
        self._close_astray(replica)
        self._run(replica.stands(None))

    def peer_up(self, device: DeviceId, spaces: tuple[SpaceId, ...]) -> None:
        """It is online, or shares more spaces than before."""
        self._run(events.PeerUp(device, spaces))

    def peer_down(self, device: DeviceId) -> None:
        """It is offline."""
        self._run(events.PeerDown(device))

    def received(self, device: DeviceId, message: SyncMessage) -> None:
        """Raises RemoteProtocolError if it is false."""
        self._run(events.Received(device, message))

    def roster_grown(self, replica: Replica) -> None:
        """We added an operation ourselves: tell everybody."""
        self._run(replica.stands(self._state.me))

    def seal(self) -> None:
        """At the end of a batch: sign what was made in it."""
        asked = {space for _, space in (*self._pages, *self._questions)}
        asked |= {space for _, space, _ in self._corrections}
        for replica in self._state.replicas.values():
            self._sealed += [(replica, shipment) for shipment in replica.seal()]
            if replica.id in asked or self._machine.hears(replica.id):
                replica.tell()

    def committed(self) -> None:
        """After COMMIT: read what was asked for, and have the disk sync what is ours."""
        self._committed += self._sealed
        self._sealed = []
        pages, self._pages = self._pages, {}
        questions, self._questions = self._questions, {}
        corrections, self._corrections = self._corrections, []
        if (pages or questions or corrections) and self.sync_now():
            for device, space, wanted in corrections:
                self._state.send(device, _correction(self._state.replicas[space], wanted))
            for (device, space), pull in pages.items():
                self._state.send(device, self._state.replicas[space].page(pull))
            for (device, space), question in questions.items():
                self._state.send(device, _answer(self._state.replicas[space], question))
        comparisons, self._comparisons = self._comparisons, []
        for comparison in comparisons:
            self._compare(comparison)
        if self._committed and self._flushing is None:
            self._flush()

    def settle(self) -> None:
        """Before the node goes down: tell what is new to those who are here."""
        self._committed = [*(self._flushing or ()), *self._committed]
        self.sync_now()

    def sync_now(self) -> bool:
        """Between batches: have the disk sync what is committed; whether it could."""
        try:
            self._state.store.make_durable()
        except DiskFull as error:
            # Who asked for a page will ask again.
            log.warning("what is ours is not told yet: %s", error)
            return False
        committed, self._committed = self._committed, []
        self._flushed(committed, self._marks())
        return True

    def rolled_back(self) -> None:
        """Nothing of the batch was kept: begin again from what is."""
        self._sealed = []
        self._pages, self._questions, self._comparisons = {}, {}, []
        self._corrections = []
        for replica in self._replicas():
            replica.reload()
            self._run(events.RolledBack(replica.id))
            self._run(replica.stands(None))

    def _replicas(self) -> list[Replica]:
        return list(self._state.replicas.values())

    def _marks(self) -> list[tuple[Replica, dict[Incarnation, int]]]:
        return [(replica, replica.mark) for replica in self._replicas()]

    def _flush(self) -> None:
        committed = self._flushing = self._committed
        self._committed = []
        marks = self._marks()

        def sync() -> None:
            try:
                self._state.store.make_durable()
            except DiskFull as error:
                log.warning("what is ours is not told yet: %s", error)
                self._state.loop.post(try_later)
            else:
                self._state.loop.post(done)

        def done() -> None:
            self._flushing = None
            self._flushed(committed, marks)

        def try_later() -> None:
            self._state.loop.at(time.monotonic() + FLUSH_AGAIN_SECONDS, again)

        def again() -> None:
            # The end of this batch begins the next try.
            self._committed = committed + self._committed
            self._flushing = None

        self._state.in_pool(sync)

    def _flushed(
        self,
        sealed: list[tuple[Replica, Shipment]],
        marks: list[tuple[Replica, dict[Incarnation, int]]],
    ) -> None:
        for replica, mark in marks:
            if replica.made_durable(mark):
                self._run(replica.stands(None))
        for replica, shipment in sealed:
            commit = shipment.commit
            if commit.incarnation != replica.incarnation or commit.last <= replica.told:
                self._run(events.Committed(replica.id, shipment))

    # --- effects --------------------------------------------------------------------------------

    def _run(self, event: events.Event) -> None:
        for effect in self._machine.handle(event, time.monotonic()):
            self._do(effect)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Send():
                self._state.send(effect.peer, effect.message)
            case effects.SendPage():
                self._pages[effect.peer, effect.pull.space] = effect.pull
            case effects.SendRoster():
                operations = tuple(
                    self._state.ledger.operations(self._state.replicas[effect.space].number)
                )
                self._state.send(effect.peer, RosterOperations(effect.space, operations))
            case effects.Answer() | effects.Compare() | effects.Correct():
                self._read_later(effect)
            case effects.SetTimer():
                self._set_timer(effect.at)
            case _:
                self._take_in(effect)

    def _take_in(
        self,
        effect: effects.Apply
        | effects.AddOperations
        | effects.RenewIncarnation
        | effects.NotePassed,
    ) -> None:
        """What came from a peer, or follows from it."""
        match effect:
            case effects.Apply():
                self._apply(effect)
            case effects.AddOperations():
                self._add_operations(effect)
            case effects.RenewIncarnation():
                replica = self._state.replicas[effect.space]
                if replica.was_never_told(effect.incarnation, effect.sequence):
                    self._state.notice(KNOWN_BETTER)
                    self._renew(replica)
            case effects.NotePassed():
                self._note_passed(effect.peer, effect.space, effect.frontier)

    def _read_later(self, effect: effects.Answer | effects.Compare | effects.Correct) -> None:
        """When all is committed."""
        match effect:
            case effects.Answer():
                self._questions[effect.peer, effect.question.space] = effect.question
            case effects.Compare():
                self._comparisons.append(effect)
            case effects.Correct():
                holdings = self._state.replicas[effect.space].holdings
                wanted = holdings.tombstones_over(effect.shipments)
                if wanted:
                    self._corrections.append((effect.peer, effect.space, wanted))

    def _apply(self, effect: effects.Apply) -> None:
        replica = self._state.replicas[effect.space]
        try:
            self._keep(replica, effect)
        except AuthorUnknown as error:
            log.info("%s", error)
            self._run(events.ApplyFailed(effect.peer, effect.space))
        except RemoteProtocolError:
            self._run(events.ApplyFailed(effect.peer, effect.space))
            raise
        else:
            self._close_astray(replica)
            self._run(replica.stands(effect.peer))

    def _keep(self, replica: Replica, effect: effects.Apply) -> None:
        try:
            replica.apply(effect.shipments, effect.frontier)
        except Overtaken:
            self._state.notice(KNOWN_BETTER)
            self._renew(replica)
            replica.apply(effect.shipments, effect.frontier)

    def _compare(self, effect: effects.Compare) -> None:
        replica = self._state.replicas[effect.sums.space]
        try:
            findings = compare(replica.holdings, effect.asked, effect.sums)
        except RemoteProtocolError as error:
            log.warning("dropped what a peer sent: %s", error)
            self._run(events.ApplyFailed(effect.peer, replica.id))
            return
        self._run(events.Compared(effect.peer, replica.id, effect.sums.audit, findings))

    def _add_operations(self, effect: effects.AddOperations) -> None:
        replica = self._state.replicas[effect.space]
        if replica.add_operations(effect.operations):
            self._close_astray(replica)
            self._roster_grew(replica)
            self._run(replica.stands(effect.peer))

    def _close_astray(self, replica: Replica) -> None:
        """After what may prove that somebody's device went astray, or tell of it (I8)."""
        if replica.has_astray:
            self._sealed += [(replica, shipment) for shipment in replica.seal()]
            replica.close_astray(now_ms())
            self._state.relied_upon = True
            self._roster_grew(replica)
        if len(replica.roster.closed) > self._told_closed.get(replica.id, 0):
            self._tell_of_astray(replica)

    def _tell_of_astray(self, replica: Replica) -> None:
        """Also after a restart, for some days."""
        self._told_closed[replica.id] = len(replica.roster.closed)
        for (device, _), closed in sorted(replica.roster.closed.items()):
            if now_ms() - closed.since < ASTRAY_TOLD_MS:
                self._state.notice(_of_astray(replica, device, device == self._state.me))
        if replica.is_astray:
            self._renew(replica)

    def _renew(self, replica: Replica) -> None:
        self._sealed += [(replica, shipment) for shipment in replica.seal()]
        replica.begin_anew(Incarnation(secrets.token_bytes(8)))

    def _set_timer(self, at: float) -> None:
        if self._timer_at is not None and self._timer_at <= at:
            return
        self._timer_at = at

        def fire() -> None:
            if self._timer_at == at:
                self._timer_at = None
                self._run(events.TimerFired())

        self._state.loop.at(at, fire)


def _of_astray(replica: Replica, device: DeviceId, is_ours: bool) -> str:
    space = replica.roster.name
    if is_ours:
        return (
            f"Two copies of this device wrote to {space}, as after its disk was copied or set back."
            " This one goes on under a new number, and nothing is lost. Run one copy only: the"
            " other needs a home and an identity of its own."
        )
    name = replica.roster.devices[device].device_name
    return (
        f"{replica.roster.label(device)}'s device {name} signed two versions under one number in"
        f" {space}: its disk was copied, or somebody else has its key. Both versions are kept, and"
        " no more is taken under that number. Ask whether this is known there."
    )


def _correction(replica: Replica, wanted: tuple[Wanted, ...]) -> Tombstones:
    return Tombstones(replica.id, replica.holdings.shipments(wanted, PAGE_SIZE_BYTES_MAX))


def _answer(replica: Replica, question: Question) -> Sums | Records:
    match question:
        case AskSums():
            return tell(replica.holdings, question)
        case AskRecords():
            shipments = replica.holdings.shipments(question.records, PAGE_SIZE_BYTES_MAX)
            return Records(question.space, question.audit, shipments)
