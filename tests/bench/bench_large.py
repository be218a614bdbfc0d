"""How fast is a large file, in all that people do with one?"""

import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_parts import (
    KIB,
    LARGE_S_MAX,
    MIB,
    POLL_INTERVAL_S,
    SLOW_POLL_INTERVAL_S,
    Scale,
    require,
    require_same,
    size_of,
    the_film,
    until,
)
from tests.bench.bench_subjects import Figures, Pair, do
from tests.bench.bench_wire import bytes_received

FIRST_ROUNDS = 15
FAR_READ_SIZE_BYTES = 64 * KIB
ROUNDS = 3
"""The best of so many: what else the machine does only ever slows."""
CHANGES = 5
QUIET_S = 3.0
"""How long nothing may arrive before a transfer that nobody reports is taken to be over."""


def read(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Read for the first time by `cat`, and read again."""
    if not pair.ghosts:
        return {}
    speeds: dict[str, list[float]] = {"cold read": [], "warm read": []}
    for film, theirs in _films(pair, folder, scale):
        for found in speeds.values():
            began = time.perf_counter()
            with open(os.devnull, "wb") as nothing:
                require(subprocess.call(["cat", theirs], stdout=nothing) == 0)
            found.append(film.stat().st_size / MIB / (time.perf_counter() - began))
        require_same(film, theirs)
    return {name: max(found) for name, found in speeds.items()}


def fetch(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Brought to this disk by a command."""
    if pair.bring is None:
        return {}
    speeds = []
    for film, theirs in _films(pair, folder, scale):
        began = time.perf_counter()
        brought = pair.bring(theirs)
        speeds.append(film.stat().st_size / MIB / (time.perf_counter() - began))
        require_same(film, brought)
        if brought != theirs:
            brought.unlink()
    return {"fetch": max(speeds)}


def _films(pair: Pair, folder: Path, scale: Scale) -> Iterator[tuple[Path, Path]]:
    """The original, and where it is seen and nothing of it is here: ROUNDS times."""
    film = the_film(folder, scale)
    size = film.stat().st_size
    for number in range(ROUNDS):
        if pair.forget is not None and number:
            pair.forget(pair.far / "film-0")
            _drop_pages(pair.far / "film-0")
            yield film, pair.far / "film-0"
            continue
        do("cp", film, pair.near / f"film-{number}")
        theirs = pair.far / f"film-{number}"
        _await_size(theirs, size)
        os.sync()
        yield film, theirs


def first(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """The first byte of a ghost, and then some of its end, as a player seeks."""
    if pair.forget is None:
        return {}
    film = _share_film(pair, folder, scale)
    far_at = film.stat().st_size * 9 // 10
    waits_ms: dict[int, list[float]] = {0: [], far_at: []}
    for _ in range(FIRST_ROUNDS):
        began = time.perf_counter()
        descriptor = os.open(pair.far / "film", os.O_RDONLY)
        try:
            for at, size in ((0, 1), (far_at, FAR_READ_SIZE_BYTES)):
                require(len(os.pread(descriptor, size, at)) == size)
                waits_ms[at].append(1000 * (time.perf_counter() - began))
                began = time.perf_counter()
        finally:
            os.close(descriptor)
        pair.forget(pair.far / "film")
        _drop_pages(pair.far / "film")
    return {
        "first byte": statistics.median(waits_ms[0]),
        "far byte": statistics.median(waits_ms[far_at]),
    }


def _drop_pages(path: Path) -> None:
    """What the kernel has of a file would be read from there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def write(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Copied into the mount, until it is seen in the other; on the disk, until it is synced."""
    if not pair.writes_through and not pair.plain:
        return {}
    film = the_film(folder, scale)
    size = film.stat().st_size
    copied_s, published_s = [], []
    for number in range(ROUNDS):
        os.sync()
        name = f"film-{number}"
        began = time.perf_counter()
        do("cp", film, pair.near / name)
        copied_s.append(time.perf_counter() - began)
        if pair.plain:
            do("sync", pair.near / name)
        else:
            require(until(lambda name=name: size_of(pair.far / name) == size, LARGE_S_MAX))  # type: ignore[misc]
        published_s.append(time.perf_counter() - began)
    return {
        "write": size / MIB / min(copied_s),
        "published": size / MIB / min(published_s),
    }


def change(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """One byte somewhere in it, from its opening until the other side shows the new version."""
    if not pair.writes_through:
        return {}
    film = _share_film(pair, folder, scale)
    size, chance, seconds = film.stat().st_size, random.Random(5), []
    for _ in range(CHANGES):
        before = (pair.far / "film").stat().st_mtime_ns
        began = time.perf_counter()
        descriptor = os.open(pair.near / "film", os.O_RDWR)
        try:
            os.pwrite(descriptor, b"?", chance.randrange(size))
        finally:
            os.close(descriptor)
        require(_until_newer(pair.far / "film", before))
        seconds.append(time.perf_counter() - began)
        # The next one begins when all is at rest.
        time.sleep(1)
    return {"change": statistics.median(seconds)}


def _until_newer(path: Path, before_ns: int) -> bool:
    return until(lambda: path.stat().st_mtime_ns != before_ns, LARGE_S_MAX, 2 * POLL_INTERVAL_S)


def wire(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """What the far side receives over TCP after one byte was changed, and after one was put in."""
    if not pair.pids:
        return {}
    film = folder / "film"
    do("cp", the_film(folder, scale), film)
    _copy(film, pair.near / "film")
    require(until(lambda: _fresh(film, pair.far / "film"), LARGE_S_MAX, SLOW_POLL_INTERVAL_S))
    pair.fetch(pair.far / "film")
    require_same(film, pair.far / "film")
    figures: Figures = {}
    for name, head in (("wire change", b"?"), ("wire insert", b"!!")):
        _change_head(film, head)
        before = _settled(pair)
        if name == "wire change":
            with (pair.near / "film").open("r+b") as near:
                near.write(head)
        else:
            # As editors save: whole, under another name, and then renamed.
            _copy(film, pair.near / "film.new")
            (pair.near / "film.new").rename(pair.near / "film")
        if not until(lambda: _fresh(film, pair.far / "film"), 60.0, SLOW_POLL_INTERVAL_S):
            figures[name] = "stale after 60 s"
            continue
        pair.fetch(pair.far / "film")
        figures[name] = (_settled(pair) - before) / MIB
        require_same(film, pair.far / "film")
    return figures


def _change_head(film: Path, head: bytes) -> None:
    """The first byte becomes `head`."""
    changed = film.with_name("changed")
    with film.open("rb") as old, changed.open("wb") as new:
        new.write(head)
        old.seek(1)
        shutil.copyfileobj(old, new, MIB)
    changed.replace(film)


def _copy(source: Path, target: Path) -> None:
    """By plain reads and writes, as most programs do."""
    with source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new, MIB)


def _fresh(original: Path, seen: Path) -> bool:
    """Whether the size and the first bytes are the original's."""
    if size_of(seen) != original.stat().st_size:
        return False
    with original.open("rb") as mine, seen.open("rb", buffering=0) as theirs:
        return mine.read(2) == theirs.read(2)


def _settled(pair: Pair) -> int:
    """The bytes received, once no more of them come."""
    while True:
        before = bytes_received(pair.pids)
        time.sleep(QUIET_S)
        after = bytes_received(pair.pids)
        # Heartbeats never end.
        if after - before < 64 * KIB:
            return after


def _share_film(pair: Pair, folder: Path, scale: Scale) -> Path:
    """Put it into `near`, and wait for it in `far`; returns the original."""
    film = the_film(folder, scale)
    do("cp", film, pair.near / "film")
    _await_size(pair.far / "film", film.stat().st_size)
    return film


def _await_size(path: Path, size: int) -> None:
    require(until(lambda: size_of(path) == size, LARGE_S_MAX, SLOW_POLL_INTERVAL_S))
