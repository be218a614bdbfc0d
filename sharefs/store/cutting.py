"""Where are the chunks of a file, and what are they called?

FastCDC and BLAKE3 over windows of the file that are read into memory, not mapped: a mapped file
that is cut short, or a bad sector, would kill the process with SIGBUS. Both let other threads run
meanwhile, so that programs can write on.

Where a chunk ends follows from its first byte's offset, its own bytes and the next, unless that is
the file's last, or there is none. So after a change, cutting goes on from the last cut before it,
and is done as soon as it comes upon a cut of the older list again: from there on all is as it was.
`recut` does that, and gives just what cutting the whole file would.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from pyfastcdc import FastCDC

from sharefs.errors import LocalDamage
from sharefs.records.content import (
    Manifest,
    chunk_id,
    chunk_sizes,
    encode_manifest,
    make_manifest,
)
from sharefs.records.ids import ChunkId

WINDOW_CHUNKS = 2
"""A window is that many times the largest chunk: what is read twice at its end stays little."""

Chunk = tuple[ChunkId, int]
"""Its name, and its length in bytes."""
Read = Callable[[memoryview, int], None]
"""Fill a buffer with the bytes from an offset on. Raises LocalDamage if there are not so many."""


def cut(file: Path | int, size: int) -> tuple[Manifest, bytes]:
    """The manifest of a file of `size` bytes, not 0, given by path or descriptor; and its encoding.

    Raises LocalDamage if the file is shorter, OSError if it can not be read.
    """
    assert size > 0, "an empty file has no content"
    descriptor = file if isinstance(file, int) else os.open(file, os.O_RDONLY)
    try:
        return as_manifest(chunks_from(reading(descriptor), 0, size), size)
    finally:
        if descriptor != file:
            os.close(descriptor)


def as_manifest(chunks: Iterable[Chunk], size: int) -> tuple[Manifest, bytes]:
    """The manifest of all the chunks of a file of `size` bytes, and its encoding."""
    manifest = make_manifest(list(chunks))
    assert manifest.size == size, "chunks add up to the file"
    return manifest, encode_manifest(manifest)


def reading(descriptor: int) -> Read:
    """Of an open file."""

    def read(into: memoryview, offset: int) -> None:
        done = 0
        while done < len(into):
            count = os.preadv(descriptor, [into[done:]], offset + done)
            if count == 0:
                raise LocalDamage("A file became shorter while it was read.")
            done += count

    return read


def chunks_from(read: Read, begin: int, end: int, grows: bool = False) -> Iterator[Chunk]:
    """The chunks from a cut on. If the file `grows`, only those that no more bytes can change."""
    window = memoryview(b"")
    while begin < end:
        smallest, average, largest, until = chunk_sizes(begin)
        if end - begin <= smallest and not grows:
            # One chunk, as most small files are.
            small = memoryview(bytearray(end - begin))
            read(small, begin)
            yield chunk_id(small), len(small)
            return
        if len(window) < min(end - begin, WINDOW_CHUNKS * largest):
            # Mapped, as it goes back to the system when it is not used any more.
            window = memoryview(mmap.mmap(-1, min(end - begin, WINDOW_CHUNKS * largest)))
        data = window[: end - begin]
        read(data, begin)
        is_end = begin + len(data) == end and not grows
        done = 0
        fastcdc = FastCDC(average, min_size=smallest, max_size=largest)
        for chunk in fastcdc.cut_buf(data):
            cut_short = chunk.offset + chunk.length == len(data) and chunk.length < largest
            if begin + chunk.offset >= until or (cut_short and not is_end):
                break
            done = chunk.offset + chunk.length
            yield chunk_id(data[chunk.offset : done]), chunk.length
        if not done:
            return
        begin += done


def recut(
    read: Read,
    size: int,
    old: Sequence[Chunk],
    changed: Iterable[tuple[int, int]],
    grows: bool = False,
) -> list[Chunk]:
    """The chunks of a file that was cut before, and of which these ranges changed since.

    What is beyond the end of `old` needs not be named. Only what may have changed is read.
    """
    offsets = list(accumulate((length for _, length in old), initial=0))
    dirty = _dirty(offsets, changed)
    if offsets[-1] != size and old:
        # Where the file ended it may have been cut for no other reason.
        dirty.add(len(old) - 1)
    chunks: list[Chunk] = []
    begin = index = 0
    fresh: Iterator[Chunk] | None = None
    while begin < size:
        while index < len(old) and offsets[index] < begin:
            index += 1
        at_cut = index < len(old) and offsets[index] == begin
        # The last byte of a file may not be looked at.
        same_end = at_cut and offsets[index + 1] <= size and offsets[index + 1] != size - 1
        if same_end and index not in dirty:
            chunk, fresh = old[index], None
        else:
            fresh = fresh or chunks_from(read, begin, size, grows)
            found = next(fresh, None)
            if found is None:
                break
            chunk = found
        chunks.append(chunk)
        begin += chunk[1]
    return chunks


def _dirty(offsets: list[int], changed: Iterable[tuple[int, int]]) -> set[int]:
    """The chunks that have bytes in these ranges, or end where one of them begins."""
    dirty: set[int] = set()
    for start, end in changed:
        first, last = bisect_left(offsets, start) - 1, bisect_left(offsets, end)
        dirty.update(range(max(0, first), min(last, len(offsets) - 1)))
    return dirty
