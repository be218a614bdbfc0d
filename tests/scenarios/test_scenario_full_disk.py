"""A full disk: the program is told, nothing is lost, and the node goes on when there is room."""

import os
from contextlib import ExitStack

import pytest

from tests.scenarios.group import Group, Node, answers, run, shell, until
from tests.scenarios.private_system import mount_small_disk, needs_small_disk, unmount_small_disk
from tests.scenarios.real_files import MIB, write_random

pytestmark = needs_small_disk

SMALL_SIZE_BYTES = 80 * MIB
LARGE_SIZE_BYTES = 400 * MIB
FILES_BEFORE_FULL = 16
"""The database has some room of its own, so that the first of them may still be shared."""


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    """Anna, and Bob, whose home is on a small disk."""
    bob = lasting_group.bare_node("Bob")
    mount_small_disk(bob.folder, SMALL_SIZE_BYTES)
    lasting_group.at_end(lambda: unmount_small_disk(bob.folder))
    bob.init()
    bob.up()
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
    files = [bob.at("Family", f"{number}.bin") for number in range(FILES_BEFORE_FULL)]
    ballast = bob.folder / "ballast"
    with ExitStack() as at_end:
        for path in files:
            file = at_end.enter_context(path.open("wb", buffering=0))
            file.write(path.name.encode() * 100_000)
        room = os.statvfs(bob.folder)
        size = room.f_bavail * room.f_frsize + MIB
        shell(f"! head -c {size} /dev/zero > {ballast} 2> /dev/null", bob.base)
    until(lambda: any("not shared yet" in notice for notice in bob.status().notices), 10)
    unpublished = [path for path in files if bob.xattr(path, "state") == "unpublished"]
    for path in files:
        assert path.read_bytes() == path.name.encode() * 100_000
    removed = unpublished[0]
    removed.unlink()
    assert not removed.exists()
    ballast.unlink()
    for path in files:
        if path != removed:
            theirs = anna.at("Family", path.name)
            until(theirs.exists, 20, "what was written is shared when there is room")
            assert theirs.read_bytes() == path.name.encode() * 100_000
    assert not anna.at("Family", removed.name).exists()
