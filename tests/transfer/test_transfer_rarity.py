from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap
from sharefs.transfer.rarity import COUNTED_MAX, RUN_CHUNKS, Course, rarest, seed_of

SETS = st.integers(0, 2**70 - 1)
HOLDERS = st.lists(SETS | st.just(bitmap.ALL), max_size=6)


def count_of(held: list[int], index: int) -> int:
    return min(COUNTED_MAX, sum(each >> index & 1 for each in held))


@given(SETS.filter(bool), HOLDERS, st.integers(0, 80))
def test_no_other_chunk_is_had_by_fewer_nor_as_many_and_comes_sooner(
    chunks: int, held: list[int], begin: int
) -> None:
    found = rarest(chunks, held, begin)
    order = [(count_of(held, i), i < begin, i) for i in bitmap.indexes(chunks)]
    assert (count_of(held, found), found < begin, found) == min(order)


@given(SETS.filter(bool), st.integers(0, 80))
def test_the_lowest_from_a_place_on_goes_around(chunks: int, begin: int) -> None:
    found = bitmap.lowest_from(chunks, begin)
    assert found == min(bitmap.indexes(chunks), key=lambda index: (index < begin, index))


def seeds(count: int) -> list[int]:
    return [seed_of(DeviceId(bytes([n] * 16)), ContentId(bytes(range(32)))) for n in range(count)]


def taken(seed: int, count: int, holders: list[int]) -> list[int]:
    course, left, order = Course(seed), bitmap.span(0, count), []
    while left:
        order.append(course.next(left, holders, count))
        left &= ~(1 << order[-1])
    return order


def test_devices_begin_apart() -> None:
    places = {taken(seed, 100, [bitmap.ALL])[0] // 10 for seed in seeds(50)}
    assert len(places) > 5


def test_without_others_who_fetch_it_chunks_are_taken_in_a_row() -> None:
    order = taken(seeds(1)[0], 100, [bitmap.ALL])
    assert order == [(order[0] + n) % 100 for n in range(100)]


def test_with_others_it_goes_on_elsewhere_after_a_while() -> None:
    order = taken(seeds(2)[1], 1000, [bitmap.ALL, bitmap.NONE])
    assert sorted(order) == list(range(1000))
    jumps = [n for n, (a, b) in enumerate(pairwise(order), 1) if b != a + 1]
    assert jumps[:5] == [n * RUN_CHUNKS for n in range(1, 6)]
