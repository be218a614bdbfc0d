"""Which devices hold the content of a version, as far as is known?

Each device has two accounts for each author of versions: intervals of the author's sequences, as
the schema says, whose contents it holds whole, and those that it holds in part. Those of other
devices are what they said last, also while they are offline.
"""

import sqlite3
from dataclasses import dataclass

from blake3 import blake3

from sharefs.records.ids import Coordinate, DeviceId, Incarnation
from sharefs.records.intervals import Interval, Intervals, clipped, spliced, union
from sharefs.store.sums import Author

OURS = DeviceId(b"")
"""Stands for this device."""
SEQUENCE_MAX = 2**62
ROWS_AT_ONCE = 4096
ACCOUNTS_MAX = 8192
INTERVALS_MAX = 1_000_000
"""Of one other device in a space: with so many, what it says is not kept, as if it held less."""
DIGEST_SIZE_BYTES = 16
_MODULUS = 1 << 128


class Holders:
    """All accounts. On the writing connection, in the loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- what is known --------------------------------------------------------------------------

    def digest(self, space: int, device: DeviceId) -> bytes:
        """What all that a device holds in a space adds up to: equal for equal holdings."""
        rows = self._connection.execute(
            "SELECT author, incarnation, partial, sum FROM holder WHERE space = ? AND device = ?"
            " AND count > 0 ORDER BY author, incarnation, partial",
            (space, device),
        )
        whole = blake3()
        for author, incarnation, partial, total in rows:
            whole.update(author + incarnation + bytes((partial,)) + total)
        return whole.digest(DIGEST_SIZE_BYTES)

    def authors(self, space: int, device: DeviceId) -> list[Author]:
        """Those of whose versions a device holds some, in order."""
        return self._connection.execute(
            "SELECT DISTINCT author, incarnation FROM holder WHERE space = ? AND device = ?"
            " AND count > 0 ORDER BY author, incarnation",
            (space, device),
        ).fetchall()

    def size(self, space: int, device: DeviceId) -> tuple[int, int]:
        """How many accounts and intervals a device has in a space."""
        accounts, intervals = self._connection.execute(
            "SELECT count(*), coalesce(sum(count), 0) FROM holder WHERE space = ? AND device = ?",
            (space, device),
        ).fetchone()
        return accounts, intervals

    def has_room(self, space: int, device: DeviceId) -> bool:
        """Whether more of what a device says is kept."""
        accounts, intervals = self.size(space, device)
        return accounts < ACCOUNTS_MAX and intervals < INTERVALS_MAX

    def intervals(
        self,
        space: int,
        device: DeviceId,
        author: Author,
        first: int,
        last: int,
        limit: int,
        *,
        partial: bool = False,
    ) -> Intervals:
        """What a device holds from one sequence to another: the first so many intervals of it."""
        held = self.around(space, device, author, first, last, limit + 1, partial=partial)
        return clipped(held, first, last)[:limit]

    def around(
        self,
        space: int,
        device: DeviceId,
        author: Author,
        first: int,
        last: int,
        limit: int,
        *,
        partial: bool = False,
    ) -> Intervals:
        """As `intervals`, but uncut, with the nearest one on either side."""
        number = self._number(space, device, author, partial)
        return () if number is None else self._around(number, first, last, limit)

    def _around(self, number: int, first: int, last: int, limit: int) -> Intervals:
        rows = self._connection.execute(
            "SELECT first, last FROM held WHERE holder = ?1 AND first BETWEEN coalesce((SELECT"
            " max(first) FROM held WHERE holder = ?1 AND first < ?2), ?2) AND coalesce((SELECT"
            " min(first) FROM held WHERE holder = ?1 AND first > ?3), ?3) ORDER BY first LIMIT ?4",
            (number, first, last, limit),
        )
        return tuple(rows.fetchall())

    # --- changes, in a transaction --------------------------------------------------------------

    def splice(
        self,
        space: int,
        device: DeviceId,
        author: Author,
        first: int,
        last: int,
        stated: Intervals,
        *,
        partial: bool = False,
    ) -> None:
        """From one sequence to another, a device holds what is stated, and nothing else."""
        number = self._number(space, device, author, partial)
        if number is None and stated:
            number = self._open(space, device, author, partial)
        while number is not None and first <= last:
            rows = self._around(number, first, last, ROWS_AT_ONCE)
            end = last if len(rows) < ROWS_AT_ONCE else min(last, rows[-1][1])
            self._replace(number, rows, spliced(rows, first, end, stated))
            first = end + 1

    def set_spoken(self, space: int, device: DeviceId, incarnation: Incarnation, upto: int) -> None:
        """A device has said which of its own versions it holds, up to this one."""
        author = (device, incarnation)
        number = self._number(space, device, author, False)
        if number is None:
            number = self._open(space, device, author, False)
        self._connection.execute(
            "UPDATE holder SET spoken = max(spoken, ?) WHERE number = ?", (upto, number)
        )

    def add_up(self, number: int) -> None:
        """Make the intervals of an account, and what they add up to, what they are to be."""
        rows = self._connection.execute("SELECT first, last FROM held WHERE holder = ?", (number,))
        intervals = union(rows.fetchall())
        self._connection.execute("DELETE FROM held WHERE holder = ?", (number,))
        self._connection.execute(
            "UPDATE holder SET count = 0, sum = ? WHERE number = ?", (bytes(16), number)
        )
        self._replace(number, (), intervals)

    def _number(self, space: int, device: DeviceId, author: Author, partial: bool) -> int | None:
        row = self._connection.execute(
            "SELECT number FROM holder WHERE space = ? AND device = ? AND author = ?"
            " AND incarnation = ? AND partial = ?",
            (space, device, *author, partial),
        ).fetchone()
        return row[0] if row else None

    def _open(self, space: int, device: DeviceId, author: Author, partial: bool) -> int:
        (number,) = self._connection.execute(
            "INSERT INTO holder (space, device, author, incarnation, partial, count, sum, spoken)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, 0) RETURNING number",
            (space, device, *author, partial, bytes(16)),
        ).fetchone()
        return int(number)

    def _replace(self, number: int, before: Intervals, after: Intervals) -> None:
        gone, new = set(before) - set(after), set(after) - set(before)
        if not gone and not new:
            return
        self._connection.executemany(
            "DELETE FROM held WHERE holder = ? AND first = ?",
            [(number, first) for first, _ in sorted(gone)],
        )
        self._connection.executemany(
            "INSERT INTO held VALUES (?, ?, ?)", [(number, *interval) for interval in sorted(new)]
        )
        value = sum(map(_hash, new)) - sum(map(_hash, gone))
        (stood,) = self._connection.execute(
            "SELECT sum FROM holder WHERE number = ?", (number,)
        ).fetchone()
        self._connection.execute(
            "UPDATE holder SET count = count + ?, sum = ? WHERE number = ?",
            (len(new) - len(gone), _sum(int.from_bytes(stood) + value), number),
        )


@dataclass(slots=True)
class Summing:
    """What the intervals of an account add up to, one after another."""

    count: int = 0
    _value: int = 0

    def add(self, interval: Interval) -> None:
        """And this one."""
        self.count += 1
        self._value += _hash(interval)

    @property
    def total(self) -> bytes:
        """As the schema says of `sum`."""
        return _sum(self._value)


def holders_at(connection: sqlite3.Connection, space: int, version: Coordinate) -> list[DeviceId]:
    """Which devices hold all of the content of a version, this one as OURS; on any connection that
    sees what is committed.

    Its writer does, too, as long as it has not spoken of it.
    """
    rows = _accounts_at(connection, space, version, partial=False)
    found = [holder for holder, _, holds in rows if holds]
    writer = version.device
    spoken = max((upto for holder, upto, _ in rows if holder == writer), default=0)
    if spoken < version.sequence and writer not in found:
        found.append(writer)
    return found


def partial_holders_at(
    connection: sqlite3.Connection, space: int, version: Coordinate
) -> list[DeviceId]:
    """As `holders_at`, those that hold some of it and not all."""
    rows = _accounts_at(connection, space, version, partial=True)
    return [holder for holder, _, holds in rows if holds]


def _accounts_at(
    connection: sqlite3.Connection, space: int, version: Coordinate, *, partial: bool
) -> list[tuple[DeviceId, int, int]]:
    """Of each device: up to where it has spoken of its own, and whether the version is held."""
    return connection.execute(
        "SELECT device, spoken, coalesce((SELECT last FROM held WHERE holder = number"
        " AND first <= ?4 ORDER BY first DESC LIMIT 1), -1) >= ?4"
        " FROM holder WHERE space = ?1 AND author = ?2 AND incarnation = ?3 AND partial = ?5",
        (space, *version, partial),
    ).fetchall()


def _sum(value: int) -> bytes:
    return (value % _MODULUS).to_bytes(16)


def _hash(interval: Interval) -> int:
    first, last = interval
    return int.from_bytes(blake3(first.to_bytes(8) + last.to_bytes(8)).digest(16))
