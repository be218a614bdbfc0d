"""Each command, against a node in memory that the real API serves on a real socket."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import sharefs
from sharefs import cli
from sharefs.cli import display
from sharefs.errors import DiskFull
from sharefs.node.reports import (
    ConflictReport,
    MemberReport,
    SpaceReport,
    StatusReport,
)
from sharefs.store.home import Home
from sharefs.web.client import Client
from sharefs.web.fake import FakeNode
from sharefs.web.server import ApiServer


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Shell:
    """Runs commands with one home."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> Ran:
        return self.run_plain("--home", str(self.folder), *arguments)

    def run_plain(self, *arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        captured = self.capture.readouterr()
        code = ended.value.code
        assert "Traceback" not in captured.err
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)


BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
"""As most people's: what is printed goes out at the end."""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "home", capsys)


@pytest.fixture
def node(shell: Shell) -> Iterator[FakeNode]:
    """Anna's node, which is up."""
    assert shell.run("init", "--name", "Anna").code == 0
    node = FakeNode(names=["Family"])
    home = Home.at(shell.folder)
    server = ApiServer(node, home.socket_file)
    server.start()
    yield node
    server.stop()


def test_bare_sharefs_prints_help(shell: Shell) -> None:
    ran = shell.run_plain()
    assert ran.code == 0
    for command in [
        "init",
        "up",
        "down",
        "status",
        "create",
        "invite",
        "join",
        "spaces",
        "members",
        "transfers",
        "conflicts",
        "resolve",
        "fetch",
        "free",
        "pin",
        "unpin",
        "doctor",
        "settings",
        "peers",
    ]:
        assert f"  {command} " in ran.out
    assert "..." not in ran.out.partition("Commands:")[2], "what a command does is said whole"


def test_the_version_is_printed(shell: Shell) -> None:
    assert shell.run_plain("--version").out == f"sharefs {sharefs.__version__}\n"


def test_what_can_not_be_printed_for_lack_of_room_is_told() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sharefs", "--version"]
        for environment in ({**os.environ, "PYTHONUNBUFFERED": "1"}, BUFFERED):
            ran = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment
            )
            told = (6, "There is no room for what was to be printed.\n")
            assert (ran.returncode, ran.stderr) == told


def test_who_reads_no_further_is_told_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "sharefs", "--version"]
    with open(writing, "w") as closed:
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, env=BUFFERED)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_a_wrong_option_is_a_usage_error(shell: Shell) -> None:
    ran = shell.run("status", "--jsonn")
    assert ran.code == 2
    assert "--jsonn" in ran.err


def test_init_makes_an_identity_once(shell: Shell) -> None:
    ran = shell.run("init", "--name", " Anna ", "--device-name", "laptop")
    assert ran.code == 0
    assert ran.out.startswith("You are Anna, on laptop.")
    before = Home.at(shell.folder).read_identity()
    again = shell.run("init", "--name", "Bob")
    assert again.code == 1
    assert again.out == ""
    assert Home.at(shell.folder).read_identity() == before


def test_init_names_the_device_by_itself(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 100)
    assert "on " + "h" * 64 + "." in shell.run("init", "--name", "Anna").out


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_init_refuses_a_name_and_leaves_nothing(shell: Shell, name: str) -> None:
    ran = shell.run("init", "--name", name)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert not shell.folder.exists()


def test_the_home_may_stand_after_the_command_or_in_the_environment(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHAREFS_HOME", str(tmp_path / "environment"))
    shell.run_plain("init", "--name", "Anna")
    shell.run_plain("--home", "before", "init", "--name", "Anna")
    shell.run_plain("--home", "before", "init", "--home", "after", "--name", "Anna")
    for name in ["environment", "before", "after"]:
        assert Home.at(tmp_path / name).read_identity()


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["down"], ["spaces"], ["create", "x"], ["fetch", "x"], ["up", "--foreground"]],
)
def test_without_an_identity_every_command_asks_for_init(
    shell: Shell, arguments: list[str]
) -> None:
    ran = shell.run(*arguments)
    assert ran.code == 1
    assert "sharefs init" in ran.err


def test_without_a_node_every_command_asks_for_up(shell: Shell) -> None:
    shell.run("init", "--name", "Anna")
    for command in ["status", "down", "spaces", "transfers"]:
        ran = shell.run(command)
        assert ran.code == 7
        assert ran.err == "The node is not running: start it with `sharefs up`.\n"


def test_status_tells_people_and_programs(shell: Shell, node: FakeNode) -> None:
    node.notices.append("Bob's device sent a chunk that does not match.")
    ran = shell.run("status")
    assert ran.lines[0] == f"Anna on laptop, sharefs {sharefs.__version__}"
    assert "Mount: /home/anna/My Shared Spaces" in ran.lines
    assert ran.lines[-1] == "Note: Bob's device sent a chunk that does not match."
    assert f"Devices online: {node.status().peers_online}, besides this one" in ran.lines
    told = msgspec.json.decode(shell.run("status", "--json").out, type=StatusReport)
    assert told == node.status()


def test_spaces_are_listed(shell: Shell, node: FakeNode) -> None:
    heading, line = shell.run("spaces").lines
    assert heading.split() == [
        "SPACE",
        "ROLE",
        "MEMBERS",
        "ONLINE",
        "ENTRIES",
        "SIZE",
        "HERE",
        "PATH",
    ]
    assert line.startswith("Family  owner  2")
    assert line.endswith("/home/anna/My Shared Spaces/Family")
    told = msgspec.json.decode(shell.run("spaces", "--json").out, type=list[SpaceReport])
    assert told == node.spaces()


def test_no_spaces_are_an_empty_list(shell: Shell, node: FakeNode) -> None:
    node.names.clear()
    ran = shell.run("spaces")
    assert (ran.code, ran.out) == (0, "")
    assert "sharefs create" in ran.err
    assert json.loads(shell.run("spaces", "--json").out) == []


def test_members_are_listed(shell: Shell, node: FakeNode) -> None:
    lines = shell.run("members", "Family").lines
    assert lines[1].split() == ["Anna", "(you)", "owner", "online"]
    assert lines[2].startswith("Bob         reader  ")
    assert lines[2].endswith("days ago")
    told = msgspec.json.decode(
        shell.run("members", "Family", "--json").out, type=list[MemberReport]
    )
    assert told == node.members("Family")


def test_the_nodes_sentence_and_exit_code_come_through(shell: Shell, node: FakeNode) -> None:
    ran = shell.run("members", "Work")
    assert ran.code == 3
    assert ran.err == "There is no space called Work here: `sharefs spaces` lists them.\n"
    node.fails_with = DiskFull("The disk is full: make room.")
    ran = shell.run("spaces", "--json")
    assert (ran.code, ran.out, ran.err) == (6, "", "The disk is full: make room.\n")


def test_create_tells_where_the_space_is(shell: Shell, node: FakeNode) -> None:
    assert "/home/anna/My Shared Spaces/Work" in shell.run("create", " Work ").out
    assert node.names == ["Family", "Work"]
    assert shell.run("create", "a/b").code == 2


def test_invite_prints_a_ticket_alone(shell: Shell, node: FakeNode) -> None:
    assert shell.run("invite", "Family").out == "sharefs1ticket0\n"
    ran = shell.run("invite", "Family", "--role", "reader", "--expires", "90s")
    assert ran.out == "sharefs1ticket1\n"
    assert node.asked == [("Family", "contributor", "604800.0"), ("Family", "reader", "90.0")]


def test_invite_refuses_what_it_can_not_use(shell: Shell, node: FakeNode) -> None:
    assert shell.run("invite", "Family", "--role", "king").code == 2
    assert shell.run("invite", "Family", "--expires", "soon").code == 2
    assert shell.run("invite", "Work").code == 3
    assert node.tickets == []


def test_invite_writes_a_file_for_the_user_only(
    shell: Shell, node: FakeNode, tmp_path: Path
) -> None:
    file = tmp_path / "family.sharefs"
    ran = shell.run("invite", "Family", "--output", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert file.read_text() == "sharefs1ticket0\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_invite_makes_no_ticket_that_it_can_not_write(
    shell: Shell, node: FakeNode, tmp_path: Path
) -> None:
    file = tmp_path / "family.sharefs"
    file.write_text("mine")
    assert shell.run("invite", "Family", "--output", str(file)).code == 1
    assert shell.run("invite", "Family", "--output", str(tmp_path / "no/file")).code == 2
    assert node.tickets == []
    assert file.read_text() == "mine"
    failed = tmp_path / "failed.sharefs"
    assert shell.run("invite", "Work", "--output", str(failed)).code == 3
    assert not failed.exists()


def test_join_takes_a_ticket_or_its_file(shell: Shell, node: FakeNode, tmp_path: Path) -> None:
    file = tmp_path / "family.sharefs"
    shell.run("invite", "Family", "--output", str(file))
    assert "You are in Joined by sharefs1ticket0" in shell.run("join", str(file)).out
    ran = shell.run("join", "sharefs1ticket0")
    assert (ran.code, ran.err) == (8, "The ticket was used before: ask for a new one.\n")
    assert shell.run("join", "nonsense").code == 8


def test_conflicts_are_listed(shell: Shell, node: FakeNode) -> None:
    assert shell.run("conflicts").err == "Nothing is in conflict.\n"
    assert shell.run("conflicts", "--json").out == "[]\n"
    report = node.fall_out("Family")
    heading, winner, loser = shell.run("conflicts", "Family").lines
    assert heading.split() == ["VERSION", "KEPT", "AS", "WRITER", "WRITTEN", "SIZE", "PATH"]
    assert winner.split()[:3] == ["aaaaaaaaaaaa", "winner", "Anna"]
    assert winner.endswith("plan.odt")
    assert "1.1 kB" in loser
    assert loser.endswith("plan (conflict, Bob, 2026-11-20 14.03).odt")
    ran = shell.run("conflicts", "--json")
    assert msgspec.json.decode(ran.out, type=list[ConflictReport]) == [report]
    assert shell.run("conflicts", "Work").code == 3


def test_a_delete_that_won_is_listed_as_one(shell: Shell, node: FakeNode) -> None:
    report = node.fall_out("Family")
    winner, loser = report.versions
    gone = msgspec.structs.replace(winner, deleted=True, path="", size=0)
    node.contested = [
        msgspec.structs.replace(report, path=loser.path, versions=[gone, loser]),
    ]
    _, first, _ = shell.run("conflicts").lines
    assert " deleted " in first
    assert first.endswith(loser.path)


def test_a_conflict_is_resolved(shell: Shell, node: FakeNode, tmp_path: Path) -> None:
    node.mount = str(tmp_path)
    report = node.fall_out("Family")
    ran = shell.run("resolve", f"{tmp_path}/./Family/plan.odt", "--keep", "loser")
    assert ran.out == f"Kept: {report.path}\n"
    assert node.asked == [(report.path, "loser")]
    again = shell.run("resolve", report.path, "--keep", "loser")
    assert (again.code, again.out) == (3, "")
    unsaid = shell.run("resolve", report.path)
    assert (unsaid.code, unsaid.err[:18]) == (2, "Say what to keep: "), "it is not guessed"


def test_fetch_ends_with_one_line(shell: Shell, node: FakeNode, tmp_path: Path) -> None:
    ran = shell.run("fetch", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (ran.code, ran.out, ran.err) == (0, "Fetched 2 of 2 files, 2.0 MB.\n", "")
    top = tmp_path.resolve()
    assert node.asked == [(f"{top}/a", f"{top}/b")]


def test_fetch_tells_what_failed(shell: Shell, node: FakeNode) -> None:
    node.fetch_failures = [("/mount/a", "Nobody who holds it is online: ask Bob.")]
    ran = shell.run("fetch", "/mount/a")
    assert ran.code == 1
    assert ran.err == "/mount/a: Nobody who holds it is online: ask Bob.\n"
    assert ran.out == "Fetched 1 of 1 file, 1.0 MB, 1 failed.\n"


def test_fetch_shows_a_bar_on_a_terminal(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "on_terminal", lambda: True)
    ran = shell.run("fetch", "/mount/a", "/mount/b")
    assert ran.code == 0
    assert ran.lines[-1] == "Fetched 2 of 2 files, 2.0 MB."


def test_free_tells_what_was_refused(shell: Shell, node: FakeNode) -> None:
    assert shell.run("free", "/mount/a").out == "Freed 1 file, 1.0 MB.\n"
    node.last_copies.add("/mount/b")
    ran = shell.run("free", "/mount/a", "/mount/b")
    assert (ran.code, ran.out) == (9, "Freed 1 file, 1.0 MB.\n")
    assert ran.err == "/mount/b: Nobody else is known to have all of it.\n"


def test_free_says_once_what_is_true_of_many_files(shell: Shell, node: FakeNode) -> None:
    paths = [f"/mount/{number:02}" for number in range(12)]
    node.last_copies.update(paths)
    ran = shell.run("free", *paths)
    lines = ran.err.splitlines()
    assert lines[0] == "Of each of these 12 files: Nobody else is known to have all of it."
    assert lines[1:-1] == [f"  {path}" for path in paths[: display.PATHS_SHOWN_MAX]]
    assert lines[-1] == f"  and {12 - display.PATHS_SHOWN_MAX} more"


def test_a_path_that_is_not_utf8_is_told_of(shell: Shell, node: FakeNode) -> None:
    ran = shell.run("fetch", "/mount/\udcff")
    assert ran.code == 1
    assert "not UTF-8" in ran.err


def test_an_unexpected_error_says_where_the_log_is(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_client: Client) -> StatusReport:
        raise ZeroDivisionError("inner matters")

    monkeypatch.setattr(Client, "status", fail)
    ran = shell.run("status")
    log_file = Home.at(shell.folder).log_file
    assert ran.code == 70
    assert ran.out == ""
    assert str(log_file) in ran.err
    assert "inner matters" not in ran.err
    assert "ZeroDivisionError: inner matters" in log_file.read_text()
