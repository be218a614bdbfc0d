"""What happens next, and when? All of a history happens in here, one thing after the other."""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

SIMULATED_EVENTS_MAX = 200_000
"""In one history: more is a history that goes round in circles."""


class Agenda:
    """Simulated time, in seconds. Same time: in the order in which it was put down."""

    def __init__(self, chance: random.Random) -> None:
        self.now = 0.0
        self.chance = chance
        self.trace: list[str] | None = None
        """Told what happens, if somebody listens."""
        self.folder = "no folder"
        """Where it all is: another one each time, and so in no trace."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Have it called."""
        self._count += 1
        heappush(self._due, (max(when, self.now), self._count, call))

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have it called after so long."""
        self.at(self.now + seconds, call)

    def next_at(self) -> float:
        """When the next thing happens."""
        return self._due[0][0] if self._due else inf

    def run_next(self) -> None:
        """Have it happen."""
        assert self._count < SIMULATED_EVENTS_MAX, "a history without end"
        when, _, call = heappop(self._due)
        self.now = max(self.now, when)
        call()

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while self.next_at() <= end:
            self.run_next()
        self.now = max(self.now, end)

    def note(self, sentence: str) -> None:
        """For the trace. Whoever words it asks first whether `trace` is there."""
        if self.trace is not None:
            self.trace.append(f"{self.now:9.3f} {sentence.replace(self.folder, '')}")
