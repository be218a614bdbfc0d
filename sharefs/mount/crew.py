"""Who serves a mount?

Threads of Python's own: Python would take a thread that comes from C for a new one at every
request, and so lose, at every one, all that is kept per thread. More threads than can work at once
only get into each other's way (one serves 3 600 new files a second, eight 1 300), so another one is
added when all but none are waiting, for bytes or for the loop, and goes when there are too many
again.
"""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

THREADS_MAX = 128
"""So many reads of bytes that are not here can wait at once."""
THREADS_IDLE_MAX = 3
STOP_SECONDS_MAX = 2.0
WAKE_SECONDS = 0.02

_system = ctypes.CDLL(None)
_system.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_system.signal.restype = ctypes.c_void_p

_WAKE_SIGNAL = signal.SIGRTMAX - 3


def _prepare_wake_signal() -> None:
    """Let the signal interrupt a thread's system call, and do nothing else.

    The handler is a function of the C library, so that no Python code has to run for it, and the
    signals of the main program stay its own. A thread that was not waiting takes no harm: Python
    repeats what was interrupted.
    """
    _system.signal(_WAKE_SIGNAL, ctypes.cast(_system.abs, ctypes.c_void_p))
    _system.siginterrupt(_WAKE_SIGNAL, 1)


class Crowded(Exception):
    """Nobody else would be left to serve if this thread waited."""


class Crew:
    """The threads of one mount. Invariant: until it stops, at least one of them is not waiting.

    `serve` goes on to the next request, and yields after each, and after a system call that was
    interrupted; it ends when there will be no more.
    """

    def __init__(self, serve: Callable[[], Iterator[None]]) -> None:
        self.ended = threading.Event()
        """Set when nobody serves any more."""
        self._serve = serve
        self._threads: set[threading.Thread] = set()
        self._waiting = 0
        self._stopping = False
        self._lock = threading.Lock()
        _prepare_wake_signal()

    def start(self) -> None:
        """Begin, with one thread."""
        self._add()

    @property
    def may_wait(self) -> bool:
        """Whether `waiting` is possible now."""
        return self._waiting < THREADS_MAX - 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """In a thread of the crew: for something that may take longer than the work it is. Raises
        Crowded."""
        with self._lock:
            if not self.may_wait:
                raise Crowded
            self._waiting += 1
            short = self._waiting >= len(self._threads)
        if short:
            self._add()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _add(self) -> None:
        thread = threading.Thread(target=self._work, name="mount", daemon=True)
        with self._lock:
            if self._stopping or len(self._threads) >= THREADS_MAX:
                return
            self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        for _ in self._serve():
            if self._stopping:
                break
            if len(self._threads) - self._waiting > THREADS_IDLE_MAX and self._strike_off():
                break
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

    def stop(self) -> list[threading.Thread]:
        """Wake those that wait for the kernel, and wait a moment for all; who there was.

        They are woken by a signal, since nothing else does it. A request to our own mount would,
        but were we killed just then, we would wait for ourselves for ever.
        """
        with self._lock:
            self._stopping = True
            threads = list(self._threads)
        for _ in range(int(STOP_SECONDS_MAX / WAKE_SECONDS)):
            # One that was just about to wait when the signal came gets another.
            for thread in threads:
                if thread.ident is not None and thread.is_alive():
                    signal.pthread_kill(thread.ident, _WAKE_SIGNAL)
            if self.ended.wait(WAKE_SECONDS):
                break
        return threads
