"""What programs had not published when the node stopped."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharefs.errors import DiskFull
from sharefs.records.ids import ROOT
from sharefs.store import layer
from sharefs.store.drafts import DraftBase, DraftNote
from tests.node.node_parties import Party, agree, until

SETTLE_S = 10.0


def left_draft(party: Party, name: str, data: bytes, base: DraftBase | None) -> Path:
    """What a program had written and closed when the node was killed."""
    note = DraftNote(1, party.replica().id, ROOT, name, base)
    written = party.node.state.drafts.create(note)
    written.write(0, data)
    written.finish(executable=False)
    written.close()
    return written.path


def test_a_draft_left_by_a_kill_is_published_with_the_base_it_had(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    row = anna.there("a.txt")
    base = anna.node.desk.base(row)
    path = left_draft(
        anna, "a.txt", b"second", DraftBase(base.item, base.context, base.stamp, base.created)
    )
    new = left_draft(anna, "new.txt", b"new", None)
    anna.kill()
    anna.up()
    until(lambda: anna.entry("a.txt") and anna.read("a.txt") == b"second")
    agree("a.txt", anna, bob)
    agree("new.txt", anna, bob)
    assert bob.there("a.txt").item == row.item
    assert bob.names() == ["a.txt", "new.txt"], "it is no conflict"
    assert bob.read("a.txt") == b"second"
    until(lambda: not path.exists() and not new.exists())


def test_a_draft_left_by_a_kill_is_in_conflict_with_what_came_meanwhile(
    anna: Party, bob: Party
) -> None:
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"first"
    base = anna.node.desk.base(anna.there("a.txt"))
    left_draft(
        anna, "a.txt", b"by anna", DraftBase(base.item, base.context, base.stamp, base.created)
    )
    bob.write("a.txt", b"by bob")
    agree("a.txt", anna, bob)
    anna.kill()
    anna.up()
    until(lambda: len(anna.names()) == 2 and anna.names() == bob.names())
    assert {anna.read(name) for name in anna.names()} == {b"by anna", b"by bob"}


def test_a_file_published_just_before_a_kill_is_one_file(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record was committed, and its draft not removed yet."""
    with monkeypatch.context() as patch:
        patch.setattr(anna.node.state.store, "make_durable", lambda: None)
        anna.write("a.txt", b"hello")
        assert list(anna.home.drafts_folder.iterdir())
        anna.kill()
    anna.up()
    until(lambda: not list(anna.home.drafts_folder.iterdir()))
    agree("a.txt", anna, bob)
    assert anna.names() == bob.names() == ["a.txt"]
    assert bob.read("a.txt") == b"hello"


def half_write(party: Party, name: str, data: bytes) -> None:
    """A program opens a file, and writes some of what it would write."""
    core = party.node.core
    core.write(core.create(party.top(), name, 0o644, os.O_RDWR), 0, data)


def parts(party: Party) -> dict[str, bytes]:
    """What lies beside the files of one device only, and holds something."""
    core = party.node.core
    drafts = core._overlay.drafts()
    return {draft.name: draft.bytes.path.read_bytes() for draft in drafts if draft.placed}


def test_what_was_half_written_at_a_kill_is_kept_beside_the_file_and_never_under_its_name(
    anna: Party, bob: Party
) -> None:
    """owncloud/client #2210."""
    anna.write("a.txt", b"first, and whole")
    agree("a.txt", anna, bob)
    half_write(anna, "a.txt", b"half!")
    half_write(anna, "new.txt", b"half of the new one")
    half_write(anna, "empty.txt", b"")
    for _ in range(2):
        anna.kill()
        anna.up()
        old, new = sorted(parts(anna))
        assert re.fullmatch(r"a\.txt \(unfinished, \d{4}-\d\d-\d\d \d\d\.\d\d\)\.part", old)
        assert new == old.replace("a.txt", "new.txt")
        assert parts(anna) == {old: b"half!, and whole", new: b"half of the new one"}
        assert anna.read("a.txt") == b"first, and whole"
    assert sum("as it was before" in each for each in anna.node.state.notices) == 0, "told once"
    anna.write("later.txt", b"")
    agree("later.txt", anna, bob)
    assert bob.names() == ["a.txt", "later.txt"]
    assert bob.read("a.txt") == b"first, and whole"
    core, top = anna.node.core, anna.top()
    core.rename(top, old, top, "a.txt")
    core.rename(top, new, top, "kept.txt")
    agree("kept.txt", anna, bob)
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"half!, and whole"
    assert bob.names() == ["a.txt", "kept.txt", "later.txt"]


def test_two_files_half_written_at_two_kills_are_both_kept(anna: Party) -> None:
    for data in (b"one", b"other"):
        before = set(anna.home.drafts_folder.iterdir())
        half_write(anna, "new.txt", data)
        (path,) = set(anna.home.drafts_folder.iterdir()) - before
        anna.kill()
        os.utime(path, (1_790_000_000, 1_790_000_000))
        anna.up()
        assert any("as it was before" in each for each in anna.node.state.notices)
    assert sorted(parts(anna).values()) == [b"one", b"other"]


@contextmanager
def no_room(party: Party, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, nothing can be published."""

    def full(*_: object) -> None:
        raise DiskFull("There is no room.")

    with monkeypatch.context() as patch:
        patch.setattr(party.node.state.contents, "adopt", full)
        yield


def test_a_file_that_is_written_again_before_it_could_be_published_is_not_whole(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_room(anna, monkeypatch):
        core = anna.node.core
        for name in ("closed", "reopened"):
            handle = core.create(anna.top(), name, 0o755, os.O_RDWR)
            core.write(handle, 0, b"bytes")
            core.release(handle)
        anna.node.desk.publication.settle(SETTLE_S)
        half_write(anna, "reopened", b"x")
        anna.kill()
    anna.up()
    until(lambda: anna.entry("closed") and anna.read("closed") == b"bytes")
    assert anna.there("closed").executable
    assert list(parts(anna).values()) == [b"xytes"]
    assert anna.names() == ["closed"]


def test_a_draft_of_a_space_that_is_not_here_is_kept_and_told(anna: Party) -> None:
    anna.write("a.txt", b"hello")
    note = DraftNote(1, type(anna.replica().id)(bytes(32)), ROOT, "lost.txt", None)
    written = anna.node.state.drafts.create(note)
    written.close()
    stray = anna.home.drafts_folder / "stray"
    stray.write_bytes(b"no note")
    anna.kill()
    anna.up()
    assert written.path.exists()
    assert stray.exists()
    told = " ".join(anna.node.state.notices)
    assert "lost.txt" in told
    assert "stray" in told


@pytest.mark.parametrize("end", [Party.kill, Party.down])
def test_after_a_power_cut_only_what_the_disk_surely_has_is_whole(
    anna: Party, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: Callable[[Party], None]
) -> None:
    """What was saved last, and could not be published as the disk was full."""
    with no_room(anna, monkeypatch):
        core = anna.node.core
        handle = core.create(anna.top(), "a.txt", 0o644, os.O_RDWR)
        core.write(handle, 0, b"bytes")
        core.release(handle)
        anna.node.desk.publication.settle(SETTLE_S)
        end(anna)
    boot = tmp_path / "boot"
    boot.write_bytes(b"another")
    monkeypatch.setattr(layer, "BOOT_FILE", boot)
    anna.up()
    if end is Party.down:
        until(lambda: anna.entry("a.txt") and anna.read("a.txt") == b"bytes")
    else:
        assert list(parts(anna).values()) == [b"bytes"]
        assert anna.names() == []
