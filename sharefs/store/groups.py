"""How does one statement ask for many rows?"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

AMONG_MAX = 256
_SIZES = (1, 16, AMONG_MAX)

Value = TypeVar("Value")


def in_groups(values: Iterable[Value]) -> Iterator[list[Value]]:
    """Different values in groups that `among` takes, the last filled up by repetition: SQLite's
    statements are kept by their text, so there are to be few."""
    rest = list(dict.fromkeys(values))
    while rest:
        group, rest = rest[:AMONG_MAX], rest[AMONG_MAX:]
        size = next(size for size in _SIZES if size >= len(group))
        yield group + group[-1:] * (size - len(group))


def among(group: Sequence[object]) -> str:
    """The condition that a column has one of these values."""
    return f"IN ({', '.join('?' * len(group))})"
