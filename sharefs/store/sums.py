"""What is the fingerprint of the heads that are here, whole or in part?

The fingerprint of a set of records is the sum, modulo 2**256, of their hashes: a record's bytes
tell its coordinate too, so that its hash stands for both. Sums are kept for every run of
RUN_SEQUENCES of an author, so that a part of a million records is summed up from a few thousand
rows. The tombstones of items that are nothing but deleted are in no sum, so that nobody misses one
that another has collected. What a transaction changes is gathered, and written once for a run,
before it commits.
"""

import sqlite3
from collections import defaultdict

from blake3 import blake3

from sharefs.records.ids import Coordinate, DeviceId, Incarnation

RUN_SEQUENCES = 256
_MODULUS = 1 << 256
_THE_RUN = "space = ? AND device = ? AND incarnation = ? AND number = ?"

Author = tuple[DeviceId, Incarnation]
_Run = tuple[int, DeviceId, Incarnation, int]


class Sums:
    """The sums of all spaces. On the writing connection, in the loop.

    Invariant: between transactions, the rows say what the heads' rows add up to, but for dead ones.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changes: defaultdict[_Run, list[int]] = defaultdict(lambda: [0, 0])
        """Count and sum that this transaction adds."""
        self._authors: dict[int, dict[Author, int]] = {}
        """By space, what `authors` answers, once it was asked for."""

    def add(self, space: int, at: Coordinate, data: bytes) -> None:
        """A head was kept, or is dead no more."""
        self._change(space, at, 1, int.from_bytes(blake3(data).digest()))

    def remove(self, space: int, at: Coordinate, data: bytes) -> None:
        """A head was dropped, or is dead."""
        self._change(space, at, -1, -int.from_bytes(blake3(data).digest()))

    def _change(self, space: int, at: Coordinate, count: int, value: int) -> None:
        change = self._changes[space, at.device, at.incarnation, at.sequence // RUN_SEQUENCES]
        change[0] += count
        change[1] += value
        authors = self._authors.get(space)
        if authors is not None:
            author = (at.device, at.incarnation)
            authors[author] = (authors.get(author, 0) + value) % _MODULUS

    def authors(self, space: int) -> dict[Author, int]:
        """The sum of each author's heads, those of the open transaction included. Not to be
        changed."""
        if space not in self._authors:
            self.flush()
            sums: dict[Author, int] = {}
            rows = self._connection.execute(
                "SELECT device, incarnation, sum FROM run WHERE space = ?", (space,)
            )
            for device, incarnation, value in rows:
                author = (device, incarnation)
                sums[author] = (sums.get(author, 0) + int.from_bytes(value)) % _MODULUS
            self._authors[space] = sums
        return self._authors[space]

    def runs(self, space: int, author: Author, first: int, last: int) -> list[tuple[int, int, int]]:
        """Number, count and sum of an author's runs from number `first` to `last`, but for empty
        ones."""
        assert not self._changes, "what is asked for is committed"
        rows = self._connection.execute(
            "SELECT number, count, sum FROM run WHERE space = ? AND device = ?"
            " AND incarnation = ? AND number BETWEEN ? AND ? ORDER BY number",
            (space, *author, first, last),
        )
        return [(number, count, int.from_bytes(value)) for number, count, value in rows]

    def ends(self, space: int, author: Author, first: int, last: int) -> tuple[int, int] | None:
        """The first and the last of an author's runs from number `first` to `last`."""
        assert not self._changes, "what is asked for is committed"
        # One at a time, as SQLite uses an index for a minimum or a maximum that stands alone.
        lowest, highest = (
            self._connection.execute(
                f"SELECT {which}(number) FROM run WHERE space = ? AND device = ?"
                " AND incarnation = ? AND number BETWEEN ? AND ?",
                (space, *author, first, last),
            ).fetchone()[0]
            for which in ("min", "max")
        )
        return None if lowest is None else (lowest, highest)

    def flush(self) -> None:
        """Write what was gathered: before COMMIT."""
        changes, self._changes = self._changes, defaultdict(lambda: [0, 0])
        kept, emptied = [], []
        for run, (count, value) in changes.items():
            stood = self._connection.execute(
                f"SELECT count, sum FROM run WHERE {_THE_RUN}", run
            ).fetchone()
            if stood is not None:
                count, value = count + stood[0], value + int.from_bytes(stood[1])
            if count:
                kept.append((*run, count, (value % _MODULUS).to_bytes(32)))
            elif stood is not None:
                emptied.append(run)
        if kept:
            self._connection.executemany(
                "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?)", kept
            )
        if emptied:
            self._connection.executemany(f"DELETE FROM run WHERE {_THE_RUN}", emptied)

    def forget(self) -> None:
        """After a rollback: begin again from what is."""
        self._changes.clear()
        self._authors.clear()
