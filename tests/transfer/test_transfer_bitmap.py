import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharefs.records.content import make_manifest
from sharefs.records.ids import ChunkId
from sharefs.transfer import bitmap
from sharefs.transfer.content import Layout

chunks = st.sets(st.integers(0, 300))


def bits_of(members: set[int]) -> int:
    return sum(1 << index for index in members)


@given(chunks)
def test_members_come_back_in_order(members: set[int]) -> None:
    assert list(bitmap.indexes(bits_of(members))) == sorted(members)


@given(chunks.filter(bool))
def test_the_lowest_is_the_least_member(members: set[int]) -> None:
    assert bitmap.lowest(bits_of(members)) == min(members)


@given(chunks, st.integers(0, 400))
def test_bytes_hold_the_first_chunks_and_no_more(members: set[int], count: int) -> None:
    data = bitmap.to_bytes(bits_of(members), count)
    assert len(data) == (count + 7) // 8
    assert bitmap.from_bytes(data) == bits_of({index for index in members if index < count})
    for index in range(count):
        assert (data[index // 8] >> index % 8 & 1) == (index in members)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_span_is_a_range(first: int, end: int) -> None:
    assert list(bitmap.indexes(bitmap.span(first, end))) == list(range(first, end))


@given(chunks, st.integers(1, 300))
def test_every_chunk_is_a_superset_of_any(members: set[int], count: int) -> None:
    assert bits_of(members) & bitmap.ALL == bits_of(members)
    assert bitmap.to_bytes(bitmap.ALL, count) == bitmap.to_bytes(bitmap.span(0, count), count)
    assert bitmap.lowest(bitmap.ALL) == 0


def test_all_has_no_last_member() -> None:
    with pytest.raises(AssertionError):
        list(bitmap.indexes(bitmap.ALL))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 60), st.integers(0, 60))
def test_a_range_of_bytes_lies_in_just_these_chunks(
    lengths: list[int], start: int, end: int
) -> None:
    layout = Layout(make_manifest([(ChunkId(bytes(32)), length) for length in lengths]))
    owners = [index for index, length in enumerate(lengths) for _ in range(length)]
    size = len(owners)
    start, end = min(start, size), min(end, size)
    assert list(bitmap.indexes(layout.chunks(start, end))) == sorted(set(owners[start:end]))
