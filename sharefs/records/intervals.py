"""Which whole numbers? Sets of sequences, as the intervals that make them up.

A set is a sorted tuple of intervals (first, last), both in the set; no two of them touch, so that
equal sets are equal tuples. On the wire it is a list of steps: how many numbers to leave out, how
many more than one to take, and so on.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from sharefs.errors import RemoteProtocolError

Interval = tuple[int, int]
Intervals = tuple[Interval, ...]

EMPTY: Intervals = ()


def union(*parts: Iterable[Interval]) -> Intervals:
    """All numbers that are in any of the parts, which need not be sets themselves."""
    joined: list[Interval] = []
    for first, last in sorted(interval for part in parts for interval in part):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def clipped(intervals: Iterable[Interval], first: int, last: int) -> Intervals:
    """Those numbers that lie from `first` to `last`."""
    cut = ((max(a, first), min(b, last)) for a, b in intervals)
    return tuple((a, b) for a, b in cut if a <= b)


def without(intervals: Intervals, gone: Intervals) -> Intervals:
    """The numbers of one set that are not in another."""
    left: list[Interval] = []
    place = 0
    for first, last in intervals:
        while place < len(gone) and gone[place][0] <= last:
            begin, end = gone[place]
            if first < begin:
                left.append((first, begin - 1))
            first = max(first, end + 1)
            if end > last:
                break
            place += 1
        if first <= last:
            left.append((first, last))
    return tuple(left)


def spliced(intervals: Intervals, first: int, last: int, stated: Intervals) -> Intervals:
    """From `first` to `last` what is stated, outside of that what was."""
    before = clipped(intervals, 0, first - 1)
    after = tuple((max(a, last + 1), b) for a, b in intervals if b > last)
    return union(before, clipped(stated, first, last), after)


def contains(intervals: Intervals, number: int) -> bool:
    """Whether a number is in the set."""
    place = bisect_right(intervals, number, key=lambda interval: interval[0])
    return place > 0 and intervals[place - 1][1] >= number


def steps_of(intervals: Intervals, first: int) -> tuple[int, ...]:
    """A set of numbers from `first` on, as steps."""
    steps: list[int] = []
    at = first
    for begin, end in intervals:
        steps += (begin - at, end - begin)
        at = end + 1
    return tuple(steps)


def intervals_of(steps: Sequence[int], first: int, last: int) -> Intervals:
    """The set that begins at `first`. Raises RemoteProtocolError unless it is one, up to `last`."""
    if len(steps) % 2:
        raise RemoteProtocolError("a step without its end")
    intervals: list[Interval] = []
    at = first
    for skipped, more in zip(steps[::2], steps[1::2], strict=True):
        if intervals and not skipped:
            raise RemoteProtocolError("intervals that touch")
        begin, end = at + skipped, at + skipped + more
        intervals.append((begin, end))
        at = end + 1
    if at > last + 1:
        raise RemoteProtocolError("intervals beyond what they are to speak of")
    return tuple(intervals)
