"""How does a content's file get to its place, empty or whole, and how does it go?"""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

from sharefs.errors import DiskFull, LocalDamage

COPY_BLOCK_SIZE_BYTES = 1 << 20
LEISURELY_SIZE_BYTES_MIN = 16 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def create_empty(path: Path, size_bytes: int) -> int:
    """An empty file with room for all, open. What lies there is not known, and may be another's."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def put_in_place(draft: Path, path: Path) -> None:
    """Give a file a second name, at which another file may be."""
    try:
        _link_or_copy(draft, path)
    except FileNotFoundError:
        # A folder is missing only for the first of its many files.
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _link_or_copy(draft, path)
    except FileExistsError:
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        _link_or_copy(draft, beside)
        beside.replace(path)
        # A rename does nothing if both are the same file already.
        beside.unlink(missing_ok=True)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file; on a disk without such, a copy, synced."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}:
            raise
        _copy_synced(source, target)


def _copy_synced(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            while block := reader.read(COPY_BLOCK_SIZE_BYTES):
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
        except BaseException:
            target.unlink()
            raise


def remove_content(path: Path, size_bytes: int) -> None:
    """Remove a file. A disk takes 0.16 s to let go of 1 GiB, for which nobody has to wait."""
    if size_bytes < LEISURELY_SIZE_BYTES_MIN:
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        # Its blocks are let go of with its last descriptor.
        descriptor = os.open(path, os.O_RDONLY)
        closing = threading.Thread(target=os.close, args=(descriptor,), name="letting go")
        try:
            path.unlink()
        finally:
            closing.start()


def disk_error(error: OSError, path: Path) -> DiskFull | LocalDamage:
    """What a failure says about a content's file."""
    if error.errno in _FULL:
        return DiskFull(f"The disk of {path.parent.parent} is full: make room on it.")
    reason = os.strerror(error.errno or 0)
    return LocalDamage(f"The file {path} can not be read or written ({reason}).")
