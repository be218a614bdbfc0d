"""Cutting: an insert moves only the chunks around it."""

import os
import random
from pathlib import Path

import pytest
from fastcdc import fastcdc

from sharefs.errors import LocalDamage
from sharefs.records.content import (
    KIB,
    MIB,
    Manifest,
    chunk_id,
    chunk_sizes,
    content_id,
    decode_manifest,
    make_manifest,
)
from sharefs.store.cutting import cut


def _cut(folder: Path, data: bytes) -> Manifest:
    path = folder / "file"
    path.write_bytes(data)
    return cut(path, len(data))[0]


def _chunks(manifest: Manifest) -> set[bytes]:
    return {manifest.chunk(index) for index in range(len(manifest.lengths))}


def test_chunks_are_cut_as_if_the_file_were_in_memory(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20 * MIB + 12_345)
    whole = [
        (chunk_id(data[c.offset : c.offset + c.length]), c.length)
        for c in fastcdc(data, *chunk_sizes(len(data)))
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
