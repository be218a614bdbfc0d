"""How do the kernel's requests reach the core, with no library in between?

Each thread of the crew reads a request from /dev/fuse, has the core do it, and writes the answer.
The kernel's nodes are our inode numbers, which are never used twice, but for files of which an
older version is open (`nodes`). What it asks by a node that names do not lead to any more is
answered with ESTALE, and it looks the name up again.

The kernel keeps names and attributes for a second, but for attributes that change meanwhile
(`beliefs`). It forgets pages when it sees another time or
size, and when a file is opened whose version is not the one its pages are of.
"""

import contextlib
import ctypes
import errno
import itertools
import logging
import mmap
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from sharefs.errors import MountNotPossible, NoSuchEntry
from sharefs.mount import protocol
from sharefs.mount.askers import Askers
from sharefs.mount.attributes import Attributes
from sharefs.mount.beliefs import Beliefs
from sharefs.mount.core import UTIME_NOW, Core
from sharefs.mount.crew import STOP_SECONDS_MAX, Crew, Crowded
from sharefs.mount.errnos import Refusal, errno_of
from sharefs.mount.files import Handle
from sharefs.mount.names import text_of
from sharefs.mount.protocol import Changed, Feature, Operation

_log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1
"""How long the kernel believes names and attributes."""
BACKGROUND_REQUESTS_MAX = 1024
"""So many reads of pages may be here at once; the kernel keeps back what comes then, even if its
bytes are here."""
READY_SECONDS_MAX = 10.0
MOUNT_SECONDS_MAX = 10.0

_RENAME_NOREPLACE = 1
_BY_HANDLE = 1

_system = ctypes.CDLL(None, use_errno=True)
_system.read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
_system.read.restype = ctypes.c_ssize_t


class Channel:
    """A mount, served. Thread-safe."""

    def __init__(self, core: Core, mount_point: Path) -> None:
        """Raises MountNotPossible; when it returns, the kernel sends requests."""
        self.mount_point = mount_point
        self._core = core
        self._owner = protocol.Owner(os.getuid(), os.getgid())
        self._numbers = itertools.count(1)
        self._nodes = core.nodes
        self._handles: dict[int, Handle] = {}
        self._opened_by: dict[int, list[Handle]] = {}
        """By the node that the kernel knows them by."""
        self._listings: dict[int, list[tuple[bytes, Attributes]]] = {}
        self._ready = threading.Event()
        self._can_map_past_cache = False
        self._askers = Askers()
        self._handlers = self._bind()
        self._crew = Crew(self._serve)
        self.ended = self._crew.ended
        self._device = _mount(mount_point)
        self._beliefs = Beliefs(self._forget_attributes, TIMEOUT_SECONDS)
        core.watch(self._beliefs.changed)
        self._crew.start()
        if not self._ready.wait(READY_SECONDS_MAX):
            self.stop()
            raise MountNotPossible("The kernel does not answer on the new mount.")

    def _bind(self) -> dict[int, Callable[[int, memoryview], bytes | None]]:
        return {
            Operation.LOOKUP: self._lookup,
            Operation.GETATTR: self._getattr,
            Operation.SETATTR: self._setattr,
            Operation.READLINK: self._readlink,
            Operation.SYMLINK: self._symlink,
            Operation.MKNOD: self._mknod,
            Operation.MKDIR: self._mkdir,
            Operation.UNLINK: self._unlink,
            Operation.RMDIR: self._rmdir,
            Operation.RENAME: self._rename,
            Operation.RENAME2: self._rename_with_flags,
            Operation.LINK: self._link,
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.WRITE: self._write,
            Operation.STATFS: self._statfs,
            Operation.RELEASE: self._release,
            Operation.FSYNC: self._fsync,
            Operation.GETXATTR: self._getxattr,
            Operation.LISTXATTR: self._listxattr,
            Operation.INIT: self._init,
            Operation.OPENDIR: self._opendir,
            Operation.READDIR: self._readdir,
            Operation.READDIRPLUS: self._readdirplus,
            Operation.RELEASEDIR: self._releasedir,
            Operation.ACCESS: self._access,
            Operation.CREATE: self._create,
            Operation.INTERRUPT: self._interrupt,
            Operation.DESTROY: lambda ino, body: b"",
            Operation.FORGET: self._forget,
            Operation.BATCH_FORGET: self._forget_many,
        }

    # --- requests ---------------------------------------------------------------------------------

    def _serve(self) -> Iterator[None]:
        # Its pages take up memory once they are used, and large requests are few.
        buffer = mmap.mmap(-1, protocol.REQUEST_SIZE_BYTES_MAX)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        request = memoryview(buffer)
        while True:
            # Not os.read, which begins again when a signal was to wake it.
            size = _system.read(self._device, address, protocol.REQUEST_SIZE_BYTES_MAX)
            if size > 0:
                self._process(request[:size])
            elif ctypes.get_errno() not in {errno.EINTR, errno.ENOENT, errno.EAGAIN}:
                # Unmounted, or the device failed: the others will see the same.
                return
            while self._crew.may_wait and (put_off := self._askers.resume()):
                self._process(memoryview(put_off))
            yield

    def _process(self, request: memoryview) -> None:
        _, operation, unique, ino, _, _, thread, _ = protocol.read_header(request)
        body = request[protocol.HEADER_SIZE_BYTES :]
        handler = self._handlers.get(operation)
        asker = self._askers.ask(unique, thread)
        data: bytes | None = b""
        number = 0
        try:
            if handler is None:
                number = errno.ENOSYS
            elif self._may_wait(operation, body):
                with self._crew.waiting(), asker.served():
                    data = handler(ino, body)
            else:
                data = handler(ino, body)
        except Crowded:
            if self._askers.put_off(unique, bytes(request)):
                return
            number = errno.EBUSY
        except NoSuchEntry:
            number = errno.ESTALE if operation in _BY_INODE else errno.ENOENT
        except BaseException as error:
            number = errno_of(error)
        self._askers.answered(unique)
        if data is not None:
            self._answer(unique, number, data)

    def _answer(self, unique: int, number: int, data: bytes = b"") -> None:
        # Whoever asked may have been killed meanwhile, or the mount be gone.
        with contextlib.suppress(OSError):
            if number:
                os.write(self._device, protocol.answer(unique, 0, number))
            else:
                os.writev(self._device, (protocol.answer(unique, len(data)), data))

    def _interrupt(self, ino: int, body: memoryview) -> bytes | None:
        """A signal came to whoever waits for the answer to a request."""
        unique = protocol.read_number(body)[0]
        if not self._askers.interrupt(unique):
            # Another thread is about to serve it, and the kernel has to say this again then; or it
            # was answered just now, and the kernel does not mind.
            raise Refusal(errno.EAGAIN)
        if self._askers.withdraw(unique):
            self._answer(unique, errno.EINTR)
        return None

    def _may_wait(self, operation: int, body: memoryview) -> bool:
        """Whether it may take longer than the work it is: for the loop, or the network."""
        if operation not in _WITH_BYTES:
            return operation in _WAIT
        number, offset, size = protocol.read_read(body)
        handle = self._handles[number]
        if operation == Operation.READ and not self._crew.may_wait:
            return not self._core.has(handle, offset, size)
        return not handle.is_local

    def _init(self, ino: int, body: memoryview) -> bytes:
        minor, read_ahead, offered = protocol.read_init(body)
        self._can_map_past_cache = bool(offered & Feature.DIRECT_IO_ALLOW_MMAP)
        self._ready.set()
        return protocol.init(minor, read_ahead, offered, BACKGROUND_REQUESTS_MAX)

    # --- looking ----------------------------------------------------------------------------------

    def _entry(self, found: Attributes, noted: bool = True) -> bytes:
        node = self._core.node_of(found.ino)
        if noted:
            self._beliefs.note(found.ino, node)
        return protocol.entry(node, found, self._owner, TIMEOUT_SECONDS)

    def _lookup(self, folder: int, body: memoryview) -> bytes:
        return self._entry(self._core.lookup(folder, *_names(body)))

    def _attributes(self, node: int) -> Attributes:
        # While it is open it stays as it was opened, if need be without a name.
        handles = self._opened_by.get(node)
        if handles:
            return self._core.getattr_open(handles[0])
        if not self._nodes.is_current(node):
            raise NoSuchEntry("The file has another version by now.")
        return self._core.getattr(self._nodes.ino_of(node))

    def _answer_attributes(self, node: int, handle: Handle | None) -> bytes:
        if handle is None:
            self._beliefs.note(self._nodes.ino_of(node), node)
        found = self._attributes(node) if handle is None else self._core.getattr_open(handle)
        return protocol.attributes(found, self._owner, TIMEOUT_SECONDS)

    def _getattr(self, node: int, body: memoryview) -> bytes:
        flags, _, low, high = protocol.read_words(body)
        handle = self._handles.get(low | high << 32) if flags & _BY_HANDLE else None
        return self._answer_attributes(node, handle)

    def _setattr(self, node: int, body: memoryview) -> bytes:
        ino = self._nodes.ino_of(node)
        fields = protocol.read_setattr(body)
        changed, _, number, size, _, _, seconds, _, _, nanoseconds, _, mode = fields
        handle = self._handles.get(number) if changed & Changed.HANDLE else None
        if changed & Changed.SIZE and handle is not None:
            self._core.truncate_open(handle, size)
        elif changed & Changed.SIZE:
            self._core.truncate(ino, size)
        if changed & Changed.MODE:
            self._core.chmod(ino, mode)
        if changed & Changed.MTIME:
            now = changed & Changed.MTIME_NOW
            self._core.utimens(ino, (seconds, UTIME_NOW if now else nanoseconds))
        return self._answer_attributes(node, handle)

    def _forget(self, node: int, body: memoryview) -> None:
        self._nodes.forget(node, protocol.read_number(body)[0])

    def _forget_many(self, node: int, body: memoryview) -> None:
        for id, count in protocol.forgotten(body):
            self._nodes.forget(id, count)

    def _access(self, node: int, body: memoryview) -> bytes:
        self._core.check_access(
            self._nodes.ino_of(node), protocol.read_number(body)[0] & 0xFFFFFFFF
        )
        return b""

    def _readlink(self, ino: int, body: memoryview) -> bytes:
        return os.fsencode(self._core.readlink(ino))

    def _opendir(self, ino: int, body: memoryview) -> bytes:
        number = next(self._numbers)
        self._listings[number] = self._list(ino)
        return protocol.opened(number)

    def _list(self, ino: int) -> list[tuple[bytes, Attributes]]:
        attributes = self._core.getattr(ino)
        parent = self._core.parent(ino)
        listing = [(b".", attributes), (b"..", attributes._replace(ino=parent))]
        listing += [(name.encode(), child) for name, child in self._core.children(ino)]
        return listing

    def _readdir(self, ino: int, body: memoryview) -> bytes:
        return self._listing(body, None)

    def _readdirplus(self, ino: int, body: memoryview) -> bytes:
        return self._listing(body, self._entry)

    def _listing(self, body: memoryview, make_entry: Callable[[Attributes], bytes] | None) -> bytes:
        number, first, size = protocol.read_read(body)
        listing = self._listings[number]
        if first == 0:
            # A program that rewinds wants to see the folder as it is now.
            listing = self._listings[number] = self._list(listing[0][1].ino)
        rest = itertools.islice(listing, first, None)
        return protocol.listing(rest, first, size, make_entry)

    def _releasedir(self, ino: int, body: memoryview) -> bytes:
        del self._listings[protocol.read_number(body)[0]]
        return b""

    def _statfs(self, ino: int, body: memoryview) -> bytes:
        return protocol.room(*self._core.room())

    def _getxattr(self, node: int, body: memoryview) -> bytes:
        (name,) = bytes(body[8:]).split(b"\0")[:-1]
        data = self._core.getxattr(self._nodes.ino_of(node), os.fsdecode(name))
        return _sized(data, protocol.read_word(body)[0])

    def _listxattr(self, node: int, body: memoryview) -> bytes:
        names = self._core.listxattr(self._nodes.ino_of(node))
        data = b"".join(name.encode() + b"\0" for name in names)
        return _sized(data, protocol.read_word(body)[0])

    # --- files ------------------------------------------------------------------------------------

    def _open(self, node: int, body: memoryview) -> bytes:
        flags = protocol.read_word(body)[0]
        return self._opened(self._core.open(self._nodes.ino_of(node), flags), node)

    def _create(self, folder: int, body: memoryview) -> bytes:
        flags, mode, _, _ = protocol.read_words(body)
        (name,) = _names(body[16:])
        handle = self._core.create(folder, name, mode, flags)
        opened = self._opened(handle, None, never_read=flags & os.O_ACCMODE == os.O_WRONLY)
        # When it is published, it is as it was.
        return self._entry(self._core.getattr_open(handle), noted=False) + opened

    def _opened(self, handle: Handle, node: int | None, never_read: bool = False) -> bytes:
        try:
            keep = self._core.opened_by(handle, node)
        except NoSuchEntry:
            self._core.release(handle)
            raise
        assert handle.node is not None, "it is open now"
        number = next(self._numbers)
        self._handles[number] = handle
        self._opened_by.setdefault(handle.node.id, []).append(handle)
        if not keep and node is not None:
            # It may believe in the size of an earlier version.
            self._forget_attributes(node)
        # A first write through the cache would ask for an attribute (security.capability) before.
        past_cache = self._can_map_past_cache and (never_read or handle.past_cache)
        return protocol.opened(number, keep=keep, past_cache=past_cache)

    def _read(self, ino: int, body: memoryview) -> bytes:
        number, offset, size = protocol.read_read(body)
        return self._core.read(self._handles[number], offset, size)

    def _write(self, ino: int, body: memoryview) -> bytes:
        number, offset, size = protocol.read_read(body)
        data = body[protocol.WRITE_HEADER_SIZE_BYTES :][:size]
        return protocol.number(self._core.write(self._handles[number], offset, data))

    def _fsync(self, ino: int, body: memoryview) -> bytes:
        self._core.sync(self._handles[protocol.read_number(body)[0]])
        return b""

    def _release(self, node: int, body: memoryview) -> bytes:
        handle = self._handles.pop(protocol.read_number(body)[0])
        handles = self._opened_by[node]
        handles.remove(handle)
        if not handles:
            self._opened_by.pop(node, None)
        self._core.release(handle)
        return b""

    # --- names ------------------------------------------------------------------------------------

    def _mknod(self, folder: int, body: memoryview) -> bytes:
        mode = protocol.read_word(body)[0]
        (name,) = _names(body[16:])
        self._core.mknod(folder, name, mode)
        return self._entry(self._core.lookup(folder, name))

    def _mkdir(self, folder: int, body: memoryview) -> bytes:
        return self._entry(self._core.mkdir(folder, *_names(body[8:])))

    def _symlink(self, folder: int, body: memoryview) -> bytes:
        name, target = _names(body)
        self._core.symlink(folder, name, target)
        return self._entry(self._core.lookup(folder, name))

    def _link(self, folder: int, body: memoryview) -> bytes:
        raise Refusal(errno.EPERM)

    def _unlink(self, folder: int, body: memoryview) -> bytes:
        self._core.unlink(folder, *_names(body))
        return b""

    def _rmdir(self, folder: int, body: memoryview) -> bytes:
        self._core.rmdir(folder, *_names(body))
        return b""

    def _rename(self, folder: int, body: memoryview) -> bytes:
        old, new = _names(body[8:])
        self._core.rename(folder, old, protocol.read_number(body)[0], new)
        return b""

    def _rename_with_flags(self, folder: int, body: memoryview) -> bytes:
        flags = protocol.read_word(body, 8)[0]
        if flags & ~_RENAME_NOREPLACE:
            raise Refusal(errno.EINVAL)
        old, new = _names(body[16:])
        may_replace = not flags & _RENAME_NOREPLACE
        self._core.rename(folder, old, protocol.read_number(body)[0], new, may_replace)
        return b""

    # --- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Unmount, even if programs have files open, and wait for the threads."""
        threads = self._crew.stop()
        # Nobody has the device open then, which ends the requests that still wait; and a thread
        # that still has an answer to give writes it to no other file.
        with open(os.devnull, "r+b") as nothing:
            os.dup2(nothing.fileno(), self._device, inheritable=False)
        # If somebody else was quicker, it complains in vain.
        unmount(self.mount_point)
        told = self._beliefs.stop(STOP_SECONDS_MAX)
        if not self.ended.wait(STOP_SECONDS_MAX) or not told:
            _log.warning("the mount is gone, but reads of programs still wait for bytes")
            return
        for thread in threads:
            thread.join()
        os.close(self._device)

    def _forget_attributes(self, node: int) -> None:
        # ENOENT, if the kernel does not know the node.
        with contextlib.suppress(OSError):
            os.write(self._device, protocol.attributes_changed(node))


_WITH_BYTES = frozenset({Operation.READ, Operation.WRITE})
_WAIT = frozenset(
    {
        Operation.SETATTR,
        Operation.SYMLINK,
        Operation.MKDIR,
        Operation.UNLINK,
        Operation.RMDIR,
        Operation.RENAME,
        Operation.RENAME2,
    }
)
_BY_INODE = frozenset(
    {
        Operation.GETATTR,
        Operation.SETATTR,
        Operation.READLINK,
        Operation.OPEN,
        Operation.OPENDIR,
        Operation.ACCESS,
        Operation.GETXATTR,
        Operation.LISTXATTR,
    }
)


def _names(body: memoryview) -> list[str]:
    """The names that a request ends with. Raises NameNotText, NameTooLong."""
    return [text_of(name) for name in bytes(body).split(b"\0")[:-1]]


def _sized(data: bytes, size: int) -> bytes:
    """An extended attribute, or, for a size of 0, how long it is."""
    if not size:
        return protocol.number(len(data))
    if len(data) > size:
        raise Refusal(errno.ERANGE)
    return data


def _mount(mount_point: Path) -> int:
    """Have fusermount3, which may, mount; the device. Raises MountNotPossible."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = ["fusermount3", "-o", "fsname=sharefs,subtype=sharefs", "--", str(mount_point)]
        done = subprocess.run(
            command,
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=MOUNT_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise MountNotPossible(
                f"The system does not let us mount on {mount_point}: {done.stderr.strip()}"
            )
        _, (device, *_), _, _ = socket.recv_fds(ours, 1, 1)
    os.set_inheritable(device, False)
    return device


def unmount(mount_point: Path) -> subprocess.CompletedProcess[str]:
    """Have fusermount3 take a mount away, although it is in use or nobody serves it."""
    return subprocess.run(
        ["fusermount3", "-u", "-z", "--", str(mount_point)],
        capture_output=True,
        text=True,
        timeout=MOUNT_SECONDS_MAX,
        check=False,
    )
