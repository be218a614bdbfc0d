"""How fast are small files, and many of them?"""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.bench_parts import (
    KIB,
    LARGE_S_MAX,
    SLOW_POLL_INTERVAL_S,
    VISIBLE_S_MAX,
    Scale,
    memory_mb,
    require,
    require_same,
    size_of,
    the_film,
    until,
)
from tests.bench.bench_subjects import Figures, Pair, do, read_all

SAVES = 200
SAVE_SIZE_BYTES = 4 * KIB
SAVE_PAUSE_S = 0.02
SAVES_S_MAX = 90.0
TREE_FILES = 10_000
TREE_FOLDER_FILES = 100
TREE_S_MAX = 600.0
GHOSTS = 20_000
TINY_SIZE_BYTES = 8
ENTRIES = 100_000
FOLDER_ENTRIES = 1_000


def save(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """From the beginning of a save in `near` until `stat` finds it, whole, in `far`."""
    waits_ms = _save_many(pair, scale)
    return _percentiles("save", waits_ms)


def busy(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """The same, while a large file is fetched, again and again."""
    if pair.forget is None:
        return {}
    film = the_film(folder, scale)
    do("cp", film, pair.near / "film")
    require(until(lambda: size_of(pair.far / "film") == film.stat().st_size, LARGE_S_MAX))
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(_fetch_again_and_again, pair, ended)
        try:
            waits_ms = _save_many(pair, scale)
        finally:
            ended.set()
        require(fetching.result() > 0)
    return _percentiles("busy save", waits_ms)


def _fetch_again_and_again(pair: Pair, ended: threading.Event) -> int:
    count = 0
    assert pair.forget is not None
    while not ended.is_set():
        pair.fetch(pair.far / "film")
        pair.forget(pair.far / "film")
        count += 1
    return count


def _save_many(pair: Pair, scale: Scale) -> list[float]:
    """Milliseconds of each, in order; empty when one did not arrive."""
    waits_ms: list[float] = []
    end = time.monotonic() + SAVES_S_MAX
    for number in range(scale.count(SAVES)):
        if time.monotonic() > end:
            break
        name, data = f"note-{number}.txt", os.urandom(SAVE_SIZE_BYTES)
        began = time.perf_counter()
        (pair.near / name).write_bytes(data)
        if not until(lambda name=name: size_of(pair.far / name) == SAVE_SIZE_BYTES):  # type: ignore[misc]
            return []
        waits_ms.append(1000 * (time.perf_counter() - began))
        time.sleep(SAVE_PAUSE_S)
    return sorted(waits_ms)


def _percentiles(name: str, waits_ms: list[float]) -> Figures:
    if not waits_ms:
        late = f"not in {VISIBLE_S_MAX:.0f} s"
        return {f"{name} p50": late, f"{name} p99": late}
    p99 = waits_ms[min(len(waits_ms) - 1, int(len(waits_ms) * 0.99))]
    return {f"{name} p50": statistics.median(waits_ms), f"{name} p99": p99}


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
        complete = until(lambda: _all_listed(waiting), TREE_S_MAX, SLOW_POLL_INTERVAL_S)
        seen_s = time.perf_counter() - began
        require(copying.wait() == 0 and complete)
    figures: Figures = {"tree visible": total / seen_s}
    if pair.ghosts:
        began = time.perf_counter()
        fetched = pair.fetch(pair.far / "tree")
        figures["tree fetched"] = fetched / (time.perf_counter() - began)
    for path in sorted(source.glob("*/*77")):
        require_same(path, pair.far / "tree" / path.relative_to(source))
    return figures


def grep(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Small ghosts read one by one, by a program that knows nothing of them."""
    if not pair.ghosts:
        return {}
    count = scale.count(TREE_FILES // 10)
    _make_folder(pair.near / "few", count, lambda: os.urandom(KIB))
    require(until(lambda: _all_listed({pair.far / "few": count}), TREE_S_MAX, SLOW_POLL_INTERVAL_S))
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
    require(until(lambda: _all_listed({pair.far / "many": count}), TREE_S_MAX, 0.5))
    figures: Figures = {"create": count / made_s} if pair.writes_through else {}
    for name in ("scan", "scan again"):
        began = time.perf_counter()
        with os.scandir(pair.far / "many") as entries:
            sizes = [entry.stat().st_size for entry in entries]
        figures[name] = count / (time.perf_counter() - began)
        require(sizes == [TINY_SIZE_BYTES] * count)
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
    require(until(lambda: _all_listed(waiting), TREE_S_MAX, 0.5))
    for parent, _, files in os.walk(pair.far):
        for name in files:
            os.stat(os.path.join(parent, name))
    return {
        "memory of writer": memory_mb(pair.near_pids, "VmRSS"),
        "memory of reader": memory_mb(pair.pids, "VmRSS"),
    }


def _make_folder(folder: Path, count: int, data: Callable[[], bytes]) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:05}").write_bytes(data())


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
