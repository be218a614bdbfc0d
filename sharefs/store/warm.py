"""Which chunks came a moment ago, and are about to be read?

What was written past the page cache would have to come back from the disk for the program that
waits for it. It is kept in memory until that has read to its end, or until there is too much.
"""

import threading

from sharefs.records.ids import ContentId

WARM_SIZE_BYTES_MAX = 40 << 20
"""More than is read ahead for one reader, and what may be under way in one chunk."""


class Warm:
    """Chunks by content and index, the oldest of which go first. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: dict[tuple[ContentId, int], bytes | memoryview] = {}
        self._size_bytes = 0

    def keep(self, content: ContentId, index: int, data: bytes | memoryview) -> None:
        """Until it is dropped, or others take its place."""
        with self._lock:
            self._drop((content, index))
            self._chunks[content, index] = data
            self._size_bytes += len(data)
            while self._size_bytes > WARM_SIZE_BYTES_MAX:
                self._drop(next(iter(self._chunks)))

    def chunk(self, content: ContentId, index: int) -> bytes | memoryview | None:
        """A chunk that is still kept."""
        return self._chunks.get((content, index))

    def drop(self, content: ContentId, index: int) -> None:
        """It was read."""
        with self._lock:
            self._drop((content, index))

    def drop_all(self, content: ContentId) -> None:
        """Nobody reads the content any more, or its bytes are gone."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] == content]:
                self._drop(key)

    def _drop(self, key: tuple[ContentId, int]) -> None:
        data = self._chunks.pop(key, None)
        self._size_bytes -= 0 if data is None else len(data)
