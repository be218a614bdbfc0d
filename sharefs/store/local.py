"""What is here of one content?

See `contents` for what syncing and saving are about. `_epoch` changes when the bytes are discarded:
a write or a sync that began before says nothing about the file that comes after.

A content that was made here by changing a large one lies over that: see `layer`. The base then has
to stay; `leaners` are those who have it for one.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast
from weakref import WeakSet

from sharefs.errors import DiskFull, LocalDamage
from sharefs.records.content import Manifest, chunk_id, encode_manifest
from sharefs.records.ids import ContentId
from sharefs.store.bits import all_bits, both, indexes_of, of_indexes, without
from sharefs.store.connection import translated
from sharefs.store.direct import DIRECT_CONTENT_SIZE_BYTES_MIN, write_fully, write_past_cache
from sharefs.store.layer import Layer, lay_over, marks_of
from sharefs.store.placing import create_empty, disk_error, put_in_place, remove_content
from sharefs.store.sharing import Write
from sharefs.store.verifying import chunks_in
from sharefs.store.warm import Warm


class LocalContent:
    """The file of one content, and the bits of its chunks. Any thread.

    Invariants: a bit is set only when its chunk is in the file and matches its hash; `synced` bits
    are among the bits. Without a manifest there are no bits. `_fresh` means that no file is
    trusted.
    """

    def __init__(
        self,
        path: Path,
        content: ContentId,
        size: int,
        changed: Callable[["LocalContent"], None],
        warm: Warm,
    ) -> None:
        self.content = content
        self.size = size
        self.manifest: Manifest | None = None
        self.told = -1
        """How many bytes the view was last told to be here; the store's to keep."""
        self.noted = b""
        """The bits of chunks that others may find here; the store's to keep."""
        self.leaners: WeakSet[object] = WeakSet()
        """Drafts and contents that lie over this one, as far as they are at hand."""
        self._path = path
        self._changed = changed
        self._warm = warm
        self._readers = 0
        self._lock = threading.Lock()
        self._offsets = [0]
        self._bits = bytearray()
        self._synced = b""
        self._here = 0
        self._epoch = 0
        self._fresh = True
        self._suspect = False
        self.layer: Layer | None = None
        """What of it is in its own file, if not all."""

    # --- what is here ---------------------------------------------------------------------------

    @property
    def bitmap(self) -> bytes:
        """A bit a chunk, the lowest bit of the first byte first; empty without a manifest."""
        return bytes(self._bits)

    @property
    def synced(self) -> bytes:
        """The bits whose bytes the disk is known to have."""
        return self._synced

    @property
    def local_bytes(self) -> int:
        """How many bytes are here."""
        return self._here

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        here = self._here == self.size and self.manifest is not None
        return here and (self.base is None or self.base.complete)

    @property
    def base(self) -> "LocalContent | None":
        """The content that it lies over."""
        layer = self.layer
        return None if layer is None else cast(LocalContent, layer.base)

    @property
    def suspect(self) -> bool:
        """Whether `settle` has to verify first what is here."""
        return self._suspect

    @property
    def encoded(self) -> bytes:
        """The manifest's canonical bytes."""
        assert self.manifest is not None, "asked of a content with a manifest"
        return encode_manifest(self.manifest)

    @property
    def _past_cache(self) -> bool:
        """Whether it is so large that it is written past the page cache."""
        return self.size >= DIRECT_CONTENT_SIZE_BYTES_MIN

    def missing(self, offset: int, size: int) -> list[int]:
        """The chunks of a range that are not here; [0] while there is no manifest to tell."""
        if self.manifest is None:
            return [0]
        if self.complete:
            return []
        return [i for i in self._indexes(offset, size) if not (self._has(i) and self._stands(i))]

    def synced_among(self, bitmap: bytes) -> bytes:
        """Those of these bits that are still set, and synced."""
        synced = self._synced
        return both(bitmap.ljust(len(synced), b"\0")[: len(synced)], synced)

    def bytes_among(self, bits: bytes) -> int:
        """How many bytes the chunks of these bits have."""
        assert self.manifest is not None, "bits speak of a manifest"
        if bits == all_bits(len(self.manifest.lengths)):
            return self.size
        lengths = self.manifest.lengths
        return sum(length for i, length in enumerate(lengths) if bits[i >> 3] >> (i & 7) & 1)

    def _indexes(self, offset: int, size: int) -> range:
        return indexes_of(self._offsets, offset, min(offset + size, self.size))

    def _has(self, index: int) -> bool:
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def _stands(self, index: int) -> bool:
        """Whether what a chunk has from the base is there."""
        layer, base = self.layer, self.base
        if layer is None or base is None:
            return True
        runs = layer.runs(self._offsets[index], self._offsets[index + 1])
        return not any(base.missing(start, end - start) for own, start, end in runs if not own)

    # --- reading --------------------------------------------------------------------------------

    def pread(self, offset: int, size: int, *, again: bool = False) -> bytes:
        """Bytes that are not `missing`, up to the end; a program may read them `again`, at once.
        Raises LocalDamage."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        if (warm := self._read_warm(offset, size, again)) is not None:
            return warm
        with self._opened(os.O_RDONLY) as (descriptor, _):
            data = self._pread(descriptor, offset, size)
        if len(data) != size:
            self._distrust()
            raise LocalDamage(f"The file {self._path} is shorter than it was: fetch it again.")
        return data

    def _read_warm(self, offset: int, size: int, again: bool) -> bytes | None:
        """From memory, if all of it is there: what is read to its end goes from there."""
        if not self._readers or not self._past_cache:
            return None
        parts, end, offsets = [], offset + size, self._offsets
        for index in self._indexes(offset, size):
            data = self._warm.chunk(self.content, index)
            if data is None:
                return None
            begin = offsets[index]
            parts.append(memoryview(data)[max(offset - begin, 0) : end - begin])
        for index in self._indexes(offset, size):
            if offsets[index + 1] <= end and not again:
                self._warm.drop(self.content, index)
        return b"".join(parts)

    def attach(self) -> None:
        """Somebody is going to read what comes, at once."""
        with self._lock:
            self._readers += 1

    def detach(self) -> None:
        """Not any more."""
        with self._lock:
            self._readers -= 1
            last = not self._readers
        if last:
            self._warm.drop_all(self.content)

    def _pread(self, descriptor: int, offset: int, size: int) -> bytes:
        layer = self.layer
        if layer is None:
            return os.pread(descriptor, size, offset)
        return layer.read(descriptor, offset, size)

    def read_chunk(self, index: int) -> bytes:
        """A chunk as it is served: verified. Raises LocalDamage; a damaged chunk is not here any
        more."""
        if self.manifest is None or not self._has(index):
            raise LocalDamage("A chunk that was asked for is not here any more.")
        data = self.pread(self._offsets[index], self.manifest.lengths[index], again=True)
        if chunk_id(data) != self.manifest.chunk(index):
            self._withdraw(index)
            self._doubt_base(index)
            raise LocalDamage(
                f"The disk gave back other bytes than were stored in {self._path}: that part of it"
                " will be fetched again."
            )
        return data

    def verify(self, offset: int, size: int) -> None:
        """Raises LocalDamage if the chunks of a range are not here, or not what they should be."""
        for index in self._indexes(offset, size):
            self.read_chunk(index)

    def _doubt_base(self, index: int) -> None:
        """A chunk was wrong: it may be the base's fault."""
        base = self.base
        if base is not None:
            start, end = self._offsets[index], self._offsets[index + 1]
            with suppress(LocalDamage):
                base.verify(start, end - start)

    # --- writing --------------------------------------------------------------------------------

    def begin(self, manifest: Manifest, encoded: bytes) -> None:
        """The list of chunks is known, and was checked to be that of this content."""
        assert self.size in (0, manifest.size), "a content has one size"
        with self._lock:
            if self.manifest is not None:
                return
            self.size = manifest.size
            self._offsets = manifest.offsets()
            self._bits = bytearray((len(manifest.lengths) + 7) // 8)
            self._synced = bytes(self._bits)
            self.manifest = manifest
        self._changed(self)

    def write_chunk(self, index: int, data: bytes | memoryview) -> None:
        """Keep a chunk that the caller has verified. Raises DiskFull, LocalDamage."""
        self.write_run(range(index, index + 1), memoryview(data), self.writing)

    @property
    def writing(self) -> Write:
        """How its bytes get to its file."""
        return write_past_cache if self._past_cache else write_fully

    def write_run(self, indexes: range, data: memoryview, write: Write) -> None:
        """As `write_chunk`, for chunks that follow each other."""
        if self.manifest is None:
            raise LocalDamage("The content was freed while it was fetched.")
        begin = self._offsets[indexes.start]
        assert len(data) == self._offsets[indexes.stop] - begin, "verified chunks have their length"
        with self._opened(os.O_RDWR) as (descriptor, epoch):
            layer = self.layer
            if layer is not None:
                layer.write(descriptor, begin, data)
            else:
                write(descriptor, data, begin)
        with self._lock:
            new = [index for index in indexes if epoch == self._epoch and not self._has(index)]
            for index in indexes if epoch == self._epoch and layer is not None else ():
                # It may have been the base's, and safe as such.
                self._synced = without(self._synced, index)
            if len(new) == len(indexes) == 1 and self._readers and self._past_cache:
                self._warm.keep(self.content, new[0], data)
            for index in new:
                self._bits[index >> 3] |= 1 << (index & 7)
            self._here += sum(self.manifest.lengths[index] for index in new)
        self._changed(self)

    @contextmanager
    def shareable(self) -> Iterator[int | None]:
        """A descriptor of the file, if what is here is in it, where it belongs."""
        if self.layer is not None:
            yield None
            return
        with self._opened(os.O_RDONLY) as (descriptor, _):
            yield descriptor

    def unsynced(self) -> tuple[bytes, int] | None:
        """What there is for the disk to sync, as `note_synced` wants to be told."""
        with self._lock:
            bits = bytes(self._bits)
            return None if self._fresh or bits == self._synced else (bits, self._epoch)

    def note_synced(self, bits: bytes, epoch: int) -> bytes:
        """The disk has synced what was `unsynced`; as `sync`."""
        with self._lock:
            if epoch == self._epoch:
                self._synced = both(bits, self._bits)
        return bits

    def sync(self) -> bytes:
        """Have the disk sync the file; the bits of what it then surely has.

        Raises DiskFull or LocalDamage, and then trusts nothing since the last time.
        """
        unsynced = self.unsynced()
        if unsynced is None:
            return self._synced
        try:
            with self._opened(os.O_RDONLY) as (descriptor, _):
                if (layer := self.layer) is None:
                    os.fdatasync(descriptor)
                else:
                    layer.sync(descriptor)
        except (DiskFull, LocalDamage):
            # The kernel tells of a page that it could not write once, and then forgets it.
            with self._lock:
                self._set_bits(self._synced)
            raise
        return self.note_synced(*unsynced)

    def adopt(self, draft: Path, layer: Layer | None = None) -> None:
        """Let a file with all the bytes, synced, stand for the content. Nothing if it is complete.

        The new name need not be synced: the disk keeps the order of names, so that the draft's own
        name is there at least until this one is. Raises DiskFull, HomeNotUsable.
        """
        assert self.manifest is not None, "what is adopted was cut"
        with self._lock:
            if self._here == self.size:
                return
            with translated(self._path):
                if layer is not None:
                    put_in_place(marks_of(draft), marks_of(self._path))
                put_in_place(draft, self._path)
            self.layer = layer.at(self._path) if layer is not None else None
            self._fresh = False
            self._suspect = False
            self._set_bits(all_bits(len(self.manifest.lengths)))
            self._synced = bytes(self._bits)
        self._changed(self)

    def stand_alone(self) -> None:
        """Take all that is the base's, so that that can go. For the pool; saved as bits are.

        Raises DiskFull; LocalDamage if a chunk is not what it was, and then it is to be fetched.
        """
        layer = self.layer
        if layer is None or self.manifest is None:
            return
        with self._opened(os.O_RDWR) as (descriptor, epoch):
            for index, start in enumerate(self._offsets[:-1]):
                own = all(own for own, _, _ in layer.runs(start, self._offsets[index + 1]))
                if self._has(index) and not own:
                    write_fully(descriptor, memoryview(self.read_chunk(index)), start)
            os.fdatasync(descriptor)
        with self._lock:
            if epoch == self._epoch:
                self.layer = None
        self._changed(self)

    def lie_over(self, base: "LocalContent", same: Iterable[int]) -> bool:
        """Begin as another content, which is complete and has those chunks at the same places.
        False, and nothing done, if there is a file, or the disk does not let us. Raises DiskFull,
        LocalDamage."""
        with self._lock:
            if not self._fresh or self.manifest is None:
                return False
            try:
                self.layer = lay_over(self._path, base, self.size)
            except OSError as error:
                if error.errno == errno.ENOTSUP:
                    return False
                raise disk_error(error, self._path) from error
            self._fresh = False
            self._set_bits(of_indexes(same, len(self.manifest.lengths)))
        self._changed(self)
        return True

    def trust(self, ino: int, layer: Layer | None = None) -> bool:
        """Somebody found that the file, of that inode, has all the bytes, and synced it. Whether it
        is still the one."""
        assert self.manifest is not None, "what is trusted was cut"
        with self._lock:
            try:
                same = self._path.stat().st_ino == ino
            except OSError:
                same = False
            if same:
                self.layer = layer
                self._fresh = False
                self._set_bits(all_bits(len(self.manifest.lengths)))
                self._synced = bytes(self._bits)
        self._changed(self)
        return same

    def discard(self) -> int:
        """Remove the file; how many bytes were here."""
        with self._lock:
            freed = self._here
            self._forget()
            with translated(self._path):
                remove_content(self._path, freed)
                marks_of(self._path).unlink(missing_ok=True)
        return freed

    # --- trust ----------------------------------------------------------------------------------

    def restore(
        self,
        manifest: Manifest,
        bitmap: bytes | None,
        suspect: bool,
        base: "LocalContent | None" = None,
    ) -> None:
        """Begin with what the database says; None for all. Distrusts a file that is not so."""
        self.manifest = manifest
        self._offsets = manifest.offsets()
        everything = all_bits(len(manifest.lengths))
        self._set_bits(everything if bitmap is None else bitmap)
        self._synced = bytes(self._bits)
        self._suspect = suspect
        try:
            self._fresh = self._path.stat().st_size != self.size
            if base is not None:
                self.layer = Layer.load(self._path, base)
        except OSError:
            self._fresh = True
        if self._fresh:
            self._distrust()

    def settle(self) -> None:
        """Verify, once, what an unclean stop left in doubt: also chunks whose bits were not saved
        any more, so that they need not come again."""
        with self._lock:
            if not self._suspect:
                return
            kept = bytearray(len(self._bits))
            assert self.manifest is not None, "bits speak of a manifest"
            for index in chunks_in(self._path, self.manifest, self.layer):
                kept[index >> 3] |= 1 << (index & 7)
            self._synced = both(self._synced, kept)
            self._set_bits(kept)
            self._suspect = False
        self._changed(self)

    def _withdraw(self, index: int) -> None:
        with self._lock:
            self._set_bits(without(self._bits, index))
            self._synced = without(self._synced, index)
        self._changed(self)

    def _distrust(self) -> None:
        """The file is not the one that the bits speak of."""
        with self._lock:
            self._forget()
        self._changed(self)

    def _forget(self) -> None:
        self._epoch += 1
        self._warm.drop_all(self.content)
        self._fresh = True
        self._suspect = False
        self.layer = None
        self._set_bits(bytes(len(self._bits)))
        self._synced = bytes(self._bits)

    def _set_bits(self, bits: bytes | bytearray) -> None:
        self._bits = bytearray(bits)
        self._here = self.bytes_among(bytes(bits)) if self.manifest is not None else 0

    # --- the file -------------------------------------------------------------------------------

    @contextmanager
    def _opened(self, flags: int) -> Iterator[tuple[int, int]]:
        """A descriptor for the moment, and the epoch that it belongs to.

        Opening costs some microseconds, and a node may have thousands of contents in use.
        """
        with self._lock:
            epoch = self._epoch
            try:
                if self._fresh and flags == os.O_RDWR:
                    descriptor = create_empty(self._path, self.size)
                    self._fresh = False
                else:
                    descriptor = os.open(self._path, flags)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    self._forget()
                    self._changed(self)
                raise disk_error(error, self._path) from error
        try:
            yield descriptor, epoch
        except OSError as error:
            raise disk_error(error, self._path) from error
        finally:
            os.close(descriptor)
