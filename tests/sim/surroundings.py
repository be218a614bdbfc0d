"""What do the shipped modules see instead of the machine's clock, its randomness and its threads?

`time`, `secrets` and `threading`, as they are imported by the modules of sharefs, are replaced by
the objects here for as long as a simulation runs. There is one of each, as a simulation has one
thread: before a device has its turn, it says whose wall clock is to be read. Who waits lets the
rest of the simulation go on meanwhile.
"""

import logging
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import gmtime, struct_time
from types import ModuleType
from typing import Any

from tests.sim.agenda import Agenda

WALL_CLOCK_BEGINS_SECONDS = 1_790_000_000.0
"""A day in 2026."""


class SimulatedTime:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.agenda = Agenda(random.Random(0))
        self.skew_seconds = 0.0
        """Of the device that has its turn."""

    def monotonic(self) -> float:
        return self.agenda.now

    def time(self) -> float:
        return WALL_CLOCK_BEGINS_SECONDS + self.agenda.now + self.skew_seconds

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def localtime(self) -> struct_time:
        """Everybody is in one zone."""
        return gmtime(self.time())

    def sleep(self, seconds: float) -> None:
        """The pool's work is done at one moment."""


class SimulatedSecrets:
    """Stands in for the module `secrets`."""

    def __init__(self) -> None:
        self.chance = random.Random(0)

    def token_bytes(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def token_hex(self, size: int) -> str:
        return self.chance.randbytes(size).hex()

    def randbits(self, bits: int) -> int:
        return self.chance.getrandbits(bits)


class Killed(BaseException):
    """The process ends here, in the middle of whatever it does."""


class SimulatedThreading:
    """Stands in for the module `threading`. Locks are real ones, and always free."""

    def __init__(self) -> None:
        self.is_alive: Callable[[], bool] = lambda: True
        """Whether the process that has its turn still runs."""
        self.later: Callable[[float, Callable[[], None]], None] = lambda seconds, call: None
        """Has that process call something."""

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)

    def Condition(self, lock: Any = None) -> "SimulatedCondition":
        return SimulatedCondition(lock or threading.Lock())

    def Event(self) -> "SimulatedEvent":
        return SimulatedEvent()

    def Timer(self, seconds: float, call: Callable[[], None]) -> "SimulatedTimer":
        return SimulatedTimer(seconds, call, self.later)


def wait_for(condition: Callable[[], bool], seconds: float | None) -> bool:
    """Let the rest of the simulation go on until the condition holds, or so long."""
    agenda, is_alive = TIME.agenda, THREADING.is_alive
    end = agenda.now + (3600.0 if seconds is None else seconds)
    while not condition() and agenda.next_at() <= end:
        agenda.run_next()
        if not is_alive():
            raise Killed
    return condition()


class SimulatedCondition:
    """Whoever waits lets others have the lock."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def notify_all(self) -> None:
        """Who waits looks again after every event."""

    def wait_for(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        self._lock.release()
        try:
            return wait_for(condition, seconds)
        finally:
            self._lock.acquire()


class SimulatedEvent:
    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        return wait_for(self.is_set, seconds)


class SimulatedTimer:
    daemon = True

    def __init__(
        self,
        seconds: float,
        call: Callable[[], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._seconds, self._call, self._later = seconds, call, later

    def start(self) -> None:
        self._later(self._seconds, self._call)


class _Heard(logging.Handler):
    """What is logged goes to the trace."""

    def emit(self, record: logging.LogRecord) -> None:
        if TIME.agenda.trace is not None:
            TIME.agenda.note(f"    {record.getMessage()}")


TIME = SimulatedTime()
SECRETS = SimulatedSecrets()
THREADING = SimulatedThreading()
_STAND_INS = ((time, TIME), (secrets, SECRETS), (threading, THREADING))


def begin(agenda: Agenda, chance: random.Random) -> None:
    """A history begins: this is its time, and its chance."""
    TIME.agenda, TIME.skew_seconds = agenda, 0.0
    SECRETS.chance = chance


@contextmanager
def simulated() -> Iterator[None]:
    """Within, all modules of sharefs that are imported see simulated time and chance."""
    found = [
        (module, name, real, stand_in)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and module.__name__.startswith("sharefs.")
        for name, value in list(vars(module).items())
        for real, stand_in in _STAND_INS
        if value is real
    ]
    for module, name, _, stand_in in found:
        setattr(module, name, stand_in)
    log, heard = logging.getLogger("sharefs"), _Heard()
    log.addHandler(heard)
    kept, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(heard)
        log.propagate = kept
        for module, name, real, _ in found:
            setattr(module, name, real)
