"""Drafts: what programs wrote is found again after a kill."""

import errno
import os
from pathlib import Path

import pytest

from sharefs.errors import DiskFull
from sharefs.records.ids import ROOT, DeviceId
from sharefs.store import layer
from sharefs.store.drafts import NOTE_ATTRIBUTE, DraftBase, DraftNote, Drafts
from sharefs.store.written import Written, is_finished
from tests.store.store_parties import ANNA, BOB, FAMILY, LIFE, item

NEW = DraftNote(1, FAMILY, ROOT, "report.odt", None)
VERSION = DraftNote(
    1, FAMILY, item(1), "Überraschung", DraftBase(item(2), ((ANNA, LIFE, 7), (BOB, LIFE, 1)), 5, 3)
)


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return Drafts(tmp_path)


def closed(written: Written) -> Path:
    written.close()
    return written.path


def test_drafts_are_found_again_with_their_bytes_and_notes(drafts: Drafts, tmp_path: Path) -> None:
    for note in (NEW, VERSION):
        written = drafts.create(note)
        path = written.path
        written.write(0, note.name.encode())
        os.utime(path, ns=(0, 1 if note is NEW else 2))
        written.close()
    left = Drafts(tmp_path).left()
    assert [each.note for each in left] == [NEW, VERSION]
    assert [each.path.read_text() for each in left] == [NEW.name, VERSION.name]
    assert path.stat().st_mode & 0o077 == 0


def test_a_note_can_be_written_anew(drafts: Drafts) -> None:
    path = closed(drafts.create(NEW))
    drafts.note(path, VERSION)
    assert drafts.left() == [(path, VERSION, False)]


def test_a_draft_is_whole_from_its_last_close_until_it_is_written_again(drafts: Drafts) -> None:
    written = drafts.create(NEW)
    assert drafts.left() == [(written.path, NEW, False)]
    written.finish(executable=True)
    assert drafts.left() == [(written.path, NEW, True)]
    assert written.path.stat().st_mode & 0o100
    drafts.note(written.path, VERSION)
    assert drafts.left() == [(written.path, VERSION, True)], "a new name changes no bytes"
    written.resume()
    assert drafts.left() == [(written.path, VERSION, False)]
    written.close()


def test_what_the_disk_may_not_have_is_not_whole_after_a_power_cut(
    drafts: Drafts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late, half = (drafts.create(NEW) for _ in range(3))
    for each in (early, late, half):
        each.write(0, b"bytes")
    early.finish(executable=False)
    drafts.note(early.path, NEW, synced=True)
    late.finish(executable=False)
    boot = tmp_path.with_name("boot")
    boot.write_bytes(b"another")
    monkeypatch.setattr(layer, "BOOT_FILE", boot)
    again = Drafts(tmp_path)
    assert {each.path for each in again.left() if each.whole} == {early.path}
    again.note(early.path, NEW)
    early.finish(executable=False)
    assert {each.path for each in again.left() if each.whole} == {early.path}
    again.note(late.path, NEW)
    assert {each.path for each in again.left() if each.whole} == {early.path}, "told once, for good"
    for each in (early, late, half):
        each.close()


def test_a_removed_draft_is_gone_with_its_note(drafts: Drafts, tmp_path: Path) -> None:
    path = closed(drafts.create(NEW))
    drafts.remove(path)
    drafts.remove(path)
    assert drafts.left() == []
    assert list(tmp_path.iterdir()) == []


def test_a_note_too_long_for_an_attribute_is_kept_beside_the_draft(
    drafts: Drafts, tmp_path: Path
) -> None:
    context = tuple((DeviceId(n.to_bytes(16)), LIFE, n) for n in range(1024))
    long = DraftNote(1, FAMILY, ROOT, "a", DraftBase(item(1), context, 5, 3))
    path = closed(drafts.create(NEW))
    drafts.note(path, long)
    assert drafts.left() == [(path, long, False)]
    drafts.note(path, NEW)
    assert drafts.left() == [(path, NEW, False)]
    drafts.note(path, long)
    drafts.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_attributes_will_do(drafts: Drafts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "no attributes")

    monkeypatch.setattr(os, "setxattr", refuse)
    path = closed(drafts.create(VERSION))
    assert drafts.left() == [(path, VERSION, False)]


def test_a_draft_without_a_note_is_kept_for_a_person_to_see(drafts: Drafts, tmp_path: Path) -> None:
    (tmp_path / "stray").write_bytes(b"bytes")
    (tmp_path / "garbled").write_bytes(b"bytes")
    os.setxattr(tmp_path / "garbled", NOTE_ATTRIBUTE, b"\xff")
    assert drafts.left() == []
    assert {path.name for path in drafts.strays()} == {"stray", "garbled"}


def test_notes_without_drafts_are_swept(drafts: Drafts, tmp_path: Path) -> None:
    (tmp_path / "gone.note").write_bytes(b"")
    (tmp_path / "half.note.1234.new").write_bytes(b"")
    assert drafts.left() == []
    assert drafts.strays() == []
    assert list(tmp_path.iterdir()) == []


def test_a_note_for_a_draft_that_is_gone_is_told(drafts: Drafts, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        drafts.note(tmp_path / "gone", NEW)


def test_a_full_disk_says_so_and_leaves_no_draft(
    drafts: Drafts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "setxattr", full)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        drafts.create(NEW)
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_is_published_while_somebody_looks_is_not_there(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the node goes down, and looks what could not be published."""
    going, staying = (closed(drafts.create(NEW)) for _ in range(2))
    listed = [going.with_name("gone before"), going, staying]

    def look(path: Path) -> bool:
        if path == going:
            path.unlink()
        return is_finished(path)

    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    monkeypatch.setattr("sharefs.store.drafts.is_finished", look)
    assert [each.path for each in drafts.noted()] == [staying]
