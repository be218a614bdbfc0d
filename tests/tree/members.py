"""Members of a space who work by paths, as the desk does for the mount, on a shelf of any kind."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Protocol

from sharefs.records.entry import KIND_ENTRY, EntryType
from sharefs.records.ids import ROOT, ContentId, DeviceId, Incarnation, ItemId, item_id
from sharefs.records.record import Record, encode_record
from sharefs.records.shown import Shown
from sharefs.tree import operations
from sharefs.tree.operations import Bytes, Change
from sharefs.tree.shelf import Shelf
from sharefs.tree.tree import Tree, heads_behind
from tests.store.store_parties import FAMILY, open_store
from tests.tree.histories import DEVICES, LABELS, label
from tests.tree.memory_shelf import MemoryShelf

LIFE = Incarnation(bytes(8))


class WholeShelf(Shelf, Protocol):
    """What the desk needs beyond `tree`."""

    def heads(self, item: ItemId) -> list[Record]: ...
    def winner(self, item: ItemId) -> Shown | None: ...


class Clock:
    """One for all, a second later at every edit."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def tick(self) -> int:
        self.now_ms += 1000
        return self.now_ms


class Member:
    """One replica. Paths are of shown names; a file's bytes are a number."""

    def __init__(self, device: DeviceId, shelf: WholeShelf, space: int, clock: Clock) -> None:
        self.device = device
        self.shelf = shelf
        self.clock = clock
        self.written: list[Record] = []
        self._sequence = count(1)
        self._inos = count(100)
        self._tree = Tree(shelf, space, lambda: next(self._inos), label)

    # --- edits ----------------------------------------------------------------------------------

    def folder(self, path: str) -> Shown:
        place, name = self._place(path)
        made = operations.make_folder(self._new_item(), place, name, self.clock.tick())
        self._author(made)
        return self.row(path)

    def write(self, path: str, number: int) -> None:
        """Another version of what is there, or a new file."""
        now, held = self.clock.tick(), Bytes(number, ContentId(bytes([number] * 32)), 0, False)
        row = self.find(path)
        if row is not None:
            self._author(operations.replace_bytes(row, self._seen(row), held))
        else:
            self._author(operations.make_file(self._new_item(), *self._place(path), held, now))

    def write_all(self, paths: list[str]) -> None:
        """New files, all at once, as when somebody copies a folder in."""
        now = self.clock.tick()
        held = Bytes(1, ContentId(bytes([1] * 32)), 0, False)
        first = len(self.written)
        folders = {path.rpartition("/")[0] for path in paths}
        places = {folder: self._place(f"{folder}/x")[0] for folder in folders}
        for number, path in enumerate(paths):
            folder, _, name = path.rpartition("/")
            item = item_id(self.device, (first + number).to_bytes(8))
            change = operations.make_file(item, places[folder], name, held, now)
            self.written.append(self._record(change))
        self.receive(self.written[first:])

    def move(self, path: str, to: str) -> None:
        self.clock.tick()
        row = self.row(path)
        self._author(operations.move(row, self._seen(row), *self._place(to)))

    def remove(self, path: str) -> None:
        """With all that is in it, from the bottom up, as `rm -r` does."""
        self.clock.tick()
        rows = [self.row(path)]
        for row in rows:
            rows += self.shelf.listed(row.item)
        first = len(self.written)
        for row in reversed(rows):
            self.written.append(self._record(self._chained(self._removal(row))))
        self.receive(self.written[first:])

    def _removal(self, row: Shown) -> Change:
        if not row.loser:
            return operations.remove(row, self._seen(row))
        winner = self.shelf.winner(row.item)
        assert winner is not None
        return operations.keep(winner, [*self._seen(winner), *self._seen(row)])

    def _chained(self, change: Change) -> Change:
        return operations.chain(change, self.shelf.heads(change.item), self.device, LIFE)

    def _author(self, change: Change) -> None:
        chained = self._chained(change)
        rows = self.shelf.losers(change.item)
        for loser in operations.unseen_losers(change, rows, chained):
            item = operations.item_apart(loser)
            self._sign(operations.keep_apart(item, loser, self.clock.now_ms))
        self._sign(chained)

    def _sign(self, change: Change) -> None:
        record = self._record(change)
        self.written.append(record)
        self.receive([record])

    def _record(self, change: Change) -> Record:
        return Record(
            1,
            change.item,
            KIND_ENTRY,
            self.device,
            LIFE,
            next(self._sequence),
            change.context,
            max(self.clock.now_ms, change.after + 1),
            change.body,
        )

    def _seen(self, row: Shown) -> list[Record]:
        return heads_behind(row, self.shelf.heads(row.item))

    def _new_item(self) -> ItemId:
        return item_id(self.device, len(self.written).to_bytes(8))

    # --- others ---------------------------------------------------------------------------------

    def receive(self, records: list[Record]) -> None:
        self._tree.receive([(record, encode_record(record)) for record in records])

    def hear(self, *others: "Member") -> None:
        for other in others:
            self.receive(list(other.written))

    # --- what is seen ---------------------------------------------------------------------------

    def find(self, path: str) -> Shown | None:
        place, name = self._place(path)
        rows = [row for row in self.shelf.named(place, [name]) if row.shown == name]
        rows = [row for row in rows if row.merged is None]
        assert len(rows) <= 1, "names are unique"
        return rows[0] if rows else None

    def row(self, path: str) -> Shown:
        row = self.find(path)
        assert row is not None, f"{path} is not there"
        return row

    def _place(self, path: str) -> tuple[ItemId, str]:
        folder, _, name = path.rpartition("/")
        return (self.row(folder).item if folder else ROOT), name

    def sees(self) -> dict[str, int | None]:
        """Every path, with the number of a file and None for a folder."""
        return dict(self._walk(ROOT, "", 0))

    def _walk(self, place: ItemId, above: str, depth: int) -> Iterator[tuple[str, int | None]]:
        assert depth < 1000, "places go round"
        for row in sorted(self.shelf.listed(place), key=lambda row: row.shown):
            if row.merged is not None:
                continue
            path = above + row.shown
            yield path, row.size if row.type is EntryType.FILE else None
            if row.type is EntryType.FOLDER:
                yield from self._walk(row.item, path + "/", depth + 1)


Group = list[Member]


def group(kind: str, folder: Path, ending: ExitStack) -> Group:
    """Anna, Bob and Carol, each with a shelf of the kind."""
    clock = Clock()
    members = []
    for device in DEVICES:
        shelf: WholeShelf = MemoryShelf()
        number = 1
        if kind == "sqlite":
            store = open_store(folder / LABELS[device])
            ending.callback(store.close)
            ending.enter_context(store.transaction())
            number = store.ledger.add_space(FAMILY, "Family")
            shelf = store.shelf(number)
        members.append(Member(device, shelf, number, clock))
    return members


def meet(*members: Member) -> dict[str, int | None]:
    """Exchange everything; what all of them see then."""
    for member in members:
        member.hear(*members)
    seen = [member.sees() for member in members]
    assert all(each == seen[0] for each in seen)
    return seen[0]
