"""A disk in memory, with what a node keeps of one space on it: for histories by the ten thousand.

It answers for `store`'s Store, Ledger, Shelf and ReadView, as far as `Replica`, `Exchange` and
`Desk` ask. A transaction is all or nothing; what is committed survives a kill, and what is synced
a power cut. `Disk.before_write` and `Disk.before_sync` are where faults come in.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sharefs.records.commit import Commit
from sharefs.records.entry import EntryType
from sharefs.records.ids import (
    ROOT,
    ContentId,
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    OperationHash,
    Signature,
    SpaceId,
)
from sharefs.records.record import Record, encode_record, hash_record
from sharefs.records.shown import Shown
from sharefs.store.connection import explained, translated
from sharefs.store.ledger import SpaceRow
from sharefs.store.sums import RUN_SEQUENCES, Author
from tests.tree.memory_shelf import MemoryShelf

SPACE_NUMBER = 1
FINGERPRINT_MODULUS = 1 << 256
PATH = Path("/simulated/disk")
_UNSIGNED = Signature(bytes(64))


@dataclass
class Tables:
    """What is on the disk."""

    incarnation: Incarnation
    next_sequence: int = 1
    told: int = 0
    operations: dict[OperationHash, bytes] = field(default_factory=dict)
    frontier: Frontier = field(default_factory=dict)
    commits: dict[Commit, tuple[int, Commit, bytes]] = field(default_factory=dict)
    """By what was signed."""
    commit_count: int = 0
    shelf: MemoryShelf = field(default_factory=MemoryShelf)
    records: dict[bytes, Record] = field(default_factory=dict)
    """The heads."""
    dead: dict[bytes, float] = field(default_factory=dict)
    """Those of dead items, and since when."""
    sums: dict[tuple[DeviceId, Incarnation], int] = field(default_factory=dict)
    """Of the hashes of each author's heads."""
    next_ino: int = 100
    passed: dict[DeviceId, Frontier] = field(default_factory=dict)

    def copy(self) -> "Tables":
        return Tables(
            self.incarnation,
            self.next_sequence,
            self.told,
            dict(self.operations),
            dict(self.frontier),
            dict(self.commits),
            self.commit_count,
            self.shelf.copy(),
            dict(self.records),
            dict(self.dead),
            dict(self.sums),
            self.next_ino,
            dict(self.passed),
        )

    def keep(self, record: Record, data: bytes) -> None:
        """A head came."""
        self.shelf.add_head(record, data)
        self.records[data] = record
        self._count(record, data, 1)

    def drop(self, record: Record) -> None:
        """A head is dominated."""
        self.shelf.drop_head(record)
        data = encode_record(record)
        del self.records[data]
        if self.dead.pop(data, None) is None:
            self._count(record, data, -1)

    def set_dead(self, item: ItemId, dead: bool) -> None:
        """Whether an item is, with all its heads."""
        for record in self.shelf.heads(item):
            data = encode_record(record)
            if dead and data not in self.dead:
                self.dead[data] = 0.0
                self._count(record, data, -1)
            elif not dead and data in self.dead:
                del self.dead[data]
                self._count(record, data, 1)

    def forget_dead(self, item: ItemId) -> None:
        """Its heads and rows go."""
        for record in self.shelf.heads(item):
            self.drop(record)
        rows = self.shelf.rows
        for ino in [ino for ino, row in rows.items() if row.item == item]:
            self.shelf.erase(ino)

    def _count(self, record: Record, data: bytes, sign: int) -> None:
        author = record.coordinate[:2]
        value = self.sums.get(author, 0) + sign * int.from_bytes(hash_record(data))
        self.sums[author] = value % FINGERPRINT_MODULUS


class Disk:
    """What stays of a device when its process is gone."""

    def __init__(self, chance: random.Random, operations: dict[OperationHash, bytes]) -> None:
        self._chance = chance
        self.committed = Tables(self._draw_incarnation(), operations=operations)
        self.durable = self.committed.copy()
        self.backup = self.committed.copy()
        self.absent: tuple[DeviceId, ...] = ()
        """Members who have no device here."""
        self.changes = 0
        """So often `committed` was another."""
        self.before_write: Callable[[], None] = lambda: None
        self.before_sync: Callable[[], None] = lambda: None

    def _draw_incarnation(self) -> Incarnation:
        return Incarnation(self._chance.randbytes(8))

    def lose_unsynced(self) -> None:
        """The power was cut."""
        self.changes += 1
        self.committed = self.durable.copy()

    def back_up(self) -> None:
        """Keep a copy of what is safely there."""
        self.backup = self.durable.copy()

    def restore(self, with_token: bool) -> None:
        """The backup is put in its place, while no process runs. The token beside the database
        tells, unless it goes back as well (I3)."""
        self.changes += 1
        self.committed = self.backup.copy()
        if not with_token:
            self.committed.incarnation = self._draw_incarnation()
            self.committed.next_sequence = 1
            self.committed.told = 0
        self.durable = self.committed.copy()


class NothingSuperseded:
    """The bytes of files are not simulated."""

    def due(self, *_: object) -> list[ContentId]:
        """None."""
        return []


class MemoryStore:
    """The open disk, of one process."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.tables = disk.committed
        self._before: Tables | None = None
        """How it was when this transaction wrote first."""
        self._after_durable: list[Callable[[], None]] = []
        self._after_commit: list[Callable[[], None]] = []
        self.unclean = self.restored = False
        self.superseded = NothingSuperseded()
        self.absent = disk.absent

    # --- Store ----------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._before, self._after_commit = None, []
        try:
            yield
        except OSError as error:
            self._roll_back()
            raise explained(error, PATH) from error
        except BaseException:
            self._roll_back()
            raise
        self._before = None
        self._after_durable += self._after_commit

    def _roll_back(self) -> None:
        if self._before is not None:
            self.tables = self._disk.committed = self._before
            self._disk.changes += 1

    def writing(self) -> Tables:
        """The tables, to be changed."""
        if self._before is None:
            self._disk.before_write()
            self._before = self.tables.copy()
            self._disk.changes += 1
        return self.tables

    def after_durable(self, call: Callable[[], None]) -> None:
        self._after_commit.append(call)

    def make_durable(self) -> None:
        with translated(PATH):
            self._disk.before_sync()
        self._disk.durable = self.tables.copy()
        waiting, self._after_durable = self._after_durable, []
        for call in waiting:
            call()

    def take_touched(self) -> set[tuple[int, ItemId]]:
        return set()

    def new_ino(self) -> int:
        self.tables.next_ino += 1
        return self.tables.next_ino


class MemoryLedger:
    """Stands in for `Ledger`."""

    def __init__(self, store: MemoryStore, space: SpaceId) -> None:
        self._store = store
        self._space = space

    def spaces(self) -> list[SpaceRow]:
        tables = self._store.tables
        return [
            SpaceRow(
                SPACE_NUMBER,
                self._space,
                "Family",
                tables.incarnation,
                tables.next_sequence,
                tables.told,
            )
        ]

    def set_incarnation(self, number: int, incarnation: Incarnation) -> None:
        tables = self._store.writing()
        tables.incarnation, tables.next_sequence, tables.told = incarnation, 1, 0

    def set_told(self, number: int, sequence: int) -> None:
        self._store.writing().told = sequence

    def take_sequences(self, number: int, count: int) -> int:
        tables = self._store.writing()
        tables.next_sequence += count
        return tables.next_sequence - count

    def operations(self, number: int) -> list[bytes]:
        return list(self._store.tables.operations.values())

    def add_operation(self, number: int, hash: OperationHash, data: bytes) -> bool:
        tables = self._store.writing()
        is_new = hash not in tables.operations
        tables.operations[hash] = data
        return is_new

    def frontier(self, number: int) -> Frontier:
        return dict(self._store.tables.frontier)

    def advance(
        self, number: int, device: DeviceId, incarnation: Incarnation, sequence: int
    ) -> None:
        frontier = self._store.writing().frontier
        frontier[device, incarnation] = max(frontier.get((device, incarnation), 0), sequence)

    def add_commit(self, number: int, commit: Commit, data: bytes, to_end: bool = False) -> None:
        tables = self._store.writing()
        key = _unsigned(commit)
        if to_end or key not in tables.commits:
            tables.commit_count += 1
            tables.commits[key] = (tables.commit_count, commit, data)

    def has_commit(self, number: int, commit: Commit) -> bool:
        return _unsigned(commit) in self._store.tables.commits

    def contradicting(self, number: int, commit: Commit) -> bytes | None:
        found = [
            (row, data)
            for row, other, data in self._store.tables.commits.values()
            if other.first <= commit.last
            and commit.first <= other.last
            and (other.device, other.incarnation) == (commit.device, commit.incarnation)
            and _unsigned(other) != _unsigned(commit)
        ]
        return min(found)[1] if found else None

    def last_of(self, number: int, author: Author) -> int:
        commits = [commit for _, commit, _ in self._store.tables.commits.values()]
        lasts = [c.last for c in commits if (c.device, c.incarnation) == author]
        return max(lasts, default=0)

    def set_passed(self, number: int, device: DeviceId, frontier: Frontier) -> None:
        if self._store.tables.passed.get(device) != frontier:
            self._store.writing().passed[device] = dict(frontier)

    def passed(self, number: int) -> dict[DeviceId, Frontier]:
        """Members who are not in this history hold nothing up."""
        tables = self._store.tables
        return {**dict.fromkeys(self._store.absent, tables.frontier), **tables.passed}

    def drop_commits(self, number: int, author: Author, after: int, upto: int, limit: int) -> int:
        newest = self.last_of(number, author)
        dead = [
            key
            for key, (_, commit, _) in self._store.tables.commits.items()
            if (commit.device, commit.incarnation) == author
            and commit.last <= upto
            and commit.last < newest
            and not self.records_in(number, *author, commit.first, commit.last)
        ]
        for key in dead:
            del self._store.writing().commits[key]
        return 0

    def heads_of(self, number: int, items: Iterable[ItemId]) -> dict[ItemId, list[Record]]:
        return self._store.tables.shelf.heads_of(items)

    def commits_beyond(
        self, number: int, frontier: Frontier, cursor: int, limit: int
    ) -> list[tuple[int, bytes]]:
        found = [
            (row, data)
            for row, commit, data in self._store.tables.commits.values()
            if row > cursor and commit.last > frontier.get((commit.device, commit.incarnation), 0)
        ]
        return sorted(found)[:limit]

    def records_in(
        self, number: int, device: DeviceId, incarnation: Incarnation, first: int, last: int
    ) -> list[tuple[int, bytes]]:
        return sorted(
            (record.sequence, data)
            for data, record in self._store.tables.records.items()
            if (record.device, record.incarnation) == (device, incarnation)
            and first <= record.sequence <= last
        )

    def counted_in(
        self, number: int, author: Author, first: int, last: int
    ) -> list[tuple[int, bytes]]:
        records = self.records_in(number, *author, first, last)
        return [(at, data) for at, data in records if data not in self._store.tables.dead]

    def sums(self, number: int) -> dict[tuple[DeviceId, Incarnation], int]:
        return self._store.tables.sums

    def runs(
        self, number: int, author: Author, first: int, last: int
    ) -> list[tuple[int, int, int]]:
        found: dict[int, list[int]] = {}
        for data, record in self._store.tables.records.items():
            at = record.coordinate
            counts = data not in self._store.tables.dead
            if counts and at[:2] == author and first <= at.sequence <= last:
                run = found.setdefault(at.sequence // RUN_SEQUENCES, [0, 0])
                run[0] += 1
                run[1] += int.from_bytes(hash_record(data))
        return [
            (run * RUN_SEQUENCES, count, value % FINGERPRINT_MODULUS)
            for run, (count, value) in sorted(found.items())
        ]

    def extent(self, number: int, author: Author, first: int, last: int) -> tuple[int, int] | None:
        found = [at for at, _ in self.counted_in(number, author, first, last)]
        return (min(found), max(found)) if found else None

    def commits_at(self, number: int, author: Author, sequence: int) -> list[bytes]:
        return [
            data
            for _, commit, data in sorted(self._store.tables.commits.values(), key=_by_number)
            if (commit.device, commit.incarnation) == author
            and commit.first <= sequence <= commit.last
        ]


def _unsigned(commit: Commit) -> Commit:
    return replace(commit, signature=_UNSIGNED)


def _by_number(kept: tuple[int, Commit, bytes]) -> int:
    return kept[0]


class MemoryDead:
    """Stands in for `Dead`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def since(
        self, after: tuple[float, int], before: float, now: float, limit: int
    ) -> list[tuple[float, int, ItemId]]:
        tables = self._store.tables
        if not all(tables.dead.values()):
            tables = self._store.writing()
            tables.dead = {data: since or now for data, since in tables.dead.items()}
        return [
            (since, 0, tables.records[data].item)
            for data, since in sorted(tables.dead.items())
            if since <= before
        ]


WRITES = frozenset({"save", "erase"})


class OpenShelf:
    """Stands in for `Shelf`: that of the tables as they are now."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def add_head(self, record: Record, data: bytes) -> None:
        self._store.writing().keep(record, data)

    def drop_head(self, record: Record) -> None:
        self._store.writing().drop(record)

    def set_dead(self, item: ItemId, dead: bool) -> None:
        self._store.writing().set_dead(item, dead)

    @property
    def dead(self) -> MemoryDead:
        return MemoryDead(self._store)

    def forget_dead(self, item: ItemId) -> None:
        self._store.writing().forget_dead(item)

    def __getattr__(self, name: str) -> Any:
        tables = self._store.writing() if name in WRITES else self._store.tables
        return getattr(tables.shelf, name)


class MemoryView:
    """Stands in for `ReadView`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def entry(self, ino: int) -> Shown | None:
        return self._store.tables.shelf.rows.get(ino)

    def children(self, folder: int) -> list[Shown]:
        at = self.entry(folder)
        if at is None or at.type is not EntryType.FOLDER:
            return []
        rows = self._store.tables.shelf.listed(at.item)
        return [row for row in rows if row.merged is None and row.shown and row.item != ROOT]

    def lookup(self, folder: int, name: str) -> Shown | None:
        return next((row for row in self.children(folder) if row.shown == name), None)

    def heads_of(self, entry: Shown) -> list[Record]:
        return self._store.tables.shelf.heads(entry.item)

    def forget(self, touched: object) -> None:
        """Nothing is cached."""
