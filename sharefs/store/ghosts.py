"""Which entries of a space have not all their bytes here?"""

from sharefs.store.connection import Readers

SIZE_BYTES_NO_LIMIT = 2**63 - 1


def ghosts(
    readers: Readers, space: int, after: int, size_max: int | None, since_ms: int, count: int
) -> list[int]:
    """The inodes of the next of these files, in the order of inodes: no larger than `size_max`,
    written since a stamp. Any thread."""
    with readers.lent() as connection:
        rows = connection.execute(
            "SELECT ino FROM entry LEFT JOIN content ON content.id = entry.content"
            " WHERE ino > ? AND space = ? AND live = 1 AND entry.content IS NOT NULL"
            " AND (content.id IS NULL OR content.local < content.size)"
            " AND entry.size <= ? AND stamp >= ? ORDER BY ino LIMIT ?",
            (after, space, SIZE_BYTES_NO_LIMIT if size_max is None else size_max, since_ms, count),
        ).fetchall()
    return [ino for (ino,) in rows]
