from pathlib import Path

import pytest

from sharefs.errors import LocalDamage
from sharefs.records.content import chunk_id, content_id, encode_manifest, make_manifest
from sharefs.store.fleeting import Fleeting, FleetingContent
from sharefs.store.local import LocalContent
from sharefs.store.warm import Warm

CHUNKS = [bytes([65 + number]) * 100 for number in range(8)]
WHOLE = b"".join(CHUNKS)
MANIFEST = make_manifest([(chunk_id(data), len(data)) for data in CHUNKS])


def local(folder: Path) -> LocalContent:
    content = content_id(encode_manifest(MANIFEST))
    return LocalContent(folder / "content", content, len(WHOLE), lambda _: None, Warm())


def held(folder: Path, size_bytes_max: int = 10_000) -> tuple[Fleeting, FleetingContent]:
    memory = Fleeting(size_bytes_max)
    content = memory.open(local(folder))
    content.begin(MANIFEST)
    return memory, content


def test_nothing_can_be_read_before_it_came(tmp_path: Path) -> None:
    memory = Fleeting()
    content = memory.open(local(tmp_path))
    assert content.missing(0, 10) == [0]
    assert content.bitmap == b""
    content.begin(MANIFEST)
    assert content.missing(150, 100) == [1, 2]
    with pytest.raises(LocalDamage):
        content.pread(150, 100)


def test_what_came_is_read_across_chunks_and_not_written(tmp_path: Path) -> None:
    _, content = held(tmp_path)
    for index, data in enumerate(CHUNKS):
        content.write_chunk(index, memoryview(data))
    assert content.missing(0, len(WHOLE)) == []
    for start, size in [(0, 800), (99, 2), (150, 400), (790, 100), (800, 5), (3, 0)]:
        assert content.pread(start, size) == WHOLE[start : start + size]
    assert content.bitmap == b"\xff"
    assert not content.complete
    assert list(tmp_path.iterdir()) == []


def test_what_came_first_makes_room_first_in_whatever_content(tmp_path: Path) -> None:
    memory, content = held(tmp_path, 300)
    for index in (5, 0, 3):
        content.write_chunk(index, CHUNKS[index])
    content.write_chunk(3, CHUNKS[3])
    assert content.memory_bytes == 300
    content.write_chunk(7, CHUNKS[7])
    assert content.missing(0, 800) == [1, 2, 4, 5, 6]
    assert content.bitmap == bytes([0b10001001])
    assert memory.known(content.content) is content


def test_one_chunk_larger_than_the_bound_can_still_be_read(tmp_path: Path) -> None:
    _, content = held(tmp_path, 10)
    content.write_chunk(2, CHUNKS[2])
    assert content.pread(210, 50) == CHUNKS[2][:50]


def test_what_is_on_disk_is_used(tmp_path: Path) -> None:
    on_disk = local(tmp_path)
    on_disk.begin(MANIFEST, encode_manifest(MANIFEST))
    on_disk.write_chunk(1, CHUNKS[1])
    content = Fleeting().open(on_disk)
    content.write_chunk(2, CHUNKS[2])
    assert content.bitmap == bytes([0b110])
    assert content.pread(150, 100) == WHOLE[150:250]
    assert on_disk.bitmap == bytes([0b10]), "others are told of no more"
    on_disk.discard()
    assert content.missing(100, 200) == [1]


def test_a_content_that_nobody_reads_is_known_while_some_of_it_is_held(tmp_path: Path) -> None:
    memory, content = held(tmp_path)
    name = content.content
    content.write_chunk(0, CHUNKS[0])
    del content
    again = memory.known(name)
    assert again is not None
    assert memory.forget() == [name]
    assert again.missing(0, 1) == [0]
    del again
    assert memory.known(name) is None


def test_what_somebody_waits_for_does_not_make_room(tmp_path: Path) -> None:
    _, content = held(tmp_path, 250)
    with content.awaited(150, 100):
        for number, data in enumerate(CHUNKS):
            content.write_chunk(number, data)
        assert content.pread(150, 100) == WHOLE[150:250]
    assert content.memory_bytes <= 300
    content.write_chunk(0, CHUNKS[0])
    content.write_chunk(3, CHUNKS[3])
    assert content.missing(150, 100) == [1, 2], "nobody waits any more"
