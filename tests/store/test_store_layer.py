"""A change of a large file is a layer over it: no byte is copied, and none is lost."""

import os
import random
from pathlib import Path

import pytest

from sharefs.errors import LocalDamage, NotAllowed
from sharefs.records.content import KIB, MIB
from sharefs.records.ids import ROOT, ContentId
from sharefs.store import layer
from sharefs.store.adopted import Adopted
from sharefs.store.cutting import cut
from sharefs.store.drafts import DraftNote, Drafts
from sharefs.store.layer import PAGE_SIZE_BYTES, marks_of
from sharefs.store.written import Written
from tests.store.store_parties import FAMILY, Disk, adopted_by, shown

pytestmark = pytest.mark.usefixtures("drafts_folder")
NOTE = DraftNote(1, FAMILY, ROOT, "film", None)
SIZE_BYTES = 6 * MIB + 12_345


@pytest.fixture(scope="module")
def film() -> bytes:
    return random.Random(1).randbytes(SIZE_BYTES)


def over(disk: Disk, content: ContentId) -> Written:
    """A draft that a program has begun to change."""

    def fill(written: Written) -> None:
        assert disk.contents.lay_over(written, content)

    return Drafts(disk.folder / "drafts").create(NOTE, fill)


def publish(disk: Disk, written: Written) -> ContentId:
    adopted = adopted_by(disk.contents, written)
    written.close()
    return disk.register(adopted)


def read(disk: Disk, content: ContentId) -> bytes:
    return disk.contents.open(content, 0).pread(0, 10**9)


def whole(written: Written) -> bytes:
    return written.read(0, 10**9)


def same(one: bytes, other: bytes | bytearray) -> bool:
    """Pytest would explain the difference between millions of bytes for minutes."""
    return bytes(one) == bytes(other)


def blocks_of(path: Path) -> int:
    return path.stat().st_blocks * 512


def shows(disk: Disk, content: ContentId) -> None:
    """A version that stands has it."""
    with disk.store.transaction():
        disk.store.shelf(1).save(shown(50, size=SIZE_BYTES, content=content))


# --- bytes ----------------------------------------------------------------------------------------


def test_a_changed_byte_of_a_large_content_takes_a_page(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(3 * MIB, b"?")
    new = publish(disk, written)
    assert same(read(disk, new), film[: 3 * MIB] + b"?" + film[3 * MIB + 1 :])
    assert same(read(disk, old), film)
    assert disk.contents.open(new, 0).complete
    assert blocks_of(disk.file(new)) <= 2 * PAGE_SIZE_BYTES
    assert list((disk.folder / "drafts").iterdir()) == []
    disk.restart()
    assert same(read(disk, new), film[: 3 * MIB] + b"?" + film[3 * MIB + 1 :])
    assert disk.contents.local_bytes(new) == SIZE_BYTES


@pytest.mark.parametrize("seed", range(25))
def test_what_programs_write_over_a_content_is_there_and_is_cut_as_if_it_were_new(
    disk: Disk, film: bytes, seed: int
) -> None:
    choose = random.Random(seed)
    content, model = disk.publish(film), bytearray(film)
    for _ in range(3):
        written = over(disk, content) if len(model) >= 4 * MIB else None
        if written is None:
            return
        for _ in range(choose.randrange(1, 8)):
            _do_something(choose, written, model)
            start = choose.randrange(len(model) + 1)
            assert same(written.read(start, 200_000), model[start : start + 200_000])
        if choose.random() < 0.5:
            # The node is killed, and finds the draft.
            written.sync()
            written.close()
            written = disk.contents.written_at(written.path)
            written.open()
        assert same(whole(written), model)
        content = publish(disk, written)
        if choose.random() < 0.5:
            disk.restart()
        local = disk.contents.open(content, 0)
        assert local.complete
        assert same(local.pread(0, 10**9), model)
        plain = disk.draft(bytes(model))
        assert cut(plain, len(model))[0] == local.manifest
        for index in range(len(local.manifest.lengths)):
            local.read_chunk(index)


def _do_something(choose: random.Random, written: Written, model: bytearray) -> None:
    match choose.randrange(4):
        case 0:
            size = choose.choice([len(model) - choose.randrange(100_000), len(model) + 70_000])
            written.truncate(size)
            del model[size:]
            model.extend(bytes(size - len(model)))
        case 1:
            data = choose.randbytes(choose.randrange(1, 300_000))
            written.write(len(model), data)
            model += data
        case _:
            start = choose.randrange(len(model))
            data = choose.randbytes(choose.choice([1, 4096, PAGE_SIZE_BYTES, 300_000]))
            written.write(start, data)
            model[start : start + len(data)] = data


def test_who_writes_on_while_a_draft_is_published_begins_with_its_bytes(
    disk: Disk, film: bytes
) -> None:
    first = over(disk, disk.publish(film))
    first.write(100, b"first")
    first.truncate(5 * MIB)
    first.truncate(5 * MIB + 10)

    def fill(written: Written) -> None:
        assert first.layer is not None
        assert written.lie_over(first.layer.base)
        written.copy(first)

    second = Drafts(disk.folder / "drafts").create(NOTE, fill)
    second.write(200, b"second")
    expected = bytearray(film[: 5 * MIB] + bytes(10))
    expected[100:105], expected[200:206] = b"first", b"second"
    assert same(whole(second), expected)
    first.close()
    second.close()


def test_a_small_content_is_copied_and_so_is_one_that_was_changed_all_over(
    disk: Disk, film: bytes
) -> None:
    small = disk.publish(film[:MIB])
    written = Written(disk.draft(b""))
    written.open()
    assert not disk.contents.lay_over(written, small)
    changed = over(disk, disk.publish(film))
    changed.write(0, os.urandom(3 * MIB))
    assert not disk.contents.lay_over(written, publish(disk, changed))
    written.close()


def test_a_disk_without_attributes_has_no_layers(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = disk.publish(film)

    def refuse(*_: object) -> None:
        raise OSError(95, "no attributes")

    monkeypatch.setattr(os, "setxattr", refuse)
    written = Written(disk.draft(b""))
    written.open()
    assert not disk.contents.lay_over(written, content)
    assert written.layer is None
    assert written.size == 0
    written.close()


# --- kills and power cuts -------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(12))
def test_a_kill_at_any_moment_loses_nothing_that_was_written(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """And of what was being written, every page is as it was or as it was to be."""
    written = over(disk, disk.publish(film))
    model, left = bytearray(film), [calls]
    pwrite = os.pwrite

    def pwrite_or_die(descriptor: int, data: memoryview, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite_or_die)
    after = bytearray(model)
    try:
        for number in range(5):
            start, data = number * MIB + 60_000, bytes([number]) * 10_000
            after[start : start + len(data)] = data
            written.write(start, data)
            model[:] = after
    except KeyboardInterrupt:
        pass
    monkeypatch.undo()
    written.close()
    disk.kill()
    (path,) = [each.path for each in Drafts(disk.folder / "drafts").left()]
    found = disk.contents.written_at(path)
    found.open()
    data = whole(found)
    found.close()
    for start in range(0, SIZE_BYTES, PAGE_SIZE_BYTES):
        page = data[start : start + PAGE_SIZE_BYTES]
        assert page in (
            model[start : start + PAGE_SIZE_BYTES],
            after[start : start + PAGE_SIZE_BYTES],
        )


def _cut_power(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    boot = folder / "boot"
    boot.write_bytes(os.urandom(16).hex().encode())
    monkeypatch.setattr(layer, "BOOT_FILE", boot)


def test_after_a_power_cut_what_was_synced_is_there_and_the_rest_is_as_it_was(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = over(disk, disk.publish(film))
    written.write(MIB, b"synced")
    written.sync()
    written.write(2 * MIB, b"lost")
    # The disk had the mark of the page, and not the page.
    with written.path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(bytes(PAGE_SIZE_BYTES))
    written.close()
    _cut_power(monkeypatch, disk.folder)
    disk.kill()
    for _ in range(2):
        found = disk.contents.written_at(written.path)
        found.open()
        expected = bytearray(film)
        expected[MIB : MIB + 6] = b"synced"
        assert same(whole(found), expected)
        found.close()
    # What is written from now on survives a kill.
    found.open()
    found.write(4 * MIB, b"again")
    found.close()
    expected[4 * MIB : 4 * MIB + 5] = b"again"
    found = disk.contents.written_at(written.path)
    found.open()
    assert same(whole(found), expected)
    content = publish(disk, found)
    _cut_power(monkeypatch, disk.folder)
    disk.kill()
    assert same(read(disk, content), expected)


def test_a_draft_that_was_not_made_yet_is_none(disk: Disk, film: bytes) -> None:
    content = disk.publish(film)
    drafts = Drafts(disk.folder / "drafts")

    def fill(written: Written) -> None:
        assert disk.contents.lay_over(written, content)
        assert drafts.noted() == []
        assert drafts.strays() == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drafts.create(NOTE, fill)
    assert list((disk.folder / "drafts").iterdir()) == []
    for name in ("a.new", "a.new.marks", "b.marks"):
        (disk.folder / "drafts" / name).touch()
    assert drafts.left() == []
    assert list((disk.folder / "drafts").iterdir()) == []


def test_a_content_that_was_not_registered_is_published_from_the_draft_again(
    disk: Disk, film: bytes
) -> None:
    written = over(disk, disk.publish(film))
    written.write(MIB, b"changed")
    expected = whole(written)
    adopted_by(disk.contents, written)
    written.close()
    disk.kill()
    found = disk.contents.written_at(written.path)
    found.open()
    assert same(whole(found), expected)
    assert same(read(disk, publish(disk, found)), expected)


def test_a_layer_is_found_again_when_the_database_is_lost(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, b"changed")
    expected = whole(written)
    new = publish(disk, written)
    disk.store.abandon()
    for file in disk.folder.glob("sharefs.db*"):
        file.unlink()
    disk.start()
    files = disk.contents.unknown_files()
    assert [file.name for file in files] == [old.hex(), new.hex()]
    for file in files:
        local = disk.contents.recognise(file)
        assert local is not None
        with disk.store.transaction():
            disk.contents.keep_recognised(local)
    disk.restart()
    assert same(read(disk, new), expected)
    assert same(read(disk, old), film)


# --- what lies below ------------------------------------------------------------------------------


def test_a_base_is_not_freed_before_what_lies_over_it_stands_alone(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, b"changed")
    with disk.store.transaction(), pytest.raises(NotAllowed):
        disk.contents.free(old)
    expected = whole(written)
    new = publish(disk, written)
    del written
    shows(disk, new)
    for _ in range(2):
        assert disk.contents.is_leaned_on(old)
        with disk.store.transaction(), pytest.raises(NotAllowed):
            disk.contents.free(old)
        disk.restart()
    disk.contents.let_stand_alone(old)
    with disk.store.transaction():
        assert disk.contents.free(old) == SIZE_BYTES
    assert not disk.file(old).exists()
    disk.kill()
    assert disk.contents.open(new, 0).complete
    assert same(read(disk, new), expected)
    with disk.store.transaction():
        disk.contents.free(new)
    assert [path for path in (disk.folder / "contents").rglob("*") if path.is_file()] == []


def test_who_is_superseded_does_not_take_room_to_stand_alone(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, b"changed")
    new = publish(disk, written)
    del written
    disk.contents.let_stand_alone(old)
    assert disk.contents.is_leaned_on(old)
    with disk.store.transaction():
        disk.contents.free(new)
    disk.restart()
    assert not disk.contents.is_leaned_on(old)


def test_a_version_of_a_version_lies_over_the_first(disk: Disk, film: bytes) -> None:
    content, model = disk.publish(film), bytearray(film)
    first = content
    for number in range(5):
        written = over(disk, content)
        written.write(number * MIB, b"version %d" % number)
        model[number * MIB :][:9] = b""
        model[number * MIB : number * MIB + 9] = b"version %d" % number
        before, content = content, publish(disk, written)
        del written
        if before != first:
            with disk.store.transaction():
                disk.contents.free(before)
    assert same(read(disk, content), model)
    assert disk.contents.is_leaned_on(first)


def test_chunks_from_the_base_are_noted_once(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    (before,) = disk.store.connection.execute("SELECT count(*) FROM chunk").fetchone()
    written = over(disk, old)
    written.write(MIB, b"changed")
    publish(disk, written)
    (after,) = disk.store.connection.execute("SELECT count(*) FROM chunk").fetchone()
    assert before < after <= before + 2


# --- damage ---------------------------------------------------------------------------------------


def _damage(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_damage_beside_a_change_is_not_published_as_a_part_of_it(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    _damage(disk.file(old), 2 * MIB + 5)
    written.write(2 * MIB - 100 * KIB, b"changed")
    with pytest.raises(LocalDamage):
        adopted_by(disk.contents, written)
    written.close()
    assert written.path.exists()
    assert not disk.contents.open(old, 0).complete


def test_damage_of_a_base_is_noticed_above_and_fetched_there(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, b"changed")
    expected = whole(written)
    local = disk.contents.open(publish(disk, written), 0)
    assert local.manifest is not None
    at = 4 * MIB
    (index,) = local._indexes(at, 1)
    _damage(disk.file(old), at)
    with pytest.raises(LocalDamage):
        local.read_chunk(index)
    assert local.missing(0, SIZE_BYTES) == [index]
    assert not local.complete
    assert not disk.contents.open(old, 0).complete
    begin = local.manifest.offsets()[index]
    local.write_chunk(index, expected[begin : begin + local.manifest.lengths[index]])
    assert local.missing(0, SIZE_BYTES) == []
    content = local.content
    disk.save()
    del local
    disk.kill()
    local = disk.contents.open(content, 0)
    assert local.missing(0, SIZE_BYTES) == []
    assert same(local.pread(0, 10**9), expected)


@pytest.mark.parametrize("what", ["marks", "base"])
def test_a_layer_without_its_marks_or_its_base_is_not_here(
    disk: Disk, film: bytes, what: str
) -> None:
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, b"changed")
    new = publish(disk, written)
    del written
    disk.store.close()
    (marks_of(disk.file(new)) if what == "marks" else disk.file(old)).unlink()
    disk.start()
    local = disk.contents.open(new, 0)
    assert not local.complete
    assert local.missing(4 * MIB, 1) != []


def test_a_draft_whose_base_is_gone_is_kept_and_told(disk: Disk, film: bytes) -> None:
    written = over(disk, disk.publish(film))
    written.write(MIB, b"changed")
    written.close()
    disk.store.abandon()
    for file in disk.folder.glob("sharefs.db*"):
        file.unlink()
    disk.start()
    with pytest.raises(LocalDamage):
        disk.contents.written_at(written.path)
    assert written.path.exists()


def test_nothing_is_adopted_twice(disk: Disk, film: bytes) -> None:
    """Who writes the same bytes again makes no new content, nor a layer over itself."""
    old = disk.publish(film)
    written = over(disk, old)
    written.write(MIB, film[MIB : MIB + 10])
    adopted: Adopted = adopted_by(disk.contents, written)
    assert adopted.content == old
    assert disk.contents.open(old, 0).layer is None
    written.close()
    disk.register(adopted)
    assert same(read(disk, old), film)
