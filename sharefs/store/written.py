"""What are the bytes of a file that is being written?

A plain file; or, if it is made from a large content that is here, a layer over that.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from sharefs.errors import LocalDamage
from sharefs.store.cutting import Chunk, Read, chunks_from, reading, recut
from sharefs.store.direct import write_fully
from sharefs.store.layer import Base, Layer, marks_of

COPY_SIZE_BYTES = 8 * 1024 * 1024


class Written:
    """A draft's bytes. Any thread; `open` and `close` not beside the others."""

    def __init__(self, path: Path, descriptor: int = -1, layer: Layer | None = None) -> None:
        self.path = path
        self.layer = layer
        self._descriptor = descriptor

    def open(self) -> None:
        """Nothing else can be done with it while it is closed."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Spare a descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def status(self) -> os.stat_result:
        """Of the file."""
        return os.fstat(self._descriptor)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.status().st_size

    def read(self, offset: int, size: int) -> bytes:
        """As pread. Raises LocalDamage."""
        if self.layer is None:
            return os.pread(self._descriptor, size, offset)
        return self.layer.read(self._descriptor, offset, max(0, min(size, self.size - offset)))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """As pwrite, but never less than everything. Raises LocalDamage."""
        if self.layer is None or not data:
            write_fully(self._descriptor, memoryview(data), offset)
        else:
            self.layer.write(self._descriptor, offset, data)

    def truncate(self, size: int) -> None:
        """As ftruncate."""
        if self.layer is None:
            os.ftruncate(self._descriptor, size)
        else:
            self.layer.truncate(self._descriptor, size)

    def sync(self) -> None:
        """As fdatasync."""
        if self.layer is None:
            os.fdatasync(self._descriptor)
        else:
            self.layer.sync(self._descriptor)

    def lie_over(self, base: Base) -> bool:
        """Make an empty file like its base; False if the disk does not let us. Raises OSError."""
        try:
            self.layer = Layer.create(self.path, base)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
        return self.layer is not None

    def rename(self, path: Path) -> None:
        """Give the file another name. Raises OSError."""
        if self.layer is not None:
            marks_of(self.path).rename(marks_of(path))
            self.layer.path = path
        self.path.rename(path)
        self.path = path

    def chunks(self) -> Iterable[Chunk]:
        """As if it were cut anew. Raises LocalDamage."""
        if self.layer is None:
            return chunks_from(self.reading(), 0, self.size)
        manifest = self.layer.base.manifest
        if manifest is None:
            raise LocalDamage("What a file was made from was lost while it was being published.")
        changed = self.layer.changed(self.size)
        return recut(self.reading(), self.size, manifest.chunks(), changed)

    def reading(self) -> Read:
        """To cut it: what is the base's is verified."""
        layer = self.layer
        if layer is None:
            return reading(self._descriptor)

        def read(into: memoryview, offset: int) -> None:
            for own, start, end in layer.runs(offset, offset + len(into)):
                if not own:
                    layer.base.verify(start, end - start)
            data = self.read(offset, len(into))
            if len(data) < len(into):
                raise LocalDamage("A file became shorter while it was read.")
            into[:] = data

        return read

    def copy(self, other: "Written") -> None:
        """Become like another, being empty, or laid over the same base."""
        if self.layer is None:
            offset = 0
            while data := other.read(offset, COPY_SIZE_BYTES):
                self.write(offset, data)
                offset += len(data)
            return
        assert other.layer is not None, "both lie over one base"
        size = other.size
        self.truncate(min(size, other.layer.kept))
        self.truncate(size)
        for start, end in other.layer.changed(size):
            for offset in range(start, end, COPY_SIZE_BYTES):
                self.write(offset, other.read(offset, min(COPY_SIZE_BYTES, end - offset)))

    def discard(self) -> None:
        """It is nobody's any more. Who has it open keeps it."""
        self.path.unlink(missing_ok=True)
        marks_of(self.path).unlink(missing_ok=True)
