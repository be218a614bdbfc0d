"""Who holds what is known, and what is pinned or over a limit behaves, with real nodes."""

import pytest

from sharefs.node import cache
from tests.scenarios.group import Group, Node, run, start, stop, until
from tests.scenarios.real_files import MIB


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob", "Carol")


def tells(node: Node, name: str, state: str, holders: str) -> None:
    path = node.at("Family", name)
    until(
        lambda: (
            path.exists()
            and (node.xattr(path, "state"), node.xattr(path, "holders")) == (state, holders)
        ),
        20,
        f"{name} is {state}, with {holders}",
    )


def free(node: Node, name: str) -> tuple[int, str]:
    outcome = run(node.command("free", node.at("Family", name)))
    return outcome.code, outcome.complaint


def test_everybody_knows_who_holds_a_file_and_the_last_copy_stays(family: list[Node]) -> None:
    anna, bob, carol = family
    anna.shell("head -c 300000 /dev/urandom > film.mkv")
    tells(anna, "film.mkv", "last copy", "Anna")
    tells(carol, "film.mkv", "ghost", "Anna")
    tells(bob, "film.mkv", "ghost", "Anna")
    bob.shell("cat film.mkv > /dev/null")
    tells(carol, "film.mkv", "ghost", "Anna, Bob")
    stop(bob)
    tells(carol, "film.mkv", "ghost", "Anna, Bob (offline)")
    tells(anna, "film.mkv", "local", "Anna, Bob (offline)")
    code, complaint = free(anna, "film.mkv")
    assert code == 9
    assert "Bob" in complaint
    start(bob)
    tells(carol, "film.mkv", "ghost", "Anna, Bob")
    assert free(anna, "film.mkv") == (0, "")
    tells(bob, "film.mkv", "last copy", "Bob")
    code, complaint = free(bob, "film.mkv")
    assert code == 9
    assert "last copy" in complaint
    stop(bob)
    tells(carol, "film.mkv", "unavailable", "Bob (offline)")
    start(bob)
    tells(carol, "film.mkv", "ghost", "Bob")


def test_a_pinned_folder_is_here_and_stays(family: list[Node]) -> None:
    anna, _, carol = family
    anna.shell("mkdir pinned; for n in 1 2 3; do head -c 100000 /dev/urandom > pinned/$n; done")
    until(lambda: carol.at("Family", "pinned", "3").exists(), 20)
    assert "3 files" in carol.ask("pin", carol.at("Family", "pinned"))
    for name in ("1", "2", "3"):
        tells(carol, f"pinned/{name}", "local", "Carol, Anna")
    anna.shell("head -c 5000 /dev/urandom > pinned/4")
    tells(carol, "pinned/4", "local", "Carol, Anna")
    assert carol.xattr(carol.at("Family", "pinned", "4"), "pinned") == "yes"
    code, complaint = free(carol, "pinned")
    assert code == 9
    assert "pinned" in complaint
    carol.ask("unpin", carol.at("Family", "pinned"))
    assert free(carol, "pinned") == (0, "")
    assert carol.disk_bytes() == 0


def test_beyond_the_limit_of_the_cache_only_what_others_hold_goes(family: list[Node]) -> None:
    anna, _, carol = family
    anna.shell("for n in 1 2 3; do head -c 2000000 /dev/urandom > theirs$n; done")
    carol.shell("head -c 2000000 /dev/urandom > mine")
    until(lambda: carol.at("Family", "theirs3").exists(), 20)
    carol.shell("cat theirs? > /dev/null")
    until(lambda: carol.disk_bytes() >= 8_000_000, 20)
    carol.ask("settings", "cache", "5M")
    until(lambda: carol.disk_bytes() <= 5 * MIB, 3 * cache.ROUND_SECONDS, "room is made")
    assert carol.xattr(carol.at("Family", "mine"), "state") == "last copy"
    carol.ask("settings", "cache", "1M")
    until(
        lambda: any("limit of the cache" in notice for notice in carol.status().notices),
        3 * cache.ROUND_SECONDS,
        "it is told why that is too little",
    )
    assert carol.xattr(carol.at("Family", "mine"), "state") == "last copy"
    until(lambda: carol.disk_bytes() <= 2_100_000, 3 * cache.ROUND_SECONDS, "the rest is gone")
    carol.ask("settings", "cache", "off")
