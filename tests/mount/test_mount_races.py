"""What if something else happens in the middle of an operation?

The kernel lets one program at a time change the names in a folder. Publications, times and first
writes come in between all the same: here exactly where they did harm, each in one thread.
"""

import os
from collections.abc import Callable
from typing import Protocol

import pytest
from msgspec.structs import replace

from sharefs import errors
from sharefs.mount.core import Core
from sharefs.mount.drafts import Overlay
from tests.mount.core_calls import names, read, write
from tests.mount.fake_ports import FakeHouse


class Between(Protocol):
    """Has something happen just before a method is called for the next time (with `argument`)."""

    def __call__(
        self,
        owner: object,
        method: str,
        happen: Callable[[], None],
        argument: object = None,
    ) -> None: ...


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    def begin(
        owner: object, method: str, happen: Callable[[], None], argument: object = None
    ) -> None:
        original = getattr(owner, method)

        def interrupted(*arguments: object) -> object:
            if argument is None or argument in arguments:
                monkeypatch.setattr(owner, method, original)
                happen()
            return original(*arguments)

        monkeypatch.setattr(owner, method, interrupted)

    return begin


def publish(house: FakeHouse) -> Callable[[], None]:
    """What is under way arrives."""

    def happen() -> None:
        house.resume()
        house.settle()

    return happen


def set_aside(core: Core, house: FakeHouse) -> int:
    """`f~` is a copy of what `f` was before it was written anew; its inode."""
    house.add("f", b"old")
    core.rename(house.top(), "f", house.top(), "f~")
    write(core, house.top(), "f", b"new")
    house.settle()
    return core.find(house.top(), "f~").ino


def clear(core: Core, house: FakeHouse) -> None:
    """Removing what is listed leaves nothing behind."""
    for name in sorted(names(core, house.top())):
        core.unlink(house.top(), name)
    house.settle()
    assert house.children(house.top()) == []
    assert list(house.drafts_folder.iterdir()) == []


# --- a publication that ends meanwhile --------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "b~"])
def test_a_draft_that_is_published_while_it_is_renamed_is_renamed(
    core: Core, house: FakeHouse, between: Between, name: str
) -> None:
    house.hold()
    write(core, house.top(), "a", b"1")
    between(house, "lookup", publish(house))
    core.rename(house.top(), "a", house.top(), name)
    house.settle()
    assert names(core, house.top()) == {name}
    assert read(core, house.top(), name) == b"1"
    core.close()
    assert [row.shown for row in house.children(house.top())] == [name]
    clear(core, house)


def test_a_draft_that_is_published_while_it_is_removed_is_removed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    house.hold()
    write(core, house.top(), "a", b"1")
    between(Overlay, "draft", publish(house), core.find(house.top(), "a").ino)
    core.unlink(house.top(), "a")
    house.settle()
    assert names(core, house.top()) == set()
    assert house.children(house.top()) == []


def lose_the_name(house: FakeHouse, mine: int) -> Callable[[], None]:
    """What is under way arrives, and its name goes to another member's older file."""

    def happen() -> None:
        publish(house)()
        house.rows[mine] = replace(house.rows[mine], shown="a (Me)")
        listed = house.names[house.top()]
        listed["a (Me)"] = listed.pop("a")
        house.add("a", b"theirs")

    return happen


def test_another_members_file_that_takes_the_name_meanwhile_is_not_removed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    house.hold()
    write(core, house.top(), "a", b"mine")
    mine = core.find(house.top(), "a").ino
    between(Overlay, "await_settled", lose_the_name(house, mine))
    core.unlink(house.top(), "a")
    assert names(core, house.top()) == {"a"}
    assert read(core, house.top(), "a") == b"theirs"


def test_another_members_file_that_takes_the_name_meanwhile_is_not_renamed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    house.hold()
    write(core, house.top(), "a", b"mine")
    mine = core.find(house.top(), "a").ino
    between(Overlay, "await_settled", lose_the_name(house, mine))
    core.rename(house.top(), "a", house.top(), "b")
    house.settle()
    assert names(core, house.top()) == {"a", "b"}
    assert read(core, house.top(), "a") == b"theirs"
    assert read(core, house.top(), "b") == b"mine"


def test_a_version_that_is_published_while_its_file_is_removed_is_removed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    set_aside(core, house)
    house.hold()
    write(core, house.top(), "g~", b"newer")
    core.rename(house.top(), "g~", house.top(), "f")
    between(Overlay, "draft", publish(house), core.find(house.top(), "f").ino)
    core.unlink(house.top(), "f")
    assert names(core, house.top()) == {"f~"}
    assert house.children(house.top()) == []
    clear(core, house)


def test_what_is_closed_during_an_edit_that_fails_is_published(
    core: Core, house: FakeHouse, between: Between
) -> None:
    row = house.add("a", b"old")
    handle = core.open(row.ino, os.O_RDWR)

    def write_and_close() -> None:
        core.write(handle, 0, b"new")
        core.release(handle)
        raise errors.DiskFull("no room for a new time")

    between(house, "set_attributes", write_and_close)
    with pytest.raises(errors.DiskFull):
        core.utimens(row.ino, (1_000, 0))
    house.settle()
    assert house.published == [("a", b"new")]


# --- a file that was set aside, and is made a draft meanwhile ---------------------------------


def test_two_that_change_a_file_that_was_set_aside_change_one_file(
    core: Core, house: FakeHouse, between: Between
) -> None:
    ino = set_aside(core, house)

    def append() -> None:
        handle = core.open_at(house.top(), "f~", os.O_RDWR)
        core.write(handle, 3, b"er")
        core.release(handle)

    between(house, "new_draft", append)
    core.utimens(ino, (1_000, 0))
    assert read(core, house.top(), "f~") == b"older"
    assert core.lookup(house.top(), "f~").mtime_ns == 1_000 * 10**9
    clear(core, house)


def test_a_file_that_was_set_aside_and_is_removed_while_it_is_copied_is_removed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    ino = set_aside(core, house)
    between(house, "new_draft", lambda: core.unlink(house.top(), "f~"))
    with pytest.raises(errors.NoSuchEntry):
        core.utimens(ino, (1_000, 0))
    assert names(core, house.top()) == {"f"}
    clear(core, house)


def test_a_file_that_was_set_aside_and_is_renamed_while_it_is_copied_has_its_new_name(
    core: Core, house: FakeHouse, between: Between
) -> None:
    ino = set_aside(core, house)
    between(house, "new_draft", lambda: core.rename(house.top(), "f~", house.top(), "g~"))
    core.utimens(ino, (1_000, 0))
    assert names(core, house.top()) == {"f", "g~"}
    (path,) = house.drafts_folder.iterdir()
    assert house.notes[path] == (house.top(), "g~", None)
    clear(core, house)


@pytest.mark.parametrize("operation", ["rename", "replace", "remove"])
def test_a_file_that_was_set_aside_is_copied_while_its_name_changes(
    core: Core, house: FakeHouse, between: Between, operation: str
) -> None:
    ino, top = set_aside(core, house), house.top()

    def copy() -> None:
        core.utimens(ino, (1_000, 0))

    match operation:
        case "rename":
            between(house, "spaces", copy)
            core.rename(top, "f~", top, "g~")
        case "replace":
            write(core, top, "g~", b"other")
            between(house, "spaces", copy)
            core.rename(top, "g~", top, "f~")
        case _:
            between(Overlay, "draft", copy, ino)
            core.unlink(top, "f~")
    kept = {"rename": {"g~": b"old"}, "replace": {"f~": b"other"}, "remove": {}}[operation]
    private = names(core, top) - {"f"}
    assert {name: read(core, top, name) for name in private} == kept
    clear(core, house)


def test_a_removed_item_is_not_taken_over_while_it_is_removed(
    core: Core, house: FakeHouse, between: Between
) -> None:
    row = house.add("f", b"old")
    core.rename(house.top(), "f", house.top(), "f~")
    between(house, "remove", lambda: write(core, house.top(), "f", b"new"))
    core.unlink(house.top(), "f~")
    house.settle()
    after = house.lookup(house.top(), "f")
    assert after is not None
    assert after.item != row.item
    assert names(core, house.top()) == {"f"}
    clear(core, house)


# --- a writer who goes on after a rename ------------------------------------------------------


@pytest.mark.parametrize("wrote_before", [True, False])
@pytest.mark.parametrize("was_set_aside", [True, False])
def test_what_is_written_to_a_renamed_file_is_found_under_its_new_name_only(
    core: Core, house: FakeHouse, wrote_before: bool, was_set_aside: bool
) -> None:
    top, row = house.top(), house.add("a", b"1234")
    house.add("b", b"other")
    handle = core.open(row.ino, os.O_RDWR)
    if wrote_before:
        core.write(handle, 0, b"x")
    if was_set_aside:
        core.rename(top, "b", top, "b~")
    core.rename(top, "a", top, "b")
    core.write(handle, 3, b"y")
    core.release(handle)
    house.settle()
    assert read(core, top, "b") == (b"x23y" if wrote_before else b"123y")
    assert names(core, top) == ({"b", "b~"} if was_set_aside else {"b"})
