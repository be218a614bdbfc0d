"""A full disk: the program is told, nothing is lost, and the node goes on when there is room."""

import os

import pytest

from tests.scenarios.group import Group, Node, answers, run, shell, until
from tests.scenarios.private_system import mount_small_disk, needs_small_disk, unmount_small_disk
from tests.scenarios.real_files import MIB, sha256, write_random

pytestmark = needs_small_disk

SMALL_SIZE_BYTES = 80 * MIB
LARGE_SIZE_BYTES = 400 * MIB


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


def test_what_was_written_before_the_disk_was_full_arrives_when_there_is_room(
    family: list[Node],
) -> None:
    anna, bob = family
    # The draft is here in whole, and then not a byte is left for the database.
    free = os.statvfs(bob.folder)
    bob.shell("head -c 20000000 /dev/urandom > last.bin")
    expected = sha256(bob.at("Family", "last.bin"))
    free = os.statvfs(bob.folder)
    ballast = bob.folder / "ballast"
    shell(f"head -c {free.f_bavail * free.f_frsize + MIB} /dev/zero > {ballast} || true", bob.base)
    outcome = run(["bash", "-c", "echo more > more.txt"], 60, bob.at("Family"))
    assert answers(bob)
    assert bob.shell("ls").split()[:1] == ["last.bin"]
    ballast.unlink()
    if outcome.code == 0:
        until(lambda: anna.at("Family", "more.txt").exists(), 30, "what was accepted arrives")
    until(lambda: anna.at("Family", "last.bin").exists(), 30)
    assert sha256(anna.at("Family", "last.bin")) == expected
    bob.shell("echo again > again.txt")
    until(lambda: anna.at("Family", "again.txt").exists(), 20)
