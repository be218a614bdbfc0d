"""The contents: no bit without its bytes."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sharefs.errors import DiskFull, LocalDamage
from tests.store.store_parties import Disk, content_of, random_chunks, shown

# --- fetching -------------------------------------------------------------------------------------


def test_a_content_that_nothing_is_known_of_is_missing(disk: Disk) -> None:
    content, _, _ = content_of(random_chunks(3))
    assert disk.contents.known(content) is None
    local = disk.contents.open(content, 3000)
    assert local.manifest is None
    assert local.missing(0, 1)
    assert local.bitmap == b""
    assert not local.complete
    assert disk.contents.known(content) is None
    assert disk.contents.local_bytes(content) == 0


def test_chunks_arrive_in_any_order_and_make_the_content(disk: Disk) -> None:
    chunks = random_chunks(10)
    local = disk.begin(chunks)
    assert local.missing(0, 10_000) == list(range(10))
    for done, index in enumerate((3, 0, 9, 1, 2, 4, 5, 6, 7, 8), 1):
        assert index in local.missing(0, 10_000)
        local.write_chunk(index, memoryview(chunks[index]))
        assert index not in local.missing(0, 10_000)
        assert local.local_bytes == 1000 * done
        assert local.pread(1000 * index, 1000) == chunks[index]
    assert local.complete
    assert local.pread(0, 99_999) == b"".join(chunks)
    assert local.pread(10_000, 5) == b""


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 1, [0]),
        (999, 1, [0]),
        (999, 2, [0]),
        (1000, 1, []),
        (1500, 501, [2]),
        (1999, 1, []),
        (2999, 2, [2, 3]),
        (3500, 10_000, [3]),
        (4000, 1, []),
        (9999, 1, []),
        (0, 0, []),
    ],
)
def test_what_a_range_lacks(disk: Disk, offset: int, size: int, expected: list[int]) -> None:
    chunks = random_chunks(4)
    local = disk.begin(chunks)
    local.write_chunk(1, chunks[1])
    assert local.missing(offset, size) == expected


def test_a_file_is_sparse_until_it_is_complete(disk: Disk) -> None:
    chunks = random_chunks(100, 10_000)
    local = disk.begin(chunks)
    local.write_chunk(99, chunks[99])
    status = disk.file(local.content).stat()
    assert status.st_size == 1_000_000
    assert status.st_blocks * 512 < 100_000


def test_after_a_kill_chunks_whose_bits_were_not_saved_are_found_in_the_file(disk: Disk) -> None:
    chunks = random_chunks(5)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    local.write_chunk(2, chunks[2])
    disk.save()
    local.write_chunk(3, chunks[3])
    local.write_chunk(4, chunks[4])
    # A power cut may leave a part of what was not synced.
    with disk.file(local.content).open("r+b") as file:
        file.seek(4500)
        file.write(bytes(500))
    del local
    disk.kill()
    local = disk.contents.open(content_of(chunks)[0], 0)
    assert local.missing(0, 5000) == [1, 4]
    assert local.pread(2000, 2000) == chunks[2] + chunks[3]
    assert local.synced == b"\x05", "what was found may still be on its way to the disk"
    assert disk.contents.unsaved() == [local.content]


def test_what_came_after_it_was_freed_is_found_after_a_kill_too(disk: Disk) -> None:
    chunks = random_chunks(4)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    disk.save()
    with disk.store.transaction():
        disk.contents.free(local.content)
    with disk.store.transaction():
        disk.contents.expect(local)
    local.write_chunk(2, chunks[2])
    del local
    disk.kill()
    assert disk.contents.open(content_of(chunks)[0], 0).missing(0, 4000) == [0, 1, 3]


def test_after_a_power_cut_only_right_bytes_are_found(disk: Disk) -> None:
    chunks = random_chunks(4)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    disk.save()
    local.write_chunk(1, chunks[1])
    local.write_chunk(2, chunks[2])
    file = disk.file(local.content)
    del local
    disk.kill()
    with file.open("r+b") as lost:
        lost.seek(1500)
        lost.write(bytes(500))
    assert disk.contents.open(content_of(chunks)[0], 0).missing(0, 4000) == [1, 3]


def test_a_bitmap_is_given_only_after_the_file_was_synced(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    fdatasync = os.fdatasync
    synced: list[str] = []

    def slow_sync(descriptor: int) -> None:
        # What is written while the disk syncs may not be on it.
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        local.write_chunk(1, chunks[1])
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    assert local.sync() == b"\x01"
    assert synced == [str(disk.file(local.content))]
    assert local.synced == b"\x01"
    assert local.bitmap == b"\x03"
    monkeypatch.undo()
    assert local.sync() == b"\x03"


def test_bits_that_are_not_synced_can_not_be_saved(disk: Disk) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    with disk.store.transaction():
        disk.contents.save_bits(local.content, local.bitmap)
    assert disk.contents.unsaved() == [local.content]
    with disk.file(local.content).open("r+b") as file:
        file.write(bytes(1000))
    del local
    disk.kill()
    assert disk.contents.open(content_of(chunks)[0], 0).bitmap == b"\x00"


def test_a_sync_that_fails_trusts_nothing_since_the_last(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    disk.save()
    local.write_chunk(1, chunks[1])

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(DiskFull):
        local.sync()
    assert local.bitmap == b"\x01"
    assert local.missing(0, 3000) == [1, 2]
    assert local.local_bytes == 1000


def test_a_full_disk_says_so_and_what_was_verified_stays(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    local.write_chunk(0, chunks[0])
    pwrite = os.pwrite

    def half_then_full(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) > 500:
            return pwrite(descriptor, data[:500], offset)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", half_then_full)
    with pytest.raises(DiskFull, match="full"):
        local.write_chunk(1, chunks[1])
    assert local.missing(0, 3000) == [1, 2]
    monkeypatch.undo()
    local.write_chunk(1, chunks[1])
    assert local.pread(0, 2000) == chunks[0] + chunks[1]


def test_a_content_larger_than_the_disk_can_hold_is_a_full_disk(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = disk.begin(random_chunks(1))

    def too_big(descriptor: int, size: int) -> None:
        raise OSError(errno.EFBIG, "too big")

    monkeypatch.setattr(os, "ftruncate", too_big)
    with pytest.raises(DiskFull):
        local.write_chunk(0, bytes(1000))


def test_after_an_unclean_stop_marked_chunks_are_verified_before_use(disk: Disk) -> None:
    chunks = random_chunks(4)
    local = disk.begin(chunks)
    for index in (0, 1, 2):
        local.write_chunk(index, chunks[index])
    disk.save()
    del local
    content = content_of(chunks)[0]
    with disk.file(content).open("r+b") as file:
        file.seek(1500)
        file.write(b"damage")
    disk.kill()
    local = disk.contents.open(content, 0)
    assert local.missing(0, 4000) == [1, 3]
    assert local.local_bytes == 2000
    assert disk.contents.unsaved() == [content]
    disk.save()
    del local
    disk.restart()
    assert disk.contents.open(content, 0).missing(0, 4000) == [1, 3]


def test_after_a_clean_stop_nothing_is_read_to_verify(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = random_chunks(4)
    disk.begin(chunks).write_chunk(0, chunks[0])
    disk.save()
    disk.restart()

    def fail(data: bytes) -> bytes:
        raise AssertionError("read to verify")

    monkeypatch.setattr("sharefs.store.local.chunk_id", fail)
    assert disk.contents.open(content_of(chunks)[0], 0).local_bytes == 1000


def test_what_an_unclean_stop_left_in_doubt_stays_so_until_it_is_verified(disk: Disk) -> None:
    chunks = random_chunks(4)
    disk.begin(chunks).write_chunk(0, chunks[0])
    disk.save()
    disk.kill()
    disk.restart()
    content = content_of(chunks)[0]
    disk.file(content).write_bytes(bytes(4000))
    disk.contents.verify_suspects()
    assert disk.contents.open(content, 0).missing(0, 4000) == [0, 1, 2, 3]


@pytest.mark.parametrize("complete", [True, False])
def test_a_file_that_was_removed_or_cut_short_is_fetched_again(disk: Disk, complete: bool) -> None:
    chunks = random_chunks(3)
    for harm in (Path.unlink, lambda path: os.truncate(path, 10)):
        local = disk.begin(chunks)
        for index in range(3 if complete else 2):
            local.write_chunk(index, chunks[index])
        disk.save()
        content = local.content
        del local
        disk.store.close()
        harm(disk.file(content))
        disk.start()
        local = disk.contents.open(content, 0)
        assert local.missing(0, 3000) == [0, 1, 2]
        for index in range(3):
            local.write_chunk(index, chunks[index])
        assert local.pread(0, 3000) == b"".join(chunks)
        with disk.store.transaction():
            disk.contents.free(content)


# --- serving --------------------------------------------------------------------------------------


def test_a_chunk_is_verified_before_it_is_served(disk: Disk) -> None:
    chunks = random_chunks(3)
    content = disk.publish(b"".join(chunks))
    local = disk.contents.open(content, 0)
    assert local.read_chunk(0) == b"".join(chunks)
    with disk.file(content).open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    with pytest.raises(LocalDamage):
        local.read_chunk(0)
    assert not local.complete
    assert local.missing(0, 3000) == [0]
    with pytest.raises(LocalDamage):
        local.read_chunk(0)
    disk.save()
    del local
    disk.restart()
    assert not disk.contents.open(content, 0).complete


def test_a_damaged_chunk_is_fetched_again_into_its_place(disk: Disk) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    for index in range(3):
        local.write_chunk(index, chunks[index])
    disk.save()
    with disk.file(local.content).open("r+b") as file:
        file.seek(1000)
        file.write(bytes(10))
    with pytest.raises(LocalDamage):
        local.read_chunk(1)
    assert local.bitmap == b"\x05"
    local.write_chunk(1, chunks[1])
    disk.save()
    assert local.complete
    assert local.read_chunk(1) == chunks[1]
    assert disk.contents.unsaved() == []


def test_a_chunk_that_is_not_here_is_not_served(disk: Disk) -> None:
    with pytest.raises(LocalDamage):
        disk.begin(random_chunks(2)).read_chunk(1)


# --- what others see ------------------------------------------------------------------------------


def test_entries_are_shown_with_the_bytes_that_are_here(disk: Disk) -> None:
    chunks = random_chunks(3)
    local = disk.begin(chunks)
    with disk.store.transaction():
        disk.store.shelf(1).save(shown(20, "a", size=3000, content=local.content))
    view = disk.store.view

    def seen() -> int:
        view.forget(disk.store.take_touched())
        row = view.lookup(2, "a")
        assert row is not None
        return row.local

    assert seen() == 0
    local.write_chunk(1, chunks[1])
    disk.save()
    assert seen() == 1000
    for index in (0, 2):
        local.write_chunk(index, chunks[index])
    disk.save()
    assert seen() == 3000
    with disk.store.transaction():
        disk.contents.free(local.content)
    assert seen() == 0


def test_threads_that_write_chunks_at_once_lose_none(disk: Disk) -> None:
    chunks = random_chunks(64, 5000)
    local = disk.begin(chunks)

    def write(first: int) -> Callable[[], None]:
        def run() -> None:
            for index in range(first, 64, 4):
                local.write_chunk(index, chunks[index])
                local.sync()

        return run

    threads = [threading.Thread(target=write(first)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    disk.save()
    assert local.complete
    disk.kill()
    assert disk.contents.open(local.content, 0).pread(0, 320_000) == b"".join(chunks)


def test_many_contents_in_use_hold_no_descriptors(disk: Disk) -> None:
    before = len(os.listdir("/proc/self/fd"))
    kept = []
    for _ in range(20):
        chunks = random_chunks(1)
        local = disk.begin(chunks)
        local.write_chunk(0, chunks[0])
        kept.append(local)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_who_frees_a_large_content_does_not_wait_for_the_disk(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharefs.store.placing.LEISURELY_SIZE_BYTES_MIN", 4000)
    chunks = random_chunks(4)
    local = disk.begin(chunks)
    for index, chunk in enumerate(chunks):
        local.write_chunk(index, chunk)
    file = disk.file(local.content)
    gone = f"{file} (deleted)"
    let_go_by: list[str] = []
    close = os.close

    def watched(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") == gone:
            let_go_by.append(threading.current_thread().name)
        close(descriptor)

    monkeypatch.setattr(os, "close", watched)
    with disk.store.transaction():
        assert disk.contents.free(local.content) == 4000
    assert not file.exists()
    for thread in threading.enumerate():
        if thread.name == "letting go":
            thread.join()
    assert let_go_by == ["letting go"]
