"""How others lost files between programs and the network, and ours must not. Each test names the
project and its number."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from sharefs.errors import LastCopy
from tests.scenarios.group import Group, Node, start, stop, until
from tests.scenarios.real_files import MIB, describe, sha256, write_random

ARRIVES_S = 15.0
_markers = count()


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob")


def caught_up(writer: Node, reader: Node) -> None:
    """Wait until whatever one did before this has reached the other."""
    name = f"marker {next(_markers)}"
    writer.at("Family", name).write_text(name)
    until(reader.at("Family", name).exists, ARRIVES_S, name)
    writer.at("Family", name).unlink()
    until(lambda: not reader.at("Family", name).exists(), ARRIVES_S, name)


def names(node: Node, prefix: str) -> list[str]:
    return sorted(name for name in os.listdir(node.at("Family")) if name.startswith(prefix))


def test_a_file_is_seen_whole_or_not_at_all(family: list[Node]) -> None:
    """owncloud/client #2210: a file was uploaded while a program was still writing it."""
    anna, bob = family
    old = anna.at("Family", "half.bin")
    write_random(old, MIB, 1)
    until(bob.at("Family", "half.bin").exists, ARRIVES_S)
    before = sha256(bob.at("Family", "half.bin"))
    with (
        open(anna.at("Family", "half new.bin"), "wb") as new,
        open(old, "r+b") as over,
    ):
        for file in (new, over):
            file.write(b"half" * 50_000)
            file.flush()
            os.fsync(file.fileno())
        caught_up(anna, bob)
        assert names(bob, "half") == ["half.bin"]
        assert sha256(bob.at("Family", "half.bin")) == before
        for file in (new, over):
            file.write(b"rest" * 50_000)
    whole = b"half" * 50_000 + b"rest" * 50_000
    until(lambda: names(bob, "half") == ["half new.bin", "half.bin"], ARRIVES_S)
    assert bob.at("Family", "half new.bin").read_bytes() == whole
    until(lambda: bob.at("Family", "half.bin").read_bytes().startswith(whole), ARRIVES_S)
    assert bob.at("Family", "half.bin").stat().st_size == MIB


_SAVE_SLOWLY = """
import os, signal, sys
for path in sys.argv[1:]:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(file, b"half")
    os.fsync(file)
print("written", flush=True)
signal.pause()
"""


def test_a_file_whose_node_is_killed_while_it_is_written_is_never_seen_half(
    family: list[Node],
) -> None:
    """owncloud/client #2210, again: at the restart, half of a file was published as if its program
    had closed it."""
    anna, bob = family
    whole = write_random(anna.at("Family", "kill old.bin"), 3 * MIB, 5)
    until(bob.at("Family", whole.name).exists, ARRIVES_S)
    before = sha256(bob.at("Family", whole.name))
    paths = [whole, anna.at("Family", "kill new.bin")]
    program = subprocess.Popen(
        [sys.executable, "-c", _SAVE_SLOWLY, *paths], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "written\n"
    anna.at("Family", "kill closed.bin").write_bytes(bytes_of_closed := os.urandom(40 * MIB))
    drafts = anna.home.drafts_folder
    until(lambda: _is_closed(drafts, len(bytes_of_closed)), ARRIVES_S)
    anna.kill()
    program.kill()
    program.communicate()
    start(anna)
    caught_up(anna, bob)
    until(bob.at("Family", "kill closed.bin").exists, ARRIVES_S)
    assert names(bob, "kill") == ["kill closed.bin", "kill old.bin"]
    assert bob.at("Family", "kill closed.bin").read_bytes() == bytes_of_closed
    assert sha256(bob.at("Family", whole.name)) == sha256(whole) == before
    new, old = [name for name in names(anna, "kill") if name.endswith(".part")]
    assert "as it was before" in anna.ask("status")
    assert anna.at("Family", new).read_bytes() == b"half"
    assert anna.at("Family", old).read_bytes()[:4] == b"half"
    assert sha256(anna.at("Family", old)) != before
    anna.at("Family", old).rename(whole)
    until(lambda: bob.at("Family", whole.name).read_bytes()[:4] == b"half", ARRIVES_S)
    anna.at("Family", new).unlink()
    caught_up(anna, bob)
    for node in family:
        assert names(node, "kill") == ["kill closed.bin", "kill old.bin"]


def _is_closed(drafts: Path, size: int) -> bool:
    """Whether the node knows that its program has closed a file of that size, or has published
    it."""
    with suppress(FileNotFoundError):
        left = [path.stat() for path in drafts.iterdir()]
        written = [each for each in left if each.st_size == size]
        return not written or bool(written[0].st_mode & stat.S_ISVTX)
    return False


@pytest.mark.parametrize("written", ["before", "after"])
def test_a_remote_edit_is_not_overwritten_by_a_local_one(family: list[Node], written: str) -> None:
    """rclone #9873: what was written to the cache replaced, silently, what had been changed on the
    remote since it was opened."""
    anna, bob = family
    name = f"plan {written}.txt"
    anna.at("Family", name).write_text("first\n")
    mine = bob.at("Family", name)
    until(mine.exists, ARRIVES_S)
    with open(mine, "r+") as file:
        assert file.read() == "first\n"
        if written == "before":
            file.write("of Bob\n")
            file.flush()
        anna.at("Family", name).write_text("first\nof Anna\n")
        caught_up(anna, bob)
        if written == "after":
            file.write("of Bob\n")
    for node in family:
        until(lambda node=node: len(names(node, f"plan {written}")) == 2, ARRIVES_S)  # type: ignore[misc]
        kept = {node.at("Family", path).read_text() for path in names(node, f"plan {written}")}
        assert kept == {"first\nof Anna\n", "first\nof Bob\n"}


def test_a_file_that_is_renamed_and_then_deleted_stays_away(family: list[Node]) -> None:
    """rclone #6809: it came back, under its old name."""
    anna, bob = family
    bob.shell("echo x > back1; mv back1 back2; rm back2")
    bob.shell("echo x > back3")
    until(anna.at("Family", "back3").exists, ARRIVES_S)
    anna.shell("mv back3 back4; rm back4")
    bob.shell("echo x > back5; mv back5 back6; echo y >> back6; mv back6 back5; rm back5")
    with open(bob.at("Family", "back7"), "w") as file:
        os.rename(bob.at("Family", "back7"), bob.at("Family", "back8"))
        file.write("x")
        bob.at("Family", "back8").unlink()
    caught_up(bob, anna)
    caught_up(anna, bob)
    stop(bob)
    start(bob)
    for node in family:
        until(lambda node=node: not names(node, "back"), ARRIVES_S, node.name)  # type: ignore[misc]


def test_what_nobody_else_has_is_not_freed(family: list[Node]) -> None:
    """seafile-client #1446: files were made placeholders before they had been uploaded."""
    anna, bob = family
    stop(bob)
    mine = write_random(anna.at("Family", "only.bin"), 2 * MIB, 3)
    whole = sha256(mine)
    for others in ([], [bob]):
        start(*others)
        if others:
            until(bob.at("Family", "only.bin").exists, ARRIVES_S)
            until(lambda: anna.sees_online("Bob"), ARRIVES_S)
        outcome = anna.command("free", mine)
        assert subprocess.run(outcome, check=False).returncode == LastCopy.exit_code
        assert anna.xattr(mine, "state") == "last copy"
    bob.ask("fetch", bob.at("Family", "only.bin"))
    until(lambda: _frees(anna, mine), ARRIVES_S)
    # Bob promised to keep it, perhaps before he told that he has it.
    until(lambda: anna.xattr(mine, "state") == "ghost", ARRIVES_S)
    assert sha256(mine) == whole


def _frees(node: Node, path: Path) -> bool:
    return subprocess.run(node.command("free", path), check=False).returncode == 0


def test_a_change_of_case_keeps_the_one_file(family: list[Node]) -> None:
    """syncthing #1787: both were deleted."""
    anna, bob = family
    anna.shell("echo r > Case; mkdir Case.d; echo x > Case.d/x")
    until(bob.at("Family", "Case.d", "x").exists, ARRIVES_S)
    bob.shell("mv Case case; mv Case.d case.d")
    for node in family:
        until(lambda node=node: names(node, "case") == ["case", "case.d"], ARRIVES_S)  # type: ignore[misc]
        assert names(node, "Case") == []
        assert node.at("Family", "case").read_text() == "r\n"
        assert node.at("Family", "case.d", "x").read_text() == "x\n"


def test_a_ghost_that_can_not_be_read_is_not_deleted(family: list[Node]) -> None:
    """nextcloud/desktop #3444: what could not be made on the disk was taken for deleted."""
    anna, bob = family
    write_random(anna.at("Family", "ghost.bin"), MIB, 4)
    ghost = bob.at("Family", "ghost.bin")
    until(ghost.exists, ARRIVES_S)
    stop(anna)
    with pytest.raises(OSError, match="down") as caught:
        ghost.read_bytes()
    assert caught.value.errno == errno.EHOSTDOWN
    stop(bob)
    start(bob, anna)
    caught_up(bob, anna)
    assert sha256(ghost) == sha256(anna.at("Family", "ghost.bin"))


def test_a_file_may_be_called_as_if_we_had_named_it(family: list[Node]) -> None:
    """owncloud/client #7557: files with real names like the client's suffixes were renamed."""
    anna, bob = family
    real = ["odd (Bob).txt", "odd (conflict, Bob, 2026-11-20 14.03).txt", "odd (Anna 2).txt"]
    for name in real:
        anna.at("Family", name).write_text(name)
    until(lambda: names(bob, "odd") == sorted(real), ARRIVES_S)
    for name in real:
        assert bob.at("Family", name).read_text() == name
        assert bob.xattr(bob.at("Family", name), "conflict") == ""
        bob.at("Family", name).write_text("edited")
    for name in real:
        until(lambda name=name: anna.at("Family", name).read_text() == "edited", ARRIVES_S)  # type: ignore[misc]
    assert names(anna, "odd") == sorted(real)


def test_no_way_of_going_down_deletes_anything(family: list[Node]) -> None:
    """The shutdown that deleted: an unmounted folder looked like one whose files were removed."""
    anna, bob = family
    anna.shell("mkdir all; for n in $(seq 40); do echo $n > all/$n; done")
    theirs = bob.at("Family", "all")
    until(lambda: theirs.exists() and len(os.listdir(theirs)) == 40, ARRIVES_S)
    seen = describe(anna.at("Family", "all"))

    def unmount() -> None:
        subprocess.run(["fusermount3", "-u", bob.mount], check=True)
        assert bob.ended(30)
        bob.close()

    ends: list[Callable[[], None]] = [bob.stop, bob.kill, bob.down, unmount]
    for end in ends:
        end()
        start(bob)
        caught_up(bob, anna)
        assert describe(anna.at("Family", "all")) == seen
        assert describe(bob.at("Family", "all")) == seen
