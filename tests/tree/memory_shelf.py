"""A shelf in memory, which counts the calls."""

from collections import Counter
from collections.abc import Iterable

from sharefs.records.entry import EntryType
from sharefs.records.ids import ROOT, Coordinate, DeviceId, Incarnation, ItemId
from sharefs.records.record import Record, decode_record, encode_record
from sharefs.records.shown import Shown


def root_row(ino: int, space: int) -> Shown:
    nowhere = Coordinate(DeviceId(bytes(16)), Incarnation(bytes(8)), 0)
    return Shown(
        ino=ino,
        space=space,
        item=ROOT,
        version=nowhere,
        loser=False,
        type=EntryType.FOLDER,
        deleted=False,
        live=True,
        parent=ROOT,
        anchor=ROOT,
        place=ROOT,
        merged=None,
        name="",
        shown="",
        created=0,
        stamp=0,
        mtime_ns=0,
        executable=False,
        size=0,
        content=None,
        target="",
        local=0,
    )


class MemoryShelf:
    """`tree.Shelf` without a disk."""

    def __init__(self) -> None:
        self.rows: dict[int, Shown] = {1: root_row(1, 1)}
        self.calls: Counter[str] = Counter()
        self._items: dict[ItemId, list[bytes]] = {}
        self.dead: set[ItemId] = set()

    def copy(self) -> "MemoryShelf":
        """As it is now."""
        other = MemoryShelf()
        other.rows = dict(self.rows)
        other.dead = set(self.dead)
        other._items = {item: list(found) for item, found in self._items.items()}
        return other

    def items(self) -> list[ItemId]:
        """Those that have heads, but for the top folder."""
        return [item for item, heads in self._items.items() if heads and item != ROOT]

    def row(self, ino: int) -> Shown | None:
        return self.rows.get(ino)

    def merged_into(self, item: ItemId) -> list[Shown]:
        return [row for row in self._rows() if row.merged == item]

    def _rows(self) -> Iterable[Shown]:
        return (row for row in self.rows.values() if row.item != ROOT)

    def heads(self, item: ItemId) -> list[Record]:
        return [decode_record(data) for data in self._items.get(item, [])]

    def heads_of(self, items: Iterable[ItemId]) -> dict[ItemId, list[Record]]:
        self.calls["heads_of"] += 1
        return {item: heads for item in items if (heads := self.heads(item))}

    def add_head(self, record: Record, data: bytes) -> None:
        self.calls["add_head"] += 1
        heads = self._items.setdefault(record.item, [])
        assert data not in heads, "a head is added once"
        heads.append(data)

    def drop_head(self, record: Record) -> None:
        self.calls["drop_head"] += 1
        self._items[record.item].remove(encode_record(record))

    def set_dead(self, item: ItemId, dead: bool) -> None:
        self.calls["set_dead"] += 1
        self.dead.difference_update({item})
        self.dead.update({item} if dead else ())

    def winner(self, item: ItemId) -> Shown | None:
        self.calls["winner"] += 1
        found = [row for row in self.rows.values() if row.item == item and not row.loser]
        assert len(found) <= 1, "an item has one winner"
        return found[0] if found else None

    def winners(self, items: Iterable[ItemId]) -> dict[ItemId, Shown]:
        self.calls["winners"] += 1
        wanted = set(items)
        return {row.item: row for row in self.rows.values() if row.item in wanted and not row.loser}

    def losers(self, item: ItemId) -> list[Shown]:
        self.calls["losers"] += 1
        return [row for row in self._rows() if row.item == item and row.loser]

    def listed(self, place: ItemId) -> list[Shown]:
        self.calls["listed"] += 1
        return [row for row in self._rows() if row.place == place and row.live]

    def anchored(self, item: ItemId) -> list[Shown]:
        self.calls["anchored"] += 1
        return [row for row in self._rows() if row.anchor == item and not row.loser]

    def with_children(self, items: Iterable[ItemId]) -> set[ItemId]:
        self.calls["with_children"] += 1
        return set(items) & {row.anchor for row in self._rows() if not row.loser}

    def is_parent(self, item: ItemId) -> bool:
        return any(item in (row.anchor, row.parent) for row in self._rows())

    def has_live_child(self, item: ItemId) -> bool:
        self.calls["has_live_child"] += 1
        return any(row.anchor == item and row.live for row in self._rows())

    def odd(self, place: ItemId) -> bool:
        self.calls["odd"] += 1
        return any(
            row.shown != row.name or row.merged is not None or row.loser
            for row in self._rows()
            if row.place == place and row.live
        )

    def named(self, place: ItemId, names: list[str]) -> list[Shown]:
        self.calls["named"] += 1
        wanted = set(names)
        return [
            row
            for row in self._rows()
            if row.place == place and row.live and wanted & {row.name, row.shown}
        ]

    def save(self, row: Shown) -> None:
        self.calls["save"] += 1
        self.rows[row.ino] = row

    def erase(self, ino: int) -> None:
        self.calls["erase"] += 1
        del self.rows[ino]
