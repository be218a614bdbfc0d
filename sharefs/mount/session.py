"""Who answers the kernel's requests, where libfuse stands in between?

libfuse would start threads of its own, for which Python makes and forgets a thread state at every
single request: so its loop runs in the threads of a crew.
"""

import ctypes
import errno
import logging
import os
from collections.abc import Callable, Iterator
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import mfusepy

from sharefs.errors import MountNotPossible
from sharefs.mount.core import Core
from sharefs.mount.crew import STOP_SECONDS_MAX, Crew
from sharefs.mount.errnos import errno_of
from sharefs.mount.fuse import Callbacks

_log = logging.getLogger(__name__)

READY_SECONDS_MAX = 10.0


class _Arguments(Structure):
    _fields_ = [  # type: ignore[mutable-override]
        ("argc", c_int),
        ("argv", POINTER(c_char_p)),
        ("allocated", c_int),
    ]


class _Request(Structure):
    """libfuse's `fuse_buf`, with room for what later versions add at its end."""

    _fields_ = [  # type: ignore[mutable-override]
        ("buffer", mfusepy.fuse_buf),
        ("later", c_size_t * 8),
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
_library.fuse_session_receive_buf.argtypes = [c_void_p, c_void_p]
_library.fuse_session_process_buf.argtypes = [c_void_p, c_void_p]
_library.fuse_session_process_buf.restype = None
_library.fuse_session_exit.argtypes = [c_void_p]
_library.fuse_session_exit.restype = None
_library.fuse_invalidate_path.argtypes = [c_void_p, c_char_p]

_system = ctypes.CDLL(None)
_system.free.argtypes = [c_void_p]
_system.free.restype = None


class Session:
    """A mount, served."""

    def __init__(self, core: Core, mount_point: Path) -> None:
        """Raises MountNotPossible; when it returns, the kernel sends requests."""
        self.mount_point = mount_point
        self._crew = Crew(self._serve)
        self.ended = self._crew.ended
        self._callbacks = Callbacks(core)
        self._operations = self._bind()
        self._fuse = self._mount()
        self._session = _library.fuse_get_session(self._fuse)
        self._crew.start()
        if not self._callbacks.ready.wait(READY_SECONDS_MAX):
            self.stop()
            raise MountNotPossible("The kernel does not answer on the new mount.")

    def _bind(self) -> Any:
        operations = mfusepy.fuse_operations()
        for name, prototype, *_ in mfusepy.fuse_operations._fields_:
            callback = getattr(self._callbacks, name, None)
            if callback is not None:
                setattr(operations, name, prototype(self._answering(name, callback)))
        return operations

    def _mount(self) -> int:
        words = (c_char_p * 3)(b"sharefs", b"-o", b"fsname=sharefs,subtype=sharefs")
        arguments = _Arguments(len(words), words, 0)
        operations = ctypes.byref(self._operations)
        size = ctypes.sizeof(self._operations)
        fuse: int | None = _library.fuse_new(ctypes.byref(arguments), operations, size, None)
        if not fuse:
            raise MountNotPossible(
                "libfuse does not accept our settings; its version may be too old."
            )
        if _library.fuse_mount(fuse, os.fsencode(self.mount_point)) != 0:
            _library.fuse_destroy(fuse)
            raise MountNotPossible(
                f"The system does not let us mount on {self.mount_point};"
                " the reason is printed above."
            )
        return fuse

    # --- requests ---------------------------------------------------------------------------------

    def _answering(self, name: str, callback: Callable[..., int | None]) -> Callable[..., int]:
        """Answer a request; while one waits, another thread is at hand for the next."""
        may_wait, waiting = self._callbacks.may_wait, self._crew.waiting

        def call(*arguments: Any) -> int:
            try:
                if not may_wait(name, arguments):
                    return callback(*arguments) or 0
                with waiting():
                    return callback(*arguments) or 0
            except BaseException as error:
                return -errno_of(error)

        return call

    def _serve(self) -> Iterator[None]:
        request = _Request()
        where = ctypes.byref(request)
        receive, process = _library.fuse_session_receive_buf, _library.fuse_session_process_buf
        try:
            # Otherwise unmounted, or the device failed: the others will see the same.
            while (size := receive(self._session, where)) > 0 or size == -errno.EINTR:
                if size > 0:
                    process(self._session, where)
                yield
        finally:
            _system.free(request.buffer.mem)

    # --- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Unmount, even if programs have files open, and wait for the threads."""
        _library.fuse_session_exit(self._session)
        threads = self._crew.stop()
        # Closes the device, which ends the requests that still wait, and unmounts lazily.
        _library.fuse_unmount(self._fuse)
        if not self.ended.wait(STOP_SECONDS_MAX):
            _log.warning("the mount is gone, but reads of programs still wait for bytes")
            return
        for thread in threads:
            thread.join()
        _library.fuse_destroy(self._fuse)

    def forget(self, path: str) -> None:
        """Tell the kernel that attributes and bytes of a path, as `/Family/a`, may have changed.

        Not from a thread that serves the mount: the kernel waits for pages that are being read.
        """
        if not self.ended.is_set():
            _library.fuse_invalidate_path(self._fuse, path.encode())
