"""What do the shipped modules see instead of the machine's clock and its randomness?

`time` and `secrets`, as they are imported by the modules of sharefs, are replaced by the two
objects here for as long as a simulation runs. There is one of each, as a simulation has one thread:
before a device has its turn, it says whose wall clock is to be read.
"""

import logging
import random
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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


class _Heard(logging.Handler):
    """What is logged goes to the trace."""

    def emit(self, record: logging.LogRecord) -> None:
        if TIME.agenda.trace is not None:
            TIME.agenda.note(f"    {record.getMessage()}")


TIME = SimulatedTime()
SECRETS = SimulatedSecrets()


def begin(agenda: Agenda, chance: random.Random) -> None:
    """A history begins: this is its time, and its chance."""
    TIME.agenda, TIME.skew_seconds = agenda, 0.0
    SECRETS.chance = chance


@contextmanager
def simulated() -> Iterator[None]:
    """Within, all modules of sharefs that are imported see simulated time and chance."""
    found = [
        (module, name, value)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and module.__name__.startswith("sharefs.")
        for name, value in list(vars(module).items())
        if value is time or value is secrets
    ]
    for module, name, value in found:
        setattr(module, name, TIME if value is time else SECRETS)
    log, heard = logging.getLogger("sharefs"), _Heard()
    log.addHandler(heard)
    kept, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(heard)
        log.propagate = kept
        for module, name, value in found:
            setattr(module, name, value)
