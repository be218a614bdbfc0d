"""Which chunks? A set of chunk indexes as a whole number: bit i stands for chunk i.

A million chunks are 128 KiB, and a union or difference takes microseconds. `ALL` is every chunk,
however many there are.
"""

from collections.abc import Iterator

ALL = -1
NONE = 0


def from_bytes(data: bytes) -> int:
    """From a bitmap whose first byte's lowest bit is chunk 0."""
    return int.from_bytes(data, "little")


def to_bytes(chunks: int, count: int) -> bytes:
    """The bitmap of those of the first `count` chunks that are in the set."""
    return (chunks & span(0, count)).to_bytes((count + 7) // 8, "little")


def span(first: int, end: int) -> int:
    """The chunks from `first` up to, without, `end`."""
    return (1 << end) - (1 << first) if end > first else NONE


def lowest(chunks: int) -> int:
    """The least index in a set that is not empty."""
    return (chunks & -chunks).bit_length() - 1


def lowest_from(chunks: int, begin: int) -> int:
    """The least index from `begin` on, or else the least, in a set that is not empty."""
    later = chunks >> begin
    return begin + lowest(later) if later else lowest(chunks)


def indexes(chunks: int) -> Iterator[int]:
    """The members of a finite set in order, in time linear in the greatest of them."""
    assert chunks >= 0, "ALL has no last member"
    digits = bin(chunks)[:1:-1]
    index = digits.find("1")
    while index >= 0:
        yield index
        index = digits.find("1", index + 1)
