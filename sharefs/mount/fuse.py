"""What does each of libfuse's callbacks do?

mfusepy tells how libfuse's structures look in memory, and finds the library. Its own callbacks are
not used: they lose what `rename` and `readdir` are told, and build a dictionary for every stat. So
are its threads not (`session`).

The kernel keeps names and attributes for a second. It forgets pages when it sees another time or
size, and when a file is opened whose version is not the one its pages are of (`pages`).

Import this module through `kernel`, which chooses the library first.
"""

import ctypes
import errno
import itertools
import os
import threading
from typing import Any

import mfusepy

from sharefs.mount.attributes import ROOT_INO, Attributes
from sharefs.mount.core import Core
from sharefs.mount.errnos import Refusal
from sharefs.mount.files import Handle
from sharefs.mount.names import split_path

TIMEOUT_SECONDS = 1.0
"""How long the kernel believes names and attributes."""
BACKGROUND_REQUESTS_MAX = 64
WRITE_SIZE_BYTES_MAX = 1024 * 1024

_FILL_PLUS = 1 << 1
_CAN_SPLICE_READ = 1 << 9
_READDIRPLUS_AUTO = 1 << 14
_RENAME_NOREPLACE = 1
_BLOCK_SIZE_BYTES = 4096
_Buffer = ctypes.c_char * WRITE_SIZE_BYTES_MAX


class Callbacks:
    """What libfuse calls. Paths are bytes; files and open folders are known by their numbers."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._numbers = itertools.count(1)
        self._handles: dict[int, Handle] = {}
        self._listings: dict[int, list[tuple[bytes, Attributes]]] = {}
        self._owner = (os.getuid(), os.getgid())
        self.ready = threading.Event()
        """Set when the kernel has introduced itself, and so will send requests."""

    # --- from paths to inodes ---------------------------------------------------------------------

    def _walk(self, names: list[str]) -> int:
        ino, find = ROOT_INO, self._core.find
        for name in names:
            ino = find(ino, name).ino
        return ino

    def _ino(self, path: bytes) -> int:
        return self._walk(split_path(path))

    def _place(self, path: bytes) -> tuple[int, str]:
        """The folder, and the name in it."""
        names = split_path(path)
        if not names:
            raise Refusal(errno.EBUSY)
        return self._walk(names[:-1]), names[-1]

    def _fill(self, buffer: Any, attributes: Attributes) -> None:
        buffer.st_ino, buffer.st_mode, buffer.st_nlink, buffer.st_size, buffer.st_blocks = (
            attributes[:5]
        )
        buffer.st_uid, buffer.st_gid = self._owner
        buffer.st_blksize = WRITE_SIZE_BYTES_MAX
        for timespec, nanoseconds in (
            (buffer.st_mtimespec, attributes.mtime_ns),
            (buffer.st_atimespec, attributes.mtime_ns),
            (buffer.st_ctimespec, attributes.ctime_ns),
        ):
            timespec.tv_sec, timespec.tv_nsec = divmod(nanoseconds, 1_000_000_000)

    def may_wait(self, name: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a request may take longer than the work it is: for the loop, or the network."""
        if name in {"read", "write"}:
            return not self._handles[arguments[-1].contents.fh].is_local
        return name in _WAIT

    # --- looking ----------------------------------------------------------------------------------

    def init(self, connection: Any, config: Any) -> None:
        """Settings that libfuse does not take as options, or only under other names."""
        settings = config.contents
        settings.entry_timeout = settings.attr_timeout = TIMEOUT_SECONDS
        settings.negative_timeout = 0.0
        settings.use_ino = settings.hard_remove = settings.nullpath_ok = 1
        wanted = connection.contents
        wanted.max_background = BACKGROUND_REQUESTS_MAX
        wanted.congestion_threshold = BACKGROUND_REQUESTS_MAX
        # A pipe between kernel and libfuse costs more than it saves: the bytes are copied anyway.
        wanted.want &= ~_CAN_SPLICE_READ
        # Whoever lists a folder of ours asks for attributes next; they cost least in the listing.
        wanted.want &= ~_READDIRPLUS_AUTO
        self.ready.set()

    def getattr(self, path: bytes | None, buffer: Any, info: Any) -> None:
        if path is None:
            attributes = self._core.getattr_open(self._handles[info.contents.fh])
        else:
            names = split_path(path)
            if names:
                folder = self._walk(names[:-1])
                attributes = self._core.lookup(folder, names[-1])
            else:
                attributes = self._core.getattr(ROOT_INO)
        self._fill(buffer.contents, attributes)

    def access(self, path: bytes, mask: int) -> None:
        self._core.check_access(self._ino(path), mask)

    def readlink(self, path: bytes, buffer: Any, size: int) -> None:
        target = os.fsencode(self._core.readlink(self._ino(path)))[: size - 1] + b"\0"
        ctypes.memmove(buffer, target, len(target))

    def opendir(self, path: bytes, info: Any) -> None:
        number = next(self._numbers)
        self._listings[number] = self._list(self._ino(path))
        info.contents.fh = number

    def _list(self, ino: int) -> list[tuple[bytes, Attributes]]:
        attributes = self._core.getattr(ino)
        parent = self._core.parent(ino)
        listing = [(b".", attributes), (b"..", attributes._replace(ino=parent))]
        listing += [(name.encode(), child) for name, child in self._core.children(ino)]
        return listing

    def readdir(
        self, path: bytes | None, buffer: Any, fill: Any, offset: int, info: Any, flags: int
    ) -> None:
        number = info.contents.fh
        listing = self._listings[number]
        if offset == 0:
            # A program that rewinds wants to see the folder as it is now.
            listing = self._listings[number] = self._list(listing[0][1].ino)
        status = mfusepy.c_stat()
        for index in range(offset, len(listing)):
            name, attributes = listing[index]
            self._fill(status, attributes)
            if fill(buffer, name, status, index + 1, _FILL_PLUS):
                break

    def releasedir(self, path: bytes | None, info: Any) -> None:
        del self._listings[info.contents.fh]

    def statfs(self, path: bytes, buffer: Any) -> None:
        room, free = self._core.room()
        status = buffer.contents
        status.f_bsize = status.f_frsize = _BLOCK_SIZE_BYTES
        status.f_blocks = room // _BLOCK_SIZE_BYTES
        status.f_bfree = status.f_bavail = free // _BLOCK_SIZE_BYTES
        status.f_namemax = 255

    def getxattr(self, path: bytes, name: bytes, buffer: Any, size: int) -> int:
        if name == b"security.capability":
            # The kernel asks this before every write.
            return -errno.ENODATA
        return _give(self._core.getxattr(self._ino(path), os.fsdecode(name)), buffer, size)

    def listxattr(self, path: bytes, buffer: Any, size: int) -> int:
        names = self._core.listxattr(self._ino(path))
        return _give(b"".join(name.encode() + b"\0" for name in names), buffer, size)

    # --- files ------------------------------------------------------------------------------------

    def open(self, path: bytes, info: Any) -> None:
        information = info.contents
        folder, name = self._place(path)
        self._opened(self._core.open_at(folder, name, information.flags), information)

    def create(self, path: bytes, mode: int, info: Any) -> None:
        information = info.contents
        folder, name = self._place(path)
        self._opened(self._core.create(folder, name, mode, information.flags), information)

    def _opened(self, handle: Handle, information: Any) -> None:
        opening = self._core.opening(handle)
        information.keep_cache, information.direct_io = opening.keep, opening.direct
        information.fh = number = next(self._numbers)
        self._handles[number] = handle

    def read(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        data = self._core.read(self._handles[info.contents.fh], offset, size)
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def write(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        handle = self._handles[info.contents.fh]
        if size > WRITE_SIZE_BYTES_MAX:
            return self._core.write(handle, offset, ctypes.string_at(buffer, size))
        data = memoryview(_Buffer.from_address(ctypes.addressof(buffer.contents)))
        return self._core.write(handle, offset, data[:size])

    def truncate(self, path: bytes | None, size: int, info: Any) -> None:
        if path is None:
            self._core.truncate_open(self._handles[info.contents.fh], size)
        else:
            self._core.truncate(self._ino(path), size)

    def fsync(self, path: bytes | None, only_data: int, info: Any) -> None:
        self._core.sync(self._handles[info.contents.fh])

    def release(self, path: bytes | None, info: Any) -> None:
        self._core.release(self._handles.pop(info.contents.fh))

    # --- names and attributes ---------------------------------------------------------------------

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        self._core.mknod(*self._place(path), mode)

    def mkdir(self, path: bytes, mode: int) -> None:
        self._core.mkdir(*self._place(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        self._core.symlink(*self._place(path), target.decode())

    def link(self, path: bytes, other: bytes) -> None:
        raise Refusal(errno.EPERM)

    def unlink(self, path: bytes) -> None:
        self._core.unlink(*self._place(path))

    def rmdir(self, path: bytes) -> None:
        self._core.rmdir(*self._place(path))

    def rename(self, path: bytes, other: bytes, flags: int) -> None:
        if flags & ~_RENAME_NOREPLACE:
            raise Refusal(errno.EINVAL)
        may_replace = not flags & _RENAME_NOREPLACE
        self._core.rename(*self._place(path), *self._place(other), may_replace)

    def chmod(self, path: bytes | None, mode: int, info: Any) -> None:
        self._core.chmod(self._ino_of(path, info), mode)

    def chown(self, path: bytes | None, owner: int, group: int, info: Any) -> None:
        """Every file belongs to whoever looks: there is nothing to change, and no harm in
        asking."""

    def utimens(self, path: bytes | None, times: Any, info: Any) -> None:
        mtime = None
        if times:
            modified = times.contents.modtime
            mtime = (modified.tv_sec, modified.tv_nsec)
        self._core.utimens(self._ino_of(path, info), mtime)

    def _ino_of(self, path: bytes | None, info: Any) -> int:
        return self._handles[info.contents.fh].ino if path is None else self._ino(path)


def _give(data: bytes, buffer: Any, size: int) -> int:
    """Answer with an extended attribute, or, for a size of 0, with how long it is."""
    if size:
        if len(data) > size:
            raise Refusal(errno.ERANGE)
        ctypes.memmove(buffer, data, len(data))
    return len(data)


_WAIT = frozenset(
    {"truncate", "unlink", "rmdir", "mkdir", "symlink", "rename", "chmod", "utimens"},
)
