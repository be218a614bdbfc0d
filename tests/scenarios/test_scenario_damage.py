"""Bytes that are not what they should be: dropped, fetched elsewhere, and the person is told."""

from tests.scenarios.group import Group, Node, admit, answers, run, stop, until
from tests.scenarios.lying_node import up_lying
from tests.scenarios.real_files import MIB, sha256, write_random

SIZE_BYTES = 24 * MIB


def damage(node: Node) -> int:
    """Flip bits all over every content file of a node. Returns how many files there were."""
    files = [path for path in node.home.contents_folder.rglob("*") if path.is_file()]
    for path in files:
        with path.open("r+b") as file:
            for at in range(1000, path.stat().st_size, MIB):
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 0x55]))
    return len(files)


def test_a_damaged_disk_is_noticed_before_it_spreads(group: Group) -> None:
    anna, bob = group.family("Anna", "Bob")
    original = write_random(group.base / "film.mkv", SIZE_BYTES, 9)
    anna.shell(f"cp {original} film.mkv")
    ghost = bob.at("Family", "film.mkv")
    until(lambda: ghost.exists() and ghost.stat().st_size == SIZE_BYTES, 10)
    bob.ask("fetch", ghost)
    assert damage(anna) == 1
    (carol,) = group.up("Carol")
    admit(anna, carol)
    until(lambda: carol.sees_online("Anna", "Bob"), 15)
    theirs = carol.at("Family", "film.mkv")
    until(theirs.exists, 10)
    carol.ask("fetch", theirs)
    assert sha256(theirs) == sha256(original)
    until(lambda: any("disk" in notice for notice in anna.status().notices), 10)


def test_damage_that_nobody_can_mend_is_an_error_and_no_false_byte(group: Group) -> None:
    anna, bob = group.family("Anna", "Bob")
    write_random(anna.at("Family", "film.mkv"), SIZE_BYTES, 9)
    ghost = bob.at("Family", "film.mkv")
    until(lambda: ghost.exists() and ghost.stat().st_size == SIZE_BYTES, 10)
    assert damage(anna) == 1
    outcome = run(["cat", ghost], 60)
    assert outcome.code != 0
    assert answers(anna)
    assert answers(bob)


def test_a_lying_peer_is_dropped_and_the_bytes_come_from_elsewhere(group: Group) -> None:
    anna, bob, carol = group.family("Anna", "Bob", "Carol")
    original = write_random(group.base / "film.mkv", SIZE_BYTES, 9)
    anna.shell(f"cp {original} film.mkv")
    ghost = bob.at("Family", "film.mkv")
    until(lambda: ghost.exists() and ghost.stat().st_size == SIZE_BYTES, 10)
    bob.ask("fetch", ghost)
    stop(anna)
    up_lying(anna)
    until(lambda: carol.sees_online("Anna", "Bob"), 20)
    theirs = carol.at("Family", "film.mkv")
    carol.ask("fetch", theirs)
    assert sha256(theirs) == sha256(original)
    notices = until(lambda: carol.status().notices, 10)
    assert any("Anna" in notice for notice in notices), notices
    assert any("Anna" in line for line in carol.ask("status").splitlines())
