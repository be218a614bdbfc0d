"""Is anything left of an item but that it was deleted?"""

from collections.abc import Sequence

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import KIND_ENTRY, EntryType, decode_entry
from sharefs.records.record import Record


def is_dead(heads: Sequence[Record]) -> bool:
    """Whether all heads are tombstones of a file or a link. A deleted folder lives on by what it
    holds, or what somebody is about to put there."""
    return bool(heads) and all(map(_is_tombstone, heads))


def _is_tombstone(head: Record) -> bool:
    if head.kind != KIND_ENTRY:
        return False
    try:
        entry = decode_entry(head.body)
    except RemoteProtocolError:
        return False
    return entry.deleted and entry.type is not EntryType.FOLDER
