import itertools
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sharefs.errors import (
    CrossSpaceMove,
    EntryExists,
    FolderNotEmpty,
    IsAFolder,
    NameNotPossible,
    NameNotText,
    NoSuchEntry,
    NotAFolder,
    NotAllowed,
    ReadOnlySpace,
    UserError,
)
from sharefs.mount.core import Core
from sharefs.mount.drafts import State
from sharefs.mount.ports import Draft
from sharefs.node.publication import GATHER_SECONDS, _Outcome, _Ready
from sharefs.records.ids import ROOT
from sharefs.records.shown import Shown
from sharefs.store.drafts import DraftNote
from tests.node.node_parties import Party, agree, apart, until


def test_a_folder_is_made_once(anna: Party) -> None:
    made = anna.node.desk.make_folder(anna.top(), "docs")
    assert anna.entry("docs") == made
    with pytest.raises(EntryExists):
        anna.node.desk.make_folder(anna.top(), "docs")
    with pytest.raises(NoSuchEntry):
        anna.node.desk.make_folder(10**9, "docs")


def test_a_link_is_kept(anna: Party, bob: Party) -> None:
    anna.node.desk.make_symlink(anna.top(), "link", "docs/a.txt")
    agree("link", anna, bob)
    assert bob.there("link").target == "docs/a.txt"


@pytest.mark.parametrize("name", ["\udcff", "a/b", "", ".."])
def test_names_that_are_impossible_are_refused_and_the_node_lives(anna: Party, name: str) -> None:
    desk, top = anna.node.desk, anna.top()
    anna.write("a.txt", b"a")
    edits: list[Callable[[], object]] = [
        lambda: desk.make_folder(top, name),
        lambda: desk.make_symlink(top, name, "target"),
        lambda: desk.rename(anna.there("a.txt").ino, top, name),
    ]
    for edit in edits:
        with pytest.raises((NameNotPossible, NameNotText)):
            edit()
    assert anna.alive


def test_a_renamed_file_keeps_its_identity_everywhere(anna: Party, bob: Party) -> None:
    anna.write("docs/a.txt", b"a")
    before = anna.there("docs/a.txt")
    agree("docs/a.txt", anna, bob)
    bob.node.desk.rename(bob.there("docs/a.txt").ino, bob.top(), "b.txt")
    agree("b.txt", anna, bob)
    after = anna.there("b.txt")
    assert (after.item, after.ino, after.content) == (before.item, before.ino, before.content)
    assert anna.names("docs") == []


def test_a_file_moved_over_another_is_its_next_version(anna: Party) -> None:
    anna.write("old.txt", b"old")
    anna.write("new.txt", b"new")
    old = anna.there("old.txt")
    anna.node.desk.rename(anna.there("new.txt").ino, anna.top(), "old.txt")
    assert anna.names() == ["old.txt"]
    assert anna.there("old.txt").item == old.item
    assert anna.read("old.txt") == b"new"


def test_folders_and_files_do_not_replace_each_other(anna: Party) -> None:
    anna.write("a.txt", b"a")
    anna.write("docs/b.txt", b"b")
    empty = anna.folder("empty")
    file, docs = anna.there("a.txt").ino, anna.there("docs").ino
    desk, top = anna.node.desk, anna.top()
    for ino, name, error in (
        (file, "docs", IsAFolder),
        (docs, "a.txt", NotAFolder),
        (empty, "docs", FolderNotEmpty),
    ):
        with pytest.raises(error):
            desk.rename(ino, top, name)
    desk.rename(docs, top, "empty")
    assert anna.names() == ["a.txt", "empty"]
    assert anna.names("empty") == ["b.txt"]


def test_only_an_empty_folder_is_removed(anna: Party, bob: Party) -> None:
    anna.write("docs/a.txt", b"a")
    desk = anna.node.desk
    with pytest.raises(FolderNotEmpty):
        desk.remove(anna.there("docs").ino)
    desk.remove(anna.there("docs/a.txt").ino)
    desk.remove(anna.there("docs").ino)
    assert anna.names() == []
    until(lambda: bob.names() == [])


def test_a_space_itself_is_not_moved_removed_or_dated(anna: Party) -> None:
    anna.create("Work")
    desk = anna.node.desk
    edits: list[Callable[[], None]] = [
        lambda: desk.rename(anna.top(), anna.top(), "b"),
        lambda: desk.remove(anna.top()),
        lambda: desk.set_attributes(anna.top(), 1, None),
    ]
    for edit in edits:
        with pytest.raises(NotAllowed):
            edit()
    anna.write("a.txt", b"a")
    with pytest.raises(CrossSpaceMove):
        desk.rename(anna.there("a.txt").ino, anna.top("Work"), "a.txt")
    assert anna.alive


def test_times_and_execute_bits_are_versions(anna: Party, bob: Party) -> None:
    anna.write("run.sh", b"#!/bin/sh")
    anna.node.desk.set_attributes(anna.there("run.sh").ino, 10**18, True)
    row = anna.there("run.sh")
    assert (row.mtime_ns, row.executable) == (10**18, True)
    anna.node.desk.set_attributes(row.ino, 10**18, None)
    assert anna.there("run.sh").version == row.version, "nothing changed"
    agree("run.sh", anna, bob)
    assert bob.there("run.sh").executable


def test_folders_of_one_name_are_one_and_are_removed_together(anna: Party, bob: Party) -> None:
    join = apart(anna, bob)
    anna.write("docs/by anna", b"1")
    bob.write("docs/by bob", b"2")
    join()
    until(lambda: anna.names("docs") == bob.names("docs") == ["by anna", "by bob"])
    assert anna.names() == bob.names() == ["docs"]
    anna.node.desk.rename(anna.there("docs").ino, anna.top(), "papers")
    until(lambda: bob.names() == ["papers"])
    assert bob.names("papers") == ["by anna", "by bob"]
    for name in ("by anna", "by bob"):
        bob.node.desk.remove(bob.there(f"papers/{name}").ino)
    bob.node.desk.remove(bob.there("papers").ino)
    until(lambda: anna.names() == [])


def test_a_reader_changes_nothing(anna: Party, party: Callable[[str], Party]) -> None:
    anna.write("a.txt", b"a")
    carol = party("Carol")
    anna.invite(carol, role="reader")
    until(lambda: carol.entry("a.txt"))
    desk, ino = carol.node.desk, carol.there("a.txt").ino
    assert not desk.spaces()[0].writable
    for edit in (
        lambda: desk.make_folder(carol.top(), "docs"),
        lambda: desk.make_symlink(carol.top(), "link", "a.txt"),
        lambda: desk.rename(ino, carol.top(), "b.txt"),
        lambda: desk.remove(ino),
        lambda: desk.set_attributes(ino, 1, True),
    ):
        with pytest.raises(ReadOnlySpace):
            edit()
    assert carol.read("a.txt") == b"a"


def publish(party: Party, draft: Draft) -> list[object]:
    """Publish, and wait; what `done` was told."""
    told: list[object] = []
    answered = threading.Event()

    def done(shown: object) -> None:
        told.append(shown)
        answered.set()

    party.node.desk.publish(draft, done)
    assert answered.wait(10.0)
    return told


def draft_of(
    party: Party, name: str, data: bytes, folder: int | None = None, left: bool = False
) -> Draft:
    space = party.replica().id
    written = party.node.state.drafts.create(DraftNote(1, space, ROOT, name, None))
    written.write(0, data)
    ino = party.node.desk.new_ino()
    number = party.replica().number
    place = folder or party.top()
    return Draft(ino, number, place, name, None, written, 1, False, len(data), left)


def test_a_draft_becomes_a_version_and_goes(anna: Party) -> None:
    draft = draft_of(anna, "a.txt", b"hello")
    (shown,) = publish(anna, draft)
    assert isinstance(shown, Shown)
    assert shown.version == anna.there("a.txt").version
    assert anna.there("a.txt").ino == draft.ino
    assert anna.read("a.txt") == b"hello"
    until(lambda: not draft.bytes.path.exists(), "removed, once the record is durable")


def test_a_draft_that_can_not_be_published_stays(
    anna: Party, caplog: pytest.LogCaptureFixture
) -> None:
    draft = replace(draft_of(anna, "a.txt", b"hello"), space=10**9)
    assert publish(anna, draft) == [None]
    assert draft.bytes.path.read_bytes() == b"hello"
    assert anna.names() == []
    assert "can not be published" in caplog.text


def test_a_draft_that_was_published_already_makes_no_second_entry(anna: Party) -> None:
    first = draft_of(anna, "a.txt", b"hello")
    publish(anna, first)
    again = draft_of(anna, "a.txt", b"hello", left=True)
    (shown,) = publish(anna, again)
    assert anna.names() == ["a.txt"]
    assert isinstance(shown, Shown)
    assert shown.version == anna.there("a.txt").version
    until(lambda: not again.bytes.path.exists())
    publish(anna, draft_of(anna, "a.txt", b"other", left=True))
    assert len(anna.names()) == 2, "other bytes are another file"


def test_who_saves_alone_does_not_wait_for_others(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    seconds = itertools.count(1)
    clock = SimpleNamespace(sleep=waits.append, monotonic=lambda: next(seconds))
    monkeypatch.setattr("sharefs.node.publication.time", clock)
    for number in range(5):
        assert isinstance(publish(anna, draft_of(anna, f"{number}.txt", b"a"))[0], Shown)
        until(lambda: not anna.node.desk.publication._small.running)
    assert waits == []
    clock.monotonic = lambda: 0.0
    told: list[object] = []
    drafts = [draft_of(anna, f"many {number}.txt", b"a") for number in range(300)]
    for draft in drafts:
        anna.node.desk.publish(draft, told.append)
    until(lambda: len(told) == 300)
    assert waits, "many at a time are gathered"
    assert set(waits) == {GATHER_SECONDS}


def test_of_a_group_only_what_can_not_be_published_stays(
    anna: Party, bob: Party, caplog: pytest.LogCaptureFixture
) -> None:
    anna.write("old.txt", b"old")
    base = anna.node.desk.base(anna.there("old.txt"))
    drafts = [draft_of(anna, f"{number}.txt", b"%d" % (number % 7)) for number in range(300)]
    drafts[100] = replace(draft_of(anna, "100.txt", b"lost"), space=10**9)
    drafts[200] = replace(
        draft_of(anna, "old.txt", b"new"), ino=anna.there("old.txt").ino, base=base
    )
    told: list[object] = []
    for draft in drafts:
        anna.node.desk.publish(draft, told.append)
    until(lambda: len(told) == 300)
    assert told.count(None) == 1
    assert drafts[100].bytes.path.read_bytes() == b"lost"
    assert len(anna.names()) == 299
    assert anna.read("old.txt") == b"new"
    assert anna.read("8.txt") == anna.read("1.txt") == b"1"
    until(lambda: bob.names() == anna.names())
    until(
        lambda: (
            [draft.bytes.path for draft in drafts if draft.bytes.path.exists()]
            == [drafts[100].bytes.path]
        )
    )
    assert "100.txt can not be published" in caplog.text


def test_a_file_written_into_a_folder_that_others_removed_brings_it_back(
    anna: Party, bob: Party
) -> None:
    folder = anna.folder("docs")
    until(lambda: bob.entry("docs"))
    join = apart(anna, bob)
    bob.node.desk.remove(bob.there("docs").ino)
    publish(anna, draft_of(anna, "a.txt", b"a", folder))
    join()
    until(lambda: bob.entry("docs/a.txt"))
    assert anna.names() == bob.names() == ["docs"]


def test_a_version_superseded_in_its_own_batch_leaves_the_node_alive(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is open, so what it is based on is asked for when it was published; by then a
    newer version stands."""
    anna.write("a.txt", b"one")
    core: Core = anna.node.core
    ino = anna.there("a.txt").ino
    writer = core.open(ino, os.O_RDWR)
    core.write(writer, 0, b"two")
    reader = core.open(ino, os.O_RDONLY)
    draft = core._overlay.draft(ino)
    assert draft is not None
    desk, publication = anna.node.desk, anna.node.desk.publication
    publish_group = publication._publish

    def publish_and_touch(ready: list[_Ready]) -> list[_Outcome]:
        outcomes = publish_group(ready)
        desk._touch(ino, 10**18, None)
        return outcomes

    with monkeypatch.context() as patch:
        patch.setattr(publication, "_publish", publish_and_touch)
        core.release(writer)
        until(lambda: draft.state is State.OVER)
    assert anna.alive
    assert core.read(reader, 0, 9) == b"two"
    again = core.open(ino, os.O_RDWR)
    core.write(again, 0, b"three")
    core.release(again)
    core.release(reader)
    until(lambda: anna.read("a.txt") == b"three")
    assert anna.names() == ["a.txt"]


def test_an_entry_whose_writer_contradicts_itself_can_not_stop_the_node(anna: Party) -> None:
    """As after two records were signed at one coordinate: the row has no head of its own."""
    anna.write("a.txt", b"a")
    row = anna.there("a.txt")
    replica = anna.replica()
    (head,) = anna.node.state.view.heads_of(row)
    anna.node.loop.call(lambda: replica.shelf.drop_head(head))
    desk = anna.node.desk
    for edit in (
        lambda: desk.rename(row.ino, anna.top(), "b.txt"),
        lambda: desk.remove(row.ino),
        lambda: desk.set_attributes(row.ino, 1, True),
        lambda: desk.base(row),
    ):
        with pytest.raises(UserError):
            edit()
    assert anna.alive


def test_what_is_told_of_an_entry_is_true(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    assert anna.node.desk.describe(anna.there("a.txt"))["state"] == "last copy"
    told = bob.node.desk.describe(bob.there("a.txt"))
    assert (told["state"], told["contributor"], told["writer"]) == ("ghost", "Anna", "Anna")
    anna.down()
    until(lambda: bob.node.desk.describe(bob.there("a.txt"))["state"] == "unavailable")


def test_the_context_of_an_edit_is_what_was_seen(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"one")
    agree("a.txt", anna, bob)
    base = bob.node.desk.base(bob.there("a.txt"))
    bob.write("a.txt", b"two")
    (head,) = bob.node.desk._state.view.heads_of(bob.there("a.txt"))
    assert set(base.context) <= set(head.context)


def test_the_mount_is_told_of_what_others_change_when_it_can_be_read(
    anna: Party, bob: Party
) -> None:
    anna.write("a", b"1")
    agree("a", anna, bob)
    seen: dict[int, int] = {}

    def changed(inos: Iterable[int]) -> None:
        for ino in inos:
            row = bob.node.desk.entry(ino)
            seen[ino] = -1 if row is None else row.size

    bob.node.core.watch(changed)
    anna.write("a", b"12345")
    until(lambda: seen.get(bob.there("a").ino) == 5)
