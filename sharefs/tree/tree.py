"""Which heads does a space have, and where does each stand in the view?

Theory of operation. `receive` keeps the undominated records of each item (I4) and then settles
the items that changed. The view is a pure function of the heads (I5, I7), updated for the
folders concerned only:

- the *winner* of an item gives its row; losers that hold bytes of their own get a row beside it;
- a row's *anchor* is its parent, but for the folder with the greatest stamp in a cycle, and for
  an entry whose parent is no folder: those are anchored at the root;
- a row is *live* if it is not deleted, or is a folder in which something live is anchored;
- live folders of one name in one place are *merged* into the earliest of them; `place` is where
  a row is listed, so children of a merged folder are listed in the one it is merged into;
- names are given per place, by `names`.

A change makes places dirty; naming a place may merge or part folders, which makes other places
dirty, deeper down each time.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, decode_entry
from sharefs.records.ids import ROOT, Coordinate, ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.tree.names import Label, assign_names


class Shelf(Protocol):
    """Where heads and rows of one space are kept; `store` implements it."""

    def heads(self, item: ItemId) -> list[Record]: ...
    def add_head(self, record: Record, data: bytes) -> None: ...
    def drop_head(self, coordinate: Coordinate) -> None: ...
    def winner(self, item: ItemId) -> Shown | None: ...
    def losers(self, item: ItemId) -> list[Shown]: ...
    def listed(self, place: ItemId) -> list[Shown]: ...
    def anchored(self, item: ItemId) -> list[Shown]: ...
    def has_live_child(self, item: ItemId) -> bool: ...
    def odd(self, place: ItemId) -> bool: ...
    def named(self, place: ItemId, name: str) -> list[Shown]: ...
    def save(self, row: Shown) -> None: ...
    def row(self, ino: int) -> Shown | None: ...
    def erase(self, ino: int) -> None: ...


class Tree:
    """One space's heads and view. Invariant: after `receive`, the rows follow from the heads
    alone."""

    def __init__(self, shelf: Shelf, space: int, new_ino: Callable[[], int], label: Label) -> None:
        self._shelf = shelf
        self._space = space
        self._new_ino = new_ino
        self._label = label
        self._dirty: dict[ItemId, set[int]] = {}

    def receive(
        self, records: Iterable[tuple[Record, bytes]], inos: dict[ItemId, int] | None = None
    ) -> list[ItemId]:
        """Take in records with their bytes; `inos` are inode numbers that new items already have.

        Returns the items whose heads changed.
        """
        changed: dict[ItemId, None] = {}
        for record, data in records:
            if self._keep(record, data):
                changed[record.item] = None
        for item in changed:
            self._settle(item, inos or {})
        while self._dirty:
            place = min(self._dirty)
            self._name(place, self._dirty.pop(place))
        return list(changed)

    def _keep(self, record: Record, data: bytes) -> bool:
        heads = self._shelf.heads(record.item)
        if any(h.coordinate == record.coordinate or h.dominates(record) for h in heads):
            return False
        for head in heads:
            if record.dominates(head):
                self._shelf.drop_head(head.coordinate)
        self._shelf.add_head(record, data)
        return True

    # --- rows -----------------------------------------------------------------------------------

    def _settle(self, item: ItemId, inos: dict[ItemId, int]) -> None:
        versions = _entries(self._shelf.heads(item))
        old = self._shelf.winner(item)
        if not versions:
            return
        record, entry = versions[0]
        cycle = self._cycle(item) if old else set()
        row = self._row(record, entry, old.ino if old else inos.get(item) or self._new_ino())
        if old is not None:
            row = replace(row, anchor=old.anchor, place=old.place, merged=old.merged)
            self._mark(old)
        live = not entry.deleted or self._shelf.has_live_child(item)
        stays = old is not None and live and (old.name, old.parent) == (row.name, row.parent)
        row = replace(row, live=live, shown=old.shown if stays and old else "")
        if row.merged is not None and not stays:
            row = replace(row, merged=None)
        self._shelf.save(row)
        if old is not None and old.merged is not None and row.merged is None:
            self._replace_children(item)
        self._settle_losers(row, versions)
        if row.type is EntryType.FOLDER:
            cycle |= self._cycle(item)
        for member in sorted(cycle | {item}):
            self._anchor(member)
        self._enliven(row.anchor)
        if old is None and row.type is EntryType.FOLDER:
            for child in self._shelf.anchored(item):
                self._put(child)

    def _row(self, record: Record, entry: Entry, ino: int, loser: bool = False) -> Shown:
        return Shown(
            ino=ino,
            space=self._space,
            item=record.item,
            version=record.coordinate,
            loser=loser,
            type=entry.type,
            deleted=entry.deleted,
            live=not entry.deleted,
            parent=entry.parent,
            anchor=entry.parent,
            place=entry.parent,
            merged=None,
            name=entry.name,
            shown="",
            created=entry.created,
            stamp=record.stamp,
            mtime_ns=entry.mtime_ns,
            executable=entry.executable,
            size=entry.size,
            content=entry.content,
            target=entry.target,
            local=0,
        )

    def _settle_losers(self, winner: Shown, versions: list[tuple[Record, Entry]]) -> None:
        bytes_shown = {(winner.deleted, winner.content, winner.target)}
        wanted: dict[Coordinate, tuple[Record, Entry]] = {}
        for record, entry in versions[1:]:
            key = (entry.deleted, entry.content, entry.target)
            if entry.deleted or entry.type is EntryType.FOLDER or key in bytes_shown:
                continue
            bytes_shown.add(key)
            wanted[record.coordinate] = (record, entry)
        for row in self._shelf.losers(winner.item):
            self._mark(row)
            if row.version not in wanted:
                self._shelf.erase(row.ino)
            else:
                del wanted[row.version]
        for record, entry in wanted.values():
            entry_here = replace(
                self._row(record, entry, self._new_ino(), loser=True), name=winner.name
            )
            self._shelf.save(entry_here)

    def _cycle(self, item: ItemId) -> set[ItemId]:
        """The folders of the cycle of parents that leads back to `item`, if one does."""
        seen: set[ItemId] = set()
        at = item
        while at != ROOT and at not in seen:
            seen.add(at)
            row = self._shelf.winner(at)
            if row is None:
                return set()
            at = row.parent
        return seen if at == item else set()

    def _anchor(self, item: ItemId) -> None:
        row = self._shelf.winner(item)
        if row is None:
            return
        anchor = self._anchor_of(row)
        if anchor != row.anchor:
            before = row.anchor
            self._mark(row)
            row = replace(row, anchor=anchor)
            self._shelf.save(row)
            self._enliven(before)
            self._enliven(anchor)
        self._put(row)

    def _anchor_of(self, row: Shown) -> ItemId:
        parent = self._shelf.winner(row.parent)
        if row.parent != ROOT and parent is not None and parent.type is not EntryType.FOLDER:
            return ROOT
        if row.type is not EntryType.FOLDER:
            return row.parent
        rows = [self._shelf.winner(member) for member in sorted(self._cycle(row.item))]
        breaker = max(((r.stamp, r.item) for r in rows if r is not None), default=None)
        return ROOT if breaker is not None and breaker[1] == row.item else row.parent

    def _put(self, row: Shown) -> None:
        """List a row, and its losers, where its anchor is listed."""
        anchor = self._shelf.winner(row.anchor) if row.anchor != ROOT else None
        place = anchor.merged if anchor is not None and anchor.merged is not None else row.anchor
        self._mark(row)
        if place != row.place:
            row = replace(row, place=place, shown="", merged=None)
            self._shelf.save(row)
            self._replace_children(row.item)
        self._mark(row)
        for loser in self._shelf.losers(row.item):
            if (loser.place, loser.anchor) != (place, row.anchor):
                self._mark(loser)
                self._shelf.save(replace(loser, place=place, anchor=row.anchor, shown=""))
            self._mark(loser)

    def _replace_children(self, item: ItemId) -> None:
        for child in self._shelf.anchored(item):
            self._put(child)

    def _enliven(self, item: ItemId) -> None:
        """A deleted folder lives while something in it does; its own folder may follow."""
        row = self._shelf.winner(item) if item != ROOT else None
        if row is None or not row.deleted:
            return
        live = row.type is EntryType.FOLDER and self._shelf.has_live_child(item)
        if live != row.live:
            self._mark(row)
            self._shelf.save(replace(row, live=live, shown="", merged=None))
            if row.merged is not None:
                self._replace_children(item)
            self._enliven(row.anchor)

    def _mark(self, row: Shown) -> None:
        self._dirty.setdefault(row.place, set()).add(row.ino)

    # --- names ----------------------------------------------------------------------------------

    def _name(self, place: ItemId, inos: set[int]) -> None:
        """Give names in a dirty place, in which the rows of `inos` changed, came or went."""
        if self._name_plainly(place, inos):
            return
        rows = self._shelf.listed(place)
        rows = self._merge_folders(rows)
        names = assign_names((row for row in rows if row.merged is None), self._label)
        for row in rows:
            shown = names.get(row.ino, "")
            if row.shown != shown:
                self._shelf.save(replace(row, shown=shown))

    def _name_plainly(self, place: ItemId, inos: set[int]) -> bool:
        """The common case: nothing in the place has a made name, and no name is there twice."""
        for ino in sorted(inos):
            row = self._shelf.row(ino)
            if row is None or not row.live or row.place != place:
                continue
            if row.loser or row.merged is not None:
                return False
            if len(self._shelf.named(place, row.name)) != 1:
                return False
            if row.shown != row.name:
                self._shelf.save(replace(row, shown=row.name))
        return not self._shelf.odd(place)

    def _merge_folders(self, rows: list[Shown]) -> list[Shown]:
        earliest: dict[str, Shown] = {}
        for row in sorted(rows, key=lambda row: (row.created, row.item)):
            if row.type is EntryType.FOLDER and not row.loser:
                earliest.setdefault(row.name, row)
        merged = []
        for row in rows:
            first = earliest.get(row.name) if row.type is EntryType.FOLDER else None
            target = first.item if first is not None and first.item != row.item else None
            if target != row.merged:
                row = replace(row, merged=target, shown="")
                self._shelf.save(row)
                self._replace_children(row.item)
            merged.append(row)
        return merged


def _entries(heads: Iterable[Record]) -> list[tuple[Record, Entry]]:
    """The heads that are well-formed entries, the winner first (I5)."""
    found = []
    for record in sorted(heads, key=lambda head: head.rank, reverse=True):
        if record.kind != KIND_ENTRY:
            continue
        try:
            found.append((record, decode_entry(record.body)))
        except RemoteProtocolError:
            continue
    return found
