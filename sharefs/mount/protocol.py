"""What do the kernel's requests on /dev/fuse look like, and what are the answers?

After <linux/fuse.h> of protocol 7.38; all numbers are little-endian as on every machine that we run
on. Requests are read where they lie in the channel's buffer.
"""

import enum
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sharefs.mount.attributes import Attributes

MAJOR, MINOR = 7, 38
HEADER_SIZE_BYTES = 40
WRITE_SIZE_BYTES_MAX = 1024 * 1024
READ_PAGES_MAX = 256
REQUEST_SIZE_BYTES_MAX = WRITE_SIZE_BYTES_MAX + 4096
_BLOCK_SIZE_BYTES = 4096


class Operation(enum.IntEnum):
    """What the kernel asks for. What is not here is answered with ENOSYS, which it remembers."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    GETXATTR = 22
    LISTXATTR = 23
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44
    RENAME2 = 45


class Feature(enum.IntFlag):
    """What both sides can."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    HANDLE_KILLPRIV_V2 = 1 << 28
    """We keep no privileges, so the kernel asks for them before a file's first write only."""
    INIT_EXT = 1 << 30
    """There are more than 32 features."""
    DIRECT_IO_ALLOW_MMAP = 1 << 36
    """What is read past the page cache can be mapped all the same."""


FEATURES = sum(Feature)


class Changed(enum.IntFlag):
    """Which fields of SETATTR say something."""

    MODE = 1 << 0
    SIZE = 1 << 3
    MTIME = 1 << 5
    HANDLE = 1 << 6
    MTIME_NOW = 1 << 8


class Owner(NamedTuple):
    """To whom all files belong: whoever mounted."""

    uid: int
    gid: int


read_header = struct.Struct("<IIQQIIII").unpack_from
"""Of every request: size, operation, the number that names it in its answer, node, user, group,
thread, extensions."""
read_number = struct.Struct("<Q").unpack_from
"""The handle or inode at the start of most requests; what INTERRUPT interrupts."""
read_word = struct.Struct("<I").unpack_from
read_words = struct.Struct("<IIII").unpack_from
read_read = struct.Struct("<QQI").unpack_from
"""READ, READDIR and WRITE: handle, offset, size in bytes."""
read_setattr = struct.Struct("<IIQQQqqqIIII").unpack_from
"""valid, _, handle, size, _, atime, mtime, ctime, and their nanoseconds, then the mode."""
WRITE_HEADER_SIZE_BYTES = 40
ENTRY_SIZE_BYTES = 128

_answer = struct.Struct("<IiQ").pack
_init = struct.Struct("<IIIIHHIIHHII24x").pack
_entry = struct.Struct("<QQQQIIQQQqqqIIIIIIIIII").pack
_attributes = struct.Struct("<QIIQQQqqqIIIIIIIIII").pack
_opened = struct.Struct("<QII").pack
_number = struct.Struct("<II").pack
_room = struct.Struct("<QQQQQIIII24x").pack
_name = struct.Struct("<QQII").pack
_inode_changed = struct.Struct("<Qqq").pack

_NOWHERE = bytes(ENTRY_SIZE_BYTES)
_PAST_CACHE = 1 << 0
_KEEP_PAGES = 1 << 1
_INODE_CHANGED = 2


def answer(unique: int, size: int, errno: int = 0) -> bytes:
    """The beginning of an answer that has `size` bytes more."""
    return _answer(16 + size, -errno, unique)


def read_init(body: memoryview) -> tuple[int, int, int]:
    """Of INIT: the minor version, the bytes of read-ahead, and the features offered."""
    _, minor, read_ahead, offered = read_words(body)
    if offered & Feature.INIT_EXT:
        offered |= read_word(body, 16)[0] << 32
    return minor, read_ahead, offered


def init(minor: int, read_ahead: int, offered: int, background: int) -> bytes:
    """The answer to INIT: what was offered, of what we can."""
    return _init(
        MAJOR,
        min(minor, MINOR),
        read_ahead,
        FEATURES & offered & 0xFFFFFFFF,
        background,
        background,
        WRITE_SIZE_BYTES_MAX,
        1,
        READ_PAGES_MAX,
        0,
        (FEATURES & offered) >> 32,
        0,
    )


def attributes(found: Attributes, owner: Owner, timeout_seconds: int) -> bytes:
    """The answer to GETATTR and SETATTR."""
    return _attributes(timeout_seconds, 0, 0, *_stat(found, owner))


def entry(node: int, found: Attributes, owner: Owner, timeout_seconds: int) -> bytes:
    """The answer to LOOKUP, and whatever makes a name."""
    return _entry(node, 0, timeout_seconds, timeout_seconds, 0, 0, *_stat(found, owner))


def _stat(found: Attributes, owner: Owner) -> tuple[int, ...]:
    modified, modified_ns = divmod(found.mtime_ns, 1_000_000_000)
    changed, changed_ns = divmod(found.ctime_ns, 1_000_000_000)
    return (
        found.ino,
        found.size,
        found.blocks,
        modified,
        modified,
        changed,
        modified_ns,
        modified_ns,
        changed_ns,
        found.mode,
        found.nlink,
        *owner,
        0,
        WRITE_SIZE_BYTES_MAX,
        0,
    )


def opened(handle: int, *, keep: bool = False, past_cache: bool = False) -> bytes:
    """The answer to OPEN and OPENDIR, and the second half of that to CREATE."""
    return _opened(handle, (_KEEP_PAGES if keep else 0) | (_PAST_CACHE if past_cache else 0), 0)


def number(value: int) -> bytes:
    """How many bytes were written, or an extended attribute has."""
    return _number(value, 0)


def room(total: int, free: int) -> bytes:
    """The answer to STATFS; in bytes."""
    blocks, left = total // _BLOCK_SIZE_BYTES, free // _BLOCK_SIZE_BYTES
    return _room(blocks, left, left, 0, 0, _BLOCK_SIZE_BYTES, 255, _BLOCK_SIZE_BYTES, 0)


def listing(
    names: Iterable[tuple[bytes, Attributes]],
    first: int,
    size: int,
    make_entry: Callable[[Attributes], bytes] | None,
) -> bytes:
    """As much of a folder as `size` bytes hold, from the name numbered `first` on; READDIRPLUS
    with a function that makes an `entry`."""
    parts: list[bytes] = []
    for position, (name, found) in enumerate(names, first + 1):
        padding = -len(name) % 8
        size -= 24 + len(name) + padding + (ENTRY_SIZE_BYTES if make_entry is not None else 0)
        if size < 0:
            break
        if make_entry is not None:
            # The kernel knows the dots, and counts no look-up for them.
            parts.append(_NOWHERE if name in (b".", b"..") else make_entry(found))
        parts += (_name(found.ino, position, len(name), found.mode >> 12), name, bytes(padding))
    return b"".join(parts)


def forgotten(body: memoryview) -> Iterator[tuple[int, int]]:
    """What BATCH_FORGET says: nodes, and how often the kernel was told of each."""
    return struct.iter_unpack("<QQ", body[8:])


def attributes_changed(node: int) -> bytes:
    """Tell the kernel to forget the attributes of a node, but not its pages, for which it might
    have to wait."""
    data = _inode_changed(node, -1, 0)
    return _answer(16 + len(data), _INODE_CHANGED, 0) + data
