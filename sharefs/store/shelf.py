"""Where are the heads and rows of one space?"""

import sqlite3
from collections.abc import Iterable
from typing import Any

from sharefs.records.ids import ContentId, DeviceId, ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.store.connection import ROW_COLUMNS, Touched, Writer
from sharefs.store.dead import Dead
from sharefs.store.groups import among, in_groups
from sharefs.store.ledger import Ledger
from sharefs.store.rows import SAVE_ROW, SELECT_ROWS, shown_of, values_of

_LIVE_IN = "space = ? AND place = ? AND live = 1"
_ODD = "(shown <> name OR merged IS NOT NULL OR loser = 1)"
"""As the schema's index has it."""


class Shelf:
    """`tree`'s port on the database, for one space. In the loop.

    Invariant: a changed row, as it was and as it is now, is in the writer's `touched`.
    """

    def __init__(self, writer: Writer, space: int) -> None:
        self._writer = writer
        self._ledger = Ledger(writer)
        self._space = space
        self.dead = Dead(writer, space)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._writer.connection

    # --- heads ----------------------------------------------------------------------------------

    def heads(self, item: ItemId) -> list[Record]:
        """The undominated records of an item."""
        return self.heads_of([item]).get(item, [])

    def heads_of(self, items: Iterable[ItemId]) -> dict[ItemId, list[Record]]:
        """The undominated records of those items that have any."""
        return self._ledger.heads_of(self._space, items)

    def add_head(self, record: Record, data: bytes) -> None:
        """Keep a head."""
        self._ledger.add_head(self._space, record, data)

    def drop_head(self, record: Record) -> None:
        """Forget a head."""
        self._ledger.drop_head(self._space, record)

    def set_dead(self, item: ItemId, dead: bool) -> None:
        """Whether an item's heads are tombstones, and nothing else, and nothing lives in it."""
        self.dead.set_dead(item, dead)

    def forget_dead(self, item: ItemId) -> None:
        """Forget a dead item: its heads, and its rows."""
        self.dead.forget(item)
        winner = self.winner(item)
        for row in [*([winner] if winner else []), *self.losers(item)]:
            self.erase(row.ino)

    # --- rows of an item ------------------------------------------------------------------------

    def row(self, ino: int) -> Shown | None:
        """The row with an inode number."""
        return _first(self._rows("WHERE ino = ?", (ino,)))

    def winner(self, item: ItemId) -> Shown | None:
        """The row of an item's winner; for ROOT, the space's top folder."""
        query = "WHERE space = ? AND item = ? AND loser = 0"
        return _first(self._rows(query, (self._space, item)))

    def winners(self, items: Iterable[ItemId]) -> dict[ItemId, Shown]:
        """The rows of those items' winners."""
        found = {}
        for group in in_groups(items):
            query = f"WHERE space = ? AND item {among(group)} AND loser = 0"
            found.update({row.item: row for row in self._rows(query, (self._space, *group))})
        return found

    def losers(self, item: ItemId) -> list[Shown]:
        """The rows of an item's losers."""
        return self._rows("WHERE space = ? AND item = ? AND loser = 1", (self._space, item))

    def contested(self) -> list[ItemId]:
        """The items that have losers."""
        query = "SELECT DISTINCT item FROM entry WHERE space = ? AND loser = 1 ORDER BY item"
        return [item for (item,) in self._connection.execute(query, (self._space,))]

    def count_contested(self, device: DeviceId) -> tuple[int, int]:
        """How many items have losers, and how many of those a device made, or a version of it."""
        count, concerned = self._connection.execute(
            "SELECT count(DISTINCT item), count(DISTINCT CASE WHEN device = ?2 OR EXISTS ("
            " SELECT 1 FROM entry AS other WHERE other.space = entry.space"
            " AND other.item = entry.item AND other.loser = 0 AND other.device = ?2)"
            " OR substr(item, 1, 16) = ?2 THEN item END)"
            " FROM entry WHERE space = ?1 AND loser = 1",
            (self._space, device),
        ).fetchone()
        return count, concerned

    def save(self, row: Shown) -> None:
        """Insert, or replace the row with this inode number."""
        self._writer.touched.add((row.space, row.place, row.ino, row.shown))
        self._writer.save_row(SAVE_ROW, row.ino, row.content, values_of(row))

    def erase(self, ino: int) -> None:
        """Forget a row."""
        erase = f"DELETE FROM entry WHERE ino = ? RETURNING {ROW_COLUMNS}"
        for row in self._connection.execute(erase, (ino,)).fetchall():
            self._writer.note_row_before(row, None)

    def take_touched(self) -> set[Touched]:
        """As Writer.take_touched: of all spaces, once."""
        return self._writer.take_touched()

    # --- rows of a folder -----------------------------------------------------------------------

    def listed(self, place: ItemId) -> list[Shown]:
        """The live rows in a folder, losers and merged folders included."""
        return self._rows(f"WHERE {_LIVE_IN}", (self._space, place))

    def named(self, place: ItemId, names: list[str]) -> list[Shown]:
        """The live rows in a folder that have one of these names, or are shown under it."""
        rows: dict[int, Shown] = {}
        for group in in_groups(names):
            shown = f"SELECT ino FROM entry WHERE {_LIVE_IN} AND shown {among(group)}"
            odd = f"SELECT ino FROM entry WHERE {_LIVE_IN} AND {_ODD} AND name {among(group)}"
            key = (self._space, place, *group)
            found = self._rows(f"WHERE ino IN ({shown} UNION {odd})", (*key, *key))
            rows.update((row.ino, row) for row in found)
        return [rows[ino] for ino in sorted(rows)]

    def odd(self, place: ItemId) -> bool:
        """Whether something in a folder is not shown plainly under its name."""
        return self._any(f"{_LIVE_IN} AND {_ODD}", (self._space, place))

    def anchored(self, item: ItemId) -> list[Shown]:
        """The winners whose anchor is this folder, live or not."""
        return self._rows("WHERE space = ? AND anchor = ? AND loser = 0", (self._space, item))

    def with_children(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Those of the items that are some winner's anchor."""
        found: set[ItemId] = set()
        for group in in_groups(items):
            query = f"SELECT DISTINCT anchor FROM entry WHERE space = ? AND anchor {among(group)}"
            rows = self._connection.execute(f"{query} AND loser = 0", (self._space, *group))
            found.update(anchor for (anchor,) in rows)
        return found

    def is_parent(self, item: ItemId) -> bool:
        """Whether any row, live or not, names this item as its parent."""
        return self._any("space = ? AND anchor = ?", (self._space, item)) or self._any(
            "space = ? AND parent = ? AND anchor <> parent", (self._space, item)
        )

    def has_live_child(self, item: ItemId) -> bool:
        """Whether a live row, a winner's or a loser's, has this folder as its anchor."""
        return self._any("space = ? AND anchor = ? AND live = 1", (self._space, item))

    def merged_into(self, item: ItemId) -> list[Shown]:
        """The folders that are shown as part of this one."""
        return self._rows(
            "WHERE space = ? AND merged = ? AND merged IS NOT NULL", (self._space, item)
        )

    def entries_of(self, content: ContentId) -> list[Shown]:
        """The rows in this space that have a content."""
        rows = self._rows("WHERE content = ? AND content IS NOT NULL", (content,))
        return [row for row in rows if row.space == self._space]

    def totals(self) -> tuple[int, int, int]:
        """How many entries the space shows, their bytes, and how many of those are here.

        Looks at every row: some 100 ms for 100 000.
        """
        row = self._connection.execute(
            "SELECT count(*), total(size), total(coalesce((SELECT local FROM content"
            " WHERE id = content), 0)) FROM entry WHERE space = ? AND live = 1 AND shown <> ''",
            (self._space,),
        ).fetchone()
        count, size, local = row
        return count, int(size), int(local)

    def _rows(self, condition: str, values: tuple[Any, ...]) -> list[Shown]:
        # Ordered, so that nothing depends on which index SQLite chose.
        rows = self._connection.execute(f"{SELECT_ROWS}{condition} ORDER BY ino", values)
        return [shown_of(row) for row in rows]

    def _any(self, condition: str, values: tuple[Any, ...]) -> bool:
        (found,) = self._connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM entry WHERE {condition})", values
        ).fetchone()
        return bool(found)


def _first(rows: list[Shown]) -> Shown | None:
    return rows[0] if rows else None
