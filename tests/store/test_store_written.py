"""A large file is cut while it is written, and right in the end."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sharefs.records.content import ChunkSizes, Manifest
from sharefs.records.content import chunk_id as real_chunk_id
from sharefs.store import cutting, written
from sharefs.store.cutting import as_manifest, cut
from sharefs.store.written import Written


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """With chunks so small that many files can be cut."""
    monkeypatch.setattr(cutting, "chunk_sizes", lambda _: ChunkSizes(64, 256, 1024, 2**63))
    monkeypatch.setattr(written, "FOLLOW_SIZE_BYTES", 3000)
    monkeypatch.setattr(written, "CHANGES_MAX", 5)
    (tmp_path / "draft").touch()
    draft = Written(tmp_path / "draft")
    draft.open()
    yield draft
    draft.close()


def manifest(draft: Written) -> Manifest:
    return as_manifest(draft.chunks(), draft.size)[0]


def do_something(choose: random.Random, draft: Written) -> None:
    size = draft.size
    match choose.randrange(8):
        case 0:
            draft.truncate(choose.randrange(1, size + 2000))
        case 1 | 2:
            draft.write(choose.randrange(size + 1), choose.randbytes(choose.randrange(1, 3000)))
        case _:
            draft.write(size, choose.randbytes(choose.randrange(1, 3000)))


@pytest.mark.parametrize("seed", range(150))
def test_who_is_followed_by_the_cutter_is_cut_as_if_nobody_had(draft: Written, seed: int) -> None:
    choose = random.Random(seed)
    jobs: list[Callable[[], None]] = []
    draft.in_pool = jobs.append
    for _ in range(choose.randrange(1, 60)):
        do_something(choose, draft)
        if jobs and choose.random() < 0.6:
            jobs.pop()()
    assert manifest(draft) == cut(draft.path, draft.size)[0]
    while jobs:
        jobs.pop()()
    assert manifest(draft) == cut(draft.path, draft.size)[0]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_while_it_is_cut_is_cut_again(
    draft: Written, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(seed)
    jobs: list[Callable[[], None]] = []
    draft.in_pool = jobs.append
    read = real_chunk_id

    def chunk_id(data: memoryview) -> object:
        found = read(data)
        if choose.random() < 0.02:
            do_something(choose, draft)
        return found

    for _ in range(20):
        do_something(choose, draft)
        with monkeypatch.context() as patch:
            patch.setattr(cutting, "chunk_id", chunk_id)
            while jobs:
                jobs.pop()()
    assert manifest(draft) == cut(draft.path, draft.size)[0]


def test_most_of_a_large_file_is_cut_when_it_is_closed(
    draft: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft.in_pool = lambda job: job()
    for _ in range(100):
        draft.write(draft.size, random.Random(1).randbytes(1000))
    counted: list[int] = []
    read = real_chunk_id

    def chunk_id(data: memoryview) -> object:
        counted.append(len(data))
        return read(data)

    monkeypatch.setattr(cutting, "chunk_id", chunk_id)
    manifest(draft)
    assert sum(counted) < 6000


def test_pages_of_what_was_cut_are_let_go_behind_the_writer(
    draft: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(written, "DIRECT_CONTENT_SIZE_BYTES_MIN", 10_000)
    monkeypatch.setattr(written, "let_go", lambda _, start, end: told.append((start, end)))
    draft.in_pool = lambda job: job()
    for size in range(0, 100_000, 1000):
        draft.write(size, random.Random(size).randbytes(1000))
    assert told[0][1] >= 10_000, "a small file keeps its pages"
    assert told[-1][1] > 90_000
    # Twice, as the disk may not be through with it the first time.
    for byte in range(told[-2][1]):
        assert sum(start <= byte < end for start, end in told) == 2


def test_a_draft_that_is_removed_while_it_is_cut_is_no_failure(draft: Written) -> None:
    jobs: list[Callable[[], None]] = []
    draft.in_pool = jobs.append
    draft.write(0, bytes(5000))
    draft.discard()
    jobs.pop()()
    assert manifest(draft).size == 5000
