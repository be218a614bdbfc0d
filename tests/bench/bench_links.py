"""How fast is it through slow links, from many sources, and when those fail?"""

import os
import random
import statistics
import threading
import time
from contextlib import suppress
from pathlib import Path

from sharefs.errors import UserError
from tests.bench.bench_parts import (
    LARGE_S_MAX,
    MIB,
    Scale,
    require,
    require_same,
    size_of,
    the_film,
    until,
)
from tests.bench.bench_subjects import (
    SOURCE_BYTES_S,
    BenchFailed,
    Figures,
    Killable,
    Pair,
    Sources,
    do,
)
from tests.bench.bench_wire import bytes_received

LINK_SIZE_MIB = 256
BESIDE_SIZE_MIB = 64
BESIDE_READS = 15
BESIDE_READ_SIZE_BYTES = 4096
FULL_BYTES = 16 * MIB
"""When so much has come, the link is full."""
KILLS = 20
FETCH_POLL_S = 0.01
FOUND_S_MAX = 5.0


def link(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """Payload through a link of a rate and a delay."""
    assert pair.bring is not None, "who has a link brings files through it"
    clip = _head_of_film(folder, scale, LINK_SIZE_MIB)
    size = clip.stat().st_size
    do("cp", clip, pair.near / "film")
    require(until(lambda: size_of(pair.far / "film") == size, LARGE_S_MAX))
    began = time.perf_counter()
    brought = pair.bring(pair.far / "film")
    figures: Figures = {"link": size / 1e6 / (time.perf_counter() - began)}
    require_same(clip, brought)
    return figures


def _head_of_film(folder: Path, scale: Scale, size_mib: int) -> Path:
    clip = folder / "clip"
    with the_film(folder, scale).open("rb") as film, clip.open("wb") as file:
        for _ in range(scale.count(size_mib)):
            file.write(film.read(MIB))
    return clip


def beside(pair: Pair, folder: Path, scale: Scale) -> Figures:
    """A program reads here and there in a ghost, while a fetch fills the link."""
    film, clip = the_film(folder, scale), folder / "clip"
    clip.write_bytes(os.urandom(scale.count(BESIDE_SIZE_MIB) * MIB))
    for name, original in (("film", film), ("clip", clip)):
        do("cp", original, pair.near / name)
        size = original.stat().st_size
        require(until(lambda: size_of(pair.far / name) == size, LARGE_S_MAX))  # noqa: B023
    before = bytes_received(pair.pids)

    def fetch() -> None:
        # It ends when the pair does.
        with suppress(UserError, BenchFailed, OSError):
            pair.fetch(pair.far / "film")

    threading.Thread(target=fetch, daemon=True).start()
    require(until(lambda: bytes_received(pair.pids) - before > FULL_BYTES, LARGE_S_MAX))
    waits_ms = []
    with (pair.far / "clip").open("rb", buffering=0) as file:
        for number in range(BESIDE_READS):
            at = clip.stat().st_size * number // BESIDE_READS
            began = time.perf_counter()
            require(len(os.pread(file.fileno(), BESIDE_READ_SIZE_BYTES, at)) > 0)
            waits_ms.append(1000 * (time.perf_counter() - began))
    return {"read beside": statistics.median(waits_ms)}


def sources(sources: Sources, folder: Path, scale: Scale) -> Figures:
    """Payload from several sources at once, each with a limit."""
    film = the_film(folder, scale)
    sources.share(film)
    sources.limit(SOURCE_BYTES_S)
    began = time.perf_counter()
    brought = sources.bring()
    took_s = time.perf_counter() - began
    require_same(film, brought)
    return {"three sources": film.stat().st_size / 1e6 / took_s}


def trouble(sources: Sources, folder: Path, scale: Scale) -> Figures:
    """The same, where one lies from the beginning, and one is killed when half of it is here.

    What is left: two honest sources until then, and then one.
    """
    film = the_film(folder, scale)
    size = film.stat().st_size
    sources.share(film)
    sources.limit(SOURCE_BYTES_S)
    done: list[int] = []

    def end_one_half_way() -> None:
        if until(lambda: sources.done_bytes() >= size // 2, LARGE_S_MAX, FETCH_POLL_S):
            done.append(sources.done_bytes())
            sources.end_one()

    ending = threading.Thread(target=end_one_half_way)
    began = time.perf_counter()
    ending.start()
    brought = sources.bring()
    took_s = time.perf_counter() - began
    ending.join()
    require_same(film, brought)
    if not done or not done[0]:
        raise BenchFailed("it was over before a source could be ended")
    least_s = done[0] / (2 * SOURCE_BYTES_S) + (size - done[0]) / SOURCE_BYTES_S
    return {"sources left": least_s / took_s}


def kills(killable: Killable, folder: Path, scale: Scale) -> Figures:
    """What comes more than once when the far side is killed at random moments of a fetch.

    Counted is what it reads from its sockets, in all its lives, beside a fetch that nobody
    disturbs: whatever it had of the file when it was killed, be it written, being verified or half
    received, is counted again if it comes again. For the record, also by what the kernel received
    for it: that has what was on its way in the queues of sockets as well; and only what was
    verified and written when it was killed, and is not here when it has started again.
    """
    pair, film = killable.pair, the_film(folder, scale)
    size = film.stat().st_size
    do("cp", film, pair.near / "film")
    theirs = pair.far / "film"
    require(until(lambda: size_of(theirs) == size, LARGE_S_MAX))
    assert pair.forget is not None, "who can be killed can forget"
    before = killable.received()
    pair.fetch(theirs)
    undisturbed = killable.received() - before
    pair.forget(theirs)
    began_with = killable.received()
    chance, read, received, lost = random.Random(20), -began_with, -began_with, 0
    for goal in sorted(chance.randrange(size) for _ in range(KILLS)):
        killable.fetch_up_to(theirs, goal)
        killed = killable.kill(film)
        read, received = read + killed.read, received + killed.received
        killable.begin()
        lost += _lost_bytes(theirs, killed.written)
    pair.fetch(theirs)
    read, received = read + killable.received(), received + killable.received()
    require_same(film, theirs)
    return {
        "twice": 100 * (read - undisturbed) / size,
        "received again": 100 * (received - undisturbed) / size,
        "written again": 100 * lost / size,
    }


def _lost_bytes(path: Path, written: int) -> int:
    """Of what was written of a file before the node was killed, what that does not find again."""

    def missing() -> int:
        return max(0, written - 512 * path.stat().st_blocks)

    until(lambda: not missing(), FOUND_S_MAX)
    return missing()
