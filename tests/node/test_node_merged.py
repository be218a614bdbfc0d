"""Folders of one name are shown as one, and what is done to that one is done to all its parts."""

from collections.abc import Callable

import pytest

from sharefs.errors import EntryExists, FolderNotEmpty, NotAllowed
from tests.node.node_parties import Party, apart, until


def tree(party: Party, folder: str = "") -> set[str]:
    """Every path; folders end in a slash."""
    found = set()
    ino = party.there(folder).ino if folder else party.top()
    for row in party.node.desk.children(ino):
        path = f"{folder}/{row.shown}".removeprefix("/")
        found |= {path + "/", *tree(party, path)} if row.size == 0 else {path}
    return found


def all_see(parties: list[Party], *paths: str) -> None:
    until(lambda: all(tree(party) == set(paths) for party in parties), str(paths))
    assert all(party.alive for party in parties)


@pytest.fixture
def merged(anna: Party, bob: Party) -> list[Party]:
    """Each made a folder docs with a folder deep in it, and a file in both."""
    join = apart(anna, bob)
    for party in (anna, bob):
        party.write(f"docs/{party.name}", b"1")
        party.write(f"docs/deep/{party.name}", b"2")
    join()
    all_see(
        [anna, bob],
        *("docs/", "docs/Anna", "docs/Bob", "docs/deep/", "docs/deep/Anna", "docs/deep/Bob"),
    )
    assert len(anna.replica().shelf.merged_into(anna.there("docs").item)) == 1
    assert len(anna.replica().shelf.merged_into(anna.there("docs/deep").item)) == 1
    return [anna, bob]


def under(top: str, *more: str) -> list[str]:
    inside = ("", "Anna", "Bob", "deep/", "deep/Anna", "deep/Bob")
    return [*(f"{top}/{path}" for path in inside), *more]


def test_a_merged_folder_is_renamed_with_all_its_parts(merged: list[Party]) -> None:
    anna, bob = merged
    anna.move("docs", "papers")
    all_see(merged, *under("papers"))
    bob.move("papers/deep", "papers/deeper")
    all_see(merged, *(path.replace("deep/", "deeper/") for path in under("papers")))


def test_a_merged_folder_is_moved_with_all_its_parts(merged: list[Party]) -> None:
    anna, bob = merged
    anna.folder("archive")
    until(lambda: bob.entry("archive"))
    bob.move("docs", "archive/2026")
    all_see(merged, "archive/", *under("archive/2026"))
    anna.move("archive/2026/deep", "deep")
    all_see(
        merged,
        *("archive/", "archive/2026/", "archive/2026/Anna", "archive/2026/Bob"),
        *("deep/", "deep/Anna", "deep/Bob"),
    )


def test_a_merged_folder_is_moved_out_of_its_merged_parent(merged: list[Party]) -> None:
    _, bob = merged
    bob.move("docs/deep", "deep")
    all_see(merged, "docs/", "docs/Anna", "docs/Bob", "deep/", "deep/Anna", "deep/Bob")
    bob.move("deep", "docs/deep")
    all_see(merged, *under("docs"))


def test_a_merged_folder_is_removed_with_all_its_parts(merged: list[Party]) -> None:
    _, bob = merged
    with pytest.raises(FolderNotEmpty):
        bob.remove("docs")
    for path in ("docs/deep/Anna", "docs/deep/Bob", "docs/deep", "docs/Anna", "docs/Bob", "docs"):
        bob.remove(path)
    all_see(merged)
    assert bob.node.desk.make_folder(bob.top(), "docs").shown == "docs"
    all_see(merged, "docs/")


def test_a_merged_folder_replaces_an_empty_one_and_no_other(merged: list[Party]) -> None:
    anna, bob = merged
    anna.folder("empty")
    anna.write("full/x", b"3")
    until(lambda: bob.entry("full/x"))
    with pytest.raises(FolderNotEmpty):
        bob.move("docs", "full")
    bob.move("docs", "empty")
    all_see(merged, *under("empty"), "full/", "full/x")


def test_an_empty_merged_folder_is_replaced_with_all_its_parts(anna: Party, bob: Party) -> None:
    join = apart(anna, bob)
    anna.folder("docs")
    bob.folder("docs")
    anna.write("new/x", b"1")
    join()
    all_see([anna, bob], "docs/", "new/", "new/x")
    until(lambda: len(bob.replica().shelf.merged_into(bob.there("docs").item)) == 1)
    bob.move("new", "docs")
    all_see([anna, bob], "docs/", "docs/x")


def test_what_is_made_in_a_merged_folder_stays_in_it_when_it_is_renamed(
    merged: list[Party],
) -> None:
    _, bob = merged
    for party in merged:
        party.write(f"docs/deep/later by {party.name}", b"3")
    more = ["docs/deep/later by Anna", "docs/deep/later by Bob"]
    all_see(merged, *under("docs"), *more)
    bob.move("docs", "papers")
    all_see(merged, *under("papers"), *(path.replace("docs", "papers") for path in more))


@pytest.mark.parametrize("work", ["move", "remove"])
def test_a_part_that_comes_late_is_not_lost(
    anna: Party, bob: Party, carol: Party, work: str
) -> None:
    """Carol made docs, too, while Anna renamed, or removed, the docs that she knew of."""
    join = apart(anna, bob, carol)
    anna.write("docs/Anna", b"1")
    carol.write("docs/Carol", b"2")
    if work == "move":
        anna.move("docs", "papers")
    else:
        anna.remove("docs/Anna")
        anna.remove("docs")
    join()
    left = ["papers/", "papers/Anna"] if work == "move" else []
    all_see([anna, bob, carol], *left, "docs/", "docs/Carol")


def test_names_in_a_merged_folder_are_one_set(merged: list[Party]) -> None:
    anna, bob = merged
    with pytest.raises(EntryExists):
        anna.node.desk.make_folder(anna.there("docs").ino, "deep")
    bob.edit("docs/Anna", b"by bob")
    until(lambda: anna.fails("docs/Anna") is None and anna.read("docs/Anna") == b"by bob")
    assert len(anna.names("docs")) == 3


def test_a_folder_is_not_moved_into_itself(anna: Party) -> None:
    """The kernel refuses that, but others may have moved either since it looked."""
    anna.write("a/b/c", b"1")
    folder, inside = anna.there("a").ino, anna.there("a/b").ino
    edits: list[Callable[[], None]] = [
        lambda: anna.node.desk.rename(folder, inside, "a"),
        lambda: anna.node.desk.rename(folder, folder, "a"),
    ]
    for edit in edits:
        with pytest.raises(NotAllowed):
            edit()
    assert tree(anna) == {"a/", "a/b/", "a/b/c"}
