"""A person ends what they wait for, and says what is to come: with real programs and commands."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharefs.cli.fetching import INTERRUPTED_EXIT_CODE
from sharefs.errors import UserError
from sharefs.node.reports import TransferReport
from sharefs.web.client import Client
from tests.scenarios.group import Group, Node, run, start, until
from tests.scenarios.real_files import MIB, write_random

WAIT_S_MAX = 20
READERS = 64
SLOW = "200K"


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    anna, bob = lasting_group.family("Anna", "Bob")
    write_random(anna.at("Family", "film.mkv"), 192 * MIB, 6)
    for number in range(5):
        write_random(anna.at("Family", f"{number}.bin"), 2 * MIB, number)
    until(lambda: len(os.listdir(bob.at("Family"))) == 6, WAIT_S_MAX)
    return [anna, bob]


@pytest.fixture
def film(family: list[Node]) -> Iterator[Path]:
    """It comes to Bob so slowly that whoever reads it waits."""
    _, bob = family
    film = bob.at("Family", "film.mkv")
    # Whoever reads what came for the test before does not wait for more of it.
    bob.ask("free", film)
    bob.ask("settings", "bandwidth", "down", SLOW)
    yield film
    bob.ask("settings", "bandwidth", "down", "default")


@contextmanager
def started(*command: str | Path) -> Iterator["subprocess.Popen[bytes]"]:
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def coming(node: Node) -> list[TransferReport]:
    return [report for report in node.transfers() if report.direction == "in"]


READERS_OF: dict[str, Callable[[Path], list[str | Path]]] = {
    "cat": lambda path: ["cat", path],
    "dd": lambda path: ["dd", f"if={path}", "iflag=direct", "bs=1M", "status=none"],
    "python": lambda path: [sys.executable, "-c", f"open({str(path)!r}, 'rb').read()"],
    "an edit": lambda path: ["bash", "-c", f"exec printf x 1<>{path}"],
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", READERS_OF)
def test_a_program_that_waits_for_bytes_can_be_ended_and_they_are_wanted_no_more(
    family: list[Node], film: Path, name: str, number: signal.Signals
) -> None:
    _, bob = family
    with started(*READERS_OF[name](film)) as program:
        until(lambda: coming(bob), WAIT_S_MAX, "it is wanted")
        program.send_signal(number)
        program.communicate(timeout=WAIT_S_MAX)
    assert program.returncode == -number
    until(lambda: not coming(bob), WAIT_S_MAX, "it is wanted no more")


def test_timeout_ends_a_read_of_what_does_not_come(family: list[Node], film: Path) -> None:
    _, bob = family
    assert run(["timeout", "1", "cat", film]).code == 124
    until(lambda: not coming(bob), WAIT_S_MAX)


def test_many_programs_wait_and_nobody_else_does_until_they_are_cancelled(
    family: list[Node], film: Path
) -> None:
    _, bob = family
    script = (
        f"for n in $(seq {READERS}); do dd if={film} bs=4k count=1 skip=$((700 * n)) & done; wait"
    )
    with started("bash", "-c", script) as readers:
        until(lambda: coming(bob), WAIT_S_MAX)
        assert len(os.listdir(bob.at("Family"))) >= 6
        bob.at("Family", "new").write_bytes(b"1")
        assert bob.at("Family", "new").read_bytes() == b"1"
        assert readers.poll() is None
        until(lambda: _cancelled(bob) and readers.poll() is not None, WAIT_S_MAX)
        _, complaints = readers.communicate()
    assert complaints.count(b"Operation canceled") > READERS // 2
    until(lambda: not coming(bob), WAIT_S_MAX)


def _cancelled(node: Node) -> bool:
    return "Cancelled" in node.ask("transfers", "cancel", "--all")


def test_ctrl_c_ends_a_fetch_of_a_folder(family: list[Node], film: Path) -> None:
    _, bob = family
    with started(*bob.command("fetch", film.parent)) as fetching:
        until(lambda: len(coming(bob)) > 1, WAIT_S_MAX)
        fetching.send_signal(signal.SIGINT)
        _, complaint = fetching.communicate(timeout=WAIT_S_MAX)
    assert fetching.returncode == INTERRUPTED_EXIT_CODE
    assert complaint.startswith(b"Stopped.")
    until(lambda: not coming(bob), WAIT_S_MAX)


def test_a_pause_outlives_the_node_and_programs_read_meanwhile(family: list[Node]) -> None:
    anna, bob = family
    theirs = [bob.at("Family", f"{number}.bin") for number in range(5)]
    assert bob.ask("transfers", "pause", *theirs[:3]) == "Paused: 3 paths.\n"
    bob.ask("transfers", "reject", theirs[3])
    bob.kill()
    start(bob)
    until(lambda: bob.sees_online("Anna"), WAIT_S_MAX)
    assert [report.state for report in coming(bob)] == ["paused"] * 3 + ["rejected"]
    refused = run(bob.command("fetch", theirs[3]))
    assert refused.code == UserError.exit_code
    assert "You rejected it" in refused.complaint
    original = anna.at("Family", "0.bin")
    assert theirs[0].read_bytes() == original.read_bytes(), "as a program reads it"
    with started(*bob.command("fetch", *theirs[:3])) as fetching:
        assert fetching.stderr is not None
        assert fetching.stderr.readline().startswith(b"2 files are paused")
        bob.ask("transfers", "resume", "--all")
        said, _ = fetching.communicate(timeout=WAIT_S_MAX)
    assert b"Fetched 3 of 3 files" in said
    assert [report.state for report in coming(bob)] == ["rejected"]
    bob.ask("transfers", "resume", theirs[3])
    bob.ask("fetch", theirs[3])


def test_progress_is_told_as_it_is_made(family: list[Node]) -> None:
    _, bob = family
    path = str(bob.at("Family", "4.bin"))
    with Client(bob.home.socket_file) as client, client.events() as events:
        bob.ask("fetch", path)
        states = []
        for event in events:
            transfer = getattr(event, "transfer", None)
            if transfer is not None and transfer.path == path:
                states.append(transfer.state)
            if states[-1:] == ["finished"]:
                break
    assert states[-1] == "finished"


def test_what_is_cancelled_is_told_in_a_sentence(family: list[Node], film: Path) -> None:
    _, bob = family
    with started(*bob.command("fetch", film)) as fetching:
        until(lambda: coming(bob), WAIT_S_MAX)
        assert bob.ask("transfers", "cancel", film) == "Cancelled: 1 transfer.\n"
        _, complaint = fetching.communicate(timeout=WAIT_S_MAX)
    assert fetching.returncode == UserError.exit_code
    assert b"cancelled" in complaint
