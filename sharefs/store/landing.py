"""What has come of chunks that are not here yet?

A chunk comes in pieces, and is verified, written to its place and marked when it is whole. Until
then its pieces lie in a place of a file, so that a node that was killed does not have to ask for
them again: what a process has written, the kernel keeps. Pieces come in order, so that a place has
its first so many bytes. None of it is synced, shown or served, as the chunk's name tells in the end
whether it was any good.

Rejected: pieces at their place in the content's file. Those are not verified, and what is written
past the page cache (`direct`) has to be whole blocks, of which other chunks may have a part. A file
for each chunk: to make and remove it, with its pages, costs a fifth of the speed of a fetch.
"""

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from sharefs.records.content import CHUNK_SIZE_BYTES_MAX
from sharefs.records.ids import ContentId
from sharefs.store.direct import DIRECT_CONTENT_SIZE_BYTES_MIN
from sharefs.store.local import LocalContent

PLACES_MAX = 64
_HEAD = struct.Struct("<32sQQ")
"""Of a place: the content, the index of the chunk, and how many of its bytes are there; all zeros
for none."""
PAGE_SIZE_BYTES = 4096
PLACE_SIZE_BYTES = PAGE_SIZE_BYTES + CHUNK_SIZE_BYTES_MAX

ChunkKey = tuple[ContentId, int]


def is_landed(local: object) -> bool:
    """Whether what comes of a content is kept so: of others a chunk is written in no time."""
    return isinstance(local, LocalContent) and local.size >= DIRECT_CONTENT_SIZE_BYTES_MIN


def has_landed(path: Path) -> bool:
    """Whether what lies there is nothing but such places."""
    if not path.is_file() or path.stat().st_size > PLACES_MAX * PLACE_SIZE_BYTES:
        return False
    with path.open("rb", buffering=0) as file:
        heads = [_head(file.fileno(), number) for number in range(PLACES_MAX)]
    return all(size <= CHUNK_SIZE_BYTES_MAX and (size or not any(id)) for id, _, size in heads)


def _head(descriptor: int, number: int) -> tuple[ContentId, int, int]:
    """Zeros where nothing was written."""
    head = os.pread(descriptor, _HEAD.size, number * PLACE_SIZE_BYTES)
    content, index, size = _HEAD.unpack(head.ljust(_HEAD.size, b"\0"))
    return ContentId(content), index, size


@dataclass(slots=True, eq=False)
class Place:
    """Where the first `size` bytes of a chunk are."""

    number: int
    size: int
    coming: bool
    """More is being written, or it is being verified."""


class Landing:
    """The file of these places. In the loop. What can not be kept there is not: it comes again."""

    def __init__(self, path: Path) -> None:
        self._places: dict[ChunkKey, Place] = {}
        self._free = list(range(PLACES_MAX - 1, -1, -1))
        """The last is taken first, so that few are ever touched."""
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._load()

    def _load(self) -> None:
        for number in range(PLACES_MAX):
            content, index, size = _head(self._descriptor, number)
            if 0 < size <= CHUNK_SIZE_BYTES_MAX:
                self._places[content, index] = Place(number, size, False)
                self._free.remove(number)
        if not self._places:
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Nothing more is kept."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def left(self) -> list[ChunkKey]:
        """The chunks of which something is there, and nothing is coming now."""
        return [chunk for chunk, place in self._places.items() if not place.coming]

    def size(self, chunk: ChunkKey) -> int:
        """How many bytes of such a chunk are there."""
        place = self._places.get(chunk)
        return 0 if place is None or place.coming else place.size

    def read(self, chunk: ChunkKey) -> bytes:
        """The bytes of such a chunk, as far as they are there, and can be read."""
        place = self._places.get(chunk)
        if place is not None:
            with contextlib.suppress(OSError):
                return os.pread(self._descriptor, place.size, self._bytes_of(place))
        return b""

    def begin(self, chunk: ChunkKey, size: int) -> Place | None:
        """A chunk is coming, of which the first bytes are there; None if it is not kept."""
        place = self._places.get(chunk)
        if place is not None and place.coming:
            return None
        if place is None:
            if not self._free and (left := self.left()):
                self.drop(left[0])
            if not self._free or self._descriptor < 0:
                return None
            place = self._places[chunk] = Place(self._free.pop(), 0, True)
        place.size, place.coming = size, True
        return place

    def append(self, chunk: ChunkKey, place: Place, data: bytes | memoryview) -> None:
        """The next piece of it, unless it was dropped meanwhile."""
        if self._places.get(chunk) is not place:
            return
        try:
            count = os.pwrite(self._descriptor, data, self._bytes_of(place) + place.size)
            place.size += count
            self._note(place, *chunk, place.size)
        except OSError:
            count = 0
        if count < len(data):
            # A gap would be worse than nothing.
            self.drop(chunk)

    def leave(self, chunk: ChunkKey) -> None:
        """It does not come any more, for now."""
        place = self._places.get(chunk)
        if place is not None:
            place.coming = False

    def drop(self, chunk: ChunkKey) -> None:
        """It is here, is not wanted, or was not what it should be."""
        place = self._places.pop(chunk, None)
        if place is not None:
            self._free.append(place.number)
            with contextlib.suppress(OSError):
                self._note(place, ContentId(bytes(32)), 0, 0)

    def forget(self, content: ContentId) -> None:
        """Nothing of it is wanted."""
        for chunk in [chunk for chunk in self._places if chunk[0] == content]:
            self.drop(chunk)

    def _note(self, place: Place, content: ContentId, index: int, size: int) -> None:
        head = _HEAD.pack(content, index, size)
        os.pwrite(self._descriptor, head, place.number * PLACE_SIZE_BYTES)

    def _bytes_of(self, place: Place) -> int:
        return place.number * PLACE_SIZE_BYTES + PAGE_SIZE_BYTES
