"""The view of a space, computed from all its records in the plainest way.

It shares with `sharefs.tree` the domination of records, the decoding of entries and the naming of
rows, and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, decode_entry
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.tree.names import Label, assign_names


@dataclass
class Row:
    record: Record
    entry: Entry
    loser: bool
    name: str
    live: bool
    anchor: ItemId = ROOT
    place: ItemId = ROOT
    merged: ItemId | None = None
    shown: str = ""

    @property
    def is_folder(self) -> bool:
        return self.entry.type is EntryType.FOLDER

    def as_shown(self, ino: int, space: int) -> Shown:
        entry = self.entry
        return Shown(
            ino=ino,
            space=space,
            item=self.record.item,
            version=self.record.coordinate,
            loser=self.loser,
            type=entry.type,
            deleted=entry.deleted,
            live=self.live,
            parent=entry.parent,
            anchor=self.anchor,
            place=self.place,
            merged=self.merged,
            name=self.name,
            shown=self.shown,
            created=entry.created,
            stamp=self.record.stamp,
            mtime_ns=entry.mtime_ns,
            executable=entry.executable,
            size=entry.size,
            content=entry.content,
            target=entry.target,
            local=0,
        )


def compute_view(records: Iterable[Record], label: Label, space: int) -> list[Shown]:
    """Every row, each with inode 0."""
    winners: dict[ItemId, Row] = {}
    losers: list[Row] = []
    for item, versions in _readable_heads(records).items():
        winners[item], lost = _rows_of(versions)
        losers += lost
    _anchor(winners)
    for loser in losers:
        loser.anchor = winners[loser.record.item].anchor
    rows = [*winners.values(), *losers]
    _enliven(rows)
    unknown = {row.anchor for row in rows if row.anchor not in winners}
    for top in {ROOT, *unknown}:
        _lay_out(top, {top}, rows, label)
    for row in rows:
        folder = winners.get(row.anchor)
        row.place = folder.merged if folder is not None and folder.merged else row.anchor
    return [row.as_shown(0, space) for row in rows]


def _readable_heads(records: Iterable[Record]) -> dict[ItemId, list[tuple[Record, Entry]]]:
    versions: dict[ItemId, list[Record]] = {}
    for record in records:
        versions.setdefault(record.item, []).append(record)
    readable: dict[ItemId, list[tuple[Record, Entry]]] = {}
    for item, all_of_it in versions.items():
        for record in all_of_it:
            if item == ROOT or any(other.dominates(record) for other in all_of_it):
                continue
            try:
                entry = decode_entry(record.body)
            except RemoteProtocolError:
                continue
            if record.kind == KIND_ENTRY:
                readable.setdefault(item, []).append((record, entry))
    return readable


def _rows_of(versions: list[tuple[Record, Entry]]) -> tuple[Row, list[Row]]:
    ordered = sorted(versions, key=lambda version: version[0].rank)
    record, entry = ordered.pop()
    winner = Row(record, entry, False, entry.name, not entry.deleted)
    losers: list[Row] = []
    for record, entry in reversed(ordered):
        held = [(r.entry.type, r.entry.content, r.entry.target) for r in losers]
        if not winner.entry.deleted:
            held.append((winner.entry.type, winner.entry.content, winner.entry.target))
        if entry.deleted or entry.type is EntryType.FOLDER:
            continue
        if (entry.type, entry.content, entry.target) not in held:
            losers.append(Row(record, entry, True, winner.name, True))
    return winner, losers


def _anchor(winners: dict[ItemId, Row]) -> None:
    for item, row in winners.items():
        parent = winners.get(row.entry.parent)
        row.anchor = ROOT if parent is not None and not parent.is_folder else row.entry.parent
        if not row.is_folder:
            continue
        chain = [item]
        while (above := winners.get(winners[chain[-1]].entry.parent)) and above.is_folder:
            if above.record.item in chain:
                break
            chain.append(above.record.item)
        if winners[chain[-1]].entry.parent == item:
            last = max(chain, key=lambda member: (winners[member].record.stamp, member))
            row.anchor = ROOT if last == item else row.anchor


def _enliven(rows: list[Row]) -> None:
    while True:
        wanted = {row.anchor for row in rows if row.live}
        dead = [r for r in rows if not r.live and r.is_folder and r.record.item in wanted]
        if not dead:
            return
        for row in dead:
            row.live = True


def _lay_out(place: ItemId, folders: set[ItemId], rows: list[Row], label: Label) -> None:
    here = [row for row in rows if row.live and row.anchor in folders]
    groups: dict[str, list[Row]] = {}
    for row in here:
        if row.is_folder:
            groups.setdefault(row.name, []).append(row)
    named = [row for row in here if not row.is_folder]
    for group in groups.values():
        first = min(group, key=lambda row: (row.entry.created, row.record.item))
        named.append(first)
        for row in group:
            row.merged = None if row is first else first.record.item
        _lay_out(first.record.item, {row.record.item for row in group}, rows, label)
    shown = assign_names((row.as_shown(i, 0) for i, row in enumerate(named)), label)
    for index, row in enumerate(named):
        row.shown = shown[index]
