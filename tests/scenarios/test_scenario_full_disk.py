"""A full disk: the program is told, nothing is lost, and the node goes on when there is room."""

import errno
import os

import pytest

from tests.scenarios.group import Group, Node, answers, run, shell, start, until
from tests.scenarios.private_system import mount_small_disk, needs_small_disk, unmount_small_disk
from tests.scenarios.real_files import MIB, write_random

pytestmark = needs_small_disk

SMALL_SIZE_BYTES = 80 * MIB
LARGE_SIZE_BYTES = 400 * MIB
FOLDERS_MAX = 5000


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    """Anna, and Bob, whose home is on a small disk."""
    bob = lasting_group.bare_node("Bob")
    mount_small_disk(bob.folder, SMALL_SIZE_BYTES)
    lasting_group.at_end(lambda: unmount_small_disk(bob.folder))
    bob.init()
    start(bob)
    (anna,) = lasting_group.up("Anna")
    anna.ask("create", "Family")
    bob.ask("join", anna.ask("invite", "Family").strip())
    until(lambda: bob.sees_online("Anna"), 15)
    return [anna, bob]


def test_a_disk_that_fills_up_during_a_fetch_keeps_what_came(family: list[Node]) -> None:
    anna, bob = family
    write_random(anna.at("Family", "film.mkv"), 128 * MIB, 8)
    film = bob.at("Family", "film.mkv")
    until(lambda: film.exists() and film.stat().st_size == 128 * MIB, 15)
    outcome = run(["cat", film], 60)
    assert outcome.code != 0
    assert "No space left on device" in outcome.complaint
    outcome = run(bob.command("fetch", film), 60)
    assert outcome.code != 0
    assert "Traceback" not in outcome.complaint
    assert answers(bob)
    assert any("full" in notice or "room" in notice for notice in bob.status().notices)
    assert bob.shell("ls") == "film.mkv\n"
    mount_small_disk(bob.folder, LARGE_SIZE_BYTES)
    kept = bob.local_bytes()
    assert kept > 0
    bob.shell(f"cmp film.mkv {anna.at('Family', 'film.mkv')}")
    assert bob.xattr(film, "state") == "local"
    bob.ask("free", film)


def test_a_disk_that_fills_up_during_a_write_tells_the_writer(family: list[Node]) -> None:
    anna, bob = family
    mount_small_disk(bob.folder, SMALL_SIZE_BYTES)
    outcome = run(
        ["dd", "if=/dev/urandom", "of=new.bin", "bs=1M", "count=128"], 60, bob.at("Family")
    )
    assert outcome.code != 0
    assert "No space left on device" in outcome.complaint
    assert answers(bob)
    bob.shell("rm -f new.bin")
    mount_small_disk(bob.folder, LARGE_SIZE_BYTES)
    bob.shell("head -c 100M /dev/urandom > new.bin")
    theirs = anna.at("Family", "new.bin")
    until(lambda: theirs.exists() and theirs.stat().st_size == 100 * MIB, 20)
    anna.shell(f"cmp new.bin {bob.at('Family', 'new.bin')}")


def test_what_was_written_before_the_disk_was_full_is_shared_when_there_is_room(
    family: list[Node],
) -> None:
    anna, bob = family
    kept, removed = bob.at("Family", "kept.bin"), bob.at("Family", "removed.bin")
    ballast = bob.folder / "ballast"
    with kept.open("wb", buffering=0) as one, removed.open("wb", buffering=0) as other:
        for file in (one, other):
            file.write(b"k" * MIB)
        room = os.statvfs(bob.folder)
        size = room.f_bavail * room.f_frsize + MIB
        shell(f"! head -c {size} /dev/zero > {ballast} 2> /dev/null", bob.base)
        folders = fill_database(bob)
    for path in (kept, removed):
        until(lambda path=path: was_told_of(bob, path.name), 10)  # type: ignore[misc]
        assert bob.xattr(path, "state") == "unpublished"
        assert path.read_bytes() == b"k" * MIB
    removed.unlink()
    assert not removed.exists()
    ballast.unlink()
    theirs = anna.at("Family", "kept.bin")
    until(theirs.exists, 20, "what was written is shared when there is room")
    assert theirs.read_bytes() == b"k" * MIB
    assert not anna.at("Family", "removed.bin").exists()
    until(lambda: len(list(anna.at("Family").glob("folder *"))) == folders, 10)


def fill_database(node: Node, name: str = "folder") -> int:
    """Make folders until the database has no room for another; how many there are then."""
    for number in range(FOLDERS_MAX):
        try:
            node.at("Family", f"{name} {number}").mkdir()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return number
    raise AssertionError("the disk is full, and the database still has room")


def was_told_of(node: Node, name: str) -> bool:
    return any(name in notice and "not shared yet" in notice for notice in node.status().notices)


def test_on_a_disk_that_is_full_to_the_last_byte_files_can_be_removed_and_freed(
    family: list[Node],
) -> None:
    anna, bob = family
    mount_small_disk(bob.folder, LARGE_SIZE_BYTES)
    ballast = bob.folder / "ballast"
    own, large = bob.at("Family", "own.bin"), bob.at("Family", "large.bin")
    own.write_bytes(b"o" * MIB)
    write_random(anna.at("Family", "large.bin"), 20 * MIB, 10)
    until(lambda: anna.at("Family", "own.bin").exists() and large.exists(), 20)
    bob.ask("fetch", large)
    room = os.statvfs(bob.folder)
    size = room.f_bavail * room.f_frsize + MIB
    shell(f"! head -c {size} /dev/zero > {ballast} 2> /dev/null", bob.base)
    fill_database(bob, "last")
    own.unlink()
    assert "1 file" in bob.ask("free", large)
    until(lambda: not anna.at("Family", "own.bin").exists(), 10)
    bob.at("Family", "there is room again").mkdir()
    ballast.unlink()
