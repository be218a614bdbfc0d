from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError
from sharefs.records.intervals import (
    Interval,
    Intervals,
    clipped,
    contains,
    intervals_of,
    spliced,
    steps_of,
    union,
    without,
)

MOST = 40

numbers = st.sets(st.integers(0, MOST))
pairs = st.lists(st.tuples(st.integers(0, MOST), st.integers(0, MOST)).map(sorted).map(tuple))
spans = st.tuples(st.integers(0, MOST), st.integers(0, MOST)).map(sorted)


def set_of(members: set[int]) -> Intervals:
    return union((number, number) for number in members)


def members_of(intervals: Intervals) -> set[int]:
    return {number for first, last in intervals for number in range(first, last + 1)}


def is_a_set(intervals: Intervals) -> bool:
    apart = all(a[1] + 1 < b[0] for a, b in pairwise(intervals))
    return apart and all(first <= last for first, last in intervals)


@given(pairs, pairs)
def test_a_union_has_the_numbers_of_all_parts(one: list[Interval], other: list[Interval]) -> None:
    joined = union(one, other)
    assert is_a_set(joined)
    assert members_of(joined) == members_of(tuple(one)) | members_of(tuple(other))


@given(numbers, spans)
def test_what_is_clipped_lies_within(members: set[int], span: list[int]) -> None:
    first, last = span
    kept = clipped(set_of(members), first, last)
    assert is_a_set(kept)
    assert members_of(kept) == {number for number in members if first <= number <= last}


@given(numbers, numbers)
def test_what_is_taken_out_of_a_set_is_not_in_it(members: set[int], gone: set[int]) -> None:
    left = without(set_of(members), set_of(gone))
    assert is_a_set(left)
    assert members_of(left) == members - gone


@given(numbers, numbers, spans)
def test_a_splice_is_what_is_stated_within_and_what_was_without(
    members: set[int], stated: set[int], span: list[int]
) -> None:
    first, last = span
    result = spliced(set_of(members), first, last, set_of(stated))
    within = set(range(first, last + 1))
    assert is_a_set(result)
    assert members_of(result) == (members - within) | (stated & within)


@given(numbers, st.integers(0, MOST))
def test_a_number_is_found_where_it_is(members: set[int], number: int) -> None:
    assert contains(set_of(members), number) == (number in members)


@given(numbers, st.integers(0, 2**61))
def test_steps_lead_back_to_the_set(members: set[int], first: int) -> None:
    intervals = tuple((a + first, b + first) for a, b in set_of(members))
    last = first + MOST
    assert intervals_of(steps_of(intervals, first), first, last) == intervals


@given(st.lists(st.integers(0, 5), max_size=12))
def test_steps_are_a_set_or_refused(steps: list[int]) -> None:
    try:
        intervals = intervals_of(steps, 3, 20)
    except RemoteProtocolError:
        return
    assert is_a_set(intervals)
    assert members_of(intervals) <= set(range(3, 21))
    assert steps_of(intervals, 3) == tuple(steps)


@pytest.mark.parametrize(
    "steps", [(0,), (0, 0, 0, 0), (0, 18), (18, 0)], ids=["odd", "touching", "long", "far"]
)
def test_steps_that_are_none_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        intervals_of(steps, 3, 20)


def test_as_many_as_you_like_in_a_row_are_one_interval() -> None:
    assert union((number, number) for number in range(1, 100_001)) == ((1, 100_000),)
    assert steps_of(((1, 100_000),), 1) == (0, 99_999)
