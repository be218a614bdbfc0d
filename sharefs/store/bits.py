"""Which chunks of a content? A bit for each, the lowest bit of the first byte first."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence


def indexes_of(offsets: Sequence[int], offset: int, end: int) -> range:
    """The chunks of a range of bytes; `offsets` is where each begins."""
    if offset >= end:
        return range(0)
    return range(bisect_right(offsets, offset) - 1, bisect_left(offsets, end))


def all_bits(count: int) -> bytes:
    """Of that many chunks."""
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


def without(bits: bytes | bytearray, index: int) -> bytes:
    """All but one."""
    changed = bytearray(bits)
    changed[index >> 3] &= ~(1 << (index & 7))
    return bytes(changed)


def both(bits: bytes, others: bytes | bytearray) -> bytes:
    """Those that are in both."""
    return bytes(a & b for a, b in zip(bits, others, strict=True))


def beyond(bits: bytes, others: bytes) -> bytes:
    """Those that are in the first only."""
    more = int.from_bytes(bits, "little") & ~int.from_bytes(others, "little")
    return more.to_bytes(len(bits), "little")


def indexes_in(bits: bytes) -> list[int]:
    """Which chunks they are, in order: in the time that those take, and hardly more."""
    digits = bin(int.from_bytes(bits, "little"))[:1:-1]
    indexes, index = [], digits.find("1")
    while index >= 0:
        indexes.append(index)
        index = digits.find("1", index + 1)
    return indexes


def of_indexes(indexes: Iterable[int], count: int) -> bytes:
    """These chunks, of that many."""
    bits = bytearray((count + 7) // 8)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)
