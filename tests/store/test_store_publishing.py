"""Drafts that become contents, and contents that go: no byte of a member's lost."""

import errno
import os
from pathlib import Path

import pytest

from sharefs.errors import DiskFull, LocalDamage
from sharefs.records.ids import ROOT
from tests.store.store_parties import Disk, content_of, random_chunks, shown

# --- publishing -----------------------------------------------------------------------------------


def test_a_finished_draft_becomes_a_complete_content(disk: Disk) -> None:
    data = os.urandom(1_000_000)
    content = disk.publish(data)
    assert list(disk.folder.glob("draft*")) == []
    assert disk.contents.open(content, 0).pread(0, 2_000_000) == data
    assert disk.contents.unsaved() == []
    disk.restart()
    local = disk.contents.open(content, 0)
    assert local.complete
    assert local.pread(0, 2_000_000) == data
    assert disk.contents.local_bytes(content) == 1_000_000


def test_an_empty_draft_has_no_content(disk: Disk) -> None:
    adopted = disk.adopt(disk.draft(b""))
    assert (adopted.size, adopted.content) == (0, None)
    with disk.store.transaction():
        disk.contents.register(adopted)
    disk.store.make_durable()
    assert not adopted.written.path.exists()


def test_a_draft_stays_until_its_record_is_durable(disk: Disk) -> None:
    draft = disk.draft(b"the work of a day")
    adopted = disk.adopt(draft)
    assert draft.exists()
    with disk.store.transaction():
        disk.contents.register(adopted)
        assert draft.exists()
    assert draft.exists()
    disk.store.make_durable()
    assert not draft.exists()


def test_a_draft_whose_record_was_not_committed_is_published_again(disk: Disk) -> None:
    draft = disk.draft(b"the work of a day")
    adopted = disk.adopt(draft)

    def fail() -> None:
        with disk.store.transaction():
            disk.contents.register(adopted)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    disk.store.make_durable()
    assert draft.read_bytes() == b"the work of a day"
    disk.kill()
    assert adopted.content is not None
    assert disk.contents.local_bytes(adopted.content) == 0
    again = disk.adopt(draft)
    with disk.store.transaction():
        disk.contents.register(again)
    disk.store.make_durable()
    assert again.content == adopted.content
    assert disk.contents.open(adopted.content, 0).pread(0, 99) == b"the work of a day"


def test_a_draft_is_synced_before_it_stands_as_a_content(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    draft = disk.draft(b"data")
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(DiskFull):
        disk.adopt(draft)
    monkeypatch.undo()
    assert not list((disk.folder / "contents").rglob("*"))
    assert draft.exists()


def test_the_same_bytes_are_kept_once(disk: Disk) -> None:
    first = disk.publish(b"same")
    inode = disk.file(first).stat().st_ino
    assert disk.publish(b"same") == first
    assert disk.file(first).stat().st_ino == inode
    assert list(disk.folder.glob("draft*")) == []


def test_a_draft_completes_a_content_that_was_being_fetched(disk: Disk) -> None:
    data = os.urandom(2_000_000)
    adopted = disk.adopt(disk.draft(data))
    assert adopted.content is not None
    assert adopted.local is not None
    with disk.store.transaction():
        disk.contents.register(adopted)
        disk.contents.free(adopted.content)
    local = disk.contents.open(adopted.content, 0)
    assert local.manifest is not None
    end = local.manifest.lengths[0]
    local.write_chunk(0, data[:end])
    disk.save()
    assert local.local_bytes == end
    assert disk.publish(data) == adopted.content
    assert local.complete
    assert local.pread(0, 3_000_000) == data


def test_a_file_that_nothing_is_known_of_is_not_written_into(disk: Disk) -> None:
    """It may be another content's file, by a second name that a failed publishing left."""
    chunks = [b"a" * 1000]
    content = content_of(chunks)[0]
    other = disk.folder / "other"
    other.write_bytes(b"b" * 1000)
    disk.file(content).parent.mkdir()
    os.link(other, disk.file(content))
    disk.begin(chunks).write_chunk(0, chunks[0])
    assert other.read_bytes() == b"b" * 1000
    assert disk.file(content).read_bytes() == chunks[0]


def test_a_disk_without_second_names_copies(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    content = disk.publish(b"data")
    assert disk.contents.open(content, 0).pread(0, 9) == b"data"


def test_a_draft_that_is_written_meanwhile_is_not_published(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = disk.draft(b"data")
    fdatasync = os.fdatasync

    def write_too(descriptor: int) -> None:
        draft.write_bytes(b"other data")
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", write_too)
    with pytest.raises(LocalDamage):
        disk.adopt(draft)
    assert draft.exists()


# --- freeing --------------------------------------------------------------------------------------


def test_a_freed_content_is_a_ghost_and_can_be_fetched_again(disk: Disk) -> None:
    chunks = [os.urandom(3000)]
    content = disk.publish(chunks[0])
    local = disk.contents.open(content, 0)
    with disk.store.transaction():
        assert disk.contents.free(content) == 3000
    assert not disk.file(content).exists()
    assert local.missing(0, 3000) == [0]
    assert disk.contents.local_bytes(content) == 0
    local.write_chunk(0, chunks[0])
    assert local.pread(0, 3000) == chunks[0]
    disk.save()
    disk.restart()
    assert disk.contents.open(content, 0).complete


def test_folders_are_told_when_the_local_bytes_of_a_content_change_and_only_then(
    disk: Disk,
) -> None:
    data = os.urandom(3000)
    content = disk.publish(data)
    with disk.store.transaction():
        disk.store.shelf(1).save(shown(20, "a", size=3000, content=content))
    disk.store.take_touched()
    disk.publish(data)
    assert disk.store.take_touched() == set()
    with disk.store.transaction():
        disk.contents.free(content)
    assert disk.store.take_touched() == {(1, ROOT, 20, "a")}
    disk.publish(data)
    assert disk.store.take_touched() == {(1, ROOT, 20, "a")}


def test_bits_synced_before_a_free_are_not_saved_after_it(disk: Disk) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    synced = disk.contents.sync([local.content])
    with disk.store.transaction():
        disk.contents.free(local.content)
    local.write_chunk(1, chunks[1])
    with disk.store.transaction():
        disk.contents.save_bits(*synced[0])
    disk.save()
    assert local.bitmap == b"\x02"
    disk.restart()
    assert disk.contents.open(local.content, 0).bitmap == b"\x02"


def test_a_chunk_that_was_being_written_at_a_free_is_not_here(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(2)
    local = disk.begin(chunks)
    pwrite = os.pwrite

    def free_meanwhile(descriptor: int, data: memoryview, offset: int) -> int:
        with disk.store.transaction():
            disk.contents.free(local.content)
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", free_meanwhile)
    local.write_chunk(0, chunks[0])
    assert local.missing(0, 2000) == [0, 1]


def test_freeing_what_is_not_here_frees_nothing(disk: Disk) -> None:
    with disk.store.transaction():
        assert disk.contents.free(content_of([b"x"])[0]) == 0
