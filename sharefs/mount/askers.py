"""Does whoever asked still wait for the answer?

The kernel says INTERRUPT when a signal comes to a thread that waits for an answer itself. For the
pages that read-ahead asks for, no thread waits in its own name: one that is killed goes at once,
and leaves its requests behind; one that handles the signal goes on waiting for the page. So whoever
waits for bytes here looks, from time to time, at the thread that asked.

Only signals that are to end something end a read. POSIX lets any signal do so, but on disks none
does, so programs that are sent others all the time (by timers, children, a terminal's size) do not
expect it.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sharefs.errors import TransferInterrupted

LOOK_SECONDS = 0.04
PUT_OFF_REQUESTS_MAX = 4096

_ENDING = sum(
    1 << number - 1
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGALRM,
        signal.SIGTERM,
        # The kernel sends it to every thread of a program that any other signal kills.
        signal.SIGKILL,
    )
)
_DEAD = b"ZX"
_STATUS_SIZE_BYTES_MAX = 8192
_field = re.compile(rb"^(State|SigPnd|ShdPnd|SigBlk):\t(\w+)", re.MULTILINE)


class Asker:
    """The thread that waits for the answer to a request. Thread-safe."""

    def __init__(self, thread: int) -> None:
        """The thread's id; 0 where the kernel can not name it to us."""
        self._thread = thread
        self._interrupted = False
        self._arrival: Arrival | None = None

    def interrupt(self) -> None:
        """The kernel says that a signal came to the thread."""
        self._interrupted = True
        if self._arrival is not None:
            self._arrival.look()

    @property
    def gave_up(self) -> bool:
        """Whether nobody is to wait for the answer any more."""
        return _gave_up(self._thread) if self._thread else self._interrupted

    @contextmanager
    def served(self) -> Iterator[None]:
        """What this thread waits for meanwhile, it waits for on behalf of the asker."""
        _serving.asker = self
        try:
            yield
        finally:
            _serving.asker = None

    @contextmanager
    def _awaiting(self, arrival: "Arrival") -> Iterator[None]:
        self._arrival = arrival
        try:
            yield
        finally:
            self._arrival = None


class Askers:
    """Those whose requests are not answered, by the requests' numbers. Thread-safe."""

    def __init__(self) -> None:
        self._askers: dict[int, Asker] = {}
        self._put_off: dict[int, bytes] = {}
        """The requests among them that nobody serves yet, in order."""
        self._lock = threading.Lock()

    def ask(self, number: int, thread: int) -> Asker:
        """A request is served from now on."""
        asker = self._askers.get(number)
        if asker is None:
            asker = self._askers[number] = Asker(thread)
        return asker

    def answered(self, number: int) -> None:
        """A request is not to be answered any more."""
        self._askers.pop(number, None)

    def put_off(self, number: int, request: bytes) -> bool:
        """Nobody can serve it now; False if that is so of too many."""
        with self._lock:
            if len(self._put_off) >= PUT_OFF_REQUESTS_MAX:
                return False
            self._put_off[number] = request
        return True

    def resume(self) -> bytes | None:
        """The request that was put off first, for whoever can serve it now."""
        if not self._put_off:
            return None
        with self._lock:
            number = next(iter(self._put_off), None)
            return None if number is None else self._put_off.pop(number)

    def interrupt(self, number: int) -> bool:
        """The kernel says that a signal came to the asker; whether we know of the request."""
        asker = self._askers.get(number)
        if asker is not None:
            asker.interrupt()
        return asker is not None

    def withdraw(self, number: int) -> bool:
        """Whether it was put off, and is to be served no more, because its asker gave up."""
        asker = self._askers.get(number)
        if number not in self._put_off or asker is None or not asker.gave_up:
            return False
        with self._lock:
            withdrawn = self._put_off.pop(number, None) is not None
        if withdrawn:
            self.answered(number)
        return withdrawn


class Arrival:
    """Something that a thread waits for, as for an Event, until whoever asked gives up."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._come = False

    def set(self) -> None:
        """It is here. From any thread."""
        self._come = True
        self._event.set()

    def look(self) -> None:
        """The asker may have given up. From any thread."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Whether it came in time. Raises TransferInterrupted if whoever asked gave up."""
        asker = _asker()
        if asker is None:
            return self._event.wait(seconds)
        until = time.monotonic() + seconds
        with asker._awaiting(self):
            while not self._come and time.monotonic() < until:
                if not self._event.wait(LOOK_SECONDS) or not self._come:
                    self._event.clear()
                    check()
        return self._come


def check() -> None:
    """Between two pieces of long work: raises TransferInterrupted if whoever asked gave up."""
    asker = _asker()
    if asker is not None and asker.gave_up:
        raise TransferInterrupted("Whoever asked for these bytes does not wait for them any more.")


@contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """As `with lock`, for one that others hold while they wait for bytes. Raises as `check`."""
    while not lock.acquire(timeout=LOOK_SECONDS):
        check()
    try:
        yield
    finally:
        lock.release()


class _Serving(threading.local):
    asker: Asker | None = None


_serving = _Serving()


def _asker() -> Asker | None:
    return _serving.asker


def _gave_up(thread: int) -> bool:
    status = _status(thread)
    if status is None:
        return not _exists(thread)
    fields = dict(_field.findall(status))
    if fields[b"State"] in _DEAD:
        return True
    own, shared, blocked = (int(fields[name], 16) for name in (b"SigPnd", b"ShdPnd", b"SigBlk"))
    return bool((own | shared) & ~blocked & _ENDING)


def _status(thread: int) -> bytes | None:
    return _read(f"/proc/{thread}/status")


def _exists(thread: int) -> bool:
    # Where others' processes are hidden in /proc, they still exist.
    try:
        os.kill(thread, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _STATUS_SIZE_BYTES_MAX)
    except OSError:
        return None
    finally:
        os.close(descriptor)
