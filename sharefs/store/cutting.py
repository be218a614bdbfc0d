"""Where are the chunks of a file, and what are they called?

FastCDC and BLAKE3 over windows of the file that are read into memory, not mapped: a mapped file
that is cut short, or a bad sector, would kill the process with SIGBUS.
"""

import contextlib
import io
import os
from pathlib import Path

from sharefs.errors import LocalDamage
from sharefs.records.content import (
    Manifest,
    chunk_id,
    chunk_sizes,
    encode_manifest,
    make_manifest,
)
from sharefs.records.ids import ChunkId

with contextlib.redirect_stdout(io.StringIO()):
    # Where it was not compiled it says so, on the standard output.
    from fastcdc import fastcdc

WINDOW_CHUNKS = 4
"""A window is that many times the largest chunk: what is read twice at its end stays little."""


def cut(file: Path | int, size: int) -> tuple[Manifest, bytes]:
    """The manifest of a file of `size` bytes, not 0, given by path or descriptor; and its encoding.

    Raises LocalDamage if the file is shorter, OSError if it can not be read.
    """
    assert size > 0, "an empty file has no content"
    if isinstance(file, int):
        manifest = make_manifest(_chunks(file, size))
    else:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            manifest = make_manifest(_chunks(descriptor, size))
        finally:
            os.close(descriptor)
    assert manifest.size == size, "chunks add up to the file"
    return manifest, encode_manifest(manifest)


def _chunks(descriptor: int, size: int) -> list[tuple[ChunkId, int]]:
    smallest, average, largest = chunk_sizes(size)
    window = memoryview(bytearray(min(size, WINDOW_CHUNKS * largest)))
    found: list[tuple[ChunkId, int]] = []
    begin = 0
    while begin < size:
        end = min(begin + len(window), size)
        data = window[: end - begin]
        _read_fully(descriptor, data, begin)
        done = 0
        for chunk in fastcdc(data, smallest, average, largest):
            # Where a chunk ends may depend on as many bytes as the largest has.
            if end < size and len(data) - chunk.offset < largest:
                break
            done = chunk.offset + chunk.length
            found.append((chunk_id(data[chunk.offset : done]), chunk.length))
        begin += done
    return found


def _read_fully(descriptor: int, into: memoryview, offset: int) -> None:
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if count == 0:
            raise LocalDamage("A file became shorter while it was read.")
        done += count
