"""Is anything left of an item but that it was deleted?"""

from collections.abc import Sequence

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import KIND_ENTRY, decode_entry
from sharefs.records.record import Record


def is_dead(heads: Sequence[Record]) -> bool:
    """Whether all heads are tombstones. A folder of which that is so may still live on by what it
    holds: see `tree`."""
    return bool(heads) and all(map(_is_tombstone, heads))


def _is_tombstone(head: Record) -> bool:
    if head.kind != KIND_ENTRY:
        return False
    try:
        return decode_entry(head.body).deleted
    except RemoteProtocolError:
        return False
