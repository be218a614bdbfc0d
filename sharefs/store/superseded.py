"""Which contents were a version's that a later one has replaced, and are nobody's now?

A content is noted when the last row that has it goes, or gets another content: so it takes
a record, of an edit or a delete, to have bytes collected. That something is not there never does:
not in a database that was restored, or is new, or damaged. It is noted even if nothing of it is
here, as whoever has the old version open may have it fetched later.
"""

import sqlite3

from sharefs.records.ids import ContentId


class Superseded:
    """The notes of all spaces. On the writing connection, in the loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._left: dict[tuple[ContentId, int], None] = {}
        """Contents that a row had before this transaction, and the row's space."""

    def note(self, content: ContentId | None, space: int) -> None:
        """A row has this content no more; another may."""
        if content is not None:
            self._left[content, space] = None

    def flush(self) -> None:
        """Write what was noted: before COMMIT, when all rows and commits are written."""
        left, self._left = self._left, {}
        self._connection.executemany(
            "INSERT OR REPLACE INTO superseded SELECT ?1, ?2,"
            ' (SELECT coalesce(max(number), 0) FROM "commit" WHERE space = ?2), 0'
            " WHERE NOT EXISTS"
            " (SELECT 1 FROM entry WHERE content = ?1 AND content IS NOT NULL)",
            list(left),
        )

    def forget(self) -> None:
        """After a rollback."""
        self._left.clear()

    def noted(self, content: ContentId, space: int) -> bool:
        """Whether it was a version's of that space, and is here still. Loop only."""
        (found,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM superseded JOIN content ON id = content"
            " WHERE content = ? AND space = ?)",
            (content, space),
        ).fetchone()
        return bool(found)

    def due(
        self, space: int, before_number: int, since: float, now: float, limit: int
    ) -> list[ContentId]:
        """Contents that were replaced by commits with numbers below `before_number`, and noted so
        before the time `since`. Loop only, in a transaction."""
        self._connection.execute(
            "UPDATE superseded SET since = ? WHERE since = 0 AND space = ?", (now, space)
        )
        rows = self._connection.execute(
            "SELECT content FROM superseded WHERE space = ? AND number < ? AND since <= ?"
            " ORDER BY since LIMIT ?",
            (space, before_number, since, limit),
        )
        return [content for (content,) in rows]

    def settle(self, content: ContentId, space: int) -> bool:
        """Take a note away; whether nothing has the content now, nor another space's note. Loop
        only, in a transaction."""
        self._connection.execute(
            "DELETE FROM superseded WHERE content = ? AND space = ?", (content, space)
        )
        (needed,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM superseded WHERE content = ?1) OR EXISTS"
            " (SELECT 1 FROM entry WHERE content = ?1 AND content IS NOT NULL)",
            (content,),
        ).fetchone()
        return not needed
