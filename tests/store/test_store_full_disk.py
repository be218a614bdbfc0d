"""A disk that is really full: errors that say so, nothing lost, and on it goes with room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharefs.errors import DiskFull
from sharefs.records.ids import ROOT, OperationHash
from sharefs.store.drafts import DraftNote, Drafts
from tests.store.store_parties import FAMILY, content_of, open_contents, open_store

CHUNK_SIZE_BYTES = 256 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("takes root to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return ballast


def test_a_fetch_stops_at_a_full_disk_and_goes_on_when_there_is_room(small: Path) -> None:
    store = open_store(small)
    contents = open_contents(small, store)
    chunks = [os.urandom(CHUNK_SIZE_BYTES) for _ in range(8)]
    content, manifest, encoded = content_of(chunks)
    with store.transaction():
        contents.keep_manifest(content, manifest, encoded)
    local = contents.open(content, 0)
    local.write_chunk(0, chunks[0])
    ballast = _fill(small)
    with pytest.raises(DiskFull):
        local.write_chunk(1, chunks[1])
    assert local.pread(0, CHUNK_SIZE_BYTES) == chunks[0]
    ballast.unlink()
    for index in local.missing(0, local.size):
        local.write_chunk(index, chunks[index])
    assert local.pread(0, local.size) == b"".join(chunks)
    store.close()


def test_a_transaction_on_a_full_disk_is_undone_and_the_next_goes_through(small: Path) -> None:
    store = open_store(small)
    with store.transaction():
        number = store.ledger.add_space(FAMILY, "Family")

    def add(count: int) -> None:
        with store.transaction():
            for n in range(count):
                hash = OperationHash(n.to_bytes(32))
                store.ledger.add_operation(number, hash, os.urandom(8000))

    ballast = _fill(small)
    with pytest.raises(DiskFull):
        add(200)
    assert store.ledger.operations(number) == []
    ballast.unlink()
    add(10)
    assert len(store.ledger.operations(number)) == 10
    store.close()
    store = open_store(small)
    assert len(store.ledger.operations(number)) == 10
    store.close()


def test_a_node_stops_cleanly_on_a_full_disk(small: Path) -> None:
    store = open_store(small)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    ballast = _fill(small)
    store.close()
    ballast.unlink()
    store = open_store(small)
    assert len(store.ledger.spaces()) == 1
    assert not store.restored
    store.close()


def test_a_draft_on_a_full_disk_is_refused_or_kept_whole(small: Path) -> None:
    drafts = Drafts(small)
    note = DraftNote(1, FAMILY, ROOT, "a", None)
    written = drafts.create(note)
    written.write(0, b"bytes")
    written.close()
    _fill(small)
    assert drafts.left() == [(written.path, note, False)]
    assert written.path.read_bytes() == b"bytes"
