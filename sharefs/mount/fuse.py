"""How do libfuse's callbacks reach the core?

mfusepy tells how libfuse's structures look in memory, and finds the library. Its callbacks are not
used: they lose what `rename` and `readdir` are told, build a dictionary for every stat, and let
libfuse start its own threads, for which Python makes and forgets a thread state (and all that is
kept per thread, as a database connection) at every single request. Here the threads are Python's.
Each of them runs libfuse's loop, and there is always one more than are waiting for something.

The kernel keeps names and attributes for a second. It forgets pages when it sees another time or
size, and when a file is opened whose version is not the one its pages are of (`pages`).

Import this module through `kernel`, which chooses the library first.
"""

import ctypes
import errno
import itertools
import logging
import os
import signal
import threading
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import mfusepy

from sharefs.errors import MountNotPossible
from sharefs.mount.attributes import ROOT_INO, Attributes
from sharefs.mount.core import Core
from sharefs.mount.errnos import Refusal, errno_of
from sharefs.mount.files import Handle
from sharefs.mount.names import split_path

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
"""How long the kernel believes names and attributes."""
THREADS_MIN = 4
THREADS_MAX = 128
"""So many reads of bytes that are not here can wait at once."""
BACKGROUND_REQUESTS_MAX = 64
WRITE_SIZE_BYTES_MAX = 1024 * 1024
READY_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 2.0
WAKE_SECONDS = 0.02

_FILL_PLUS = 1 << 1
_CAN_SPLICE_READ = 1 << 9
_READDIRPLUS_AUTO = 1 << 14
_RENAME_NOREPLACE = 1
_BLOCK_SIZE_BYTES = 4096
_Buffer = ctypes.c_char * WRITE_SIZE_BYTES_MAX


class _Arguments(Structure):
    _fields_ = [  # type: ignore[mutable-override]
        ("argc", c_int),
        ("argv", POINTER(c_char_p)),
        ("allocated", c_int),
    ]


_library = mfusepy._libfuse
_library.fuse_new.restype = c_void_p
_library.fuse_new.argtypes = [POINTER(_Arguments), c_void_p, c_size_t, c_void_p]
_library.fuse_mount.argtypes = [c_void_p, c_char_p]
_library.fuse_unmount.argtypes = [c_void_p]
_library.fuse_unmount.restype = None
_library.fuse_destroy.argtypes = [c_void_p]
_library.fuse_destroy.restype = None
_library.fuse_get_session.argtypes = [c_void_p]
_library.fuse_get_session.restype = c_void_p
_library.fuse_session_loop.argtypes = [c_void_p]
_library.fuse_session_exit.argtypes = [c_void_p]
_library.fuse_session_exit.restype = None
_library.fuse_invalidate_path.argtypes = [c_void_p, c_char_p]

_WAKE_SIGNAL = signal.SIGRTMAX - 3


def _prepare_wake_signal() -> None:
    """Let the signal interrupt a thread's system call, and do nothing else.

    The handler is a function of the C library, so that no Python code has to run for it, and the
    signals of the main program stay its own. A thread that was not waiting takes no harm: Python
    repeats what was interrupted.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes = [c_int, c_void_p]
    library.signal.restype = c_void_p
    library.signal(_WAKE_SIGNAL, ctypes.cast(library.abs, c_void_p))
    library.siginterrupt(_WAKE_SIGNAL, 1)


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


_NEVER_WAIT = frozenset(
    {
        "init",
        "getattr",
        "access",
        "readlink",
        "opendir",
        "readdir",
        "releasedir",
        "statfs",
        "getxattr",
        "listxattr",
        "link",
        "chown",
        "release",
    }
)


class Session:
    """A mount, and the threads that serve it. Invariant: at least one thread is not waiting."""

    def __init__(self, core: Core, mount_point: Path) -> None:
        """Raises MountNotPossible; when it returns, the kernel knows the mount."""
        self.mount_point = mount_point
        self.ended = threading.Event()
        """Set when nobody serves the mount any more, whoever unmounted it."""
        self._threads: list[threading.Thread] = []
        self._serving = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._callbacks = Callbacks(core)
        self._operations = self._bind(self._callbacks)
        words = (c_char_p * 3)(b"sharefs", b"-o", b"fsname=sharefs,subtype=sharefs")
        arguments = _Arguments(len(words), words, 0)
        operations = ctypes.byref(self._operations)
        size = ctypes.sizeof(self._operations)
        self._fuse = _library.fuse_new(ctypes.byref(arguments), operations, size, None)
        if not self._fuse:
            raise MountNotPossible(
                "libfuse does not accept our settings; its version may be too old."
            )
        if _library.fuse_mount(self._fuse, os.fsencode(mount_point)) != 0:
            _library.fuse_destroy(self._fuse)
            raise MountNotPossible(
                f"The system does not let us mount on {mount_point}; the reason is printed above."
            )
        self._session = _library.fuse_get_session(self._fuse)
        _prepare_wake_signal()
        for _ in range(THREADS_MIN):
            self._add_thread()
        if not self._callbacks.ready.wait(READY_SECONDS_MAX):
            self.stop()
            raise MountNotPossible("The kernel does not answer on the new mount.")

    def _bind(self, callbacks: Callbacks) -> Any:
        operations = mfusepy.fuse_operations()
        for name, prototype, *_ in mfusepy.fuse_operations._fields_:
            callback = getattr(callbacks, name, None)
            if callback is not None:
                wrap = _answering if name in _NEVER_WAIT else self._counting
                setattr(operations, name, prototype(wrap(callback)))
        return operations

    # --- threads ----------------------------------------------------------------------------------

    def _counting(self, callback: Callable[..., int | None]) -> Callable[..., int]:
        """Answer a request that may wait, with another thread at hand for the next one."""

        def call(*arguments: Any) -> int:
            with self._lock:
                self._waiting += 1
                short = self._waiting >= self._serving
            if short:
                self._add_thread()
            try:
                return callback(*arguments) or 0
            except BaseException as error:
                return -errno_of(error)
            finally:
                with self._lock:
                    self._waiting -= 1

        return call

    def _add_thread(self) -> None:
        with self._lock:
            if self._serving >= THREADS_MAX:
                return
            self._serving += 1
            thread = threading.Thread(
                target=self._serve, name=f"mount {len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        try:
            _library.fuse_session_loop(self._session)
        finally:
            with self._lock:
                self._serving -= 1
                last = self._serving == 0
            if last:
                self.ended.set()

    # --- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Unmount, even if programs have files open, and wait for the threads."""
        stopped = self._end_threads()
        # Closes the device, which ends the requests that still wait, and unmounts lazily.
        _library.fuse_unmount(self._fuse)
        if not stopped and not self.ended.wait(STOP_SECONDS_MAX):
            _log.warning("the mount is gone, but reads of programs still wait for bytes")
            return
        for thread in self._threads:
            thread.join()
        _library.fuse_destroy(self._fuse)

    def _end_threads(self) -> bool:
        """Threads that wait for the kernel are woken by a signal, since nothing else does it.

        A request to our own mount would, but libfuse drops it unanswered; were we killed just then,
        we would wait for ourselves for ever.
        """
        for _ in range(int(STOP_SECONDS_MAX / WAKE_SECONDS)):
            # A thread that ends takes the flag back, so it is set again every time.
            _library.fuse_session_exit(self._session)
            for thread in self._threads:
                if thread.ident is not None and thread.is_alive():
                    signal.pthread_kill(thread.ident, _WAKE_SIGNAL)
            if self.ended.wait(WAKE_SECONDS):
                return True
        return False

    def forget(self, path: str) -> None:
        """Tell the kernel that attributes and bytes of a path, as `/Family/a.txt`, may have
        changed.

        Not from a thread that serves the mount: the kernel waits for pages that are being read.
        """
        if not self.ended.is_set():
            _library.fuse_invalidate_path(self._fuse, path.encode())


def _answering(callback: Callable[..., int | None]) -> Callable[..., int]:
    """Answer a request that never waits."""

    def call(*arguments: Any) -> int:
        try:
            return callback(*arguments) or 0
        except BaseException as error:
            return -errno_of(error)

    return call
