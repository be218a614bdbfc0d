"""Tombstones of folders go when nothing can come to live in them, and not before."""

import os
from collections.abc import Callable

from tests.node.node_parties import Party, agree, apart, until
from tests.node.test_node_collection import (
    AFTER_GRACE_S,
    collect,
    count,
    rounds_pass,
    rows,
    tombstones,
)


def bury(party: Party) -> None:
    """What is dead and stable goes, from the leaves up."""
    collect(party)
    for _ in range(4):
        collect(party, AFTER_GRACE_S)


def folders_deleted(party: Party) -> int:
    return count(party, "entry WHERE type = 1 AND deleted = 1")


def test_tombstones_of_folders_go_after_those_of_what_was_in_them(anna: Party, bob: Party) -> None:
    anna.write("docs/more/a.txt", b"a")
    anna.write("kept.txt", b"kept")
    agree("docs/more/a.txt", anna, bob)
    before = rows(anna)
    for path in ("docs/more/a.txt", "docs/more", "docs"):
        anna.remove(path)
    until(lambda: bob.names() == ["kept.txt"])
    rounds_pass(anna, bob)
    assert (tombstones(anna), tombstones(bob)) == (3, 3)
    bury(anna)
    assert (tombstones(anna), tombstones(bob), rows(anna)) == (0, 3, before - 3)
    rounds_pass(anna, bob)
    assert (tombstones(anna), tombstones(bob)) == (0, 3), "nobody sends them back"
    anna.write("docs/a.txt", b"again")
    agree("docs/a.txt", anna, bob)
    bury(bob)
    assert (tombstones(anna), tombstones(bob)) == (0, 0)
    assert bob.names() == anna.names() == ["docs", "kept.txt"]


def test_a_deleted_folder_stays_while_something_lives_in_it(anna: Party, bob: Party) -> None:
    anna.folder("docs")
    agree("docs", anna, bob)
    join = apart(anna, bob)
    anna.remove("docs")
    bob.write("docs/a.txt", b"a")
    join()
    agree("docs/a.txt", anna, bob)
    rounds_pass(anna, bob)
    bury(anna)
    assert (tombstones(anna), folders_deleted(anna)) == (0, 1)
    assert anna.read("docs/a.txt") == b"a"


def test_a_deleted_folder_stays_while_something_may_come_to_live_in_it(
    anna: Party, bob: Party
) -> None:
    """Who has not seen yet that what was in it is deleted, too, does not bring it back."""
    anna.folder("docs")
    agree("docs", anna, bob)
    join = apart(anna, bob)
    anna.remove("docs")
    bob.folder("docs/more")
    join()
    agree("docs/more", anna, bob)
    rounds_pass(anna, bob)
    join = apart(anna, bob)
    anna.remove("docs/more")
    bob.write("docs/more/a.txt", b"a")
    assert tombstones(anna) == 2
    bury(anna)
    assert tombstones(anna) == 2
    join()
    agree("docs/more/a.txt", anna, bob)
    assert anna.read("docs/more/a.txt") == b"a"


def saved_long_after(anna: Party, bob: Party) -> Callable[[], None]:
    """Bob has a new file open in a folder that Anna deletes; she forgets the folder."""
    anna.folder("docs")
    agree("docs", anna, bob)
    core = bob.node.core
    handle = core.create(bob.there("docs").ino, "a.txt", 0o644, os.O_RDWR)
    core.write(handle, 0, b"late")
    anna.remove("docs")
    until(lambda: bob.names() == [])
    rounds_pass(anna, bob)
    bury(anna)
    assert (tombstones(anna), tombstones(bob)) == (0, 1)
    return lambda: core.release(handle)


def test_what_is_saved_into_a_deleted_folder_brings_it_to_who_has_forgotten_it(
    anna: Party, bob: Party
) -> None:
    save = saved_long_after(anna, bob)
    save()
    agree("docs/a.txt", anna, bob)
    assert anna.read("docs/a.txt") == b"late"
    assert folders_deleted(bob) == 0, "it came with the file, and not by an audit"


def test_what_is_saved_into_a_folder_that_all_have_forgotten_is_at_the_top(
    anna: Party, bob: Party
) -> None:
    save = saved_long_after(anna, bob)
    bury(bob)
    assert tombstones(bob) == 0
    save()
    agree("a.txt", anna, bob)
    assert anna.read("a.txt") == b"late"
    assert bob.names() == ["a.txt"]
