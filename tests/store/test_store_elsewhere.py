"""Chunks that stand in other contents here are taken from there, and are what they should be."""

import errno
import fcntl
import os
import sqlite3
from itertools import pairwise

import pytest

from sharefs.errors import LocalDamage
from sharefs.records.content import MIB, Manifest, chunk_id
from sharefs.records.ids import ContentId
from sharefs.store.cutting import cut
from sharefs.store.elsewhere import RUN_SIZE_BYTES_MAX
from sharefs.store.groups import AMONG_MAX
from sharefs.store.local import LocalContent
from sharefs.store.sharing import _CLONE_RANGE
from tests.store.store_parties import Disk, random_chunks
from tests.store.test_store_layer import over, publish

pytestmark = pytest.mark.usefixtures("drafts_folder")
BLOCK_SIZE_BYTES = 4096


@pytest.fixture(scope="module")
def film() -> bytes:
    return os.urandom(3_000_000)


def manifest_of(disk: Disk, content: ContentId) -> Manifest:
    manifest = disk.contents.open(content, 0).manifest
    assert manifest is not None
    return manifest


def lacking(disk: Disk, data: bytes) -> LocalContent:
    """A content with these bytes, of which nothing is here."""
    draft = disk.draft(data)
    manifest, _ = cut(draft, len(data))
    draft.unlink()
    chunks, offsets = [], manifest.offsets()
    for begin, end in pairwise(offsets):
        chunks.append(data[begin:end])
    return disk.begin(chunks)


def take_all(disk: Disk, content: ContentId) -> list[int]:
    runs = disk.contents.elsewhere(content)
    return [index for run in runs for index in disk.contents.take(content, run)]


def damage(disk: Disk, content: ContentId, at: int) -> None:
    with disk.file(content).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


# --- which, and where -----------------------------------------------------------------------------


def test_all_but_the_first_chunks_are_had_from_the_version_before(disk: Disk, film: bytes) -> None:
    disk.publish(film)
    local = lacking(disk, b"x" + film)
    taken = take_all(disk, local.content)
    assert local.manifest is not None
    assert len(taken) >= len(local.manifest.lengths) - 2
    assert local.missing(0, local.size) == sorted({*range(len(local.manifest.lengths))} - {*taken})
    for index in taken:
        assert chunk_id(local.read_chunk(index)) == local.manifest.chunk(index)


def test_what_was_taken_is_here_after_a_restart(disk: Disk, film: bytes) -> None:
    disk.publish(film)
    local = lacking(disk, b"x" + film)
    take_all(disk, local.content)
    missing = local.missing(0, local.size)
    disk.save()
    disk.kill()
    again = disk.contents.open(local.content, 0)
    assert again.missing(0, again.size) == missing


def test_chunks_that_follow_each_other_are_one_run(disk: Disk) -> None:
    data = os.urandom(3 * RUN_SIZE_BYTES_MAX)
    old = disk.publish(data)
    runs = disk.contents.elsewhere(lacking(disk, b"x" + data).content)
    assert sum(run.size for run in runs) > len(data) - 2 * MIB
    assert 3 <= len(runs) <= 4
    assert all(run.size <= RUN_SIZE_BYTES_MAX and run.source == old for run in runs)


def test_runs_end_where_the_other_content_goes_on_otherwise(disk: Disk) -> None:
    chunks = random_chunks(8)
    old = disk.begin(before := [*chunks[:4], b"other", *chunks[4:]])
    for index, chunk in enumerate(before):
        old.write_chunk(index, chunk)
    disk.save()
    local = disk.begin([*chunks, b"new"])
    runs = disk.contents.elsewhere(local.content)
    assert [run.indexes for run in runs] == [range(4), range(4, 8)]
    assert take_all(disk, local.content) == list(range(8))


def test_many_chunks_are_looked_up_by_one_statement(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(3 * AMONG_MAX, 100)
    old = disk.begin(chunks)
    for index, chunk in enumerate(chunks):
        old.write_chunk(index, chunk)
    disk.save()
    local = disk.begin([b"new", *chunks])
    statements: list[str] = []
    with disk.store.readers.lent() as connection:
        connection.set_trace_callback(statements.append)
    (run,) = disk.contents.elsewhere(local.content)
    assert run.indexes == range(1, 3 * AMONG_MAX + 1)
    assert len(statements) <= 5


def test_a_content_that_is_here_in_part_is_a_source(disk: Disk) -> None:
    chunks = random_chunks(6)
    old = disk.begin(chunks)
    for index in (0, 1, 4):
        old.write_chunk(index, chunks[index])
    disk.save()
    old.write_chunk(2, chunks[2])
    disk.save()
    local = disk.begin([b"new", *chunks])
    assert sorted(take_all(disk, local.content)) == [1, 2, 3, 5]


def test_it_is_one_after_a_kill_and_when_more_came(disk: Disk) -> None:
    chunks = random_chunks(6)
    disk.begin(chunks).write_chunk(0, chunks[0])
    disk.save()
    disk.kill()
    old = disk.contents.open(disk.begin(chunks).content, 0)
    old.write_chunk(3, chunks[3])
    disk.save()
    local = disk.begin([b"new", *chunks])
    assert sorted(take_all(disk, local.content)) == [1, 4]


def test_one_that_was_freed_and_came_again_is_one(disk: Disk) -> None:
    chunks = random_chunks(4)
    for _ in range(2):
        old = disk.begin(chunks)
        old.write_chunk(1, chunks[1])
        with disk.store.transaction():
            disk.contents.expect(old)
        disk.save()
        local = disk.begin([b"new", *chunks])
        assert take_all(disk, local.content) == [2]
        with disk.store.transaction():
            disk.contents.free(local.content)
            disk.contents.free(old.content)
        assert disk.contents.elsewhere(disk.begin([b"other", *chunks]).content) == []


def test_what_came_a_moment_ago_is_taken_before_the_disk_has_it(disk: Disk) -> None:
    chunks = random_chunks(4)
    old = disk.begin(chunks)
    old.write_chunk(1, chunks[1])
    local = disk.begin([b"new", *chunks])
    assert take_all(disk, local.content) == [2]
    assert disk.contents.elsewhere(local.content) == []


def test_freed_chunks_are_not_found(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    local = lacking(disk, b"x" + film)
    assert disk.contents.elsewhere(local.content)
    with disk.store.transaction():
        disk.contents.free(old)
    assert disk.contents.elsewhere(local.content) == []


def test_a_version_that_lies_over_another_is_a_source(disk: Disk) -> None:
    data = os.urandom(5 * MIB)
    old = disk.publish(data)
    written = over(disk, old)
    written.write(2 * MIB, b"changed")
    changed = bytearray(data)
    changed[2 * MIB : 2 * MIB + 7] = b"changed"
    new = publish(disk, written)
    local = lacking(disk, b"x" + changed)
    taken = take_all(disk, local.content)
    assert len(taken) >= len(manifest_of(disk, new).lengths) - 2


# --- what can not be believed ---------------------------------------------------------------------


def test_a_damaged_chunk_is_not_taken_and_those_beside_it_are(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    local = lacking(disk, b"x" + film)
    runs = disk.contents.elsewhere(local.content)
    middle = runs[0].indexes[len(runs[0].indexes) // 2]
    assert local.manifest is not None
    damage(disk, old, local.manifest.offsets()[middle] - 1 + 5)
    taken = take_all(disk, local.content)
    assert middle not in taken
    assert middle in local.missing(0, local.size)
    assert len(taken) == sum(len(run.indexes) for run in runs) - 1


def test_a_sector_that_can_not_be_read_costs_its_chunk(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.publish(film)
    local = lacking(disk, b"x" + film)
    runs = disk.contents.elsewhere(local.content)
    bad = runs[0].position + 5
    pread = os.pread

    def fail(descriptor: int, size: int, offset: int) -> bytes:
        if offset <= bad < offset + size:
            raise OSError(errno.EIO, "bad sector")
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", fail)
    taken = take_all(disk, local.content)
    assert len(taken) == sum(len(run.indexes) for run in runs) - 1


def test_a_source_that_was_freed_meanwhile_gives_nothing(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    local = lacking(disk, b"x" + film)
    (*_, run) = disk.contents.elsewhere(local.content)
    with disk.store.transaction():
        disk.contents.free(old)
    assert disk.contents.take(local.content, run) == []
    assert local.local_bytes == 0


def test_a_source_whose_file_is_gone_gives_nothing(disk: Disk, film: bytes) -> None:
    old = disk.publish(film)
    local = lacking(disk, b"x" + film)
    disk.file(old).unlink()
    assert take_all(disk, local.content) == []


def test_a_disk_that_does_not_take_them_is_told_of(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.EIO, "bad sector")

    disk.publish(film)
    local = lacking(disk, b"x" + film)
    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(LocalDamage):
        take_all(disk, local.content)


# --- blocks that are shared -----------------------------------------------------------------------


class SharingDisk:
    """Does what the ioctl would, and checks that it may be asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuses: int = 0) -> None:
        self.shared = 0
        self.asked = 0
        self._refuses = refuses
        self._ioctl = fcntl.ioctl
        monkeypatch.setattr(fcntl, "ioctl", self._share)

    def _share(self, descriptor: int, request: int, argument: bytes) -> int:
        self.asked += 1
        if self._refuses:
            raise OSError(self._refuses, "no")
        source, position, size, offset = _CLONE_RANGE.unpack(argument)
        block = os.fstatvfs(descriptor).f_bsize
        assert size > 0
        assert position % block == offset % block == size % block == 0
        os.pwrite(descriptor, os.pread(source, size, position), offset)
        self.shared += size
        return 0


def test_whole_blocks_at_the_same_place_in_a_block_are_shared(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3_000_000)
    disk.publish(data)
    local = lacking(disk, data + b"and more")
    sharing = SharingDisk(monkeypatch)
    taken = take_all(disk, local.content)
    assert local.manifest is not None
    assert len(taken) >= len(local.manifest.lengths) - 2
    size = sum(local.manifest.lengths[index] for index in taken)
    assert size - 2 * BLOCK_SIZE_BYTES < sharing.shared <= size
    for index in taken:
        local.read_chunk(index)


def test_elsewhere_in_a_block_they_are_written(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.publish(film)
    local = lacking(disk, b"x" + film)
    sharing = SharingDisk(monkeypatch)
    assert take_all(disk, local.content)
    assert not sharing.asked


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV])
def test_a_disk_that_can_not_share_gets_them_written(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    disk.publish(film)
    local = lacking(disk, film + b"and more")
    sharing = SharingDisk(monkeypatch, refusal)
    taken = take_all(disk, local.content)
    assert sharing.asked
    for index in taken:
        local.read_chunk(index)
    assert len(taken) > 1


def test_what_is_damaged_is_not_shared(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = disk.publish(film)
    local = lacking(disk, film + b"and more")
    (run, *_) = disk.contents.elsewhere(local.content)
    damage(disk, old, run.position + 7)
    SharingDisk(monkeypatch)
    assert run.indexes[0] not in take_all(disk, local.content)


# --- what is noted --------------------------------------------------------------------------------


def test_the_chunks_of_a_partial_content_are_noted_once(disk: Disk) -> None:
    chunks = random_chunks(10)
    local = disk.begin(chunks)
    for index, chunk in enumerate(chunks):
        local.write_chunk(index, chunk)
        disk.save()
        assert count(disk.store.connection) == index + 1
    assert local.complete


def count(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
    return int(rows)
