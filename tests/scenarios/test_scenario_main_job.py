"""The main job, step by step: each test goes on where the one before has ended."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.scenarios.group import (
    Group,
    Node,
    admit,
    run,
    shell,
    start,
    stop,
    until,
)
from tests.scenarios.real_files import MIB, describe, write_random, write_tree
from tests.scenarios.traffic import traffic

FILES = 2000
LARGE_SIZE_BYTES = 1024 * MIB
LARGE_READ_BYTES_MAX = 48 * MIB
"""The widest read-ahead, and the chunks at its ends."""
CHATTER_SIZE_BYTES_MAX = 2 * MIB
"""What a walk through ghosts may carry: pings, and records that were on their way."""


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob")


@pytest.fixture(scope="module")
def anna(family: list[Node]) -> Node:
    return family[0]


@pytest.fixture(scope="module")
def bob(family: list[Node]) -> Node:
    return family[1]


@pytest.fixture(scope="module")
def source(lasting_group: Group) -> Path:
    """The tree that Anna shares, as it is outside of any mount."""
    folder = lasting_group.base / "source"
    write_tree(folder, FILES, 2)
    write_random(folder / "large.bin", LARGE_SIZE_BYTES, 3)
    shell(r"find . -type f -print0 | xargs -0 sha256sum > ../sums", folder)
    return folder


def test_a_copied_tree_is_listed_by_the_other_as_ghosts(
    anna: Node, bob: Node, source: Path
) -> None:
    anna.shell(f"cp -a {source} tree")
    wanted = describe(source)
    theirs = bob.at("Family", "tree")
    until(
        lambda: (theirs / "large.bin").exists() and len(describe(theirs)) >= len(wanted),
        20,
        "Bob lists all",
    )
    until(lambda: describe(theirs) == wanted, 10, "with sizes, times and execute bits")
    assert bob.xattr(theirs / "large.bin", "state") == "ghost"
    assert bob.xattr(theirs / "large.bin", "contributor") == "Anna"


def test_walking_through_ghosts_fetches_nothing(bob: Node) -> None:
    before = traffic(bob.pid).received
    bob.shell("find . -type f -size +100 > /dev/null; ls -lR . > /dev/null; du -a . > /dev/null")
    bob.shell("find . -print0 | xargs -0 stat > /dev/null; find . -perm -u+x | wc -l")
    assert bob.local_bytes() == 0
    assert bob.disk_bytes() == 0
    assert traffic(bob.pid).received - before < CHATTER_SIZE_BYTES_MAX


def test_a_ghost_takes_next_to_no_room(bob: Node) -> None:
    assert 1 <= bob.at("Family", "tree", "large.bin").stat().st_blocks <= 8


def test_reading_parts_of_a_large_ghost_fetches_those_parts(bob: Node, source: Path) -> None:
    large = source / "large.bin"
    before = traffic(bob.pid).received
    bob.shell(f"cmp <(head -c 100000 tree/large.bin) <(head -c 100000 {large})")
    bob.shell(f"cmp <(tail -c 100000 tree/large.bin) <(tail -c 100000 {large})")
    bob.shell(f"cmp -i 700000000 -n 50000 tree/large.bin {large}")
    assert until(bob.local_bytes, 5) < 3 * LARGE_READ_BYTES_MAX
    assert bob.disk_bytes() < 3 * LARGE_READ_BYTES_MAX
    assert traffic(bob.pid).received - before < 3 * LARGE_READ_BYTES_MAX
    assert bob.xattr(bob.at("Family", "tree", "large.bin"), "state") == "partial"


def test_a_node_killed_in_the_middle_of_a_fetch_goes_on_from_there(bob: Node, source: Path) -> None:
    theirs = bob.at("Family", "tree", "large.bin")
    done = _kill_in_the_middle(bob, theirs)
    start(bob)
    until(lambda: bob.sees_online("Anna"), 15)
    until(lambda: bob.local_bytes() >= done, 10, "what had come is kept")
    kept = bob.local_bytes()
    before = traffic(bob.pid).received
    bob.shell(f"cd tree && grep large.bin {source.parent}/sums | sha256sum --quiet -c")
    fetched = traffic(bob.pid).received - before
    assert fetched < (LARGE_SIZE_BYTES - kept) * 1.03 + CHATTER_SIZE_BYTES_MAX
    assert bob.xattr(theirs, "state") == "local"


def _kill_in_the_middle(bob: Node, path: Path) -> int:
    """Returns how far the fetch was."""
    reading = subprocess.Popen(
        bob.command("fetch", path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def far() -> int:
            done = max((t.done for t in bob.transfers()), default=0)
            return done if done > LARGE_SIZE_BYTES // 3 else 0

        done = until(far, 60, "a third is here")
        bob.kill()
        assert reading.wait(30) != 0
    finally:
        reading.kill()
        reading.wait()
    return done


def test_programs_read_ghosts_as_they_read_any_file(
    bob: Node, source: Path, lasting_group: Group
) -> None:
    copy = lasting_group.base / "copy"
    bob.shell(f"cp -r tree {copy}")
    shell(f"diff -r --no-dereference copy {source}", lasting_group.base)
    bob.shell(f"diff -r --no-dereference --exclude=large.bin tree {source}")
    bob.shell(f"cd tree && grep -v large.bin {lasting_group.base}/sums | sha256sum --quiet -c")
    shell("mkdir taken", lasting_group.base)
    bob.shell(f"tar -c -S --exclude=large.bin tree | tar -x -C {lasting_group.base}/taken")
    shell(f"diff -r --no-dereference --exclude=large.bin taken/tree {source}", lasting_group.base)
    shell("rm -r taken copy", lasting_group.base)
    assert bob.xattr(bob.at("Family", "tree", "large.bin"), "state") == "local"


def test_a_late_member_sees_all_and_fetches_from_all_holders(
    lasting_group: Group, anna: Node, bob: Node, source: Path
) -> None:
    (carol,) = lasting_group.up("Carol")
    admit(anna, carol)
    until(lambda: carol.sees_online("Anna", "Bob"), 15)
    theirs = carol.at("Family", "tree")
    until(lambda: theirs.exists() and describe(theirs) == describe(source), 20, "Carol sees all")
    before = {node.name: traffic(node.pid).sent for node in (anna, bob)}
    carol.ask("fetch", theirs / "large.bin")
    sent = {node.name: traffic(node.pid).sent - before[node.name] for node in (anna, bob)}
    assert min(sent.values()) > LARGE_SIZE_BYTES // 10, sent
    assert sum(sent.values()) < LARGE_SIZE_BYTES * 1.05, sent
    shell(f"cmp {theirs}/large.bin {source}/large.bin", lasting_group.base)


def test_what_nobody_online_holds_fails_within_seconds(
    lasting_group: Group, anna: Node, bob: Node, source: Path
) -> None:
    carol = lasting_group.nodes[2]
    write_random(anna.at("Family", "only-anna.bin"), 8 * MIB, 4)
    ghost = carol.at("Family", "only-anna.bin")
    until(lambda: ghost.exists() and ghost.stat().st_size == 8 * MIB, 10)
    stop(anna)
    until(lambda: not carol.sees_online("Anna"), 15)
    began = time.monotonic()
    outcome = run(["cat", ghost], 60)
    assert outcome.code != 0
    assert "Host is down" in outcome.complaint
    assert time.monotonic() - began < 10
    small = min(path for path in source.rglob("*.txt") if path.is_file() and path.stat().st_size)
    theirs = carol.at("Family", "tree", *small.relative_to(source).parts)
    assert run(["cmp", theirs, small]).code == 0, "Bob holds it"
    stop(bob)
    until(lambda: carol.xattr(ghost, "state") == "unavailable", 15)
