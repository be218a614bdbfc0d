"""What is measured, and how? A function for each measure, from a pair of folders to its figures.

Sizes and counts are those of the targets times `Scale`, so that a quick trial takes the same way.
Bytes are compared after the clock has stopped: a fast wrong answer is no figure.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench_subjects import BenchFailed, Pair, read_all
from tests.bench.bench_wire import bytes_received

KIB = 1024
MIB = 1024 * KIB
SAVES = 100
SAVE_SIZE_BYTES = 4 * KIB
SAVE_PAUSE_S = 0.02
SAVES_S_MAX = 90.0
VISIBLE_S_MAX = 10.0
FILM_SIZE_MIB = 1024
TREE_FILES = 10_000
TREE_FOLDER_FILES = 100
TREE_S_MAX = 600.0
GHOSTS = 20_000
TINY_SIZE_BYTES = 8
ENTRIES = 100_000
FOLDER_ENTRIES = 1_000
POLL_INTERVAL_S = 0.001
SLOW_POLL_INTERVAL_S = 0.02
QUIET_S = 3.0
"""How long nothing may arrive before a transfer that nobody reports is taken to be over."""

Figures = dict[str, float | str]
"""By the names in `bench_figures`; a text says why there is no figure."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the full size is measured."""

    factor: float

    def count(self, full: int, least: int = 10) -> int:
        return max(least, round(full * self.factor))


def save(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """From the beginning of a save in `near` until `stat` finds it, whole, in `far`."""
    waits_ms: list[float] = []
    end = time.monotonic() + SAVES_S_MAX
    for number in range(scale.count(SAVES)):
        if time.monotonic() > end:
            break
        name, data = f"note-{number}.txt", os.urandom(SAVE_SIZE_BYTES)
        began = time.perf_counter()
        (pair.near / name).write_bytes(data)
        if not _until(lambda name=name: _size(pair.far / name) == SAVE_SIZE_BYTES):  # type: ignore[misc]
            late = f"not in {VISIBLE_S_MAX:.0f} s"
            return {"save p50": late, "save p99": late}
        waits_ms.append(1000 * (time.perf_counter() - began))
        time.sleep(SAVE_PAUSE_S)
    waits_ms.sort()
    p99 = waits_ms[min(len(waits_ms) - 1, int(len(waits_ms) * 0.99))]
    return {"save p50": statistics.median(waits_ms), "save p99": p99}


def read(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """One large file: until it is seen, read for the first time, and read again."""
    film = _make_film(folder, scale)
    size = film.stat().st_size
    began = time.perf_counter()
    _copy(film, pair.near / "film")
    copied = time.perf_counter()
    _require(_until(lambda: _size(pair.far / "film") == size, TREE_S_MAX, SLOW_POLL_INTERVAL_S))
    seen = time.perf_counter()
    figures: Figures = {}
    if pair.writes_through:
        figures["write"] = size / MIB / (copied - began)
    if pair.ghosts:
        read_all(pair.far / "film")
        figures["cold read"] = size / MIB / (time.perf_counter() - seen)
    figures["whole after"] = time.perf_counter() - copied
    again = time.perf_counter()
    read_all(pair.far / "film")
    figures["warm read"] = size / MIB / (time.perf_counter() - again)
    _require_same(film, pair.far / "film")
    return figures


def tree(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Many small files: until all are seen, and until all are here."""
    count = scale.count(TREE_FILES, TREE_FOLDER_FILES)
    source = folder / "tree"
    folders = [f"{number:03}" for number in range(-(-count // TREE_FOLDER_FILES))]
    for name in folders:
        _make_folder(source / name, min(count, TREE_FOLDER_FILES), lambda: os.urandom(KIB))
    total = len(folders) * min(count, TREE_FOLDER_FILES)
    began = time.perf_counter()
    # In a process of its own, or looking would slow the copying down.
    with subprocess.Popen(["cp", "-r", str(source), str(pair.near / "tree")]) as copying:
        waiting = {pair.far / "tree" / name: min(count, TREE_FOLDER_FILES) for name in folders}
        complete = _until(lambda: _all_listed(waiting), TREE_S_MAX, SLOW_POLL_INTERVAL_S)
        seen_s = time.perf_counter() - began
        _require(copying.wait() == 0 and complete)
    figures: Figures = {"tree visible": total / seen_s}
    if pair.ghosts:
        began = time.perf_counter()
        fetched = pair.fetch(pair.far / "tree")
        figures["tree fetched"] = fetched / (time.perf_counter() - began)
    for path in sorted(source.glob("*/*77")):
        _require_same(path, pair.far / "tree" / path.relative_to(source))
    return figures


def grep(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Small ghosts read one by one, by a program that knows nothing of them."""
    if not pair.ghosts:
        return {}
    count = scale.count(TREE_FILES // 10)
    _make_folder(pair.near / "few", count, lambda: os.urandom(KIB))
    _require(
        _until(lambda: _all_listed({pair.far / "few": count}), TREE_S_MAX, SLOW_POLL_INTERVAL_S)
    )
    began = time.perf_counter()
    read = read_all(pair.far / "few")
    return {"read one by one": read / (time.perf_counter() - began)}


def scan(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """A large folder, as a file manager looks at it: scandir, and stat of each."""
    if not pair.ghosts:
        return {}
    count = scale.count(GHOSTS)
    began = time.perf_counter()
    _make_folder(pair.near / "many", count, lambda: os.urandom(TINY_SIZE_BYTES))
    made_s = time.perf_counter() - began
    _require(_until(lambda: _all_listed({pair.far / "many": count}), TREE_S_MAX, 0.5))
    figures: Figures = {"create": count / made_s} if pair.writes_through else {}
    for name in ("scan", "scan again"):
        began = time.perf_counter()
        with os.scandir(pair.far / "many") as entries:
            sizes = [entry.stat().st_size for entry in entries]
        figures[name] = count / (time.perf_counter() - began)
        _require(sizes == [TINY_SIZE_BYTES] * count)
    return figures


def memory(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Resident memory with many entries, after all of them have been listed."""
    if not pair.near_pids or not pair.ghosts:
        return {}
    count = scale.count(ENTRIES, FOLDER_ENTRIES)
    folders = [f"{number:03}" for number in range(count // FOLDER_ENTRIES)]
    for name in folders:
        _make_folder(pair.near / name, FOLDER_ENTRIES, lambda: os.urandom(TINY_SIZE_BYTES))
    waiting = {pair.far / name: FOLDER_ENTRIES for name in folders}
    _require(_until(lambda: _all_listed(waiting), TREE_S_MAX, 0.5))
    for parent, _, files in os.walk(pair.far):
        for name in files:
            os.stat(os.path.join(parent, name))
    return {
        "memory of writer": _resident_mib(pair.near_pids[0]),
        "memory of reader": _resident_mib(pair.pids[0]),
    }


def wire(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """What the far side receives over TCP after one byte was changed, and after one was put in."""
    if not pair.pids:
        return {}
    film = _make_film(folder, scale)
    _copy(film, pair.near / "film")
    _require(_until(lambda: _fresh(film, pair.far / "film"), TREE_S_MAX, SLOW_POLL_INTERVAL_S))
    pair.fetch(pair.far / "film")
    _require_same(film, pair.far / "film")
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
        if not _until(lambda: _fresh(film, pair.far / "film"), 60.0, SLOW_POLL_INTERVAL_S):
            figures[name] = "stale after 60 s"
            continue
        pair.fetch(pair.far / "film")
        figures[name] = (_settled(pair) - before) / MIB
        _require_same(film, pair.far / "film")
    return figures


MEASURES: dict[str, Callable[[Pair, Path, Scale], Figures]] = {
    "save": save,
    "read": read,
    "tree": tree,
    "grep": grep,
    "scan": scan,
    "memory": memory,
    "wire": wire,
}


# --- what the measures are made of ---------------------------------------------------------------


def _make_film(folder: Path, scale: Scale) -> Path:
    film = folder / "film"
    with film.open("wb") as file:
        for _ in range(scale.count(FILM_SIZE_MIB)):
            file.write(os.urandom(MIB))
    return film


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


def _make_folder(folder: Path, count: int, data: Callable[[], bytes]) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:05}").write_bytes(data())


def _until(
    truth: Callable[[], bool], within_s: float = VISIBLE_S_MAX, pause_s: float = POLL_INTERVAL_S
) -> bool:
    deadline = time.monotonic() + within_s
    while not truth():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _all_listed(waiting: dict[Path, int]) -> bool:
    """Whether every folder lists its count; those that do are taken out."""
    for folder, count in list(waiting.items()):
        try:
            if len(os.listdir(folder)) < count:
                return False
        except FileNotFoundError:
            return False
        del waiting[folder]
    return True


def _fresh(original: Path, seen: Path) -> bool:
    """Whether the size and the first bytes are the original's."""
    if _size(seen) != original.stat().st_size:
        return False
    with original.open("rb") as mine, seen.open("rb", buffering=0) as theirs:
        return mine.read(2) == theirs.read(2)


def _require(truth: bool) -> None:
    if not truth:
        raise BenchFailed("not everything arrived in time")


def _require_same(original: Path, seen: Path) -> None:
    digests = []
    for path in (original, seen):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "blake2b").digest())
    if digests[0] != digests[1]:
        raise BenchFailed("WRONG BYTES arrived")


def _resident_mib(pid: int) -> float:
    for line in _status_lines(pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / KIB
    raise BenchFailed("the process has ended")


def _status_lines(pid: int) -> Iterator[str]:
    with open(f"/proc/{pid}/status") as file:
        yield from file


def _settled(pair: Pair) -> int:
    """The bytes received, once no more of them come."""
    while True:
        before = bytes_received(pair.pids)
        time.sleep(QUIET_S)
        after = bytes_received(pair.pids)
        # Heartbeats never end.
        if after - before < 64 * KIB:
            return after
