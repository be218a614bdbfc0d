"""Replicas that sync over a network which loses, repeats, delays and cuts.

Each node has the machine under test and a ledger in memory that does what the node's shell does
with effects. Time is simulated; all chance comes from one seed. After each change the ledger is
checked: a frontier claims nothing that is not held or dominated (I6).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from blake3 import blake3

from sharefs.records.commit import Commit
from sharefs.records.ids import (
    Coordinate,
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    OperationHash,
    Signature,
    SpaceId,
    item_id,
)
from sharefs.records.record import (
    Record,
    context_of,
    decode_record,
    encode_record,
    hash_record,
    stamp_after,
)
from sharefs.sync import effects, events, machine
from sharefs.sync.audit import Question
from sharefs.sync.reconciliation import compare, tell
from sharefs.sync.shipment import entries_of, frontier_of, ship
from sharefs.wire.audit import AskSums, Records, Sums
from sharefs.wire.message import SyncMessage, decode_message, encode_message
from sharefs.wire.sync import Page, Pull, RosterOperations, Shipment
from tests.sync.sync_holdings import MemoryHoldings

SPACE = SpaceId(bytes(32))
PAGE_COMMITS = 2
ITEMS = 6


def operation_hash(operation: bytes) -> OperationHash:
    return OperationHash(blake3(operation).digest())


class Unknown(Exception):
    """An author is not in the roster."""


@dataclass
class Ledger:
    """What is on a node's disk."""

    operations: set[bytes]
    frontier: Frontier = field(default_factory=dict)
    commits: dict[tuple[DeviceId, Incarnation, int], tuple[int, Commit]] = field(
        default_factory=dict
    )
    heads: dict[ItemId, list[Record]] = field(default_factory=dict)
    numbers: int = 0

    def copy(self) -> "Ledger":
        heads = {item: list(heads) for item, heads in self.heads.items()}
        return Ledger(
            set(self.operations), dict(self.frontier), dict(self.commits), heads, self.numbers
        )

    @property
    def digest(self) -> bytes:
        return blake3(b"".join(sorted(self.operations))).digest()

    @property
    def fingerprint(self) -> bytes:
        heads = (head for heads in self.heads.values() for head in heads)
        hashes = [int.from_bytes(hash_record(encode_record(head))) for head in heads]
        return (sum(hashes) % 2**256).to_bytes(32)

    @property
    def holdings(self) -> MemoryHoldings:
        return MemoryHoldings(
            (*head.coordinate, hash_record(encode_record(head)))
            for heads in self.heads.values()
            for head in heads
        )

    def answer(self, question: Question) -> Sums | Records:
        if isinstance(question, AskSums):
            return tell(self.holdings, question)
        found = [commit for _, commit in self.commits.values()]
        shipments = tuple(
            Shipment(commit, tuple(r for r in self.shipment(commit).records if r[0] == at))
            for wanted in question.records
            for commit in found
            if (commit.device, commit.incarnation) == (wanted.device, wanted.incarnation)
            and 0 <= (at := wanted.sequence - commit.first) < len(commit.hashes)
        )
        return Records(question.space, question.audit, shipments)

    def keep(self, shipment: Shipment) -> None:
        grown = [self.keep_record(decode_record(data)) for _, data in shipment.records]
        self.keep_commit(shipment.commit, any(grown))

    def keep_record(self, record: Record) -> bool:
        heads = self.heads.setdefault(record.item, [])
        if any(h.coordinate == record.coordinate or h.dominates(record) for h in heads):
            return False
        heads[:] = [head for head in heads if not record.dominates(head)]
        heads.append(record)
        return True

    def keep_commit(self, commit: Commit, grown: bool) -> None:
        """It moves to the end if a record of it that was missing is here now."""
        key = (commit.device, commit.incarnation, commit.first)
        if grown or key not in self.commits:
            self.numbers += 1
            self.commits[key] = (self.numbers, commit)

    def advance(self, frontier: Frontier) -> None:
        for key, sequence in frontier.items():
            self.frontier[key] = max(self.frontier.get(key, 0), sequence)

    def take(self, page: Page) -> None:
        """Keep a page; at the end of a pass, its frontier."""
        for shipment in page.shipments:
            self.keep(shipment)
        if page.complete:
            self.advance(frontier_of(page.frontier))

    def page(self, pull: Pull) -> Page:
        beyond = frontier_of(pull.frontier)
        found = sorted(
            (number, commit)
            for number, commit in self.commits.values()
            if number > pull.cursor
            and commit.last > beyond.get((commit.device, commit.incarnation), 0)
        )
        chosen = found[:PAGE_COMMITS]
        cursor = chosen[-1][0] if chosen else pull.cursor
        shipments = tuple(self.shipment(commit) for _, commit in chosen)
        complete = len(found) <= PAGE_COMMITS
        frontier = entries_of(self.frontier)
        number = pull.pass_number
        return Page(pull.space, pull.cursor, cursor, shipments, complete, frontier, number)

    def shipment(self, commit: Commit) -> Shipment:
        heads = {head.coordinate: head for heads in self.heads.values() for head in heads}
        run = range(commit.first, commit.last + 1)
        found = [
            (sequence, heads.get(Coordinate(commit.device, commit.incarnation, sequence)))
            for sequence in run
        ]
        return ship(commit, [(s, encode_record(head)) for s, head in found if head is not None])


class Node:
    """A device: a disk that stays, and a machine that a crash forgets."""

    def __init__(self, network: "Network", number: int) -> None:
        self.network = network
        self.device = DeviceId(bytes([number + 1] * 16))
        self.operation = b"admit %d" % number
        self.ledger = Ledger({b"admit %d" % earlier for earlier in range(number + 1)})
        self.incarnation = Incarnation(bytes(8))
        self.backup = self.ledger.copy()
        self.start()

    def start(self) -> None:
        self.machine = machine.Sync(self.device)
        self.timer_at: float | None = None
        self.run(self.stands(None))

    def restore(self) -> None:
        """The disk is as it was at some time; the token beside it shows that (I3)."""
        self.ledger, self.backup = self.backup.copy(), self.ledger
        self.renew()

    def stands(self, source: DeviceId | None) -> events.Stands:
        ledger = self.ledger
        return events.Stands(
            SPACE, ledger.digest, dict(ledger.frontier), source, ledger.fingerprint
        )

    def renew(self) -> None:
        self.incarnation = Incarnation(self.network.chance.randbytes(8))

    def write(self, count: int) -> None:
        """A commit of records that each supersede some of the heads here."""
        chance = self.network.chance
        versions = []
        for _ in range(count):
            item = item_id(self.device, chance.randrange(ITEMS).to_bytes(8))
            if self.ledger.heads and chance.random() < 0.7:
                item = chance.choice(sorted(self.ledger.heads))
            heads = sorted(self.ledger.heads.get(item, []), key=lambda head: head.rank)
            versions.append((item, heads if chance.random() < 0.5 else heads[-1:]))
        self.author(versions)

    def author(self, versions: Sequence[tuple[ItemId, Sequence[Record]]]) -> None:
        """A commit of versions, each of an item, superseding these and the author's own."""
        first = self.ledger.frontier.get((self.device, self.incarnation), 0) + 1
        records = []
        for sequence, (item, superseded) in enumerate(versions, start=first):
            heads = self.ledger.heads.get(item, [])
            seen = [*superseded, *(head for head in heads if head.device == self.device)]
            stamp = stamp_after(seen, int(self.network.now))
            record = Record(
                1,
                item,
                "entry",
                self.device,
                self.incarnation,
                sequence,
                context_of(seen),
                stamp,
                b"",
            )
            self.network.written[record.coordinate] = record
            self.ledger.keep_record(record)
            records.append((sequence, encode_record(record)))
        commit = Commit(
            1,
            SPACE,
            self.device,
            self.incarnation,
            first,
            operation_hash(self.operation),
            tuple(hash_record(data) for _, data in records),
            Signature(bytes(64)),
        )
        self.ledger.keep_commit(commit, True)
        self.ledger.advance({(self.device, self.incarnation): commit.last})
        self.run(self.stands(None))
        self.run(events.Committed(SPACE, ship(commit, records)))

    # --- effects --------------------------------------------------------------------------------

    def run(self, event: events.Event) -> None:
        for effect in self.machine.handle(event, self.network.now):
            self._do(effect)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Send() | effects.SendPage() | effects.SendRoster():
                self.network.send(self, effect.peer, self._message(effect))
            case effects.Answer() | effects.Compare():
                self._audit(effect)
            case effects.Apply():
                self._apply(effect)
            case effects.AddOperations():
                if not set(effect.operations) <= self.ledger.operations:
                    self.ledger.operations |= set(effect.operations)
                    self.run(self.stands(effect.peer))
            case effects.RenewIncarnation():
                if effect.incarnation == self.incarnation:
                    self.renew()
            case effects.SetTimer():
                self.timer_at = effect.at

    def _message(self, effect: effects.Send | effects.SendPage | effects.SendRoster) -> SyncMessage:
        match effect:
            case effects.Send():
                return effect.message
            case effects.SendPage():
                return self.ledger.page(effect.pull)
            case effects.SendRoster():
                return RosterOperations(SPACE, tuple(sorted(self.ledger.operations)))

    def _audit(self, effect: effects.Answer | effects.Compare) -> None:
        if isinstance(effect, effects.Answer):
            self.network.send(self, effect.peer, self.ledger.answer(effect.question))
            return
        findings = compare(self.ledger.holdings, effect.asked, effect.sums)
        self.run(events.Compared(effect.peer, SPACE, effect.sums.audit, findings))

    def _apply(self, effect: effects.Apply) -> None:
        before = self.ledger.copy()
        try:
            for shipment in effect.shipments:
                self._verify(shipment)
                self.ledger.keep(shipment)
        except Unknown:
            self.ledger = before
            self.run(events.ApplyFailed(effect.peer, SPACE))
            return
        self.ledger.advance(effect.frontier)
        if self.network.faults.rollback > self.network.chance.random():
            self.ledger = before
            self.run(events.RolledBack(SPACE))
            self.run(self.stands(None))
            return
        self.network.check(self)
        self.run(self.stands(effect.peer))

    def _verify(self, shipment: Shipment) -> None:
        commit = shipment.commit
        for position, data in shipment.records:
            assert hash_record(data) == commit.hashes[position]
        if commit.roster not in {operation_hash(data) for data in self.ledger.operations}:
            raise Unknown


@dataclass(frozen=True)
class Faults:
    """How bad it is: probabilities, and the longest delay in seconds."""

    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.01
    rollback: float = 0.0


class Network:
    """All nodes, the links between them, and the clock."""

    def __init__(self, seed: int, nodes: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.faults = Faults()
        self.written: dict[Coordinate, Record] = {}
        self.sent: list[SyncMessage] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._links: dict[frozenset[DeviceId], int] = {}
        """Those that are up, each with a number of its own."""
        self._count = 0
        self.nodes = [Node(self, number) for number in range(nodes)]
        self._by_device = {node.device: node for node in self.nodes}

    # --- links ----------------------------------------------------------------------------------

    def link(self, one: Node, other: Node) -> None:
        ends = frozenset({one.device, other.device})
        if ends not in self._links:
            self._count += 1
            self._links[ends] = self._count
            one.run(events.PeerUp(other.device, (SPACE,)))
            other.run(events.PeerUp(one.device, (SPACE,)))

    def cut(self, one: Node, other: Node) -> None:
        if self._links.pop(frozenset({one.device, other.device}), None) is not None:
            one.run(events.PeerDown(other.device))
            other.run(events.PeerDown(one.device))

    def crash(self, node: Node) -> None:
        for other in self.nodes:
            if other is not node:
                self.cut(node, other)
        if self.chance.random() < 0.3:
            node.restore()
        node.start()

    def send(self, sender: Node, to: DeviceId, message: SyncMessage) -> None:
        ends = frozenset({sender.device, to})
        link = self._links.get(ends)
        self.sent.append(message)
        data = encode_message(message)
        copies = 2 if self.chance.random() < self.faults.repeat else 1
        for _ in range(copies):
            if self.chance.random() >= self.faults.loss:
                delay = self.chance.random() * self.faults.delay
                self._later(delay, lambda: self._arrive(sender, to, link, data))

    def _arrive(self, sender: Node, to: DeviceId, link: int | None, data: bytes) -> None:
        if link is None or self._links.get(frozenset({sender.device, to})) != link:
            return
        message = decode_message(data)
        assert isinstance(message, SyncMessage)
        self._by_device[to].run(events.Received(sender.device, message))

    # --- time -----------------------------------------------------------------------------------

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._queue, (self.now + delay, self._count, action))

    def run_until(self, end: float) -> None:
        while True:
            timers = [(node.timer_at, n) for n, node in enumerate(self.nodes) if node.timer_at]
            at = min(
                [end, *(t for t, _ in timers), *(t for t, _, _ in self._queue[:1])], default=end
            )
            self.now = max(self.now, at)
            if at >= end:
                return
            if self._queue and self._queue[0][0] <= at:
                heappop(self._queue)[2]()
                continue
            node = self.nodes[min(timers)[1]]
            node.timer_at = None
            node.run(events.TimerFired())

    # --- chaos, and peace -----------------------------------------------------------------------

    def chaos(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.faults = Faults(
                self.chance.choice((0.0, 0.1, 0.5)),
                self.chance.choice((0.0, 0.3)),
                self.chance.choice((0.01, 0.3, 3.0)),
                self.chance.choice((0.0, 0.0, 0.2)),
            )
            self._disturb()
            self.run_until(self.now + self.chance.choice((0.0, 0.05, 0.5, 4.0)))

    def _disturb(self) -> None:
        node, other = self.chance.sample(self.nodes, 2)
        match self.chance.randrange(10):
            case 0 | 1 | 2 | 3:
                node.write(self.chance.randrange(1, 4))
            case 4 | 5 | 6:
                self.link(node, other)
            case 7 | 8:
                self.cut(node, other)
            case _:
                self.crash(node)

    def heal(self, seconds: float) -> None:
        self.faults = Faults()
        for one in self.nodes:
            for other in self.nodes:
                if one is not other:
                    self.link(one, other)
        self.run_until(self.now + seconds)

    # --- checkers -------------------------------------------------------------------------------

    def check(self, node: Node) -> None:
        """I6, at one node."""
        heads = {item: list(heads) for item, heads in node.ledger.heads.items()}
        for record in self.written.values():
            claimed = node.ledger.frontier.get((record.device, record.incarnation), 0)
            if record.sequence <= claimed:
                assert any(
                    head == record or head.dominates(record) for head in heads.get(record.item, [])
                ), f"a frontier claims {record.coordinate}, which is not here"

    def check_equal(self) -> None:
        ledgers = [node.ledger for node in self.nodes]
        for ledger in ledgers:
            assert ledger.frontier == ledgers[0].frontier, "frontiers differ"
            assert ledger.operations == ledgers[0].operations, "rosters differ"
            assert _heads(ledger) == _heads(ledgers[0]), "heads differ"
        for node in self.nodes:
            self.check(node)


def _heads(ledger: Ledger) -> list[Coordinate]:
    return sorted(head.coordinate for heads in ledger.heads.values() for head in heads)
