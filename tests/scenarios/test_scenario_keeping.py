"""What is chosen to be kept is here before it is read; what is chosen not to be kept never is."""

import pytest

from tests.scenarios.group import Group, Node, run, until
from tests.scenarios.real_files import MIB, write_random


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob")


def test_a_stream_only_space_shows_all_and_keeps_nothing(family: list[Node]) -> None:
    anna, bob = family
    assert "on" in bob.ask("settings", "stream-only", "on", "--space", "Family")
    write_random(anna.at("Family", "film.mkv"), 80 * MIB, 1)
    anna.shell("for n in $(seq 20); do seq $n 2000 > $n.txt; done")
    until(bob.at("Family", "20.txt").exists, 10)
    bob.shell(f"diff -r . {anna.at('Family')}", 60)
    assert bob.xattr(bob.at("Family", "film.mkv"), "state") == "stream-only"
    assert bob.disk_bytes() == bob.local_bytes() == 0
    fetched = run(bob.command("fetch", bob.at("Family", "film.mkv")))
    assert fetched.code == 1
    assert "stream-only" in fetched.complaint


def test_a_folder_that_is_not_is_kept(family: list[Node]) -> None:
    anna, bob = family
    anna.shell("mkdir kept; cp 1.txt kept/other.txt; echo more >> kept/other.txt")
    size = anna.at("Family", "kept", "other.txt").stat().st_size
    theirs = bob.at("Family", "kept", "other.txt")
    until(lambda: theirs.exists() and theirs.stat().st_size == size, 10, "as it is now")
    bob.ask("settings", "stream-only", "off", "--path", bob.at("Family", "kept"))
    assert bob.xattr(theirs, "state") == "ghost"
    bob.ask("fetch", bob.at("Family", "kept"))
    assert bob.xattr(theirs, "state") == "local"
    assert str(bob.at("Family", "kept")) in bob.ask("settings", "stream-only")
    bob.ask("settings", "stream-only", "default", "--path", bob.at("Family", "kept"))


def test_an_eager_space_comes_by_itself_even_after_a_crash(family: list[Node]) -> None:
    anna, bob = family
    bob.ask("settings", "stream-only", "default", "--space", "Family")
    bob.ask("settings", "replication", "eager", "up", "to", "200M", "--space", "Family")
    bob.kill()
    bob.up()
    files = [path.name for path in anna.at("Family").iterdir() if path.is_file()]
    until(
        lambda: {bob.xattr(bob.at("Family", name), "state") for name in files} == {"local"},
        60,
        "all is here",
    )
    anna.shell("echo new > new.txt")
    theirs = bob.at("Family", "new.txt")
    until(lambda: theirs.exists() and bob.xattr(theirs, "state") == "local", 10)
    bob.ask("settings", "replication", "on-demand", "--space", "Family")
    anna.shell("echo newer > new.txt")
    until(lambda: bob.xattr(theirs, "state") == "ghost", 10)
    assert bob.shell("cat new.txt") == "newer\n"
