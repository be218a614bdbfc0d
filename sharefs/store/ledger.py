"""What does this node hold of each space: operations, commits, heads, how far?

All of it on the writing connection, in the loop. Only the rows of the view are elsewhere, in
`shelf`. What is read here was checked before it was kept, so it is not checked again.
"""

import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from blake3 import blake3

from sharefs.errors import DatabaseDamaged
from sharefs.records.commit import COMMIT_RECORDS_MAX, Commit, seal_of, signed_bytes
from sharefs.records.entry import EntryType
from sharefs.records.ids import (
    ROOT,
    Coordinate,
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    OperationHash,
    SpaceId,
)
from sharefs.records.record import ContextEntry, Record
from sharefs.records.shown import Shown
from sharefs.spaces.ticket import ADDRESSES_MAX, Address
from sharefs.store.connection import Insertion, Writer
from sharefs.store.groups import among, in_groups
from sharefs.store.rows import SAVE_ROW, values_of
from sharefs.store.sums import RUN_SEQUENCES, Author

INCARNATION_SIZE_BYTES = 8
_NOWHERE = ItemId(b"")
_SEQUENCE_MAX = 2**62
_DIGEST_SIZE_BYTES = 16
_COUNTED = (
    "FROM record WHERE space = ? AND device = ? AND incarnation = ? AND sequence BETWEEN ? AND ?"
    " AND dead = 0"
)
_Numbered = tuple[int, bytes]
_ADD_HEAD = Insertion("INSERT INTO record (space, item, device, incarnation, sequence, data)", 6)

_decode_record = msgspec.msgpack.Decoder(Record).decode


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space that this device is in."""

    number: int
    id: SpaceId
    name: str
    incarnation: Incarnation
    next_sequence: int
    told: int = 0


class Ledger:
    """The records side of the database. Invariant: used by the loop alone."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._writer.connection

    # --- spaces and rosters ---------------------------------------------------------------------

    def spaces(self) -> list[SpaceRow]:
        """In the order in which they were added."""
        rows = self._connection.execute(
            "SELECT number, id, name, incarnation, next_sequence, told FROM space ORDER BY number"
        )
        return [SpaceRow(*row) for row in rows]

    def add_space(
        self, id: SpaceId, name: str, number: int | None = None, ino: int | None = None
    ) -> int:
        """Its number. The space gets a fresh incarnation, and a row in the view for its top; any
        number and inode, unless they are given."""
        incarnation = secrets.token_bytes(INCARNATION_SIZE_BYTES)
        (number,) = self._connection.execute(
            "INSERT INTO space (number, id, name, incarnation, next_sequence)"
            " VALUES (?, ?, ?, ?, 1) RETURNING number",
            (number, id, name, incarnation),
        ).fetchone()
        top = _top_folder(ino or self._writer.new_ino(), number)
        self._writer.later(SAVE_ROW, (values_of(top),))
        self._writer.touched.add((number, _NOWHERE, top.ino, ""))
        return int(number)

    def set_incarnation(self, number: int, incarnation: Incarnation) -> None:
        """Begin to count anew (I3)."""
        self._connection.execute(
            "UPDATE space SET incarnation = ?, next_sequence = 1, told = 0 WHERE number = ?",
            (incarnation, number),
        )

    def set_told(self, number: int, sequence: int) -> None:
        """Others may be told of our records up to this one, once it is durable."""
        self._connection.execute("UPDATE space SET told = ? WHERE number = ?", (sequence, number))

    def take_sequences(self, number: int, count: int) -> int:
        """The first of `count` sequences that nobody else will get (I2)."""
        (following,) = self._connection.execute(
            "UPDATE space SET next_sequence = next_sequence + ? WHERE number = ?"
            " RETURNING next_sequence",
            (count, number),
        ).fetchone()
        return int(following) - count

    def operations(self, number: int) -> list[bytes]:
        """The roster's operations, as they arrived."""
        return self._column(
            "SELECT data FROM roster_operation WHERE space = ? ORDER BY number", (number,)
        )

    def add_operation(self, number: int, hash: OperationHash, data: bytes) -> bool:
        """Whether it was new."""
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO roster_operation (space, hash, data) VALUES (?, ?, ?)",
            (number, hash, data),
        )
        return cursor.rowcount == 1

    # --- frontier and commits -------------------------------------------------------------------

    def frontier(self, number: int) -> Frontier:
        """What this replica holds (I6)."""
        rows = self._connection.execute(
            "SELECT device, incarnation, sequence FROM frontier WHERE space = ? AND sequence > 0",
            (number,),
        )
        return {(device, incarnation): sequence for device, incarnation, sequence in rows}

    def advance(
        self, number: int, device: DeviceId, incarnation: Incarnation, sequence: int
    ) -> None:
        """Raise one entry of the frontier; it never falls."""
        self.merge_frontier(number, [(device, incarnation, sequence)])

    def merge_frontier(self, number: int, entries: Iterable[ContextEntry]) -> None:
        """Raise the frontier to at least these."""
        self._connection.executemany(
            "INSERT INTO frontier VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET sequence = max(sequence, excluded.sequence)",
            [(number, *entry) for entry in entries],
        )

    def add_commit(self, number: int, commit: Commit, data: bytes, to_end: bool = False) -> None:
        """Keep a commit, unless it is here already; with `to_end`, it gets a new number."""
        digest = _digest_of(commit)
        moved = None
        if to_end:
            moved = self._connection.execute(
                'DELETE FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
                " AND first = ? AND digest = ? RETURNING number",
                (number, commit.device, commit.incarnation, commit.first, digest),
            ).fetchone()
        cursor = self._connection.execute(
            'INSERT OR IGNORE INTO "commit" (space, device, incarnation, first, last, digest, data)'
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, commit.device, commit.incarnation, commit.first, commit.last, digest, data),
        )
        if cursor.rowcount == 1:
            self.merge_frontier(number, [(commit.device, commit.incarnation, 0)])
        if moved is not None:
            # What it replaced, it replaces still.
            self._connection.execute(
                "UPDATE superseded SET number = max(number, ?) WHERE space = ? AND number >= ?",
                (cursor.lastrowid, number, *moved),
            )

    def has_commit(self, number: int, commit: Commit) -> bool:
        """Whether it is here."""
        return bool(
            self._column(
                'SELECT 1 FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
                " AND first = ? AND digest = ?",
                (number, commit.device, commit.incarnation, commit.first, _digest_of(commit)),
            )
        )

    def contradicting(self, number: int, commit: Commit) -> bytes | None:
        """Another commit that has some of its sequences, if one is here (I8)."""
        found = self._column(
            'SELECT data FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
            " AND last BETWEEN ? AND ? AND first <= ? AND digest <> ? ORDER BY number LIMIT 1",
            (
                number,
                commit.device,
                commit.incarnation,
                commit.first,
                commit.last + COMMIT_RECORDS_MAX - 1,
                commit.last,
                _digest_of(commit),
            ),
        )
        return found[0] if found else None

    def last_of(self, number: int, author: Author) -> int:
        """The greatest sequence that a commit of an author has, 0 without any."""
        (last,) = self._column(
            'SELECT max(last) FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?',
            (number, *author),
        )
        return last or 0

    def commits_beyond(
        self, number: int, frontier: Frontier, cursor: int, limit: int
    ) -> list[tuple[int, bytes]]:
        """Commits with a record that `frontier` lacks, and numbers above `cursor`, by number.

        The cost grows with what is beyond, not with what there is.
        """
        authors = self._connection.execute(
            "SELECT device, incarnation FROM frontier WHERE space = ?", (number,)
        ).fetchall()
        found: list[int] = []
        for device, incarnation in authors:
            covered = frontier.get((device, incarnation), 0)
            found += self._numbers_beyond(number, device, incarnation, covered, cursor, limit)
        return [
            (row, self._column('SELECT data FROM "commit" WHERE number = ?', (row,))[0])
            for row in sorted(found)[:limit]
        ]

    def _numbers_beyond(
        self, space: int, device: bytes, incarnation: bytes, covered: int, cursor: int, limit: int
    ) -> list[int]:
        author = (space, device, incarnation)
        of_author = 'FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
        (newest,) = self._column(f"SELECT max(last) {of_author}", author)
        if newest is None or newest <= covered:
            return []
        if cursor == 0:
            # At the start of a pass, step over what a peer that was here before has long had.
            beyond = (
                'SELECT min(number) FROM "commit" INDEXED BY commit_by_last'
                " WHERE space = ? AND device = ? AND incarnation = ? AND last > ?"
            )
            (first,) = self._column(beyond, (*author, covered))
            cursor = first - 1
        return self._column(
            f"SELECT number {of_author} AND number > ? AND last > ? ORDER BY number LIMIT ?",
            (*author, cursor, covered, limit),
        )

    # --- what others have -----------------------------------------------------------------------

    def set_passed(self, number: int, device: DeviceId, frontier: Frontier) -> None:
        """How far another device is, as it says: instead of what it said before."""
        self._connection.execute(
            "DELETE FROM passed WHERE space = ? AND device = ?", (number, device)
        )
        self._connection.executemany(
            "INSERT INTO passed VALUES (?, ?, ?, ?, ?)",
            [
                (number, device, *author, sequence)
                for author, sequence in frontier.items()
                if sequence
            ],
        )

    def passed(self, number: int) -> dict[DeviceId, Frontier]:
        """How far other devices were, as they said last."""
        told: dict[DeviceId, Frontier] = {}
        rows = self._connection.execute(
            "SELECT device, author, incarnation, sequence FROM passed WHERE space = ?", (number,)
        )
        for device, author, incarnation, sequence in rows:
            told.setdefault(device, {})[author, incarnation] = sequence
        return told

    def drop_commits(self, number: int, author: Author, after: int, upto: int, limit: int) -> int:
        """Drop those of an author's commits without heads that end above `after` and not above
        `upto`, but for the author's last; look at `limit` commits at most. Where to go on, 0 at
        the end."""
        rows = self._connection.execute(
            "SELECT number, last, NOT EXISTS (SELECT 1 FROM record WHERE space = ?1 AND device = ?2"
            " AND incarnation = ?3 AND sequence BETWEEN first AND last)"
            ' FROM "commit" WHERE space = ?1 AND device = ?2 AND incarnation = ?3'
            ' AND last > ?4 AND last <= ?5 AND last < (SELECT max(last) FROM "commit"'
            " WHERE space = ?1 AND device = ?2 AND incarnation = ?3) ORDER BY last LIMIT ?6",
            (number, *author, after, upto, limit),
        ).fetchall()
        self._connection.executemany(
            'DELETE FROM "commit" WHERE number = ?', [(row,) for row, _, dead in rows if dead]
        )
        return rows[-1][1] if len(rows) == limit else 0

    # --- heads ----------------------------------------------------------------------------------

    def records_in(
        self, number: int, device: DeviceId, incarnation: Incarnation, first: int, last: int
    ) -> list[tuple[int, bytes]]:
        """Those of an author's records from `first` to `last` that are heads, dead ones too, with
        sequences."""
        return self._connection.execute(
            "SELECT sequence, data FROM record WHERE space = ? AND device = ? AND incarnation = ?"
            " AND sequence BETWEEN ? AND ? ORDER BY sequence",
            (number, device, incarnation, first, min(last, _SEQUENCE_MAX)),
        ).fetchall()

    def counted_in(self, number: int, author: Author, first: int, last: int) -> list[_Numbered]:
        """As `records_in`, without dead ones: those that are in sums."""
        return self._connection.execute(
            f"SELECT sequence, data {_COUNTED} ORDER BY sequence",
            (number, *author, first, min(last, _SEQUENCE_MAX)),
        ).fetchall()

    def sums(self, number: int) -> dict[Author, int]:
        """The sum of the hashes of each author's heads that are not dead, as `store.sums` says."""
        return self._writer.sums.authors(number)

    def runs(
        self, number: int, author: Author, first: int, last: int
    ) -> list[tuple[int, int, int]]:
        """The first sequence, count and sum of each run with counted heads of an author, from one
        sequence to another, which are the ends of runs. Between transactions."""
        runs = self._writer.sums.runs(number, author, first // RUN_SEQUENCES, last // RUN_SEQUENCES)
        return [(run * RUN_SEQUENCES, count, value) for run, count, value in runs]

    def extent(self, number: int, author: Author, first: int, last: int) -> tuple[int, int] | None:
        """The lowest and the highest sequence of an author's counted heads, from one to another,
        which are the ends of runs, or within one run. Between transactions."""
        last = min(last, _SEQUENCE_MAX)
        if last - first >= RUN_SEQUENCES:
            # Only the first and the last run are looked through: there may be a million dead ones.
            runs = self._writer.sums.ends(
                number, author, first // RUN_SEQUENCES, last // RUN_SEQUENCES
            )
            if runs is None:
                return None
            first, last = runs[0] * RUN_SEQUENCES, (runs[1] + 1) * RUN_SEQUENCES - 1
            ends = [(first, first + RUN_SEQUENCES - 1), (last - RUN_SEQUENCES + 1, last)]
        else:
            ends = [(first, last), (first, last)]
        lowest, highest = (
            self._column(f"SELECT {which}(sequence) {_COUNTED}", (number, *author, *end))[0]
            for which, end in zip(("min", "max"), ends, strict=True)
        )
        return None if lowest is None else (lowest, highest)

    def commits_at(self, number: int, author: Author, sequence: int) -> list[bytes]:
        """The commits that have an author's sequence: one, or more if the author went astray."""
        return self._column(
            'SELECT data FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
            " AND last BETWEEN ? AND ? AND first <= ? ORDER BY number",
            (number, *author, sequence, sequence + COMMIT_RECORDS_MAX - 1, sequence),
        )

    def heads_of(self, number: int, items: Iterable[ItemId]) -> dict[ItemId, list[Record]]:
        """The undominated records (I4) of those items that have any."""
        heads: dict[ItemId, list[Record]] = {}
        for group in in_groups(items):
            query = f"SELECT data FROM record WHERE space = ? AND item {among(group)}"
            for data in self._column(f"{query} ORDER BY number", (number, *group)):
                record = record_of(data)
                heads.setdefault(record.item, []).append(record)
        return heads

    def add_head(self, number: int, record: Record, data: bytes) -> None:
        """Keep a head, which is not kept yet."""
        self._writer.sums.add(number, record.coordinate, data)
        self._writer.later(_ADD_HEAD, ((number, record.item, *record.coordinate, data),))

    def drop_head(self, number: int, record: Record) -> None:
        """Forget a head that is dominated."""
        dropped = self._column(
            "DELETE FROM record WHERE space = ? AND device = ? AND incarnation = ?"
            " AND sequence = ? AND item = ? RETURNING CASE WHEN dead = 0 THEN data END",
            (number, *record.coordinate, record.item),
        )
        for data in dropped:
            if data is not None:
                self._writer.sums.remove(number, record.coordinate, data)

    # --- addresses and settings -----------------------------------------------------------------

    def addresses(self, device: DeviceId) -> list[tuple[Address, float]]:
        """Where a device may be reached, the most recently seen first, in seconds since 1970."""
        rows = self._connection.execute(
            "SELECT host, port, bulk_port, last_seen FROM device_address WHERE device = ?"
            " ORDER BY last_seen DESC, host, port, bulk_port",
            (device,),
        )
        return [(Address(*address), last_seen) for *address, last_seen in rows]

    def save_address(self, device: DeviceId, address: Address, last_seen: float) -> None:
        """Remember where a device was seen, or, with 0.0, is said to be; the oldest go."""
        self._connection.execute(
            "INSERT INTO device_address VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET last_seen = max(last_seen, excluded.last_seen)",
            (device, address.host, address.port, address.bulk_port, last_seen),
        )
        for old, _ in self.addresses(device)[ADDRESSES_MAX:]:
            self._connection.execute(
                "DELETE FROM device_address WHERE device = ? AND host = ? AND port = ?"
                " AND bulk_port = ?",
                (device, old.host, old.port, old.bulk_port),
            )

    def last_seen(self, device: DeviceId) -> float | None:
        """Seconds since 1970, None for never."""
        (last_seen,) = self._column(
            "SELECT max(last_seen) FROM device_address WHERE device = ?", (device,)
        )
        return last_seen or None

    def setting(self, name: str) -> str | None:
        """A small fact under the node's own name for it."""
        rows = self._column("SELECT value FROM setting WHERE name = ?", (name,))
        return bytes(rows[0]).decode() if rows else None

    def set_setting(self, name: str, value: str) -> None:
        """See the schema for the names that are taken."""
        self._connection.execute(
            "INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value.encode())
        )

    def settings(self, prefix: str) -> dict[str, str]:
        """All facts whose names begin so."""
        rows = self._connection.execute(
            "SELECT name, value FROM setting WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
        )
        return {name: bytes(value).decode() for name, value in rows}

    def drop_setting(self, name: str) -> None:
        """Forget a fact."""
        self._connection.execute("DELETE FROM setting WHERE name = ?", (name,))

    def _column(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        return [value for (value,) in self._connection.execute(query, values)]


def _digest_of(commit: Commit) -> bytes:
    return blake3(signed_bytes(seal_of(commit))).digest(_DIGEST_SIZE_BYTES)


def heads_at(connection: sqlite3.Connection, space: int, item: ItemId) -> list[Record]:
    """The undominated records of an item, on any connection that sees what is committed."""
    rows = connection.execute("SELECT data FROM record WHERE space = ? AND item = ?", (space, item))
    return [record_of(data) for (data,) in rows]


def record_of(data: bytes) -> Record:
    """Decode what was checked before it was kept. Raises DatabaseDamaged."""
    try:
        return _decode_record(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DatabaseDamaged(f"A record in the database can not be read: {error}.") from error


def _top_folder(ino: int, space: int) -> Shown:
    return Shown(
        ino=ino,
        space=space,
        item=ROOT,
        version=Coordinate(DeviceId(bytes(16)), Incarnation(bytes(8)), 0),
        loser=False,
        type=EntryType.FOLDER,
        deleted=False,
        live=True,
        parent=_NOWHERE,
        anchor=_NOWHERE,
        place=_NOWHERE,
        merged=None,
        name="",
        shown="",
        created=0,
        stamp=0,
        mtime_ns=0,
        executable=False,
        size=0,
        content=None,
        target="",
        local=0,
    )
