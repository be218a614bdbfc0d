"""Starting and stopping a node's process: real processes, signals, pipes and sockets."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharefs.cli import background
from sharefs.errors import HomeNotUsable, MountNotPossible, NodeFailed, NodeNotRunning
from sharefs.web.client import Client

WAIT_S_MAX = 20
SCRIPT = Path(__file__).with_name("fake_node_process.py")


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "node.log"


@pytest.fixture
def socket_file(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


def _command(fault: str, socket_file: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), fault, str(socket_file), background.PIPE]


@pytest.fixture
def process(socket_file: Path, log_file: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A node that is up."""
    process = background.start(_command("none", socket_file), log_file)
    yield process
    process.kill()
    process.wait(WAIT_S_MAX)


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The processes that were started, for tests in which the caller does not get them."""
    processes = []
    spawn = background._spawn

    def note(command: list[str], writer: int, log_file: Path) -> "subprocess.Popen[bytes]":
        processes.append(spawn(command, writer, log_file))
        return processes[-1]

    monkeypatch.setattr(background, "_spawn", note)
    return processes


def test_a_started_node_answers_and_is_on_its_own(
    process: "subprocess.Popen[bytes]", socket_file: Path, log_file: Path
) -> None:
    with Client(socket_file) as client:
        assert client.status().pid == process.pid
    assert os.getsid(process.pid) == process.pid
    assert os.readlink(f"/proc/{process.pid}/cwd") == "/"
    assert os.readlink(f"/proc/{process.pid}/fd/2") == str(log_file)
    assert stat.S_ISCHR(os.stat(f"/proc/{process.pid}/fd/0").st_mode)


def test_a_node_is_stopped_when_its_process_has_ended(
    process: "subprocess.Popen[bytes]", socket_file: Path, log_file: Path
) -> None:
    with Client(socket_file) as client:
        background.stop(client, log_file)
    assert process.wait(WAIT_S_MAX) == 0
    assert not socket_file.exists()
    with pytest.raises(NodeNotRunning):
        Client(socket_file)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_stop_a_node_in_order(
    process: "subprocess.Popen[bytes]", socket_file: Path, number: signal.Signals
) -> None:
    process.send_signal(number)
    assert process.wait(WAIT_S_MAX) == 0
    assert not socket_file.exists()


def test_a_killed_nodes_socket_does_not_stop_the_next(socket_file: Path, log_file: Path) -> None:
    first = background.start(_command("none", socket_file), log_file)
    first.kill()
    first.wait(WAIT_S_MAX)
    assert socket_file.exists()
    with pytest.raises(NodeNotRunning):
        Client(socket_file)
    second = background.start(_command("none", socket_file), log_file)
    with Client(socket_file) as client:
        background.stop(client, log_file)
    assert second.wait(WAIT_S_MAX) == 0


def test_a_failed_start_raises_the_nodes_own_sentence_and_leaves_nothing(
    socket_file: Path, log_file: Path, spawned: "list[subprocess.Popen[bytes]]"
) -> None:
    with pytest.raises(MountNotPossible, match=r"^The folder is not empty: choose another\.$"):
        background.start(_command("mount", socket_file), log_file)
    assert spawned[0].returncode is not None
    assert not socket_file.exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "it said nothing (exit code 3)"),
        ("bug", "ZeroDivisionError: of all things"),
        ("kill", "it was ended by signal 9 (Killed)"),
    ],
)
def test_a_node_that_dies_without_a_report_is_told_of_with_the_reason(
    socket_file: Path,
    log_file: Path,
    fault: str,
    reason: str,
    spawned: "list[subprocess.Popen[bytes]]",
) -> None:
    log_file.write_text("what an earlier node said\n")
    with pytest.raises(NodeFailed) as failure:
        background.start(_command(fault, socket_file), log_file)
    assert str(failure.value) == (
        f"The node ended while it was starting: {reason}. {log_file} tells more."
    )
    assert spawned[0].returncode is not None


def test_a_node_that_hangs_is_given_up_and_killed(
    socket_file: Path,
    log_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    spawned: "list[subprocess.Popen[bytes]]",
) -> None:
    monkeypatch.setattr(background, "START_S_MAX", 0.2)
    monkeypatch.setattr(background, "END_S_MAX", 0.2)
    with pytest.raises(NodeFailed, match="did not start within"):
        background.start(_command("hang", socket_file), log_file)
    assert spawned[0].returncode in (-signal.SIGKILL, -signal.SIGTERM)


def test_a_node_that_does_not_end_in_time_is_told_of(
    process: "subprocess.Popen[bytes]",
    socket_file: Path,
    log_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "STOP_S_MAX", 0.2)
    with Client(socket_file) as client:
        monkeypatch.setattr(client, "stop", lambda: None)
        with pytest.raises(NodeFailed, match=f"process {process.pid}"):
            background.stop(client, log_file)


def test_a_log_that_can_not_be_written_is_told_of(socket_file: Path, tmp_path: Path) -> None:
    with pytest.raises(HomeNotUsable, match="another home"):
        background.start(_command("none", socket_file), tmp_path / "no/folder.log")


def test_the_command_line_names_the_home() -> None:
    command = background.node_command(Path("/a"), ["--no-discovery"])
    assert command[:5] == [sys.executable, "-m", "sharefs", "--home", "/a"]
    assert command[5:] == ["up", "--foreground", "--report", background.PIPE, "--no-discovery"]


def test_a_folder_with_braces_in_its_name_is_no_riddle(tmp_path: Path, log_file: Path) -> None:
    folder = tmp_path / "{pipe} {0}"
    folder.mkdir()
    process = background.start(_command("none", folder / "api.sock"), log_file)
    with Client(folder / "api.sock") as client:
        background.stop(client, log_file)
    assert process.wait(WAIT_S_MAX) == 0
