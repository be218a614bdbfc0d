"""Which chunk do the fewest have?

Who fetches what few have makes it be had by more, so that a group that fetches one file from one
member gives each other most of it. Among chunks that equally many have, each device begins
elsewhere, and goes on elsewhere after a while, or all would ask for the same ones at the same time.
"""

from collections.abc import Collection, Iterable

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap

COUNTED_MAX = 4
"""So many holders are enough, and more make no difference."""
RUN_CHUNKS = 8
"""In a row, which is quicker to read and to write."""
_STEP = 0x9E3779B97F4A7C15
"""Multiples of it are spread evenly (Knuth: The Art of Computer Programming 3, 6.4)."""


class Course:
    """In which order a device takes the chunks of a content; `seed` is its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._taken = 0
        self._place = 0

    def next(self, chunks: int, holders: Collection[int], count: int) -> int:
        """Of some of the `count` chunks, the one to take. The others who fetch it as well, if there
        are any, are the holders of some."""
        some = any(bitmap.span(0, count) & ~held for held in holders)
        if not self._taken or (some and not self._taken % RUN_CHUNKS):
            self._place = (self._seed + self._taken * _STEP) % 2**64 * count >> 64
        self._taken += 1
        found = rarest(chunks, holders, self._place)
        self._place = found + 1
        return found


def seed_of(me: DeviceId, content: ContentId) -> int:
    """Another for each device and content."""
    return (int.from_bytes(me[:8]) ^ int.from_bytes(content[:8])) * _STEP % 2**64


def rarest(chunks: int, held: Iterable[int], begin: int) -> int:
    """Of some chunks, one that is in the fewest of the sets: the first from `begin` on, around."""
    assert chunks, "none of no chunks is rare"
    at_least = [chunks] + [bitmap.NONE] * COUNTED_MAX
    for each in held:
        for count in range(COUNTED_MAX, 0, -1):
            at_least[count] |= at_least[count - 1] & each
    for count in range(COUNTED_MAX):
        if rare := at_least[count] & ~at_least[count + 1]:
            return bitmap.lowest_from(rare, begin)
    return bitmap.lowest_from(at_least[COUNTED_MAX], begin)
