"""Which deleted folders come back with what is put into them?

A folder that was deleted lives on by what it holds, as its tombstone says. Who puts something there
has seen that tombstone, and makes the folder anew first, and those above it, as deep as they are
deleted. So nothing that names a folder comes after its tombstone without a version of the folder
that does so, too: who has forgotten the tombstone (see `node.collection`) gets that.
"""

from collections.abc import Sequence
from typing import Protocol

from sharefs.records.entry import EntryType, decode_entry
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.tree.operations import Change, move
from sharefs.tree.tree import heads_behind


class Folders(Protocol):
    """Part of `store`'s Shelf."""

    def winner(self, item: ItemId) -> Shown | None: ...
    def heads(self, item: ItemId) -> list[Record]: ...


def folders_anew(changes: Sequence[Change], folders: Folders) -> list[Change]:
    """The folders that have to be made anew before these changes."""
    entries = [decode_entry(change.body) for change in changes]
    waiting = {entry.parent: None for entry in entries if not entry.deleted}
    looked_at = {ROOT, *(change.item for change in changes)}
    anew = []
    while waiting:
        item, _ = waiting.popitem()
        row = folders.winner(item) if item not in looked_at else None
        looked_at.add(item)
        if row is None or not row.deleted or row.type is not EntryType.FOLDER:
            continue
        # What it was in may be forgotten.
        is_known = row.parent == ROOT or folders.winner(row.parent) is not None
        parent = row.parent if is_known else ROOT
        anew.append(move(row, heads_behind(row, folders.heads(item)), parent, row.name))
        waiting[parent] = None
    return anew
