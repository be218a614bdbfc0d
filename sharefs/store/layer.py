"""Which bytes of a file are its own, and which are another's that it was made from?

Theory of operation. Who changes a byte of a large file must not wait until all of it is copied. So
a draft may lie over a content, and then so does what becomes of it; and so may what is fetched, if
it is almost like a content that is here. That is a sparse file with the pages that were written,
and beside it a byte for each page of the base, which is not 0 if the page is in the file. All other
bytes are the base's, at the same places; but what is at or beyond `kept` is the file's own, for the
file was cut off there.

A page is written whole, with what the base has around the change, and only then marked: a kill
leaves it as it was, or as it was to be. A power cut may take pages that were not synced, and leave
their marks: a mark says whether its page was synced, and after another start of the machine only
such count. An attribute of the file names its base, and the start of the machine that it is of.

Rejected: to copy the base in the background. Every save of a disk image would be a copy of it, and
all of them are kept for a while.
"""

import os
import threading
from collections.abc import Iterator, MutableSet
from pathlib import Path
from typing import Protocol

from sharefs.records.content import KIB, Manifest
from sharefs.records.ids import ContentId
from sharefs.store.direct import write_fully
from sharefs.store.placing import create_empty
from sharefs.store.whole import write_file

PAGE_SIZE_BYTES = 64 * KIB
OVER_ATTRIBUTE = "user.sharefs.over"
MARKS_SUFFIX = ".marks"
BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
_ID_SIZE_BYTES = 32
_KEPT_SIZE_BYTES = 8
_WRITTEN, _SYNCED = b"\x01", b"\x02"


class Base(Protocol):
    """A content with all its bytes."""

    @property
    def content(self) -> ContentId: ...

    @property
    def size(self) -> int: ...

    @property
    def manifest(self) -> Manifest | None:
        """None if it was lost."""
        ...

    @property
    def leaners(self) -> MutableSet[object]:
        """Those who have it for a base, and are at hand."""
        ...

    def pread(self, offset: int, size: int) -> bytes: ...

    def verify(self, offset: int, size: int) -> None: ...


class Layer:
    """What of a file is its own. Any thread. The file itself is its owner's to open.

    Invariant: a marked page is in the file.
    """

    def __init__(self, path: Path, base: Base, kept: int, marks: bytearray) -> None:
        self.path = path
        self.base = base
        self.kept = kept
        self._marks = marks
        base.leaners.add(self)
        self._lock = threading.Lock()
        self._unsynced: list[tuple[int, int]] = []

    @classmethod
    def create(cls, path: Path, base: Base) -> "Layer":
        """Lay an empty file over a base. Raises OSError, where the disk has no attributes, too."""
        layer = cls(path, base, base.size, bytearray(-(-base.size // PAGE_SIZE_BYTES)))
        layer._note()
        marks_of(path).touch(mode=0o600)
        os.truncate(path, base.size)
        return layer

    @classmethod
    def load(cls, path: Path, base: Base) -> "Layer":
        """As it was left, with that base. Raises OSError."""
        value = os.getxattr(path, OVER_ATTRIBUTE)[_ID_SIZE_BYTES:]
        kept, boot = int.from_bytes(value[:_KEPT_SIZE_BYTES]), value[_KEPT_SIZE_BYTES:]
        marks = marks_of(path).read_bytes()
        if boot != this_boot():
            marks = marks.replace(_WRITTEN, b"\0")
        unsynced = [(page, page + 1) for page, mark in enumerate(marks) if mark == 1]
        # A base that was damaged may be shorter than it was.
        pages = -(-max(base.size, kept) // PAGE_SIZE_BYTES)
        marks = marks.replace(_SYNCED, _WRITTEN).ljust(pages, b"\0")
        layer = cls(path, base, kept, bytearray(marks))
        layer._unsynced = unsynced
        if boot != this_boot():
            # What is written from now on counts after a kill, and what was lost never does.
            write_file(marks_of(path), marks.replace(_WRITTEN, _SYNCED))
            layer._note()
        layer.kept = min(layer.kept, path.stat().st_size)
        return layer

    def _note(self) -> None:
        value = self.base.content + self.kept.to_bytes(_KEPT_SIZE_BYTES) + this_boot()
        os.setxattr(self.path, OVER_ATTRIBUTE, value)

    def at(self, path: Path) -> "Layer":
        """The same, of a file that got another name, and whose marks did, too."""
        return Layer(path, self.base, self.kept, bytearray(self._marks))

    # --- what is where --------------------------------------------------------------------------

    def runs(self, offset: int, end: int) -> Iterator[tuple[bool, int, int]]:
        """The parts of a range, in order: whether it is the file's own, its start, its end."""
        while offset < min(end, self.kept):
            page = offset // PAGE_SIZE_BYTES
            own = self._marks[page] != 0
            change = self._marks.find(b"\0" if own else b"\1", page)
            until = end if change < 0 else min(change * PAGE_SIZE_BYTES, end)
            until = min(until, self.kept)
            yield own, offset, until
            offset = until
        if offset < end:
            yield True, offset, end

    def changed(self, size: int) -> list[tuple[int, int]]:
        """What may differ from the base, in a file of `size` bytes."""
        return [(start, end) for own, start, end in self.runs(0, size) if own]

    @property
    def own_size(self) -> int:
        """How many bytes below the base's end are the file's own, about."""
        return self._marks.count(1) * PAGE_SIZE_BYTES + self.base.size - self.kept

    # --- bytes ----------------------------------------------------------------------------------

    def read(self, descriptor: int, offset: int, size: int) -> bytes:
        """As pread; the range is within the file. Raises LocalDamage for the base."""
        parts = [
            os.pread(descriptor, end - start, start) if own else self.base.pread(start, end - start)
            for own, start, end in self.runs(offset, offset + size)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, descriptor: int, offset: int, data: bytes | memoryview) -> None:
        """As pwrite, of everything. Raises LocalDamage for the base."""
        end = offset + len(data)
        if all(own for own, _, _ in self.runs(offset, end)):
            write_fully(descriptor, memoryview(data), offset)
            return
        with self._lock:
            first, last = offset // PAGE_SIZE_BYTES, (end - 1) // PAGE_SIZE_BYTES
            head, tail = self._around(first * PAGE_SIZE_BYTES, offset), b""
            tail = self._around(end, (last + 1) * PAGE_SIZE_BYTES)
            write_fully(descriptor, memoryview(b"".join((head, data, tail))), offset - len(head))
            self._mark(first, last + 1)

    def _around(self, start: int, end: int) -> bytes:
        """What the base has beside a change in a page, if that is not in the file yet."""
        end = min(end, self.kept)
        if start >= end or self._marks[start // PAGE_SIZE_BYTES]:
            return b""
        return self.base.pread(start, end - start)

    def _mark(self, first: int, end: int) -> None:
        end = min(end, len(self._marks))
        self._put(_WRITTEN, first, end)
        self._marks[first:end] = _WRITTEN * (end - first)
        self._unsynced.append((first, end))

    def _put(self, mark: bytes, first: int, end: int) -> None:
        descriptor = os.open(marks_of(self.path), os.O_WRONLY)
        try:
            write_fully(descriptor, memoryview(mark * (end - first)), first)
        finally:
            os.close(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """As ftruncate."""
        with self._lock:
            os.ftruncate(descriptor, size)
            if size < self.kept:
                self.kept = size
                self._note()

    def sync(self, descriptor: int) -> None:
        """As fdatasync: what was written till now stays, whatever happens."""
        with self._lock:
            unsynced, self._unsynced = self._unsynced, []
        try:
            os.fdatasync(descriptor)
            if unsynced:
                self._sync_marks(unsynced)
        except BaseException:
            with self._lock:
                self._unsynced += unsynced
            raise

    def _sync_marks(self, unsynced: list[tuple[int, int]]) -> None:
        for first, end in unsynced:
            self._put(_SYNCED, first, end)
        descriptor = os.open(marks_of(self.path), os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def lay_over(path: Path, base: Base, size: int) -> Layer:
    """A file of that size that is the base's as far as that goes, in the place of what lies there.
    Raises OSError, as `Layer.create`."""
    marks_of(path).unlink(missing_ok=True)
    descriptor = create_empty(path, 0)
    try:
        layer = Layer.create(path, base)
        layer.truncate(descriptor, size)
    except BaseException:
        path.unlink(missing_ok=True)
        marks_of(path).unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return layer


def base_of(path: Path) -> ContentId | None:
    """The content that a file lies over, if it does."""
    try:
        return ContentId(os.getxattr(path, OVER_ATTRIBUTE)[:_ID_SIZE_BYTES])
    except OSError:
        return None


def marks_of(path: Path) -> Path:
    """Beside the file."""
    return path.with_name(path.name + MARKS_SUFFIX)


def this_boot() -> bytes:
    """Another after each start of the machine."""
    return BOOT_FILE.read_bytes()
