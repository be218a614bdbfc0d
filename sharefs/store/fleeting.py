"""What is held of contents that are shown, and never kept?

Theory of operation. A `FleetingContent` stands before the `LocalContent` of a content and has the
same face for those who read and fetch. What comes goes to memory only; what is on disk already is
used, and stays as it is. All of them share a bound: what came first goes first, since who plays a
film has seen that, and not yet what came last; but what a reader waits for stays until it was read,
as what is read ahead, for it and for others, could take its place again and again. A content is
known here while somebody reads it, or some of it is in memory. Nothing of it is served: for others,
only the `LocalContent` is there.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from sharefs.errors import LocalDamage
from sharefs.records.content import MIB, Manifest
from sharefs.records.ids import ContentId
from sharefs.store.bits import indexes_of
from sharefs.store.local import LocalContent

FLEETING_SIZE_BYTES_MAX = 32 * MIB
"""More than is read ahead of one reader, and what is under way. With two who read at full speed,
nothing came twice; with half as much again, neither was quicker."""
FLEETING_CHUNKS_MAX = 8192


class FleetingContent:
    """One content, in memory but for what is on disk already. Any thread."""

    def __init__(self, local: LocalContent, memory: "Fleeting") -> None:
        self.content = local.content
        self.size = local.size
        self.local = local
        self._memory = memory
        self._lock = threading.Lock()
        self._manifest = local.manifest
        self._offsets = local.manifest.offsets() if local.manifest else [0]
        self._chunks: dict[int, bytes] = {}
        self._awaited: list[tuple[int, int]] = []

    @property
    def manifest(self) -> Manifest | None:
        """The list of chunks, if it is known."""
        return self._manifest

    @property
    def complete(self) -> bool:
        """Whether every byte is on disk."""
        return self.local.complete

    @property
    def bitmap(self) -> bytes:
        """As that of a LocalContent, of what can be read."""
        if self._manifest is None:
            return b""
        bits = int.from_bytes(self.local.bitmap, "little")
        for index in self._held():
            bits |= 1 << index
        return bits.to_bytes((len(self._manifest.lengths) + 7) // 8, "little")

    @property
    def memory_bytes(self) -> int:
        """How much of it is in memory."""
        return sum(map(len, self._held().values()))

    def _held(self) -> dict[int, bytes]:
        with self._lock:
            return dict(self._chunks)

    def missing(self, offset: int, size: int) -> list[int]:
        """The chunks of a range that can not be read; [0] while there is no manifest to tell."""
        if self._manifest is None:
            return [0]
        chunks = self._chunks
        return [i for i in self._indexes(offset, size) if i not in chunks and not self._on_disk(i)]

    def _indexes(self, offset: int, size: int) -> range:
        return indexes_of(self._offsets, offset, min(offset + size, self.size))

    def _on_disk(self, index: int) -> bool:
        bits = self.local.bitmap
        return index >> 3 < len(bits) and bool(bits[index >> 3] >> (index & 7) & 1)

    @contextmanager
    def awaited(self, offset: int, size: int) -> Iterator[None]:
        """Within, what comes of a range stays."""
        waiting = (offset, min(offset + size, self.size))
        with self._lock:
            self._awaited.append(waiting)
        try:
            yield
        finally:
            with self._lock:
                self._awaited.remove(waiting)

    def is_awaited(self, index: int) -> bool:
        """Whether somebody waits for some of a chunk."""
        start, end = self._offsets[index : index + 2]
        with self._lock:
            return any(first < end and start < last for first, last in self._awaited)

    def pread(self, offset: int, size: int) -> bytes:
        """Bytes that are not `missing`, up to the end. Raises LocalDamage."""
        end = min(offset + size, self.size)
        return b"".join(self._part(index, offset, end) for index in self._indexes(offset, size))

    def _part(self, index: int, offset: int, end: int) -> bytes:
        start = self._offsets[index]
        first, last = max(offset, start), min(end, self._offsets[index + 1])
        data = self._chunks.get(index)
        if data is None:
            if not self._on_disk(index):
                raise LocalDamage("What was read has made room for other bytes.")
            return self.local.pread(first, last - first)
        return data[first - start : last - start]

    def begin(self, manifest: Manifest) -> None:
        """The list of chunks is known, and was checked to be that of this content."""
        with self._lock:
            if self._manifest is None:
                self.size = manifest.size
                self._offsets = manifest.offsets()
                self._manifest = manifest

    def write_chunk(self, index: int, data: bytes | memoryview) -> None:
        """Hold a chunk that the caller has verified."""
        assert self._manifest is not None, "a chunk has a manifest"
        assert len(data) == self._manifest.lengths[index], "a verified chunk has its length"
        with self._lock:
            new = index not in self._chunks
            self._chunks[index] = bytes(data)
        if new:
            self._memory.added(self, index, len(data))

    def drop(self, index: int) -> None:
        """Make room."""
        with self._lock:
            self._chunks.pop(index, None)

    def attach(self) -> None:
        """As LocalContent's."""
        self.local.attach()

    def detach(self) -> None:
        """As LocalContent's."""
        self.local.detach()


class Fleeting:
    """All contents of which something is in memory only. Any thread."""

    def __init__(self, size_bytes_max: int = FLEETING_SIZE_BYTES_MAX) -> None:
        self._size_bytes_max = size_bytes_max
        self._lock = threading.Lock()
        self._contents: WeakValueDictionary[ContentId, FleetingContent] = WeakValueDictionary()
        self._order: deque[tuple[FleetingContent, int, int]] = deque()
        self._size_bytes = 0

    def open(self, local: LocalContent) -> FleetingContent:
        """What is held of a content, be it nothing."""
        with self._lock:
            found = self._contents.get(local.content)
            if found is None or found.local is not local:
                found = self._contents[local.content] = FleetingContent(local, self)
            return found

    def known(self, content: ContentId) -> FleetingContent | None:
        """None for a content that is not read here, or is kept."""
        return self._contents.get(content)

    def added(self, content: FleetingContent, index: int, size_bytes: int) -> None:
        """Some is in memory now: what came first makes room."""
        dropped = []
        with self._lock:
            self._order.append((content, index, size_bytes))
            self._size_bytes += size_bytes
            for _ in range(len(self._order) - 1):
                if self._size_bytes <= self._size_bytes_max and (
                    len(self._order) <= FLEETING_CHUNKS_MAX
                ):
                    break
                oldest = self._order.popleft()
                if oldest[0].is_awaited(oldest[1]):
                    self._order.append(oldest)
                    continue
                dropped.append(oldest)
                self._size_bytes -= oldest[2]
        for old, number, _ in dropped:
            old.drop(number)

    def forget(self) -> list[ContentId]:
        """Hold nothing any more; which contents were known."""
        with self._lock:
            known = list(self._contents)
            dropped, self._order = self._order, deque()
            self._contents.clear()
            self._size_bytes = 0
        for content, index, _ in dropped:
            content.drop(index)
        return known
