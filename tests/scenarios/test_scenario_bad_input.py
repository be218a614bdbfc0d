"""Bad input gets a clear sentence and loses nothing: at the command line, and at the mount."""

import errno
import os
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from sharefs.spaces.limits import TICKET_PREFIX
from sharefs.spaces.ticket import read_ticket
from tests.scenarios.group import Group, Node, answers, run, sentence_of, shell, start, stop, until
from tests.scenarios.private_system import in_private_system, needs_private_system

# --- tickets --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(lasting_group: Group) -> list[Node]:
    """Anna, who has a space, and Bob, who is in none."""
    anna, bob = lasting_group.up("Anna", "Bob")
    anna.ask("create", "Family")
    anna.shell("echo kept > kept.txt")
    return [anna, bob]


def test_a_garbled_ticket_is_refused(pair: list[Node], tmp_path: Path) -> None:
    anna, bob = pair
    ticket = anna.ask("invite", "Family").strip()
    middle = len(ticket) // 2
    other = "A" if ticket[middle] != "A" else "B"
    file = tmp_path / "ticket.sharefs"
    file.write_bytes(b"\xff\x00\x80 no ticket")
    for garbled in (
        ticket[:-7],
        ticket[:middle] + other + ticket[middle + 1 :],
        TICKET_PREFIX,
        "no ticket at all",
        str(tmp_path / "missing.sharefs"),
        str(file),
    ):
        sentence = bob.refused("join", garbled)
        assert sentence.startswith("8 ")
        assert "ticket" in sentence
    assert bob.spaces() == []


def test_an_expired_ticket_is_refused(pair: list[Node]) -> None:
    anna, bob = pair
    ticket = anna.ask("invite", "Family", "--expires", "1s").strip()
    until(lambda: time.time() * 1000 > read_ticket(ticket).expires, 5)
    sentence = bob.refused("join", ticket)
    assert sentence.startswith("8 ")
    assert "expired" in sentence


def test_a_ticket_whose_maker_is_away_says_so_and_stays_good(
    pair: list[Node], tmp_path: Path
) -> None:
    anna, bob = pair
    file = tmp_path / "family.sharefs"
    anna.ask("invite", "Family", "--output", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert anna.refused("invite", "Family", "--output", file).startswith("1 ")
    stop(anna)
    sentence = bob.refused("join", str(file))
    assert sentence.startswith("5 ")
    assert "Anna" in sentence
    start(anna)
    assert "Family" in bob.ask("join", str(file))
    until(lambda: bob.at("Family", "kept.txt").exists(), 10)


def test_a_ticket_for_a_space_one_is_in_is_refused(pair: list[Node]) -> None:
    anna, bob = pair
    ticket = anna.ask("invite", "Family").strip()
    for node in (anna, bob):
        sentence = node.refused("join", ticket)
        assert sentence.startswith("8 ")
        assert "member" in sentence


def test_a_used_ticket_lets_nobody_else_in(lasting_group: Group, pair: list[Node]) -> None:
    anna, _ = pair
    carol, dave = lasting_group.up("Carol", "Dave")
    ticket = anna.ask("invite", "Family", "--role", "reader").strip()
    assert "reader" in carol.ask("join", ticket)
    sentence = dave.refused("join", ticket)
    assert sentence.startswith("8 ")
    assert "used" in sentence
    assert dave.spaces() == []
    assert "Dave" not in {member.name for member in anna.members()}


def test_a_reader_writes_nothing(lasting_group: Group, pair: list[Node]) -> None:
    carol = lasting_group.nodes[2]
    until(lambda: carol.at("Family", "kept.txt").exists(), 10)
    assert carol.at("Family", "kept.txt").stat().st_mode & 0o222 == 0
    outcome = run(["bash", "-c", "echo more >> kept.txt"], cwd=carol.at("Family"))
    assert outcome.code != 0
    assert "Read-only" in outcome.complaint
    outcome = run(["mkdir", "new"], cwd=carol.at("Family"))
    assert outcome.code != 0
    carol.shell("grep -q kept kept.txt")


def test_commands_name_what_is_wrong_with_their_arguments(pair: list[Node]) -> None:
    anna, _ = pair
    assert anna.refused("create", "a/b").startswith("2 ")
    assert anna.refused("create", "Family").startswith("2 ")
    assert anna.refused("invite", "Family", "--expires", "soon").startswith("2 ")
    assert anna.refused("invite", "Family", "--role", "king").startswith("2 ")
    assert "Family" in anna.refused("members", "Nobody's")


# --- names ----------------------------------------------------------------------------------------


def test_names_that_others_can_not_show_are_refused(pair: list[Node]) -> None:
    anna, _ = pair
    top = os.fsencode(anna.at("Family"))
    for name, number in (
        (b"n" * 256, errno.ENAMETOOLONG),
        ("ü".encode() * 128, errno.ENAMETOOLONG),
        (b"not \xff text", errno.EILSEQ),
    ):
        for make in (os.mkdir, os.mknod, lambda path: os.rename(top + b"/kept.txt", path)):
            with pytest.raises(OSError, match=r"\[Errno") as refused:
                make(top + b"/" + name)
            assert refused.value.errno == number
    anna.shell(f"touch {'n' * 255} && rm {'n' * 255}")
    assert os.listdir(anna.at("Family")) == ["kept.txt"]


# --- starting -------------------------------------------------------------------------------------


def test_up_serves_when_it_returns_and_nothing_is_left_after_down(group: Group) -> None:
    (anna,) = group.up("Anna")
    assert os.path.ismount(anna.mount)
    status = anna.ask_json("status")
    assert (status["person"], status["mount"]) == ("Anna", str(anna.mount))
    assert "Anna" in anna.ask("status")
    anna.ask("create", "Family")
    assert anna.at("Family").is_dir()
    assert anna.ask_json("members", "Family")[0]["role"] == "owner"
    anna.down()
    assert not os.path.ismount(anna.mount)
    assert not anna.home.socket_file.exists()
    assert anna.refused("status").startswith("7 ")
    assert anna.refused("down").startswith("7 ")


def test_up_in_the_foreground_stays_until_it_is_stopped(group: Group) -> None:
    anna = group.node("Anna")
    command = anna.command("up", "--foreground", "--listen", "127.0.0.1:0", "--no-discovery")
    process = subprocess.Popen([*command, "--mount", anna.mount], stderr=subprocess.DEVNULL)
    anna.adopt_child(process)
    assert os.path.ismount(anna.mount)
    process.terminate()
    assert process.wait(30) == 0
    assert not os.path.ismount(anna.mount)


def test_init_twice_keeps_the_first_identity(group: Group) -> None:
    anna = group.node("Anna")
    before = anna.home.identity_file.read_bytes()
    assert anna.home.identity_file.stat().st_mode & 0o777 == 0o600
    assert anna.refused("init", "--name", "Eve").startswith("1 ")
    assert anna.home.identity_file.read_bytes() == before


def test_a_home_without_an_identity_says_how_to_make_one(group: Group) -> None:
    eve = group.bare_node("Eve")
    for arguments in (["up"], ["status"], ["create", "Family"]):
        assert "sharefs init" in eve.refused(*arguments)


def test_a_second_up_on_one_home_is_refused(group: Group) -> None:
    (anna,) = group.up("Anna")
    other = group.base / "other"
    other.mkdir()
    assert "already" in anna.refused("up", "--mount", other, "--no-discovery")
    assert answers(anna)
    assert os.path.ismount(anna.mount)
    assert not os.path.ismount(other)


def test_a_mount_point_that_can_not_be_used_is_named(group: Group) -> None:
    anna, bob = group.node("Anna"), group.node("Bob")
    full = group.base / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    file = group.base / "file"
    file.write_text("a file")
    start(bob)
    for point in (group.base / "missing" / "deeper", full, file, bob.mount):
        sentence = anna.refused("up", "--mount", point, "--no-discovery")
        assert sentence.startswith("1 ")
        assert str(point if point.parent.exists() else point.parent) in sentence
    assert (full / "mine.txt").read_text() == "mine"
    assert answers(bob)
    anna.up()
    assert answers(anna)


def test_a_stale_mount_of_a_killed_node_is_recovered_by_up(group: Group) -> None:
    (anna,) = group.up("Anna")
    anna.ask("create", "Family")
    anna.shell("echo kept > kept.txt && sync kept.txt")
    until(lambda: anna.xattr(anna.at("Family", "kept.txt"), "contributor") == "Anna", 5)
    anna.kill()
    with pytest.raises(OSError, match="not connected"):
        anna.mount.stat()
    anna.up()
    assert anna.shell("cat kept.txt") == "kept\n"
    assert answers(anna)


def test_a_dead_mount_is_told_and_taken_away_wherever_the_next_is(group: Group) -> None:
    (anna,) = group.up("Anna")
    anna.ask("create", "Family")
    anna.kill()
    assert f"nothing can be read at {anna.mount}" in anna.refused("status")
    assert f"nothing can be read at {anna.mount}" in anna.refused("fetch", anna.at("Family"))
    first, anna.mount = anna.mount, anna.base / "elsewhere"
    anna.up()
    assert answers(anna)
    assert list(first.iterdir()) == []
    anna.kill()
    assert f"dead mount at {anna.mount} is taken away" in anna.ask("down")
    assert list(anna.mount.iterdir()) == []
    assert anna.refused("down").startswith("7 The node is not running")


def test_a_mount_comes_back_where_it_was_last(group: Group) -> None:
    (anna,) = group.up("Anna")
    anna.ask("create", "Family")
    anna.down()
    try:
        assert f"Your spaces are at {anna.mount}." in anna.ask("up", "--no-discovery")
    finally:
        anna.adopt()


def test_a_port_in_use_is_named(group: Group) -> None:
    anna = group.node("Anna")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sentence = anna.refused("up", "--listen", f"127.0.0.1:{port}", "--mount", anna.mount)
        assert sentence.startswith("1 ")
        assert port in sentence
    assert anna.refused("up", "--listen", "nowhere").startswith("2 ")
    assert not os.path.ismount(anna.mount)


def test_a_database_of_a_newer_version_is_left_untouched(group: Group) -> None:
    (anna,) = group.up("Anna")
    anna.ask("create", "Family")
    anna.down()
    database = sqlite3.connect(anna.home.database_file)
    database.execute("PRAGMA user_version = 9999")
    database.close()
    folder = anna.home.database_file.parent
    sums = "find . -type f ! -name '*.log' ! -name '*lock*' | sort | xargs sha256sum"
    before = shell(sums, folder)
    assert "later" in anna.refused("up", "--mount", anna.mount, "--no-discovery")
    assert shell(sums, folder) == before
    assert not os.path.ismount(anna.mount)


def test_a_damaged_database_is_named(group: Group) -> None:
    (anna,) = group.up("Anna")
    anna.down()
    anna.home.database_file.write_bytes(b"no database " * 1000)
    sentence = anna.refused("up", "--mount", anna.mount, "--no-discovery")
    assert str(anna.home.database_file) in sentence


# --- the system -----------------------------------------------------------------------------------


def test_without_fusermount3_it_says_what_to_install(group: Group) -> None:
    anna = group.node("Anna")
    empty = group.base / "empty"
    empty.mkdir()
    sentence = anna.refused("up", "--mount", anna.mount, environment={"PATH": str(empty)})
    assert sentence.startswith("1 ")
    assert "fuse3" in sentence


@needs_private_system
def test_without_the_fuse_device_it_says_what_to_do(group: Group) -> None:
    anna = group.node("Anna")
    up = anna.command("up", "--mount", anna.mount, "--no-discovery")
    sentence = sentence_of(in_private_system(NO_FUSE_DEVICE, group.base, up))
    assert sentence.startswith("1 ")
    assert "/dev/fuse" in sentence


NO_FUSE_DEVICE = """
mkdir dev && mount -t tmpfs none dev
for name in null zero urandom random; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount --rbind dev /dev
"""


def test_a_home_that_can_not_be_made_is_named(group: Group) -> None:
    (group.base / "file").write_text("in the way")
    eve = group.bare_node("Eve")
    eve.folder = group.base / "file" / "home"
    sentence = eve.refused("init", "--name", "Eve")
    assert str(group.base / "file") in sentence


@needs_private_system
def test_a_home_that_is_not_writable_is_named(group: Group) -> None:
    anna = group.node("Anna")
    for command in (
        anna.command("up", "--mount", anna.mount, "--no-discovery"),
        anna.command("init", "--name", "Anna"),
    ):
        sentence = sentence_of(in_private_system(READ_ONLY_HOME, anna.base, command))
        assert sentence.startswith("1 ")


READ_ONLY_HOME = """
mount --bind home home && mount -o remount,bind,ro home
"""
