"""Which heads does a space have, and where does each stand in the view?

Theory of operation. `receive` keeps the undominated records of each item (I4) and then settles
the items that changed. The view is a pure function of the heads (I5, I7), updated for the
folders concerned only:

- the *winner* of an item gives its row; losers that hold bytes of their own get a row beside it,
  under the winner's name and wherever it goes;
- a row's *anchor* is its parent, but for the folder with the greatest stamp in a cycle of folders,
  and for an entry whose parent is no folder: those are anchored at the root;
- a row is *live* if it is not deleted, or is a folder in which something live is anchored, be it
  a loser; an item is *dead* if all its heads are tombstones and its row is not live;
- live folders of one name in one place are *merged* into the earliest of them; `place` is where
  a row is listed, so children of a merged folder are listed in the one it is merged into;
- names are given per place, by `names`.

Settling changes anchors first, then life, which flows up the anchors. Every row saved makes its
place dirty. Naming a dirty place may merge or part folders, which moves their children, and makes
other places dirty, one step deeper each time; so it ends.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, decode_entry
from sharefs.records.ids import ROOT, ContentId, ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.tree.dead import is_dead
from sharefs.tree.names import Label, assign_names, could_be_made
from sharefs.tree.shelf import Shelf


@dataclass(slots=True)
class _Unnamed:
    """What happened in a place since names were given there."""

    changed: dict[ItemId, None] = field(default_factory=dict)
    """Whose rows came, or are not what they were."""
    freed: dict[str, None] = field(default_factory=dict)
    """Names that somebody else there may now be shown under."""


class Tree:
    """One space's heads and view. Invariant: after `receive`, the rows follow from the heads
    alone."""

    def __init__(self, shelf: Shelf, space: int, new_ino: Callable[[], int], label: Label) -> None:
        self._shelf = shelf
        self._space = space
        self._new_ino = new_ino
        self._label = label
        self._unnamed: dict[ItemId, _Unnamed] = {}
        self._turned: set[ItemId] = set()
        """What is deleted, and came to live on in this `receive`, or ceased to."""
        self._winners: dict[ItemId, Shown | None] = {}
        """What the shelf holds, as far as this `receive` asked or wrote."""
        self.contested: dict[ItemId, None] = {}
        """Items that got losers, or lost some, since somebody emptied this."""
        self._parents: set[ItemId] = set()
        """Of the items of this `receive`, those at which something may be anchored."""

    def receive(
        self,
        records: Sequence[tuple[Record, bytes]],
        inos: dict[ItemId, int] | None = None,
        drawn: Collection[ItemId] = (),
    ) -> list[ItemId]:
        """Take in records with their bytes; `inos` are inode numbers that new items already have,
        and of `drawn` items nothing is here, as their ids were drawn just now.

        Returns the items whose heads changed.
        """
        self._unnamed.clear()
        self._turned.clear()
        items = {record.item for record, _ in records}.difference(drawn)
        known = self._shelf.heads_of(sorted(items))
        before = dict(known)
        changed: dict[ItemId, list[Record]] = {}
        for record, data in records:
            heads = self._keep(record, data, known.get(record.item, []))
            if heads is not None:
                changed[record.item] = known[record.item] = heads
        self._look_up([item for item in changed if item in items])
        self._winners.update(dict.fromkeys(drawn))
        for item, heads in changed.items():
            self._settle(item, heads, inos or {})
        while self._unnamed:
            place = next(iter(self._unnamed))
            self._name(place, self._unnamed.pop(place))
        self._note_dead(changed, before)
        return list(changed)

    def _note_dead(
        self, changed: dict[ItemId, list[Record]], before: dict[ItemId, list[Record]]
    ) -> None:
        turned = sorted(self._turned.difference(changed))
        heads_of_turned = self._shelf.heads_of(turned) if turned else {}
        for item, heads in {**heads_of_turned, **changed}.items():
            dead = is_dead(heads)
            if dead or is_dead(before.get(item, [])):
                row = self._winner(item)
                self._shelf.set_dead(item, dead and row is not None and not row.live)

    def _look_up(self, items: Collection[ItemId]) -> None:
        """Keep in mind what stands, all at once, as thousands may have changed."""
        rows = self._shelf.winners(items) if items else {}
        self._winners = {item: rows.get(item) for item in items}
        self._parents = self._shelf.with_children(items) if items else set()

    def _keep(self, record: Record, data: bytes, heads: list[Record]) -> list[Record] | None:
        """The item's heads with this one, or None if it brings nothing new."""
        if any(h == record or h.dominates(record) for h in heads):
            return None
        kept = [head for head in heads if not record.dominates(head)]
        for head in heads:
            if head not in kept:
                self._shelf.drop_head(head)
        self._shelf.add_head(record, data)
        return [*kept, record]

    # --- rows -----------------------------------------------------------------------------------

    def _settle(self, item: ItemId, heads: list[Record], inos: dict[ItemId, int]) -> None:
        versions = entries_among(heads)
        old = self._winner(item)
        if item == ROOT or (old is None and not versions):
            return
        moved = [item, *(row.item for row in self._cycle(item))]
        if old is None:
            self._save(self._row(*versions[0], inos.get(item) or self._new_ino()))
        elif versions:
            self._succeed(old, self._row(*versions[0], old.ino))
        else:
            self._withdraw(old)
        moved += [row.item for row in self._cycle(item)]
        moved += self._fostered(item, old)
        folders = [item] if old is None else [item, old.anchor]
        for member in dict.fromkeys(moved):
            folders += self._anchor(member)
        if old is not None or len(versions) > 1:
            self._settle_losers(item, versions)
        for folder in dict.fromkeys(folders):
            self._enliven(folder)

    def _row(self, record: Record, entry: Entry, ino: int) -> Shown:
        """A winner's row as it most often stands: in its parent, under its own name."""
        return Shown(
            ino=ino,
            space=self._space,
            item=record.item,
            version=record.coordinate,
            loser=False,
            type=entry.type,
            deleted=entry.deleted,
            live=not entry.deleted,
            parent=entry.parent,
            anchor=entry.parent,
            place=entry.parent,
            merged=None,
            name=entry.name,
            shown="" if entry.deleted else entry.name,
            created=entry.created,
            stamp=record.stamp,
            mtime_ns=entry.mtime_ns,
            executable=entry.executable,
            size=entry.size,
            content=entry.content,
            target=entry.target,
            local=0,
        )

    def _succeed(self, old: Shown, new: Shown) -> None:
        """Another version wins: it stands where the old one stood until it is anchored."""
        if old.name != new.name:
            self._free(old)
        self._save(
            replace(
                new,
                live=new.live or old.live,
                anchor=old.anchor,
                place=old.place,
                merged=old.merged,
                shown=old.shown,
            )
        )

    def _withdraw(self, old: Shown) -> None:
        """Nothing is left of an item that this version of sharefs can read."""
        self._erase(old)
        if old.merged is not None:
            self._replace_children(old.item)

    def _settle_losers(self, item: ItemId, versions: list[tuple[Record, Entry]]) -> None:
        winner = self._winner(item)
        here = {(row.version, _bytes_of(row)): row for row in self._shelf.losers(item)}
        for record, entry in _lost(versions) if winner is not None else ():
            assert winner is not None, "a loser lost to a winner"
            row = here.pop((record.coordinate, _bytes_of(entry)), None)
            if row is not None and row.name == winner.name:
                continue
            if row is None:
                self.contested[item] = None
                row = replace(
                    self._row(record, entry, self._new_ino()),
                    loser=True,
                    anchor=winner.anchor,
                    place=winner.place,
                    shown="",
                )
            else:
                self._free(row)
            self._save(replace(row, name=winner.name))
        for row in here.values():
            self.contested[item] = None
            self._erase(row)

    # --- anchors --------------------------------------------------------------------------------

    def _cycle(self, item: ItemId) -> list[Shown]:
        """The folders of the cycle of parents that leads back to `item`, if one does."""
        rows: dict[ItemId, Shown] = {}
        at = item
        while at != ROOT and at not in rows:
            row = self._winner(at)
            if row is None or row.type is not EntryType.FOLDER:
                return []
            rows[at] = row
            at = row.parent
        return list(rows.values()) if at == item else []

    def _fostered(self, item: ItemId, old: Shown | None) -> list[ItemId]:
        """Whoever has to be anchored anew, as `item` became a folder or ceased to be one. What is
        not here yet counts as a folder."""
        new = self._winner(item)
        was_folder = old is None or old.type is EntryType.FOLDER
        is_folder = new is None or new.type is EntryType.FOLDER
        if was_folder == is_folder:
            return []
        if was_folder and item not in self._parents:
            return []
        if was_folder:
            return [row.item for row in self._shelf.anchored(item)]
        return [row.item for row in self._shelf.anchored(ROOT) if row.parent == item]

    def _anchor(self, item: ItemId) -> list[ItemId]:
        """Move a row to where it has to be anchored; the folders that it left and came to."""
        row = self._winner(item)
        if row is None:
            return []
        anchor = self._anchor_of(row)
        self._move(row, anchor)
        return [row.anchor, anchor]

    def _anchor_of(self, row: Shown) -> ItemId:
        parent = self._winner(row.parent) if row.parent != ROOT else None
        if parent is not None and parent.type is not EntryType.FOLDER:
            return ROOT
        cycle = self._cycle(row.item)
        if cycle and max(cycle, key=lambda member: (member.stamp, member.item)) == row:
            return ROOT
        return row.parent

    def _move(self, row: Shown, anchor: ItemId) -> None:
        """Anchor a row, and its losers; list them where that folder's entries are listed."""
        folder = self._winner(anchor) if anchor != ROOT else None
        place = anchor if folder is None or folder.merged is None else folder.merged
        if (anchor, place) == (row.anchor, row.place):
            return
        for each in (row, *self._shelf.losers(row.item)):
            self._free(each)
            self._save(replace(each, anchor=anchor, place=place))

    def _replace_children(self, item: ItemId) -> None:
        for child in self._shelf.anchored(item):
            self._move(child, child.anchor)

    # --- life -----------------------------------------------------------------------------------

    def _enliven(self, item: ItemId) -> None:
        """What is deleted lives on as a folder of something live; its own folder may follow."""
        while item != ROOT:
            row = self._winner(item)
            if row is None or not row.deleted:
                return
            live = row.type is EntryType.FOLDER and self._shelf.has_live_child(item)
            if live == row.live:
                return
            self._turned.add(item)
            if live:
                self._save(replace(row, live=True))
            else:
                self._bury(row)
            item = row.anchor

    def _bury(self, row: Shown) -> None:
        self._free(row)
        self._save(replace(row, live=False, shown="", merged=None))
        if row.merged is not None:
            self._replace_children(row.item)

    # --- the shelf ------------------------------------------------------------------------------

    def _winner(self, item: ItemId) -> Shown | None:
        if item not in self._winners:
            self._winners[item] = self._shelf.winner(item)
        return self._winners[item]

    def _store(self, row: Shown) -> None:
        self._shelf.save(row)
        if not row.loser:
            self._winners[row.item] = row
            self._parents.add(row.anchor)

    def _save(self, row: Shown) -> None:
        """Store a row, which has to be named."""
        self._store(row)
        if row.loser:
            self._free(row)
        elif row.live:
            self._unnamed.setdefault(row.place, _Unnamed()).changed[row.item] = None

    def _erase(self, row: Shown) -> None:
        self._free(row)
        self._shelf.erase(row.ino)
        if not row.loser:
            self._winners[row.item] = None

    def _free(self, row: Shown) -> None:
        """A row gives up its names in its place."""
        if row.live:
            self._unnamed.setdefault(row.place, _Unnamed()).freed |= {
                row.name: None,
                row.shown: None,
            }

    # --- names ----------------------------------------------------------------------------------

    def _name(self, place: ItemId, unnamed: _Unnamed) -> None:
        """Give names in a place."""
        if self._name_plainly(place, unnamed):
            return
        rows = self._shelf.listed(place)
        if self._merge_folders(place, rows):
            rows = self._shelf.listed(place)
        names = assign_names((row for row in rows if row.merged is None), self._label)
        for row in rows:
            shown = names.get(row.ino, "")
            if row.shown != shown:
                self._store(replace(row, shown=shown))

    def _name_plainly(self, place: ItemId, unnamed: _Unnamed) -> bool:
        """The common case, whatever the size of the folder: the names that came are nobody else's,
        and nobody waits for those that went."""
        rows = [row for item in unnamed.changed if (row := self._winner(item)) is not None]
        rows = [row for row in rows if row.live and row.place == place]
        there = self._shelf.named(place, [row.name for row in rows])
        named = Counter(name for row in there for name in {row.name, row.shown})
        if any(row.merged is not None or named[row.name] != 1 for row in rows):
            return False
        for row in rows:
            if row.shown != row.name:
                self._store(replace(row, shown=row.name))
        return not any(self._is_awaited(place, name) for name in unnamed.freed if name)

    def _is_awaited(self, place: ItemId, name: str) -> bool:
        """Whether somebody may have another name than he would with `name` free to take."""
        rows = self._shelf.named(place, [name])
        if len(rows) > 1 or any(row.shown != row.name for row in rows):
            return True
        return could_be_made(name) and self._shelf.odd(place)

    def _merge_folders(self, place: ItemId, rows: list[Shown]) -> bool:
        """Merge those of one name, part the others; whether any changed. Children go along, and
        until the place of the folder above is named, they may be among `rows` themselves."""
        folders = [row for row in rows if row.type is EntryType.FOLDER]
        earliest: dict[str, ItemId] = {}
        for row in sorted(folders, key=lambda row: (row.created, row.item)):
            earliest.setdefault(row.name, row.item)
        parted = [row for row in rows if row.merged != _target(row, earliest)]
        for row in parted:
            now = self._winner(row.item)
            if now is not None and now.place == place:
                self._store(replace(now, merged=_target(row, earliest), shown=""))
                self._replace_children(row.item)
        return bool(parted)


def _target(row: Shown, earliest: dict[str, ItemId]) -> ItemId | None:
    """Which folder of its name a row is merged into."""
    first = earliest.get(row.name) if row.type is EntryType.FOLDER else None
    return None if first == row.item else first


def entries_among(heads: Iterable[Record]) -> list[tuple[Record, Entry]]:
    """The heads that are well-formed entries, the winner first (I5)."""
    found = []
    ordered = list(heads)
    if len(ordered) > 1:
        ordered.sort(key=lambda head: head.rank, reverse=True)
    for record in ordered:
        if record.kind != KIND_ENTRY:
            continue
        try:
            found.append((record, decode_entry(record.body)))
        except RemoteProtocolError:
            continue
    return found


def heads_behind(row: Shown, heads: Iterable[Record]) -> list[Record]:
    """The heads that whoever sees a row has seen: its own, and those that it stands for, as they
    bring no other bytes. Else these would come to light when the row's own is superseded.

    Empty if the row's own is not among `heads`, the item's.
    """
    versions = entries_among(heads)
    own = _bytes_of(row)
    if not any(
        (record.coordinate, _bytes_of(entry)) == (row.version, own) for record, entry in versions
    ):
        return []
    return [
        record
        for record, entry in versions
        if _bytes_of(entry) == own or (not row.loser and _is_bare(entry))
    ]


def _lost(versions: list[tuple[Record, Entry]]) -> list[tuple[Record, Entry]]:
    """The losers with bytes that neither the winner nor a greater loser has."""
    found = []
    shown = {_bytes_of(entry) for _, entry in versions[:1]}
    for record, entry in versions[1:]:
        if _is_bare(entry) or _bytes_of(entry) in shown:
            continue
        shown.add(_bytes_of(entry))
        found.append((record, entry))
    return found


def _is_bare(entry: Entry) -> bool:
    """Whether it has no bytes that anybody could miss."""
    return entry.deleted or entry.type is EntryType.FOLDER


def _bytes_of(entry: Entry | Shown) -> tuple[EntryType, bool, ContentId | None, str]:
    return (entry.type, entry.deleted, entry.content, entry.target)
