"""How do a large content's bytes get to the disk, and not into the page cache?

A page cache that is filled with what nobody may read again costs more than the disk does, and takes
the place of what somebody does read. Direct writes want blocks that are aligned in the file and in
memory: what is not, at both ends of a chunk, is written as usual, in pages of its own. A disk that
does not take direct writes gets all of it as usual.
"""

import errno
import fcntl
import mmap
import os
import threading

DIRECT_CONTENT_SIZE_BYTES_MIN = 32 << 20
"""Smaller contents are likely to be read soon, by programs that gain from the page cache."""
_BLOCK_SIZE_BYTES = max(4096, mmap.PAGESIZE)
_BOUNCE_SIZE_BYTES = 1 << 20
_DIRECT_SIZE_BYTES_MIN = 16 * _BLOCK_SIZE_BYTES

_of_thread = threading.local()


def write_fully(descriptor: int, data: memoryview, offset: int) -> None:
    """As pwrite, but all of it."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def write_past_cache(descriptor: int, data: memoryview, offset: int) -> None:
    """As `write_fully`. The descriptor is used by nobody else meanwhile."""
    begin = -offset % _BLOCK_SIZE_BYTES
    blocks = data[begin : len(data) - (offset + len(data)) % _BLOCK_SIZE_BYTES]
    if len(blocks) < _DIRECT_SIZE_BYTES_MIN:
        write_fully(descriptor, data, offset)
        return
    write_fully(descriptor, data[:begin], offset)
    done = begin + _write_blocks(descriptor, blocks, offset + begin)
    write_fully(descriptor, data[done:], offset + done)


def let_go(descriptor: int, start: int, end: int) -> None:
    """Have the disk write these bytes of a file, and drop those from the page cache that it has
    written by now. Returns before it is done: for the rest, say so again later."""
    os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


def _write_blocks(descriptor: int, blocks: memoryview, offset: int) -> int:
    """How many bytes of these the disk took directly."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    bounce, done = _bounce(), 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        while done < len(blocks):
            size = min(len(bounce), len(blocks) - done)
            bounce[:size] = blocks[done : done + size]
            count = os.pwrite(descriptor, bounce[:size], offset + done)
            done += count
            if count < size:
                break
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done


def _bounce() -> memoryview:
    """Memory that is aligned, and that need not be found and cleared anew each time."""
    if not hasattr(_of_thread, "bounce"):
        _of_thread.bounce = memoryview(mmap.mmap(-1, _BOUNCE_SIZE_BYTES))
    bounce: memoryview = _of_thread.bounce
    return bounce
