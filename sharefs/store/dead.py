"""Which items are nothing but deleted, and since when?

Their heads, tombstones of what holds nothing that lives, are in no sum (see `sums`), so that one
replica may forget them while another has them: `node.collection` says when.
"""

from sharefs.records.ids import Coordinate, ItemId
from sharefs.store.connection import Writer


class Dead:
    """The dead items of one space. On the writing connection, in the loop, in a transaction."""

    def __init__(self, writer: Writer, space: int) -> None:
        self._writer = writer
        self._space = space

    def set_dead(self, item: ItemId, dead: bool) -> None:
        """Whether an item is dead, with all its heads."""
        rows = self._writer.connection.execute(
            "UPDATE record SET dead = ?3, since = 0 WHERE space = ?1 AND item = ?2 AND dead <> ?3"
            " RETURNING device, incarnation, sequence, data",
            (self._space, item, int(dead)),
        ).fetchall()
        change = self._writer.sums.remove if dead else self._writer.sums.add
        for device, incarnation, sequence, data in rows:
            change(self._space, Coordinate(device, incarnation, sequence), data)

    def since(
        self, after: tuple[float, int], before: float, now: float, limit: int
    ) -> list[tuple[float, int, ItemId]]:
        """Heads that are dead since a time not after `before`, in that order: with these times,
        their numbers and items. Only those `after` a time and a number."""
        self._writer.connection.execute(
            "UPDATE record SET since = ? WHERE space = ? AND dead = 1 AND since = 0",
            (now, self._space),
        )
        return self._writer.connection.execute(
            "SELECT since, number, item FROM record WHERE space = ? AND dead = 1"
            " AND (since, number) > (?, ?) AND since <= ? ORDER BY since, number LIMIT ?",
            (self._space, *after, before, limit),
        ).fetchall()

    def forget(self, item: ItemId) -> None:
        """Forget the heads of a dead item."""
        self._writer.connection.execute(
            "DELETE FROM record WHERE space = ? AND item = ? AND dead = 1", (self._space, item)
        )
