"""Bits are sets of chunks, and what is done to them is done to the sets."""

from hypothesis import given
from hypothesis import strategies as st

from sharefs.store import bits

COUNT = 70

chunks = st.sets(st.integers(0, COUNT - 1))
counts = st.integers(0, COUNT)


def bits_of(members: set[int]) -> bytes:
    return bits.of_indexes(sorted(members), COUNT)


@given(chunks)
def test_a_bit_stands_for_each_chunk_the_lowest_of_the_first_byte_first(members: set[int]) -> None:
    data = bits_of(members)
    assert len(data) == (COUNT + 7) // 8
    for index in range(len(data) * 8):
        assert (data[index // 8] >> index % 8 & 1) == (index in members)


@given(chunks)
def test_the_indexes_come_back_in_order(members: set[int]) -> None:
    assert bits.indexes_in(bits_of(members)) == sorted(members)


@given(counts)
def test_all_bits_are_those_of_all_chunks_and_no_more(count: int) -> None:
    assert bits.all_bits(count) == bits.of_indexes(range(count), count)
    assert bits.indexes_in(bits.all_bits(count)) == list(range(count))


@given(chunks, chunks)
def test_both_and_beyond_part_a_set(some: set[int], others: set[int]) -> None:
    assert bits.both(bits_of(some), bits_of(others)) == bits_of(some & others)
    assert bits.beyond(bits_of(some), bits_of(others)) == bits_of(some - others)


@given(chunks, st.integers(0, COUNT - 1))
def test_all_but_one_is_without_that_one(members: set[int], index: int) -> None:
    before = bits_of(members)
    assert bits.without(before, index) == bits_of(members - {index})
    assert before == bits_of(members), "what was there is left as it was"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 60), st.integers(0, 60))
def test_a_range_of_bytes_lies_in_just_these_chunks(
    lengths: list[int], offset: int, end: int
) -> None:
    offsets = [sum(lengths[:index]) for index in range(len(lengths))]
    owners = [index for index, length in enumerate(lengths) for _ in range(length)]
    end = min(end, len(owners))
    assert list(bits.indexes_of(offsets, offset, end)) == sorted(set(owners[offset:end]))
