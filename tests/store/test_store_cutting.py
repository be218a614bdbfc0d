"""Cutting: an insert moves only the chunks around it."""

import itertools
import os
import random
from pathlib import Path

import pytest
from pyfastcdc import FastCDC

from sharefs.errors import LocalDamage
from sharefs.records.content import (
    KIB,
    MIB,
    ChunkSizes,
    Manifest,
    chunk_id,
    chunk_sizes,
    content_id,
    decode_manifest,
    make_manifest,
)
from sharefs.store import cutting
from sharefs.store.cutting import Chunk, Read, as_manifest, chunks_from, cut, recut


def _cut(folder: Path, data: bytes) -> Manifest:
    path = folder / "file"
    path.write_bytes(data)
    return cut(path, len(data))[0]


def _chunks(manifest: Manifest) -> set[bytes]:
    return {manifest.chunk(index) for index in range(len(manifest.lengths))}


def test_chunks_are_cut_as_if_the_file_were_in_memory(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20 * MIB + 12_345)
    smallest, average, largest, _ = chunk_sizes(0)
    whole = [
        (chunk_id(data[c.offset : c.offset + c.length]), c.length)
        for c in FastCDC(average, min_size=smallest, max_size=largest).cut_buf(data)
    ]
    assert _cut(tmp_path, data) == make_manifest(whole)


def test_chunks_that_are_never_cut_have_the_largest_size(tmp_path: Path) -> None:
    manifest = _cut(tmp_path, bytes(10 * MIB + 1))
    assert set(manifest.lengths[:-1]) == {MIB}
    assert manifest.lengths[-1] == 1


@pytest.mark.parametrize("size", [1, 100, 64 * KIB - 1, 64 * KIB, 4 * MIB, 4 * MIB + 1])
def test_every_byte_is_in_one_chunk(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    manifest = _cut(tmp_path, data)
    offsets = manifest.offsets()
    assert offsets[-1] == size
    for index, length in enumerate(manifest.lengths):
        part = data[offsets[index] : offsets[index] + length]
        assert chunk_id(part) == manifest.chunk(index)


def test_an_insert_at_the_head_keeps_most_chunks(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(32 * MIB)
    before, after = (_chunks(_cut(tmp_path, head + data)) for head in (b"", b"x"))
    assert len(after - before) <= 2
    assert len(after & before) > 60


def test_the_encoded_manifest_names_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    descriptor = os.open(path, os.O_RDONLY)
    manifest, encoded = cut(descriptor, MIB)
    os.close(descriptor)
    assert decode_manifest(encoded, content_id(encoded)) == manifest == cut(path, MIB)[0]


def test_a_file_that_became_shorter_is_damage_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with pytest.raises(LocalDamage):
        cut(path, 101)


# --- what was cut before --------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and chunks so small that thousands of files can be cut."""

    def sizes(offset: int) -> ChunkSizes:
        return (
            ChunkSizes(64, 256, 1024, 8000) if offset < 8000 else ChunkSizes(256, 1024, 4096, 2**63)
        )

    monkeypatch.setattr(cutting, "chunk_sizes", sizes)


def _read(data: bytes, count: list[int] | None = None) -> Read:
    def read(into: memoryview, offset: int) -> None:
        assert offset + len(into) <= len(data)
        into[:] = data[offset : offset + len(into)]
        if count is not None:
            count[0] += len(into)

    return read


def _all(data: bytes) -> list[Chunk]:
    return list(chunks_from(_read(data), 0, len(data)))


def _edit(random: random.Random, data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """As programs do in place: overwrite, append, cut short; and the ranges that were written."""
    edited, changed = bytearray(data), []
    for _ in range(random.randrange(4)):
        start = random.choice([random.randrange(len(edited) + 1), len(edited)])
        # Zeros are never cut but at the largest size.
        count = random.choice([1, 10, 500, 5000])
        new = random.choice([bytes(count), random.randbytes(count), bytes(edited[start:][:count])])
        edited[start : start + len(new)] = new
        changed.append((start, start + len(new)))
    if random.random() < 0.3:
        size = random.randrange(1, len(edited) + 1)
        del edited[size:]
        changed += [(size, size + 100)]
    return bytes(edited), changed


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(300))
def test_a_file_that_is_cut_again_has_the_chunks_of_one_that_was_never_cut(seed: int) -> None:
    choose = random.Random(seed)
    data = choose.randbytes(choose.randrange(1, 40_000))
    old = _all(data)
    for _ in range(5):
        data, changed = _edit(choose, data)
        if not data:
            return
        old = recut(_read(data), len(data), old, changed)
        assert old == _all(data)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(100))
def test_a_file_that_is_cut_while_it_grows_has_the_chunks_of_the_whole(seed: int) -> None:
    choose = random.Random(seed)
    data = choose.randbytes(choose.randrange(1, 60_000))
    chunks: list[Chunk] = []
    sizes = sorted(choose.randrange(len(data) + 1) for _ in range(choose.randrange(6)))
    for size in sizes:
        before = chunks
        chunks = recut(_read(data[:size]), size, chunks, [], grows=True)
        assert chunks[: len(before)] == before
        assert sum(length for _, length in chunks) <= size
    chunks = recut(_read(data), len(data), chunks, [])
    assert chunks == _all(data)


def test_of_a_large_file_with_a_changed_byte_little_is_read_again() -> None:
    data = random.Random(4).randbytes(64 * MIB)
    old = _all(data)
    for at in (0, 20 * MIB, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        count = [0]
        new = recut(_read(bytes(changed), count), len(data), old, [(at, at + 1)])
        assert len(set(new) - set(old)) in {1, 2}
        assert count[0] <= 4 * MIB


def test_a_file_that_grows_keeps_its_chunks(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(127 * MIB)
    before, after = _cut(tmp_path, data), _cut(tmp_path, data + data[: 10 * MIB])
    kept = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(before.lengths, after.lengths, strict=False)
    )
    assert len(list(kept)) >= len(before.lengths) - 1
    assert len(_chunks(before) - _chunks(after)) <= 1
    largest = chunk_sizes(128 * MIB).largest
    assert max(after.lengths) <= largest
    assert as_manifest(chunks_from(_read(data), 0, len(data)), len(data))[0] == before


def test_chunks_further_back_in_a_file_are_larger() -> None:
    averages = [chunk_sizes(offset * MIB).average for offset in (0, 127, 128, 4095, 4096, 10**6)]
    assert averages == [256 * KIB, 256 * KIB, MIB, MIB, 4 * MIB, 4 * MIB]
