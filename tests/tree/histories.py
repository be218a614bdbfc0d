"""Random histories of a space: devices that write what they like, seeing part of what there is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import count

from hypothesis import strategies as st
from msgspec.structs import replace

from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, encode_entry
from sharefs.records.ids import ROOT, ContentId, Coordinate, DeviceId, Incarnation, ItemId, item_id
from sharefs.records.record import Record, context_of, encode_record, stamp_after
from sharefs.records.shown import Shown
from sharefs.tree.dead import is_dead
from sharefs.tree.shelf import Shelf
from sharefs.tree.tree import Tree
from tests.tree.memory_shelf import MemoryShelf
from tests.tree.view_oracle import compute_view

DEVICES = [DeviceId(bytes([number] * 16)) for number in (1, 2, 3)]
LABELS = dict(zip(DEVICES, ("Anna", "Bob", "Carol"), strict=True))
NAMES = ["a", "b", "a (Bob)", "a (Bob 2)"]


class Verb(IntEnum):
    MAKE_FOLDER = 0
    MAKE_FILE = 1
    MAKE_LINK = 2
    MOVE = 3
    RENAME = 4
    REMOVE = 5
    WRITE = 6
    RESTORE = 7
    DELIVER = 8
    TRANSFORM = 9
    """What no honest member does: another type, time of creation or kind."""


_TYPES = {
    Verb.MAKE_FOLDER: EntryType.FOLDER,
    Verb.MAKE_FILE: EntryType.FILE,
    Verb.MAKE_LINK: EntryType.SYMLINK,
}
ORDINARY = tuple(verb for verb in Verb if verb is not Verb.TRANSFORM)


@dataclass(frozen=True)
class Step:
    """Who does what; the numbers choose among what there is."""

    verb: Verb
    device: int
    item: int
    parent: int
    name: int
    choice: int


def steps(verbs: Sequence[Verb], longest: int) -> st.SearchStrategy[list[Step]]:
    small = st.integers(0, 7)
    step = st.builds(
        Step, st.sampled_from(verbs), st.integers(0, 2), small, small, st.integers(0, 3), small
    )
    return st.lists(step, min_size=2, max_size=longest)


def label(device: DeviceId) -> str:
    return LABELS.get(device, "unknown")


class Replica:
    """A device's tree, and all that it ever received, against which it is checked."""

    def __init__(self, device: DeviceId, shelf: Shelf | None = None) -> None:
        self.device = device
        self.received: dict[Coordinate, Record] = {}
        self.memory = MemoryShelf()
        inos = count(100)
        self.tree = Tree(shelf or self.memory, 1, lambda: next(inos), label)

    def receive(self, *records: Record) -> None:
        self.tree.receive([(record, encode_record(record)) for record in records])
        self.received.update({record.coordinate: record for record in records})

    def rows(self) -> list[Shown]:
        return [row for row in self.memory.rows.values() if row.item != ROOT]

    def view(self) -> list[Shown]:
        return in_order(replace(row, ino=0) for row in self.rows())

    def check(self) -> None:
        expected = in_order(compute_view(self.received.values(), label, 1))
        assert self.view() == expected
        heads = {item: self.memory.heads(item) for item in self.memory.items()}
        alive = {row.item for row in self.rows() if row.live}
        assert self.memory.dead == {i for i in heads if is_dead(heads[i]) and i not in alive}
        self._check_reachable()

    def _check_reachable(self) -> None:
        winners = {row.item: row for row in self.rows() if not row.loser}
        listed = [row for row in self.rows() if row.live]
        names = [(row.place, row.shown) for row in listed if row.merged is None]
        assert len(set(names)) == len(names), "two entries have one name"
        assert all(name for _, name in names), "an entry has no name"
        assert all(len(name.encode()) <= 255 for _, name in names)
        for row in listed:
            depth, at = 0, row.place
            while at in winners:
                folder, depth = winners[at], depth + 1
                assert folder.live, "an entry is in a dead folder"
                assert folder.merged is None, "an entry is in a folder that is merged away"
                assert folder.type is EntryType.FOLDER, "an entry is in what is no folder"
                assert depth <= len(winners), "places go round"
                at = folder.place


def in_order(rows: Iterable[Shown]) -> list[Shown]:
    return sorted(rows, key=lambda row: (row.item, row.loser, row.version))


class World:
    """Three replicas and all records that there are."""

    def __init__(self) -> None:
        self.replicas = [Replica(device) for device in DEVICES]
        self.records: list[Record] = []
        self.items: list[ItemId] = []
        self.folders: list[ItemId] = []
        self._sequences = dict.fromkeys(DEVICES, 0)

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.take(step)

    def take(self, step: Step) -> None:
        replica = self.replicas[step.device]
        if step.verb is Verb.DELIVER:
            self._deliver(replica, step)
        elif step.verb <= Verb.MAKE_LINK:
            self._make(replica, step)
        else:
            self._change(replica, step)
        replica.check()

    def _deliver(self, replica: Replica, step: Step) -> None:
        if self.records:
            start = step.item % len(self.records)
            chosen = self.records[start :: step.choice + 1][: step.parent + 1]
            replica.receive(*(reversed(chosen) if step.name % 2 else chosen))

    def _folder(self, number: int) -> ItemId:
        """The root, a folder, or once in a while what need not be one."""
        choice = self.items if number == 7 else self.folders
        return ROOT if number in (1, 3) or not choice else choice[number % len(choice)]

    def _make(self, replica: Replica, step: Step) -> None:
        item = item_id(replica.device, len(self.items).to_bytes(8))
        self.items.append(item)
        if step.verb is Verb.MAKE_FOLDER:
            self.folders.append(item)
        type = _TYPES[step.verb]
        now = step.choice
        entry = Entry(
            1, type, False, self._folder(step.parent), NAMES[step.name], now, 0, False, 0, None, ""
        )
        self._write(replica, item, [], now, _filled(entry, step.item))

    def _change(self, replica: Replica, step: Step) -> None:
        seen = sorted(
            (row for row in replica.rows() if not row.loser), key=lambda row: row.item, reverse=True
        )
        if not seen:
            return
        row = seen[step.item % len(seen)]
        heads = sorted(replica.memory.heads(row.item), key=lambda head: head.rank)
        chosen = heads[-1:] if step.choice % 4 else heads
        entry = _changed(_entry_of(row), step, self._folder(step.parent))
        kind = "later" if step.verb is Verb.TRANSFORM and step.name == 3 else KIND_ENTRY
        self._write(replica, row.item, chosen, step.choice, entry, kind)

    def _write(
        self,
        replica: Replica,
        item: ItemId,
        seen: list[Record],
        now: int,
        entry: Entry,
        kind: str = KIND_ENTRY,
    ) -> None:
        device = replica.device
        own = [head for head in replica.memory.heads(item) if head.device == device]
        seen = [*seen, *own]
        self._sequences[device] += 1
        record = Record(
            1,
            item,
            kind,
            device,
            Incarnation(bytes(8)),
            self._sequences[device],
            context_of(seen),
            stamp_after(seen, now),
            encode_entry(entry),
        )
        self.records.append(record)
        replica.receive(record)


def _changed(entry: Entry, step: Step, folder: ItemId) -> Entry:
    match step.verb:
        case Verb.MOVE:
            return _with(entry, deleted=False, parent=folder, name=NAMES[step.name])
        case Verb.RENAME:
            return _with(entry, name=NAMES[step.name])
        case Verb.REMOVE:
            return _with(entry, deleted=True, size=0, content=None)
        case Verb.WRITE:
            return _filled(_with(entry, deleted=False), step.name)
        case Verb.TRANSFORM:
            type = EntryType(step.choice % 3)
            return _filled(_with(entry, type=type, created=step.parent), step.name)
        case _:
            return _with(entry, deleted=False)


def _filled(entry: Entry, number: int) -> Entry:
    """Bytes, or a target, for what can have them."""
    match entry.type:
        case EntryType.FILE if not entry.deleted and number % 3:
            return _with(entry, size=number, content=ContentId(bytes([number] * 32)), target="")
        case EntryType.SYMLINK:
            return _with(entry, size=0, content=None, target=f"to {number % 2}")
        case _:
            return _with(entry, size=0, content=None, target="")


def _with(entry: Entry, **fields: object) -> Entry:
    whole = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return Entry(**{**whole, **fields})


def _entry_of(row: Shown) -> Entry:
    return Entry(
        1,
        row.type,
        row.deleted,
        row.parent,
        row.name,
        row.created,
        row.mtime_ns,
        row.executable,
        row.size,
        row.content,
        row.target,
    )
