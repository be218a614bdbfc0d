"""When was each content used last, and which of them were not for the longest time?

Whoever reads notes it in memory; the loop writes what was noted, at once for many.
"""

from itertools import islice

from sharefs.records.ids import ContentId
from sharefs.store.database import Store

WRITTEN_AT_ONCE = 1000
NOTED_MAX = 100_000
"""Beyond that, what was used earliest is not noted any more."""


class Uses:
    """Any thread, but for what says otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[ContentId, float] = {}

    def note(self, content: ContentId, now: float) -> None:
        """It is used, at this time in seconds since 1970."""
        self._noted.pop(content, None)
        self._noted[content] = now
        if len(self._noted) > NOTED_MAX:
            self._noted.pop(next(iter(self._noted)), None)

    def write(self) -> bool:
        """Loop only, in a transaction: keep what was noted; whether there is more."""
        batch = list(islice(self._noted.items(), WRITTEN_AT_ONCE))
        for content, _ in batch:
            self._noted.pop(content, None)
        self._store.connection.executemany(
            "INSERT OR REPLACE INTO use SELECT id, ? FROM content WHERE id = ?",
            [(at, content) for content, at in batch],
        )
        return bool(self._noted)

    def local_bytes(self) -> int:
        """How much of the contents is here, all in all."""
        with self._store.readers.lent() as connection:
            (size,) = connection.execute("SELECT coalesce(sum(local), 0) FROM content").fetchone()
        return int(size)

    def longest_unused(
        self, after: tuple[float, ContentId], limit: int
    ) -> list[tuple[float, ContentId, int]]:
        """The next contents in the order of their last use, with that and how many bytes of them
        are here. What nobody used since it came is the first."""
        with self._store.readers.lent() as connection:
            rows: list[tuple[float, ContentId, int]] = connection.execute(
                "SELECT coalesce(at, 0.0) AS used, id, local FROM content LEFT JOIN use"
                " ON use.content = id WHERE local > 0 AND (used, id) > (?, ?)"
                " ORDER BY used, id LIMIT ?",
                (*after, limit),
            ).fetchall()
        return rows
