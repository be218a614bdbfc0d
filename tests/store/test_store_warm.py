"""Chunks in memory for those who read what has just come."""

import random
from pathlib import Path

import pytest

from sharefs.records.content import Manifest, chunk_id, content_id, encode_manifest
from sharefs.records.ids import ContentId
from sharefs.store import local as local_module
from sharefs.store.local import LocalContent
from sharefs.store.warm import WARM_SIZE_BYTES_MAX, Warm

SIZES = (1000, 5000, 3000)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    monkeypatch.setattr(local_module, "DIRECT_CONTENT_SIZE_BYTES_MIN", 0)
    return [random.Random(size).randbytes(size) for size in SIZES]


def _open(folder: Path, chunks: list[bytes], warm: Warm) -> LocalContent:
    names = b"".join(map(chunk_id, chunks))
    manifest = Manifest(1, names, tuple(map(len, chunks)))
    encoded = encode_manifest(manifest)
    path = folder / "contents" / "ab" / "content"
    path.parent.parent.mkdir()
    local = LocalContent(path, content_id(encoded), manifest.size, lambda _: None, warm)
    local.begin(manifest, encoded)
    return local


def test_what_came_is_read_from_memory_once_and_then_from_the_disk(
    tmp_path: Path, chunks: list[bytes]
) -> None:
    warm = Warm()
    local = _open(tmp_path, chunks, warm)
    local.attach()
    for index, chunk in enumerate(chunks):
        local.write_chunk(index, chunk)
    whole = b"".join(chunks)
    assert warm.chunk(local.content, 1) == chunks[1]
    assert local.pread(900, 4000) == whole[900:4900]
    assert warm.chunk(local.content, 0) is None, "it was read to its end"
    assert warm.chunk(local.content, 1) is not None
    assert local.pread(0, 9000) == whole
    assert local.pread(1000, 5000) == chunks[1]
    assert warm.chunk(local.content, 1) is None


def test_nothing_is_kept_for_nobody(tmp_path: Path, chunks: list[bytes]) -> None:
    warm = Warm()
    local = _open(tmp_path, chunks, warm)
    local.write_chunk(0, chunks[0])
    assert warm.chunk(local.content, 0) is None
    local.attach()
    local.write_chunk(1, chunks[1])
    local.detach()
    assert warm.chunk(local.content, 1) is None


def test_freed_bytes_are_not_read_from_memory(tmp_path: Path, chunks: list[bytes]) -> None:
    warm = Warm()
    local = _open(tmp_path, chunks, warm)
    local.attach()
    local.write_chunk(0, chunks[0])
    local.discard()
    assert warm.chunk(local.content, 0) is None


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    warm, content = Warm(), ContentId(bytes(32))
    size = WARM_SIZE_BYTES_MAX // 4
    for index in range(6):
        warm.keep(content, index, bytes(size))
    assert [warm.chunk(content, index) is not None for index in range(6)] == [False] * 2 + [
        True
    ] * 4


def test_what_is_served_stays_for_who_reads_here(tmp_path: Path, chunks: list[bytes]) -> None:
    warm = Warm()
    local = _open(tmp_path, chunks, warm)
    local.attach()
    local.write_chunk(1, chunks[1])
    assert local.read_chunk(1) == chunks[1]
    assert warm.chunk(local.content, 1) == chunks[1]
    assert local.pread(1000, 5000) == chunks[1]
    assert warm.chunk(local.content, 1) is None
