"""What are the measures made of? The size of the trial, a large file, and waiting for what is true.

Bytes are compared after the clock has stopped: a fast wrong answer is no figure.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench_subjects import BenchFailed

KIB = 1024
MIB = 1024 * KIB
FILM_SIZE_MIB = 1024
VISIBLE_S_MAX = 10.0
LARGE_S_MAX = 600.0
POLL_INTERVAL_S = 0.001
SLOW_POLL_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the full size is measured."""

    factor: float

    def count(self, full: int, least: int = 10) -> int:
        return max(least, round(full * self.factor))


def the_film(folder: Path, scale: Scale) -> Path:
    """A large file, the same for all measures: nobody may change it."""
    film = folder.parent / "film"
    if not film.exists():
        with film.open("wb") as file:
            for _ in range(scale.count(FILM_SIZE_MIB)):
                file.write(os.urandom(MIB))
            # Or it would be written while something is measured.
            os.fsync(file.fileno())
    return film


def until(
    truth: Callable[[], bool], within_s: float = VISIBLE_S_MAX, pause_s: float = POLL_INTERVAL_S
) -> bool:
    deadline = time.monotonic() + within_s
    while not truth():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


def size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def require(truth: bool) -> None:
    if not truth:
        raise BenchFailed("not everything arrived in time")


def require_same(original: Path, seen: Path) -> None:
    digests = []
    for path in (original, seen):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "blake2b").digest())
    if digests[0] != digests[1]:
        raise BenchFailed("WRONG BYTES arrived")


def memory_mb(pids: Iterable[int], field: str = "VmHWM") -> float:
    """Resident memory of the largest of the processes: at its peak, or `VmRSS` for now."""
    return max((_resident_kib(pid, field) for pid in pids), default=0) * KIB / 1e6


def _resident_kib(pid: int, field: str) -> int:
    with suppress(FileNotFoundError):
        for line in _status_lines(pid):
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def _status_lines(pid: int) -> Iterator[str]:
    with open(f"/proc/{pid}/status") as file:
        yield from file
