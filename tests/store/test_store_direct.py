"""Writing past the page cache: the same bytes as any other way, whatever their alignment."""

import errno
import fcntl
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharefs.store import direct
from sharefs.store.direct import let_go, write_past_cache

SIZE_BYTES = 3 << 20


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    found = os.open(tmp_path / "content", os.O_RDWR | os.O_CREAT)
    os.ftruncate(found, SIZE_BYTES)
    yield found
    os.close(found)


def test_chunks_of_any_place_and_length_are_written_whole(descriptor: int) -> None:
    draw = random.Random(1)
    data = draw.randbytes(SIZE_BYTES)
    cuts = sorted({0, SIZE_BYTES, 4096, 2 << 20, *draw.sample(range(SIZE_BYTES), 12)})
    spans = list(itertools.pairwise(cuts))
    draw.shuffle(spans)
    for begin, end in spans:
        write_past_cache(descriptor, memoryview(data)[begin:end], begin)
    assert os.pread(descriptor, SIZE_BYTES, 0) == data
    assert os.fstat(descriptor).st_size == SIZE_BYTES


def test_the_page_cache_has_nothing_of_a_large_chunk(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[bool, int]] = []
    plain = os.pwrite

    def pwrite(to: int, data: memoryview, offset: int) -> int:
        taken.append((is_direct(to), len(data)))
        return plain(to, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    write_past_cache(descriptor, memoryview(bytes(1_000_000)), 100)
    if not any(past for past, _ in taken):
        pytest.skip("this disk takes no direct writes")
    assert sum(size for past, size in taken if not past) < 2 * 4096
    assert not is_direct(descriptor), "the descriptor is as it was"


def test_a_disk_that_takes_no_direct_writes_gets_all_bytes(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.pwrite
    taken = 0

    def pwrite(to: int, data: memoryview, offset: int) -> int:
        nonlocal taken
        if is_direct(to):
            taken += 1
            if taken > 1:
                raise OSError(errno.EINVAL, "not aligned for this disk")
        return plain(to, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    data = random.Random(2).randbytes(SIZE_BYTES - 5000)
    write_past_cache(descriptor, memoryview(data), 5000)
    assert os.pread(descriptor, SIZE_BYTES, 5000) == data


def test_a_full_disk_is_told(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def pwrite(to: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="full"):
        write_past_cache(descriptor, memoryview(bytes(direct._BOUNCE_SIZE_BYTES)), 0)
    assert not is_direct(descriptor)


def test_what_is_let_go_takes_no_memory_and_is_on_the_disk(descriptor: int) -> None:
    data = os.urandom(SIZE_BYTES)
    os.pwrite(descriptor, data, 0)
    os.fdatasync(descriptor)
    assert is_in_memory(descriptor)
    let_go(descriptor, 0, SIZE_BYTES)
    if is_in_memory(descriptor):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert is_in_memory(descriptor), "it could have been let go"
        pytest.skip("this disk is memory")
    assert os.pread(descriptor, SIZE_BYTES, 0) == data


def is_in_memory(descriptor: int) -> bool:
    try:
        return os.preadv(descriptor, [bytearray(4096)], SIZE_BYTES // 2, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)
