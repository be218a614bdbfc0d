"""Which chunk do the fewest have?

Who fetches what few have makes it be had by more, so that a group that fetches one file from one
member gives each other most of it. Among chunks that equally many have, each device begins
elsewhere, or all would ask for the same ones at the same time.
"""

from collections.abc import Iterable

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap

COUNTED_MAX = 4
"""So many holders are enough, and more make no difference."""


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


def beginning(me: DeviceId, content: ContentId, count: int) -> int:
    """Where a device begins among so many chunks."""
    return (int.from_bytes(me, "little") ^ int.from_bytes(content, "little")) % count
