"""Who answers the kernel's requests, and when does that end?

Threads of Python's, each of which receives and processes one request after the other. libfuse would
start threads of its own, for which Python makes and forgets a thread state, and all that is kept
per thread, as a database connection, at every single request. More threads than can work at once
only get into each other's way (one serves 3 600 new files a second, eight 1 300), so another one is
added when all but none are waiting, for bytes or for the loop, and goes when there are too many
again.
"""

import ctypes
import errno
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
from sharefs.mount.core import Core
from sharefs.mount.errnos import errno_of
from sharefs.mount.fuse import Callbacks

_log = logging.getLogger(__name__)

THREADS_MAX = 128
"""So many reads of bytes that are not here can wait at once."""
THREADS_IDLE_MAX = 3
READY_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 2.0
WAKE_SECONDS = 0.02


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
_system.signal.argtypes = [c_int, c_void_p]
_system.signal.restype = c_void_p

_WAKE_SIGNAL = signal.SIGRTMAX - 3


def _prepare_wake_signal() -> None:
    """Let the signal interrupt a thread's system call, and do nothing else.

    The handler is a function of the C library, so that no Python code has to run for it, and the
    signals of the main program stay its own. A thread that was not waiting takes no harm: Python
    repeats what was interrupted.
    """
    _system.signal(_WAKE_SIGNAL, ctypes.cast(_system.abs, c_void_p))
    _system.siginterrupt(_WAKE_SIGNAL, 1)


class Session:
    """A mount, and the threads that serve it. Invariant: at least one of them is not waiting."""

    def __init__(self, core: Core, mount_point: Path) -> None:
        """Raises MountNotPossible; when it returns, the kernel sends requests."""
        self.mount_point = mount_point
        self.ended = threading.Event()
        """Set when nobody serves the mount any more, whoever unmounted it."""
        self._threads: set[threading.Thread] = set()
        self._waiting = 0
        self._stopping = False
        self._lock = threading.Lock()
        self._callbacks = Callbacks(core)
        self._operations = self._bind()
        self._fuse = self._mount()
        self._session = _library.fuse_get_session(self._fuse)
        _prepare_wake_signal()
        self._add_thread()
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

    # --- threads ----------------------------------------------------------------------------------

    def _answering(self, name: str, callback: Callable[..., int | None]) -> Callable[..., int]:
        """Answer a request; while one waits, another thread is at hand for the next."""
        may_wait = self._callbacks.may_wait

        def call(*arguments: Any) -> int:
            try:
                if not may_wait(name, arguments):
                    return callback(*arguments) or 0
                self._begin_waiting()
                try:
                    return callback(*arguments) or 0
                finally:
                    self._end_waiting()
            except BaseException as error:
                return -errno_of(error)

        return call

    def _begin_waiting(self) -> None:
        with self._lock:
            self._waiting += 1
            short = self._waiting >= len(self._threads)
        if short:
            self._add_thread()

    def _end_waiting(self) -> None:
        with self._lock:
            self._waiting -= 1

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="mount", daemon=True)
        with self._lock:
            if self._stopping or len(self._threads) >= THREADS_MAX:
                return
            self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        request = _Request()
        where = ctypes.byref(request)
        receive, process = _library.fuse_session_receive_buf, _library.fuse_session_process_buf
        while not self._stopping:
            size = receive(self._session, where)
            if size > 0:
                process(self._session, where)
                if len(self._threads) - self._waiting > THREADS_IDLE_MAX and self._strike_off():
                    break
            elif size == 0 or size != -errno.EINTR:
                # Unmounted, or the device failed: the others will see the same.
                break
        _system.free(request.buffer.mem)
        with self._lock:
            self._threads.discard(threading.current_thread())
            if not self._threads:
                self.ended.set()

    def _strike_off(self) -> bool:
        """Whether this thread is one too many; then it is not counted any more."""
        with self._lock:
            too_many = len(self._threads) - self._waiting > THREADS_IDLE_MAX
            if too_many:
                self._threads.discard(threading.current_thread())
            return too_many

    # --- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Unmount, even if programs have files open, and wait for the threads."""
        threads = self._end_threads()
        # Closes the device, which ends the requests that still wait, and unmounts lazily.
        _library.fuse_unmount(self._fuse)
        if not self.ended.wait(STOP_SECONDS_MAX):
            _log.warning("the mount is gone, but reads of programs still wait for bytes")
            return
        for thread in threads:
            thread.join()
        _library.fuse_destroy(self._fuse)

    def _end_threads(self) -> list[threading.Thread]:
        """Threads that wait for the kernel are woken by a signal, since nothing else does it.

        A request to our own mount would, but libfuse drops it unanswered; were we killed just then,
        we would wait for ourselves for ever.
        """
        with self._lock:
            self._stopping = True
            threads = list(self._threads)
        _library.fuse_session_exit(self._session)
        for _ in range(int(STOP_SECONDS_MAX / WAKE_SECONDS)):
            # One that was just about to wait when the signal came gets another.
            for thread in threads:
                if thread.ident is not None and thread.is_alive():
                    signal.pthread_kill(thread.ident, _WAKE_SIGNAL)
            if self.ended.wait(WAKE_SECONDS):
                break
        return threads

    def forget(self, path: str) -> None:
        """Tell the kernel that attributes and bytes of a path, as `/Family/a`, may have changed.

        Not from a thread that serves the mount: the kernel waits for pages that are being read.
        """
        if not self.ended.is_set():
            _library.fuse_invalidate_path(self._fuse, path.encode())
