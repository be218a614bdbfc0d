"""Large files that are changed in place: soon published, whole, and never lost."""

import os
import random

import pytest

from sharefs.errors import LastCopy, NotAllowed
from sharefs.node import collection
from sharefs.node.doctor import run_doctor
from sharefs.records.content import MIB
from sharefs.store.layer import marks_of
from tests.node.node_parties import Party, agree, meet, until
from tests.node.test_node_collection import collect, content, has, rounds_pass

SIZE_BYTES = 6 * MIB + 12_345


@pytest.fixture(scope="module")
def film() -> bytes:
    return random.Random(1).randbytes(SIZE_BYTES)


def change(party: Party, path: str, at: int, data: bytes) -> None:
    """As a program that opens a file, writes a few bytes in it, and closes it."""
    core = party.node.core
    handle = core.open(party.there(path).ino, os.O_RDWR)
    core.write(handle, at, data)
    core.release(handle)
    until(lambda: not core._overlay.draft(handle.ino))


def changed(film: bytes, at: int, data: bytes) -> bytes:
    return film[:at] + data + film[at + len(data) :]


def same(one: bytes, other: bytes) -> bool:
    return one == other


def free(party: Party, path: str) -> int | None:
    """None while nobody promises to keep all of it."""
    freed = party.node.freeing.free([party.there(path)])
    for _, error in freed.refused:
        if not isinstance(error, LastCopy):
            raise error
    return freed.bytes or None


def room(party: Party) -> int:
    """What contents take on the disk."""
    files = [path for path in party.home.contents_folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


def test_a_large_file_that_is_changed_takes_little_room_and_travels(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    agree("film", anna, bob)
    assert same(bob.read("film"), film)
    for number in range(3):
        change(anna, "film", number * MIB, b"new")
        film = changed(film, number * MIB, b"new")
    assert same(anna.read("film"), film)
    assert room(anna) < SIZE_BYTES + MIB
    assert anna.node.desk.describe(anna.there("film"))["state"] in ("local", "last copy")
    agree("film", anna, bob)
    assert same(bob.read("film"), film)
    anna.down()
    anna.up()
    assert same(anna.read("film"), film)


def test_a_kill_amid_a_change_loses_neither_what_was_written_nor_what_was_there(
    anna: Party, film: bytes
) -> None:
    anna.write("film", film)
    core = anna.node.core
    handle = core.open(anna.there("film").ino, os.O_RDWR)
    core.write(handle, MIB, b"new")
    assert same(core.read(handle, 0, SIZE_BYTES), changed(film, MIB, b"new"))
    anna.kill()
    anna.up()
    assert same(anna.read("film"), film)
    (draft,) = anna.node.core._overlay.drafts()
    assert draft.name.startswith("film (unfinished, ")
    core = anna.node.core
    handle = core.open(core.lookup(anna.top(), draft.name).ino, os.O_RDONLY)
    assert same(core.read(handle, 0, SIZE_BYTES), changed(film, MIB, b"new"))


def test_who_goes_on_while_a_change_is_published_begins_with_it(anna: Party, film: bytes) -> None:
    anna.write("film", film)
    core, ino = anna.node.core, anna.there("film").ino
    for number in range(10):
        handle = core.open(ino, os.O_RDWR)
        core.write(handle, number * 500_000, b"new")
        film = changed(film, number * 500_000, b"new")
        core.release(handle)
    until(lambda: not core._overlay.drafts())
    assert same(anna.read("film"), film)


def test_a_ghost_that_is_changed_is_fetched_and_not_copied(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    agree("film", anna, bob)
    change(bob, "film", MIB, b"new")
    assert same(bob.read("film"), changed(film, MIB, b"new"))
    assert room(bob) < SIZE_BYTES + MIB
    agree("film", anna, bob)
    assert same(anna.read("film"), changed(film, MIB, b"new"))


def test_of_a_ghost_that_is_cut_off_only_the_rest_is_fetched(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    agree("film", anna, bob)
    old = content(bob, "film")
    core = bob.node.core
    core.truncate(bob.there("film").ino, 100_000)
    until(lambda: not core._overlay.drafts())
    assert same(bob.read("film"), film[:100_000])
    assert bob.node.state.contents.local_bytes(old) < SIZE_BYTES // 2


def test_what_a_newer_version_lies_over_is_collected_when_that_stands_alone(
    anna: Party, bob: Party, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "GRACE_SECONDS", 0.0)
    anna.write("film", film)
    old = content(anna, "film")
    agree("film", anna, bob)
    change(anna, "film", MIB, b"new")
    agree("film", anna, bob)
    assert has(anna, old)
    rounds_pass(anna, bob)

    def collects() -> bool:
        collect(anna)
        return not has(anna, old)

    until(collects)
    assert same(anna.read("film"), changed(film, MIB, b"new"))
    assert room(anna) < SIZE_BYTES + MIB
    anna.kill()
    anna.up()
    assert same(anna.read("film"), changed(film, MIB, b"new"))


def test_a_file_is_freed_although_a_changed_copy_lies_over_it(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    anna.write("copy", film)
    agree("copy", anna, bob)
    bob.read("film")
    change(anna, "copy", MIB, b"new")
    assert until(lambda: free(anna, "film")) == SIZE_BYTES
    assert anna.there("film").local == 0
    assert same(anna.read("copy"), changed(film, MIB, b"new"))
    assert same(anna.read("film"), film)


def test_a_file_is_not_freed_while_a_program_changes_it(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    agree("film", anna, bob)
    bob.read("film")
    core = anna.node.core
    handle = core.open(anna.there("film").ino, os.O_RDWR)
    core.write(handle, MIB, b"new")
    meet(anna, bob)
    with pytest.raises(NotAllowed):
        until(lambda: free(anna, "film"))
    core.release(handle)
    until(lambda: not core._overlay.drafts())
    assert same(anna.read("film"), changed(film, MIB, b"new"))


def test_the_doctor_finds_layers_sound_and_those_without_marks_not(
    anna: Party, bob: Party, film: bytes
) -> None:
    anna.write("film", film)
    change(anna, "film", MIB, b"new")
    agree("film", anna, bob)
    assert same(bob.read("film"), changed(film, MIB, b"new"))
    new = content(anna, "film").hex()
    anna.down()
    for quick in (True, False):
        assert run_doctor(anna.home, False, quick, lambda _: None).found == 0
    marks_of(anna.home.contents_folder / new[:2] / new).unlink()
    for quick in (True, False):
        assert run_doctor(anna.home, False, quick, lambda _: None).found == 1
    assert run_doctor(anna.home, True, False, lambda _: None).left == 0
    assert run_doctor(anna.home, False, False, lambda _: None).found == 0
    anna.up()
    meet(anna, bob)
    assert same(anna.read("film"), changed(film, MIB, b"new"))
