"""How far ahead of a reader are bytes wanted?

Theory of operation. A program reads in *runs*, each of which goes on about where it stopped: a
player that takes sound and picture from two places of a film has two. For a run, as many bytes are
wanted ahead as it has read, so that who looks at a file's head gets that and no more; up to what it
reads in two seconds, and up to a limit. Who reads here and there gets just what he asks for, and
what was wanted ahead elsewhere is let go: a seek costs what it shows.
"""

from dataclasses import dataclass

from sharefs.records.content import KIB, MIB

AHEAD_S = 2.0
AHEAD_SIZE_BYTES_MIN = MIB
AHEAD_SIZE_BYTES_MAX = 24 * MIB
RUN_SIZE_BYTES_MIN = 128 * KIB
"""Less than that is no run yet: programs that tell the types of files read so much."""
RUNS_MAX = 3
SLACK_BYTES = MIB
"""The kernel's own read-ahead asks out of order, from several threads."""
RATE_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """Want these bytes, and none of those that were wanted ahead for the same run before."""

    run: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The reader went elsewhere: want nothing ahead any more."""


@dataclass(slots=True)
class _Run:
    number: int
    next: int
    """Where it stopped."""
    since: float
    """The beginning of what its rate is measured over."""
    size_bytes: int = 0
    until: int = 0
    """What was wanted ahead ends here."""
    rate_bytes_per_s: float = 0.0
    counted_bytes: int = 0

    def read(self, start: int, end: int, now: float) -> None:
        fresh = max(end - max(start, self.next), 0)
        self.next = max(self.next, end)
        self.size_bytes += fresh
        self.counted_bytes += fresh
        elapsed = now - self.since
        if elapsed >= RATE_WINDOW_S:
            self.rate_bytes_per_s = self.counted_bytes / elapsed
            self.since, self.counted_bytes = now, 0

    @property
    def window_bytes(self) -> int:
        paced = AHEAD_SIZE_BYTES_MAX
        if self.rate_bytes_per_s:
            paced = max(int(self.rate_bytes_per_s * AHEAD_S), AHEAD_SIZE_BYTES_MIN)
        return min(self.size_bytes, paced, AHEAD_SIZE_BYTES_MAX)


class ReadAhead:
    """What one open file's reads let expect. `size` is the file's."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._runs: dict[int, _Run] = {}
        """The one that was read last is the last."""
        self._count = 0

    def read(self, start: int, end: int, now: float) -> Ahead | Elsewhere | None:
        """Somebody reads `start` .. `end`. None for no change in what is wanted ahead."""
        run = self._run_at(start)
        if run is None:
            return self._begin(start, end, now)
        self._runs[run.number] = self._runs.pop(run.number)
        run.read(start, end, now)
        window = run.window_bytes
        if run.size_bytes < RUN_SIZE_BYTES_MIN or run.until >= min(end + window // 2, self._size):
            return None
        run.until = min(end + window, self._size)
        return Ahead(run.number, end, run.until)

    def _run_at(self, start: int) -> _Run | None:
        near = [run for run in self._runs.values() if abs(start - run.next) <= SLACK_BYTES]
        return min(near, key=lambda run: abs(start - run.next), default=None)

    def _begin(self, start: int, end: int, now: float) -> Elsewhere:
        self._count += 1
        self._runs[self._count] = _Run(self._count, end, now, end - start)
        if len(self._runs) > RUNS_MAX:
            del self._runs[next(iter(self._runs))]
        for run in self._runs.values():
            run.until = 0
        return Elsewhere()
