"""What does stat say of an entry?"""

import os
from stat import S_IFDIR, S_IFLNK, S_IFREG
from typing import NamedTuple

from sharefs.mount.drafts import DraftFile, Parked
from sharefs.mount.ports import SpaceFolder
from sharefs.records.entry import EntryType
from sharefs.records.shown import Shown

BLOCK_SIZE_BYTES = 512
ROOT_INO = 1

_FILE, _RUNNABLE, _FOLDER, _LINK = (
    S_IFREG | 0o644,
    S_IFREG | 0o755,
    S_IFDIR | 0o755,
    S_IFLNK | 0o777,
)
_WRITE_BITS = 0o222

Found = SpaceFolder | Shown | DraftFile | Parked
"""Whatever a name can lead to."""


class Attributes(NamedTuple):
    """What `struct stat` holds, but for the owner, who is always this process."""

    ino: int
    mode: int
    nlink: int
    size: int
    blocks: int
    """Of 512 bytes, those on this disk. At least 1 where there are bytes: for 0, tar archives a
    hole."""
    mtime_ns: int
    ctime_ns: int


def attributes_of_root(spaces: list[SpaceFolder]) -> Attributes:
    """The folder that lists the spaces: nobody makes anything in it."""
    latest = max((space.mtime_ns for space in spaces), default=0)
    return Attributes(ROOT_INO, S_IFDIR | 0o555, 2, 0, 0, latest, latest)


def attributes_of_space(space: SpaceFolder) -> Attributes:
    """The top folder of a space."""
    mode = _FOLDER if space.writable else _FOLDER & ~_WRITE_BITS
    return Attributes(space.ino, mode, 2, 0, 0, space.mtime_ns, space.mtime_ns)


def attributes_of_entry(entry: Shown, writable: bool) -> Attributes:
    """An entry of the view; `writable` is what the space allows, before what the entry is."""
    size = entry.size
    nlink = 1
    if entry.type is EntryType.FILE:
        mode = _RUNNABLE if entry.executable else _FILE
    elif entry.type is EntryType.FOLDER:
        mode, nlink = _FOLDER, 2
    else:
        mode, size = _LINK, len(os.fsencode(entry.target))
    if not writable:
        mode &= ~_WRITE_BITS
    return Attributes(
        entry.ino,
        mode,
        nlink,
        size,
        _blocks(size, entry.local),
        entry.mtime_ns,
        entry.stamp * 1_000_000,
    )


def attributes_of_draft(draft: DraftFile) -> Attributes:
    """A file as it is being written."""
    mode = _RUNNABLE if draft.executable else _FILE
    size = draft.size
    nlink = 0 if draft.orphaned else 1
    blocks = _blocks(size, size)
    return Attributes(draft.ino, mode, nlink, size, blocks, draft.mtime_ns, draft.mtime_ns)


def _blocks(size: int, local: int) -> int:
    return max((local + BLOCK_SIZE_BYTES - 1) // BLOCK_SIZE_BYTES, 1) if size else 0
