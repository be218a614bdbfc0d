"""Who plays in the demo? People with a node each: real processes, real mounts, real sockets."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sharefs.errors import UserError
from sharefs.node.reports import SpaceReport
from sharefs.store.home import Home
from sharefs.web.client import Client
from tests.demo.telling import Teller

COMMAND_S_MAX = 90.0
END_S_MAX = 10.0
LOG_LINES_MAX = 12
POLL_INTERVAL_S = 0.02
BLOCK_SIZE_BYTES = 512
"""The unit of st_blocks, whatever the disk's own is."""


class DemoFailed(Exception):
    """The demo can not go on."""


class Person:
    """Somebody with a home and a mount of their own, under the demo's folder."""

    def __init__(self, name: str, folder: Path, tell: Teller) -> None:
        self.name = name
        self.folder = folder / name
        self.mount = self.folder / "My Shared Spaces"
        self.pid: int | None = None
        self._home = Home.at(self.folder / "home")
        self._tell = tell
        self.mount.mkdir(parents=True)

    def start(self) -> None:
        """Bring the node up, as `sharefs up`, and note its process."""
        self.run("up", "--mount", str(self.mount), "--listen", "127.0.0.1:0", "--no-discovery")
        self.pid = self.client().status().pid

    def run(self, *arguments: str, show: bool = True) -> str:
        """A command of sharefs, shown; returns what it printed. Raises DemoFailed."""
        result = run_to_end(self._command(arguments))
        output = result.stdout + result.stderr
        if show:
            self._tell.command(self.name, ["sharefs", *map(self._short, arguments)])
            for line in output.splitlines():
                self._tell.say(f"  {self._short(line)}")
        if result.returncode:
            raise DemoFailed(f"sharefs {arguments[0]} failed at {self.name}: {output.strip()}")
        return result.stdout

    def begin(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A command of sharefs in the background, shown without what it prints."""
        self._tell.command(self.name, ["sharefs", *map(self._short, arguments)])
        return subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def program(self, *arguments: str) -> str:
        """A program of the system, run in the mount and shown. Raises DemoFailed."""
        result = run_to_end(arguments, self.mount)
        self._tell.command(self.name, arguments, result.stdout + result.stderr)
        if result.returncode:
            raise DemoFailed(f"{arguments[0]} failed at {self.name}: {result.stderr.strip()}")
        return result.stdout

    def client(self) -> Client:
        """What the commands ask, too."""
        return Client(self._home.socket_file)

    def space(self) -> SpaceReport:
        """The one space that everybody is in."""
        with self.client() as client:
            return client.spaces()[0]

    def disk_bytes(self) -> int:
        """What the contents really take on this person's disk."""
        total = 0
        for path in self._home.contents_folder.glob("**/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                total += status.st_blocks * BLOCK_SIZE_BYTES if not path.is_dir() else 0
        return total

    def last_words(self) -> list[str]:
        """The end of the node's log."""
        with contextlib.suppress(OSError):
            text = self._home.log_file.read_text(errors="replace")
            return [f"{self.name}: {line}" for line in text.splitlines()[-LOG_LINES_MAX:]]
        return []

    def kill(self) -> None:
        """SIGKILL: the node has no chance to put anything in order."""
        assert self.pid is not None, "a node is killed after it was started"
        self._tell.command(self.name, ["kill", "-KILL", str(self.pid)])
        descriptor = os.pidfd_open(self.pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _wait_for_end(descriptor)
        self.pid = None

    def clean_up(self) -> None:
        """End the node by fair means or foul, and unmount. Never raises."""
        if self.pid is not None:
            with contextlib.suppress(OSError, UserError, ProcessLookupError):
                self._end(self.pid)
        if is_mounted(self.mount):
            subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], capture_output=True)

    def _end(self, pid: int) -> None:
        descriptor = os.pidfd_open(pid)
        with contextlib.suppress(UserError), self.client() as client:
            client.stop()
        if not _wait_for_end(descriptor):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _wait_for_end(descriptor)
        os.close(descriptor)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        home = str(self._home.directory)
        return [sys.executable, "-m", "sharefs", "--home", home, *arguments]

    def _short(self, text: str) -> str:
        """Without the demo's folder, which nobody wants to read."""
        return text.replace(f"{self.folder.parent}/", "")


def run_to_end(
    command: Sequence[str], folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run it, and return what it printed. Raises DemoFailed when it takes too long."""
    # In a session of its own, or a Ctrl-C would reach it twice: once from the terminal.
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=COMMAND_S_MAX)
    except BaseException as error:
        # An interrupted `up` takes back what it has started; a killed one could not.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=END_S_MAX)
        process.kill()
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise DemoFailed(
                f"{command[0]} is still at work after {COMMAND_S_MAX:.0f} s"
            ) from error
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def is_mounted(path: Path) -> bool:
    """Whether a filesystem is mounted there, even a dead one that can not be looked at."""
    escaped = str(path).replace("\\", "\\134").replace(" ", "\\040")
    return any(line.split()[1] == escaped for line in Path("/proc/self/mounts").open())


def wait_until(truth: Callable[[], bool], within_s: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + within_s
    while not truth():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def _wait_for_end(descriptor: int) -> bool:
    """Whether the process of the descriptor has ended in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(END_S_MAX * 1000))
