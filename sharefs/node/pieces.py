"""Which chunks are coming in pieces, and when is one whole?

Theory of operation. A device sends the pieces of a chunk in order; what does not go on where the
last one ended is dropped, and asked for again in time. Two who send the same chunk are kept apart,
so that it is known whose bytes are false. What came of a chunk of a large content is kept as
`store.landing` says: where somebody sent the head of one, and is gone, or we were killed meanwhile,
only the rest is asked for, of anybody. If the whole is not what it should be, nobody is blamed, and
it is asked for from its beginning.
"""

from dataclasses import dataclass

from sharefs.records.ids import ContentId, DeviceId
from sharefs.store.landing import ChunkKey, Landing, Place
from sharefs.wire.transfer import WantChunks

COMING_CHUNKS_MAX = 4
"""From one device: an honest one sends one after the other, but for what is urgent."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A chunk that is here, to be verified."""

    data: bytes | memoryview
    inherited: bool
    """Not all of it came from the device that sent the last of it."""


@dataclass(slots=True)
class _Coming:
    """What is here of a chunk."""

    data: bytearray
    size: int
    inherited: bool
    place: Place | None


class Pieces:
    """All that is coming. In the loop."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._coming: dict[DeviceId, dict[ChunkKey, _Coming]] = {}

    def take(
        self,
        device: DeviceId,
        chunk: ChunkKey,
        start: int,
        piece: memoryview,
        length: int,
        lands: bool,
    ) -> Whole | None:
        """A piece came of a chunk of this length: the chunk, if that is whole now, and `done` is to
        be told. It `lands` if what comes of it is to be kept."""
        coming = self._coming_for(device, chunk, start, length, lands)
        if coming is None:
            return None
        end = start + len(piece)
        if end > length:
            # It is not what was asked for, as its name will tell.
            del self._coming[device][chunk]
            return Whole(piece, False)
        if coming.place:
            self._landing.append(chunk, coming.place, piece)
        if start == 0 and end == length:
            del self._coming[device][chunk]
            return Whole(piece, False)
        coming.data[start:end] = piece
        coming.size = end
        if end < length:
            return None
        del self._coming[device][chunk]
        return Whole(memoryview(coming.data), coming.inherited)

    def done(self, chunk: ChunkKey) -> None:
        """A chunk that was whole is stored, or was false."""
        self._landing.drop(chunk)

    def whole(self, chunk: ChunkKey, length: int) -> Whole | None:
        """A chunk that had come whole before we were killed, if it had."""
        if self._landing.size(chunk) < length:
            return None
        data = self._landing.read(chunk)[:length]
        self._landing.begin(chunk, length)
        return Whole(data, True)

    def wants(self, want: WantChunks) -> list[WantChunks]:
        """How to ask for these chunks, and no more than is missing of each."""
        sizes = {index: self._landing.size((want.content, index)) for index in want.indexes}
        wants = [
            WantChunks(want.space, want.content, (index,), size, want.urgent)
            for index, size in sizes.items()
            if size
        ]
        rest = tuple(index for index in want.indexes if not sizes[index])
        if rest:
            wants.append(WantChunks(want.space, want.content, rest, urgent=want.urgent))
        return wants

    def left(self) -> list[ChunkKey]:
        """Those of which something came, of which nothing is coming now."""
        return self._landing.left()

    def gone(self, device: DeviceId) -> None:
        """It sends nothing any more."""
        for chunk in list(self._coming.get(device, ())):
            self._leave(device, chunk)
        self._coming.pop(device, None)

    def forget(self, content: ContentId) -> None:
        """It was freed."""
        for coming in self._coming.values():
            for chunk in [chunk for chunk in coming if chunk[0] == content]:
                del coming[chunk]
        self._landing.forget(content)

    def close(self) -> None:
        """Nothing comes any more."""
        self._landing.close()

    def _coming_for(
        self, device: DeviceId, chunk: ChunkKey, start: int, length: int, lands: bool
    ) -> _Coming | None:
        """What this piece is to be added to, if it fits."""
        of_device = self._coming.setdefault(device, {})
        coming = of_device.get(chunk)
        if coming is not None and coming.size == start:
            return coming
        if start > self._landing.size(chunk):
            return None
        if coming is not None:
            self._leave(device, chunk)
        head = self._landing.read(chunk)[:start] if start else b""
        place = self._landing.begin(chunk, start) if lands else None
        coming = _Coming(bytearray(length), start, start > 0, place)
        coming.data[:start] = head
        of_device[chunk] = coming
        if len(of_device) > COMING_CHUNKS_MAX:
            self._leave(device, next(iter(of_device)))
        return coming

    def _leave(self, device: DeviceId, chunk: ChunkKey) -> None:
        coming = self._coming.get(device, {}).pop(chunk, None)
        if coming is not None and coming.place:
            self._landing.leave(chunk)
