"""What becomes of a tree that several change at once: nothing is lost, orphaned, or back again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

from sharefs.records.ids import ROOT
from tests.tree.members import Group, Member, group, meet

DEEP = 64
MANY = 10_000


@pytest.fixture(params=["memory", "sqlite"])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as ending:
        yield group(request.param, tmp_path, ending)


def share(members: Group, *paths: str) -> None:
    """Anna makes folders (which end in a slash) and files (numbered from 1); all know of them."""
    number = 0
    for path in paths:
        if path.endswith("/"):
            members[0].folder(path[:-1])
        else:
            number += 1
            members[0].write(path, number)
    meet(*members)


# --- cycles ---------------------------------------------------------------------------------------


def test_two_who_move_folders_into_each_other_make_no_cycle(members: Group) -> None:
    anna, bob, _ = members
    share(members, "a/", "a/f", "b/", "b/g")
    anna.move("a", "b/a")
    bob.move("b", "a/b")
    assert meet(*members) == {"b": None, "b/a": None, "b/a/f": 1, "b/g": 2}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_three_who_move_folders_in_a_ring_make_no_cycle(
    members: Group, order: tuple[int, int, int]
) -> None:
    names = ("a", "b", "c")
    share(members, "a/", "a/1", "b/", "b/2", "c/", "c/3")
    for who in order:
        members[who].move(names[who], f"{names[(who + 1) % 3]}/{names[who]}")
    seen = meet(*members)
    top = names[order[-1]]
    assert [path for path in seen if "/" not in path] == [top], "the last move is undone"
    assert sorted(number for number in seen.values() if number) == [1, 2, 3]
    assert len(seen) == 6


def test_when_a_cycle_is_undone_the_move_that_had_to_yield_takes_effect(members: Group) -> None:
    anna, bob, carol = members
    share(members, "a/", "a/f", "b/", "c/")
    anna.move("a", "b/a")
    bob.move("b", "a/b")
    assert meet(*members) == {"b": None, "b/a": None, "b/a/f": 1, "c": None}
    carol.move("b/a", "c/a")
    assert meet(*members) == {"c": None, "c/a": None, "c/a/b": None, "c/a/f": 1}


def test_a_cycle_of_deleted_folders_hides_nothing_that_lives(members: Group) -> None:
    anna, bob, carol = members
    share(members, "a/", "b/")
    anna.move("a", "b/a")
    bob.move("b", "a/b")
    carol.write("a/f", 7)
    meet(anna, bob)
    anna.remove("b")
    assert meet(*members) == {"b": None, "b/a": None, "b/a/f": 7}


# --- a delete against something else --------------------------------------------------------------


Work = Callable[[Member], None]


def remove_docs(anna: Member) -> None:
    anna.remove("docs")


@pytest.mark.parametrize("first", ["delete", "work"])
@pytest.mark.parametrize(
    ("work", "survives"),
    [
        (lambda bob: bob.write("docs/deep/new", 9), {"docs/deep/new": 9}),
        (lambda bob: bob.folder("docs/deep/new"), {"docs/deep/new": None}),
        (lambda bob: bob.move("out", "docs/deep/in"), {"docs/deep/in": 3}),
        (lambda bob: bob.move("other", "docs/deep/other"), None),
    ],
    ids=["file", "folder", "moved file", "moved folder"],
)
def test_what_comes_into_a_folder_that_somebody_deletes_brings_it_back(
    members: Group, first: str, work: Work, survives: dict[str, int | None] | None
) -> None:
    anna, bob, _ = members
    share(members, "docs/", "docs/a", "docs/deep/", "docs/deep/b", "out", "other/", "other/x")
    for edit, who in [(remove_docs, anna), (work, bob)][:: 1 if first == "delete" else -1]:
        edit(who)
    if survives is None:
        survives = {"docs/deep/other": None, "docs/deep/other/x": 4}
    seen = meet(*members)
    assert {path: n for path, n in seen.items() if path.startswith("docs")} == {
        "docs": None,
        "docs/deep": None,
        **survives,
    }, "and what nobody touched stays deleted"


@pytest.mark.parametrize("first", ["delete", "work"])
def test_an_edit_in_a_folder_that_somebody_deletes_is_kept(members: Group, first: str) -> None:
    anna, bob, _ = members
    share(members, "docs/", "docs/a", "docs/b")

    def edit(bob: Member) -> None:
        bob.write("docs/a", 9)

    for work, who in [(remove_docs, anna), (edit, bob)][:: 1 if first == "delete" else -1]:
        work(who)
    seen = meet(*members)
    assert sorted(seen)[0] == "docs"
    assert [number for number in seen.values() if number] == [9]
    assert all(path.startswith("docs/a") for path in seen if path != "docs")


@pytest.mark.parametrize("first", ["delete", "work"])
def test_a_file_that_is_moved_out_of_a_deleted_folder_is_kept(members: Group, first: str) -> None:
    anna, bob, _ = members
    share(members, "docs/", "docs/a", "docs/b")

    def save(bob: Member) -> None:
        bob.move("docs/a", "a")

    for work, who in [(remove_docs, anna), (save, bob)][:: 1 if first == "delete" else -1]:
        work(who)
    seen = meet(*members)
    assert [number for number in seen.values() if number] == [1], "one way or another"


def test_what_is_in_a_folder_goes_along_when_others_move_the_folder(members: Group) -> None:
    anna, bob, carol = members
    share(members, "docs/", "docs/a", "new/")
    anna.move("docs", "new/papers")
    bob.write("docs/b", 9)
    carol.write("docs/a", 8)
    assert meet(*members) == {
        "new": None,
        "new/papers": None,
        "new/papers/a": 8,
        "new/papers/b": 9,
    }


def test_a_folder_that_is_moved_into_a_deleted_one_brings_it_back_as_a_whole(
    members: Group,
) -> None:
    anna, bob, _ = members
    share(members, "a/", "a/b/", "c/", "c/f")
    bob.move("c", "a/b/c")
    anna.remove("a")
    assert meet(*members) == {"a": None, "a/b": None, "a/b/c": None, "a/b/c/f": 1}
    anna.remove("a")
    assert meet(*members) == {}


def test_two_who_delete_the_same_folder_agree(members: Group) -> None:
    anna, bob, _ = members
    share(members, "docs/", "docs/a")
    anna.remove("docs")
    bob.remove("docs")
    assert meet(*members) == {}


def test_an_empty_folder_that_came_back_goes_when_what_brought_it_back_goes(
    members: Group,
) -> None:
    anna, bob, carol = members
    share(members, "docs/", "docs/a")
    anna.remove("docs")
    bob.write("docs/b", 9)
    meet(*members)
    carol.remove("docs/b")
    assert meet(*members) == {}


# --- names ----------------------------------------------------------------------------------------


def test_a_change_of_case_is_a_rename_like_any_other(members: Group) -> None:
    anna, bob, _ = members
    share(members, "readme", "Docs/", "Docs/x")
    anna.move("readme", "README")
    anna.move("Docs", "docs")
    bob.write("Docs/y", 9)
    assert meet(*members) == {"README": 1, "docs": None, "docs/x": 2, "docs/y": 9}
    bob.move("README", "readme")
    anna.write("readMe", 5)
    seen = meet(*members)
    assert (seen["readme"], seen["readMe"]) == (1, 5)


def test_a_change_of_case_in_two_places_keeps_one_file(members: Group) -> None:
    anna, bob, _ = members
    share(members, "readme")
    anna.move("readme", "README")
    bob.move("readme", "Readme")
    assert meet(*members) == {"Readme": 1}


def test_a_file_and_a_folder_that_get_one_name_are_both_there(members: Group) -> None:
    anna, bob, carol = members
    anna.write("x", 1)
    bob.folder("x")
    bob.write("x/in", 2)
    carol.folder("x")
    carol.write("x/too", 3)
    assert meet(*members) == {"x": 1, "x (Bob)": None, "x (Bob)/in": 2, "x (Bob)/too": 3}
    anna.move("x", "y")
    assert meet(*members) == {"x": None, "x/in": 2, "x/too": 3, "y": 1}


def test_a_chain_of_renames_by_several_ends_at_its_end(members: Group) -> None:
    anna, bob, carol = members
    share(members, "a", "a2")
    anna.move("a", "b")
    meet(*members)
    bob.move("b", "c")
    meet(*members)
    carol.move("c", "a")
    anna.move("a2", "b")
    assert meet(*members) == {"a": 1, "b": 2}


def test_a_swap_by_a_third_name_is_a_swap_for_all(members: Group) -> None:
    anna, bob, _ = members
    share(members, "a", "b")
    anna.move("a", "t")
    anna.move("b", "a")
    anna.move("t", "b")
    bob.write("a", 9)
    seen = meet(*members)
    assert seen == {"a": 2, "b": 9} or sorted(filter(None, seen.values())) == [1, 2, 9], seen


def test_concurrent_renames_onto_one_name_keep_both_files(members: Group) -> None:
    anna, bob, _ = members
    share(members, "a", "b")
    anna.move("a", "c")
    bob.move("b", "c")
    seen = meet(*members)
    assert sorted(seen.values(), key=str) == [1, 2]
    assert len(seen) == 2


# --- large and deep -------------------------------------------------------------------------------


@pytest.mark.parametrize("members", ["sqlite"], indirect=True)
def test_ten_thousand_entries_in_one_folder(members: Group) -> None:
    anna, bob, _ = members
    share(members, "many/")
    anna.write_all([f"many/{number}" for number in range(MANY)])
    bob.write_all([f"many/{number}" for number in range(0, MANY, 100)])
    anna.hear(bob)
    bob.hear(anna)
    assert len(anna.shelf.listed(anna.row("many").item)) == MANY + MANY // 100
    assert anna.sees() == bob.sees()
    assert anna.find("many/200 (Bob)")
    bob.move("many", "plenty")
    anna.write("many/new", 9)
    anna.hear(bob)
    bob.hear(anna)
    assert anna.find("plenty/new")
    assert anna.find("plenty/9999")
    assert anna.find("many") is None
    anna.remove("plenty")
    bob.write("plenty/last", 9)
    anna.hear(bob)
    bob.hear(anna)
    assert anna.sees() == bob.sees() == {"plenty": None, "plenty/last": 9}


def test_sixty_four_levels(members: Group) -> None:
    anna, bob, carol = members
    path = "/".join(f"d{level}" for level in range(DEEP))
    for level in range(DEEP):
        anna.folder("/".join(f"d{each}" for each in range(level + 1)))
    meet(*members)
    bob.write(f"{path}/f", 9)
    anna.remove("d0")
    carol.move("d0/d1", "e")
    seen = meet(*members)
    assert [number for number in seen.values() if number] == [9]
    assert seen[f"e/{path.split('/', 2)[2]}/f"] == 9
    assert not any(path.startswith("d0/") for path in seen)
    anna.remove("e")
    meet(*members)
    assert [path for path, number in meet(*members).items() if number] == []


def test_nothing_stands_at_the_root_that_was_not_put_there(members: Group) -> None:
    anna, _, _ = members
    share(members, "a/", "a/f")
    assert [row.shown for row in anna.shelf.listed(ROOT)] == ["a"]
