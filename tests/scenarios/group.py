"""How do scenarios get nodes: real processes, each with a home and a mount of its own?"""

import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sharefs.cli import main
from sharefs.errors import UserError
from sharefs.node.reports import MemberReport, SpaceReport, StatusReport, TransferReport
from sharefs.store.home import Home
from sharefs.web.client import Client

POLL_S = 0.02
COMMAND_S_MAX = 90.0
END_S_MAX = 30.0
GROUP_S_MAX = 500.0
"""A group that lives longer is stuck: its nodes are killed, which frees who waits in a mount."""
LOG_TAIL_LINES = 60

Value = TypeVar("Value")


def until(condition: Callable[[], Value], seconds: float, what: str = "") -> Value:
    """What `condition` gives as soon as that is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    code: int
    output: str
    complaint: str
    seconds: float


def run(
    command: Sequence[str | Path],
    seconds: float = COMMAND_S_MAX,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a program to its end."""
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return Outcome(
        done.returncode,
        done.stdout.decode(errors="backslashreplace"),
        done.stderr.decode(errors="backslashreplace"),
        time.monotonic() - began,
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "SHAREFS_HOME"}
    return kept | {"LC_ALL": "C.UTF-8"}


def shell(script: str, cwd: Path, seconds: float = COMMAND_S_MAX) -> str:
    """What a script of bash prints; it must succeed."""
    outcome = run(["bash", "-euo", "pipefail", "-c", script], seconds, cwd)
    assert outcome.code == 0, f"{script}\nexit {outcome.code}\n{outcome.output}{outcome.complaint}"
    return outcome.output


class Node:
    """A node of a group. Invariant: `process` is a descriptor of its process while that may run."""

    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.base = base / name.lower()
        self.mount = self.base / "mount"
        self.folder = self.base / "home"
        self.home = Home.at(self.folder)
        self.terminal = self.base / "terminal"
        """What it says when it is begun without a command."""
        self.pid = 0
        self._process: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._listen = "127.0.0.1:0"
        self._announce: str | None = None
        self._listened = False
        self.mount.mkdir(parents=True)

    # --- commands -------------------------------------------------------------------------------

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """The command line of one of its commands."""
        return [sys.executable, "-m", "sharefs", "--home", self.folder, *arguments]

    def ask(self, *arguments: str | Path, seconds: float = COMMAND_S_MAX) -> str:
        """What a command prints; it must succeed."""
        outcome = run(self.command(*arguments), seconds)
        assert outcome.code == 0, f"{self.name}: {arguments} exit {outcome.code}: {outcome}"
        return outcome.output

    def ask_json(self, *arguments: str | Path) -> Any:
        """What a command prints with `--json`."""
        return json.loads(self.ask(*arguments, "--json"))

    def refused(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """The sentence with which a command is refused, after its exit code: `8 The ticket ...`."""
        return sentence_of(run(self.command(*arguments), environment=environment))

    def init(self) -> None:
        """As the command does, in this process."""
        with pytest.raises(SystemExit) as ended:
            main(["--home", str(self.folder), "init", "--name", self.name])
        assert ended.value.code == 0

    def up(self) -> None:
        """Start it as a person does."""
        try:
            self.ask("up", *self.options())
        finally:
            self.adopt()

    def options(self) -> list[str | Path]:
        """Those of `up`: it listens anywhere the first time, and then where it did before."""
        listen: list[str | Path] = [] if self._listened else ["--listen", self._listen]
        announce = [] if self._announce is None else ["--announce", self._announce]
        self._listened = True
        return [*listen, *announce, "--mount", self.mount, "--no-discovery"]

    def reachable_at(self, port: int, announced: int) -> None:
        """Before it is up: have it listen on one port, and announce another."""
        self._listen, self._announce = f"127.0.0.1:{port}", f"127.0.0.1:{announced}"

    def begin(self) -> None:
        """Start it without a command to wait for it."""
        with self.terminal.open("ab") as terminal:
            self._child = subprocess.Popen(
                self.command("up", "--foreground", *self.options()),
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=terminal,
            )
        self._watch(self._child.pid)

    def await_up(self) -> None:
        """Return when what `begin` has begun serves."""
        process = self._child
        assert process is not None, "it was begun"
        until(lambda: process.poll() is not None or answers(self), END_S_MAX, "it serves")
        assert process.returncode is None, f"exit {process.returncode}: {self.log_tail()}"

    def adopt(self) -> None:
        """The process that the home names is its own from now on, to be ended with it."""
        with suppress(OSError, ValueError):
            pid = int(self.home.lock_file.read_text().split()[0])
            # The number may be another's by now.
            if str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                self._watch(pid)

    def _watch(self, pid: int) -> None:
        self._let_go()
        self._process = os.pidfd_open(pid)
        self.pid = pid

    def begin_as(self, module: str) -> None:
        """Start it as what another module makes of it; returns when it serves."""
        own: list[str | Path] = [sys.executable, "-m", module, "--home", self.folder]
        process = subprocess.Popen(
            [*own, "up", "--foreground", *self.options()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.adopt_child(process)

    def adopt_child(self, process: "subprocess.Popen[bytes]") -> None:
        """The same of a process that the test has started; returns when it serves."""
        self._child = process
        self._watch(process.pid)
        self.await_up()

    def down(self) -> None:
        """Stop it as a person does."""
        self.ask("down")
        assert self.ended(0), "`down` returns when the process has ended"
        self._reap()

    def stop(self) -> None:
        """Stop it as the system does."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash ends it."""
        self._signal(signal.SIGKILL)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it stand still meanwhile."""
        assert self._process is not None, "it runs"
        signal.pidfd_send_signal(self._process, signal.SIGSTOP)
        try:
            yield
        finally:
            signal.pidfd_send_signal(self._process, signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it runs"
        signal.pidfd_send_signal(self._process, number)
        assert self.ended(END_S_MAX)
        self._reap()

    def ended(self, seconds: float) -> bool:
        """Whether its process ends within so many seconds."""
        if self._process is None:
            return True
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _reap(self) -> None:
        self._let_go()
        if self._child is not None:
            self._child.wait(END_S_MAX)
            self._child = None

    def _let_go(self) -> None:
        if self._process is not None:
            os.close(self._process)
            self._process = None

    # --- questions, without the half second that a command takes --------------------------------

    def status(self) -> StatusReport:
        with Client(self.home.socket_file) as client:
            return client.status()

    def spaces(self) -> list[SpaceReport]:
        with Client(self.home.socket_file) as client:
            return client.spaces()

    def members(self, space: str = "Family") -> list[MemberReport]:
        with Client(self.home.socket_file) as client:
            return client.members(space)

    def transfers(self) -> list[TransferReport]:
        with Client(self.home.socket_file) as client:
            return client.transfers()

    def sees_online(self, *names: str, space: str = "Family") -> bool:
        """Whether all these members of the space are online for it."""
        return set(names) <= {member.name for member in self.members(space) if member.online}

    def local_bytes(self) -> int:
        """How much of its spaces is on this disk, by its own account."""
        return sum(space.local_bytes for space in self.spaces())

    def disk_bytes(self) -> int:
        """How much of the disk its contents take, by the disk's account."""
        return sum(
            path.stat().st_blocks * 512
            for path in self.home.contents_folder.rglob("*")
            if path.is_file()
        )

    # --- the mount ------------------------------------------------------------------------------

    def at(self, *parts: str) -> Path:
        """A path in its mount."""
        return self.mount.joinpath(*parts)

    def shell(self, script: str, seconds: float = COMMAND_S_MAX) -> str:
        """What a script prints that runs in the space Family."""
        return shell(script, self.at("Family"), seconds)

    def xattr(self, path: Path, name: str) -> str:
        """What sharefs tells of an entry; empty if it does not tell that."""
        try:
            return os.getxattr(path, f"user.sharefs.{name}").decode()
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return ""

    # --- the end --------------------------------------------------------------------------------

    def log_tail(self) -> str:
        lines = []
        for file in (self.terminal, self.home.log_file):
            with suppress(OSError):
                lines += file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(lines)

    def mishaps(self) -> list[str]:
        """What its log holds that no log should."""
        with suppress(OSError):
            text = self.home.log_file.read_text(errors="replace")
            return [
                f"{self.name}: {line}"
                for line in text.splitlines()
                if line.startswith("Traceback ") or " ERROR " in line or " CRITICAL " in line
            ]
        return []

    def kill_if_it_runs(self) -> None:
        """From any thread."""
        with suppress(OSError, TypeError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)  # type: ignore[arg-type]

    def close(self) -> None:
        """End its process and its mount, whatever state they are in."""
        if self._process is None:
            self.adopt()
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGTERM)
            if not self.ended(END_S_MAX):
                self.kill_if_it_runs()
                self.ended(END_S_MAX)
        self._reap()
        unmount(self.mount)


def unmount(point: Path) -> None:
    """Take away what is mounted there, even by a process that is gone."""
    if str(point) in _mount_points():
        subprocess.run(["fusermount3", "-uz", str(point)], check=False, capture_output=True)


def _mount_points() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


class Group:
    """Nodes that go when the group goes."""

    def __init__(self, seconds_max: float = GROUP_S_MAX) -> None:
        # The names of Unix sockets are short, so that a folder of pytest's would not do.
        self.base = Path(tempfile.mkdtemp(prefix="sharefs-"))
        self.nodes: list[Node] = []
        self._closing: list[Callable[[], None]] = []
        self._watchdog = threading.Timer(seconds_max, self._kill_all)
        self._watchdog.daemon = True
        self._watchdog.start()
        self.expected: list[str] = []
        """Parts of lines that the logs may hold, beside what any log may."""

    def _kill_all(self) -> None:
        for node in self.nodes:
            node.kill_if_it_runs()

    def node(self, name: str) -> Node:
        """A node that is initialised, and not up."""
        node = self.bare_node(name)
        node.init()
        return node

    def bare_node(self, name: str) -> Node:
        """A node of which there is nothing but a mount point."""
        node = Node(name, self.base)
        self.nodes.append(node)
        return node

    def up(self, *names: str) -> list[Node]:
        """New nodes that are up, and in no space."""
        nodes = [self.node(name) for name in names]
        start(*nodes)
        return nodes

    def family(self, *names: str) -> list[Node]:
        """New nodes that are up, in one space, Family, that the first has made."""
        founder, *others = nodes = self.up(*names)
        founder.ask("create", "Family")
        for other in others:
            admit(founder, other)
        for node in nodes:
            until(lambda node=node: node.sees_online(*names), 15, "all are online")  # type: ignore[misc]
        return nodes

    def at_end(self, call: Callable[[], None]) -> None:
        """Have this done when all nodes are gone; the last one first."""
        self._closing.append(call)

    def log_tails(self) -> list[tuple[str, str]]:
        """(node, the end of its log) pairs."""
        return [(node.name, tail) for node in self.nodes if (tail := node.log_tail())]

    def mishaps(self) -> list[str]:
        """Lines of the logs that nobody expects."""
        return [
            line
            for node in self.nodes
            for line in node.mishaps()
            if not any(part in line for part in self.expected)
        ]

    def end(self) -> None:
        """End all nodes; what they leave is still there."""
        for node in self.nodes:
            node.close()
        self._watchdog.cancel()

    def remove(self) -> None:
        """Remove what is left."""
        while self._closing:
            self._closing.pop()()
        shutil.rmtree(self.base, ignore_errors=True)


def start(*nodes: Node) -> None:
    """Start nodes at once."""
    for node in nodes:
        node.begin()
    for node in nodes:
        node.await_up()


def stop(*nodes: Node) -> None:
    """Stop nodes, one after the other."""
    for node in nodes:
        node.stop()


def admit(founder: Node, other: Node, role: str = "contributor", space: str = "Family") -> None:
    """Have one node join the space of another."""
    with Client(founder.home.socket_file) as client:
        ticket = client.invite(space, role, 3600.0)
    with Client(other.home.socket_file) as client:
        client.join(ticket)


def sentence_of(outcome: Outcome) -> str:
    """The sentence of a command that must have failed as a command should."""
    assert outcome.code != 0, f"it was not refused: {outcome.output}"
    assert "Traceback" not in outcome.complaint + outcome.output, outcome.complaint
    sentence = outcome.complaint.strip()
    assert sentence, "no word of why"
    assert sentence.count("\n") <= 1, f"more than a sentence or two:\n{sentence}"
    assert not outcome.output.strip(), "complaints go to standard error"
    return f"{outcome.code} {sentence}"


def answers(node: Node) -> bool:
    """Whether a node is alive and well."""
    try:
        return node.status().pid > 0
    except UserError:
        return False
