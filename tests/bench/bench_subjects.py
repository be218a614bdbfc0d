"""What is measured? A pair of folders: what is written in one is seen in the other.

The pair of sharefs is two nodes with a space. Those of its peers are in `bench_peers`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sharefs
from sharefs.errors import UserError
from sharefs.store.home import Home
from sharefs.web.client import Client

START_S_MAX = 60.0
STOP_S_MAX = 60.0
POLL_INTERVAL_S = 0.05
READ_SIZE_BYTES = 1024 * 1024
READ_S_MAX = 60.0
"""How long many files are read before the figure is taken from those that were."""


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
    fetch: Callable[[Path], int] = read_all
    """Bring everything at or below a path of `far` here; returns the number of files."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure."""

    name: str
    programs: tuple[str, ...]
    """What must be installed."""
    version: Callable[[], str]
    open: Callable[[Path], AbstractContextManager[Pair]]
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


@contextmanager
def open_sharefs(folder: Path) -> Iterator[Pair]:
    """Two nodes with a space, over TCP on this machine."""
    with ExitStack() as stack:
        near, far = (_Node(folder / name) for name in ("near", "far"))
        for node in (near, far):
            stack.enter_context(node.run())
        near.client.create_space("Bench")
        far.client.join(near.client.invite("Bench", "contributor", 3600.0))
        wait_for(lambda: far.client.spaces()[0].online == 2, far.process, far.log)
        yield Pair(
            near=near.mount / "Bench",
            far=far.mount / "Bench",
            pids=(far.process.pid,),
            near_pids=(near.process.pid,),
            writes_through=True,
            fetch=far.fetch,
        )


class _Node:
    """A node in a process of its own."""

    process: "subprocess.Popen[bytes]"
    client: Client

    def __init__(self, folder: Path) -> None:
        self.mount = folder / "mount"
        self.log = folder / "output.log"
        self._home = folder / "home"
        self.mount.mkdir(parents=True)

    @contextmanager
    def run(self) -> Iterator[None]:
        command = [sys.executable, "-m", "sharefs", "--home", str(self._home)]
        name = self._home.parent.name
        subprocess.run([*command, "init", "--name", name], check=True, capture_output=True)
        options = ["--mount", str(self.mount), "--listen", "127.0.0.1:0", "--no-discovery"]
        with mounted([*command, "up", "--foreground", *options], self.mount, self.log) as process:
            self.process = process
            wait_for(self._answers, process, self.log)
            with self.client:
                yield

    def _answers(self) -> bool:
        with contextlib.suppress(UserError):
            self.client = Client(Home.at(self._home).socket_file)
            return True
        return False

    def fetch(self, path: Path) -> int:
        """As `sharefs fetch`. Raises BenchFailed."""
        with self.client.fetch([str(path)]) as steps:
            *_, last = steps
        if last.failures:
            raise BenchFailed(f"{len(last.failures)} files were not fetched: {last.failures[0]}")
        return last.files_done


SHAREFS = Subject("sharefs", (), lambda: sharefs.__version__, open_sharefs)


def interrupt_on_signals() -> None:
    """Everything is cleaned up on SIGTERM and SIGHUP as on Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
