from hypothesis import given
from hypothesis import strategies as st

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap
from sharefs.transfer.rarity import COUNTED_MAX, beginning, rarest

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


def test_devices_begin_apart() -> None:
    content = ContentId(bytes(range(32)))
    places = {beginning(DeviceId(bytes([n] * 16)), content, 1000) // 100 for n in range(50)}
    assert len(places) > 5
