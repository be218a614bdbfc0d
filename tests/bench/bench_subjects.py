"""What is measured? A pair of folders: what is written in one is seen in the other.

Those of sharefs are in `bench_nodes`, those of its peers in `bench_peers` and `bench_plain`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S_MAX = 60.0
STOP_S_MAX = 60.0
COPY_S_MAX = 300.0
POLL_INTERVAL_S = 0.05
READ_SIZE_BYTES = 1024 * 1024
READ_S_MAX = 60.0
"""How long many files are read before the figure is taken from those that were."""
LINK_BYTES_S = 12_500_000
"""100 Mbit/s."""
LINK_DELAY_S = 0.01
"""Each way."""
SOURCES = 3
SOURCE_BYTES_S = 40_000_000

Figures = dict[str, float | str]
"""By the names in `bench_figures`; a text says why there is no figure."""


class BenchFailed(Exception):
    """A measure can not be taken; the others can."""


def read_all(path: Path) -> int:
    """Read every byte at or below a path, one file after the other; returns how many were read.

    Less than all when that takes too long.
    """
    paths = [path] if path.is_file() else [file for file in path.glob("**/*") if file.is_file()]
    buffer = bytearray(READ_SIZE_BYTES)
    end = time.monotonic() + READ_S_MAX
    for count, each in enumerate(paths):
        if time.monotonic() > end:
            return count
        with each.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return len(paths)


def do(*command: str | Path, seconds: float = COPY_S_MAX) -> None:
    """Run a program that has nothing to say. Raises BenchFailed."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"{command[0]} did not end in {seconds:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchFailed(f"{Path(command[0]).name} failed: {' '.join(said)}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two folders of one subject."""

    near: Path
    """Where files are written."""
    far: Path
    """Where they are seen."""
    pids: tuple[int, ...] = ()
    """The processes that the far folder depends on; their sockets carry its bytes."""
    near_pids: tuple[int, ...] = ()
    ghosts: bool = True
    """Whether names are seen in `far` before their bytes are there."""
    writes_through: bool = False
    """Whether `near` is the subject's own mount, and no plain folder."""
    plain: bool = False
    """Whether there is nothing but this disk."""
    fetch: Callable[[Path], int] = read_all
    """Bring everything at or below a path of `far` here; returns the number of files."""
    bring: Callable[[Path], Path] | None = None
    """As a person brings a large file of `far` to this disk; returns where it is then."""
    forget: Callable[[Path], None] | None = None
    """Make a file of `far` a ghost again."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A file that several have, each behind a link of its own, and one who wants it."""

    share: Callable[[Path], None]
    """Have all sources hold that file; returns when they do."""
    limit: Callable[[float], None]
    """From now on, so many bytes a second from each source."""
    bring: Callable[[], Path]
    """Bring the file; returns where it is."""
    done_bytes: Callable[[], int]
    """How much of it is here, while it is brought."""
    end_one: Callable[[], None]
    """Kill one of the sources."""
    pids: tuple[int, ...] = ()
    near_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Killed:
    """What somebody had, in bytes, when he was killed."""

    read: int
    """From his sockets, in that life."""
    received: int
    """As `read`, with what waited in the kernel for him."""
    written: int
    """Of the file: what was verified, and lay whole on the disk."""


@dataclass(frozen=True, slots=True)
class Killable:
    """A pair whose far side may be killed at any moment."""

    pair: Pair
    begin: Callable[[], None]
    """Start the far side again; returns when it has met the near one."""
    kill: Callable[[Path], "Killed"]
    """Kill the far side while it brings a copy of that file."""
    fetch_up_to: Callable[[Path, int], None]
    """Bring a file; returns when so many bytes are here, or it is over, and the fetch goes on."""
    received: Callable[[], int]
    """Bytes in this life; all are read by the end of a fetch."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Those that do not change."""
        return ()

    @property
    def near_pids(self) -> tuple[int, ...]:
        return self.pair.near_pids


Opener = Callable[[Path], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure."""

    name: str
    programs: tuple[str, ...]
    """What must be installed."""
    version: Callable[[], str]
    openers: Mapping[str, Opener]
    """By the setting in which a measure wants it: `pair`, `link`, `sources`, `trouble`, `kills`."""
    remark: str = ""


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is ended afterwards, by SIGTERM or else by SIGKILL."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def mounted(command: Sequence[str], mount: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """As `running`, for a process in the foreground that mounts: waits for the mount."""
    mount.mkdir(parents=True, exist_ok=True)
    with running(command, log) as process:
        try:
            wait_for(lambda: mount.is_mount(), process, log)
            yield process
        finally:
            subprocess.run(["fusermount3", "-u", str(mount)], capture_output=True)
            if mount.is_mount():
                subprocess.run(["fusermount3", "-u", "-z", str(mount)], capture_output=True)


def wait_for(
    truth: Callable[[], bool],
    process: "subprocess.Popen[bytes]",
    log: Path,
    within_s: float = START_S_MAX,
) -> None:
    """Until it is true. Raises BenchFailed when the process has ended, or in the end."""
    deadline = time.monotonic() + within_s
    while not truth():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise BenchFailed(f"{Path(process.args[0]).name} does not start: {' '.join(said)}")  # type: ignore[index, arg-type]
        time.sleep(POLL_INTERVAL_S)


def interrupt_on_signals() -> None:
    """Everything is cleaned up on SIGTERM and SIGHUP as on Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
