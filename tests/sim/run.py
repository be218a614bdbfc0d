"""Run histories: `python -m tests.sim.run [--kind data|node|both] [--seeds N] [--seed S]`.

All processors are used. What fails is told with its seed; with `--seed`, that one history is told
in full.
"""

import argparse
import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from tests.sim.agenda import Agenda
from tests.sim.data_history import DataHistory, quickly
from tests.sim.surroundings import simulated
from tests.sim.whole_history import WholeHistory
from tests.sim.whole_node import whole

PARTS = {"data": quickly, "node": whole}
SHARE_SEEDS = {"data": 50, "node": 5}
"""How many histories a worker takes at a time."""
FAILURES_MAX = 10
PROGRESS_SECONDS = 60.0
RANDOM_SEED_BITS = 40
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Failure:
    """A history that was not as it has to be."""

    kind: str
    seed: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}\n    make sim KIND={self.kind} SEED={self.seed}"


class History(Protocol):
    """One of either kind."""

    agenda: Agenda

    def run(self) -> None:
        """Raises AssertionError where something is not as it has to be."""
        ...


KINDS: dict[str, Callable[[int, bool], History]] = {
    "data": lambda seed, listened: DataHistory(seed, listened=listened),
    "node": lambda seed, listened: WholeHistory(seed, listened=listened),
}


def run_share(kind: str, seeds: range) -> list[Failure]:
    """In a worker: those of the histories that fail."""
    failures = []
    gc.collect()
    with simulated(), PARTS[kind]():
        for seed in seeds:
            try:
                KINDS[kind](seed, False).run()
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                failures.append(Failure(kind, seed, reason))
    return failures


def _begin_worker() -> None:
    # What a history leaves is not much: it is enough to sweep after some of them.
    gc.disable()
    # A worker whose parent was killed would wait for work for ever.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_many(
    kind: str, first: int, count: int, workers: int
) -> Iterator[tuple[int, list[Failure]]]:
    """How many more have run, in the order of their seeds, and those of them that failed."""
    share = SHARE_SEEDS[kind]
    shares = [
        range(start, min(start + share, first + count))
        for start in range(first, first + count, share)
    ]
    with ProcessPoolExecutor(workers, initializer=_begin_worker) as pool:
        found = pool.map(run_share, [kind] * len(shares), shares)
        yield from zip(map(len, shares), found, strict=True)


def _tell_many(kind: str, first: int, count: int, workers: int) -> bool:
    began = told = time.perf_counter()
    done = failed = 0
    for more, failures in run_many(kind, first, count, workers):
        done, failed = done + more, failed + len(failures)
        for failure in failures:
            print(failure, flush=True)
        now = time.perf_counter()
        if done == count or failed >= FAILURES_MAX or now > told + PROGRESS_SECONDS:
            told, rate = now, done / (now - began)
            outcome = f"{failed} failed" if failed else "all well"
            what = f"{done} of {count} {kind} histories from seed {first}"
            print(f"{what}: {outcome}, {rate:.0f} per second", flush=True)
        if failed >= FAILURES_MAX:
            break
    return not failed


def _tell_one(kind: str, seed: int) -> bool:
    with simulated(), PARTS[kind]():
        history = KINDS[kind](seed, True)
        try:
            history.run()
        except Exception:
            print(*(history.agenda.trace or []), sep="\n")
            traceback.print_exc(file=sys.stdout)
            print(f"SEED={seed}")
            return False
    print(*(history.agenda.trace or []), sep="\n")
    print(f"SEED={seed}: all well")
    return True


def _digest(kind: str, first: int, count: int) -> str:
    """One name for all that happens in these histories."""
    digest = blake3()
    with simulated(), PARTS[kind]():
        for seed in range(first, first + count):
            history = KINDS[kind](seed, True)
            history.run()
            digest.update("\n".join(history.agenda.trace or []).encode())
    return digest.hexdigest()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--first", type=int)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--digest", action="store_true", help="only name the traces")
    options = parser.parse_args()
    kinds = list(KINDS) if options.kind == "both" else [options.kind]
    drawn = int.from_bytes(os.urandom(RANDOM_SEED_BITS // 8))
    first = drawn if options.first is None else options.first
    if options.digest:
        print(*(_digest(kind, first, options.seeds) for kind in kinds))
        wells = [True]
    elif options.seed is not None:
        wells = [_tell_one(kind, options.seed) for kind in kinds]
    else:
        wells = [_tell_many(kind, first, options.seeds, options.workers) for kind in kinds]
    sys.exit(0 if all(wells) else 1)


if __name__ == "__main__":
    main()
