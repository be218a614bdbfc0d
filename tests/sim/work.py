"""What do programs do to files, all at once and without regard for each other?

The same edits as the mount makes, through `Desk`. A program that saves a file may have opened it
long before; what it saw then is what it goes on from.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from blake3 import blake3

from sharefs.errors import SharefsError, UserError
from sharefs.mount.ports import Base, Draft
from sharefs.node.publication import _Ready, _Waiting
from sharefs.records.entry import Entry, EntryType, decode_entry
from sharefs.records.ids import ContentId, Coordinate
from sharefs.records.record import decode_record, sees
from sharefs.records.shown import Shown
from sharefs.store.adopted import Adopted
from sharefs.store.written import Written
from tests.sim.agenda import Agenda
from tests.sim.data_node import TOP_INO, DataDevice, DataNode
from tests.sim.memory_store import SPACE_NUMBER
from tests.sim.model import Act, Model, is_tombstone

NAMES = (
    "a",
    "A",
    "b.txt",
    "report.odt",
    "report (Bob).odt",
    "report (Bob 2).odt",
    "a (conflict, Anna, 2026-09-21 14.13)",
    "folder",
)
EDIT_SECONDS = (0.0, 0.0, 0.0, 0.5, 6.0)
LONG_EDIT_SECONDS = (0.0, 0.0, 6.0, 25.0)


class Programs:
    """All programs on all devices."""

    def __init__(self, agenda: Agenda, chance: random.Random, model: Model) -> None:
        self._agenda = agenda
        self._chance = chance
        self._model = model
        self._contents = 0
        self.of_folders = False
        """Make and remove folders more than anything else, and have files open for long."""

    @property
    def edit_seconds(self) -> tuple[float, ...]:
        """How long a program has a file open."""
        return LONG_EDIT_SECONDS if self.of_folders else EDIT_SECONDS

    def act(self, device: DataDevice) -> None:
        """Some program does something there."""
        if device.node is None:
            return
        kinds: tuple[Callable[[DataDevice], None], ...] = (
            self._make_folder,
            self._make_link,
            self._create,
            self._create,
            self._edit,
            self._edit,
            self._edit,
            self._rename,
            self._rename,
            self._remove,
            self._touch,
        )
        if self.of_folders:
            kinds += 3 * (self._make_folder,) + 5 * (self._remove_all,)
        self._attempt(device, lambda: self._chance.choice(kinds)(device))

    def _attempt(self, device: DataDevice, deed: Callable[[], None]) -> None:
        """What has arrived by now comes first, so that it is known what stood before the deed."""
        node = device.node
        if node is not None:
            device.guarded(node.loop.turn)
        if device.node is node:
            device.guarded(deed)

    # --- what is there --------------------------------------------------------------------------

    def _rows(self, device: DataDevice, *types: EntryType) -> list[Shown]:
        assert device.node is not None, "whoever acts is awake"
        rows = device.disk.committed.shelf.rows
        return [
            row for ino, row in sorted(rows.items()) if row.live and row.shown and row.type in types
        ]

    def _any_row(self, device: DataDevice, *types: EntryType) -> Shown | None:
        rows = self._rows(device, *(types or tuple(EntryType)))
        return self._chance.choice(rows) if rows else None

    def _any_folder(self, device: DataDevice) -> int:
        row = self._any_row(device, EntryType.FOLDER)
        return TOP_INO if row is None or self._chance.random() < 0.5 else row.ino

    def _any_name(self) -> str:
        return self._chance.choice(NAMES)

    # --- edits ----------------------------------------------------------------------------------

    def _make_folder(self, device: DataDevice) -> None:
        folder, name = self._any_folder(device), self._any_name()
        self._do(
            device, f"mkdir {name}", Act(device.name), lambda n: n.desk.make_folder(folder, name)
        )

    def _make_link(self, device: DataDevice) -> None:
        folder, name = self._any_folder(device), self._any_name()
        target = self._any_name()
        act = Act(device.name)
        self._do(device, f"ln {name}", act, lambda n: n.desk.make_symlink(folder, name, target))

    def _create(self, device: DataDevice) -> None:
        assert device.node is not None, "whoever acts is awake"
        folder, name = self._any_folder(device), self._any_name()
        there = device.node.desk.lookup(folder, name)
        if there is None:
            self._save_later(device, folder, name, None)
        elif there.type is EntryType.FILE:
            self._save_later(device, folder, name, there)

    def _edit(self, device: DataDevice) -> None:
        row = self._any_row(device, EntryType.FILE)
        if row is not None and device.node is not None:
            self._save_later(device, device.node.folder_of(row), row.shown, row)

    def _save_later(self, device: DataDevice, folder: int, name: str, row: Shown | None) -> None:
        node = device.node
        assert node is not None, "whoever acts is awake"
        base = None if row is None else node.desk.base(row)
        act = Act(device.name) if row is None else _opening(device, row)

        def save() -> None:
            if device.node is node:
                self._attempt(device, lambda: self._save(device, folder, name, row, base, act))

        seconds = self._chance.choice(self.edit_seconds)
        if seconds:
            self._agenda.later(seconds, save)
        else:
            self._save(device, folder, name, row, base, act)

    def _save(
        self,
        device: DataDevice,
        folder: int,
        name: str,
        row: Shown | None,
        base: Base | None,
        act: Act,
    ) -> None:
        self._contents += 1
        content = ContentId(blake3(self._contents.to_bytes(8)).digest())
        if row is not None and row.loser:
            # It becomes an entry of its own, and is let go as it stands now.
            act = _seeing(device, _loser_now(device, row, base), gives_up=row.content)

        def publish(node: DataNode) -> None:
            ino = node.desk.new_ino() if row is None else row.ino
            draft = Draft(ino, SPACE_NUMBER, folder, name, base, Written(Path()), 0, False, 1)
            ready = _Ready(_Waiting(draft, _ignored), Adopted(Written(Path()), 1, content, None))
            (outcome,) = node.loop.call(lambda: node.desk.publication._publish([ready]))
            if isinstance(outcome, SharefsError):
                raise outcome

        if self._do(device, f"save {name}", act, publish):
            self._model.saved(content, act)

    def _rename(self, device: DataDevice) -> None:
        row = self._any_row(device)
        if row is None or device.node is None:
            return
        folder = self._any_folder(device)
        name = self._chance.choice((row.shown, row.shown.swapcase(), self._any_name()))
        if self._chance.random() < 0.4:
            folder = device.node.folder_of(row)
        there = device.node.desk.lookup(folder, name)
        act = _seeing(device, row)
        if there is not None and there.ino != row.ino:
            over = _seeing(device, there, gives_up=there.content)
            act = Act(device.name, act.saw | over.saw, over.gives_up)
        self._do(
            device, f"mv {row.shown} {name}", act, lambda n: n.desk.rename(row.ino, folder, name)
        )

    def _remove(self, device: DataDevice) -> None:
        row = self._any_row(device)
        if row is not None:
            act = _seeing(device, row, gives_up=row.content)
            self._do(device, f"rm {row.shown}", act, lambda n: n.desk.remove(row.ino))

    def _remove_all(self, device: DataDevice) -> None:
        """As `rm -r` does."""
        row = self._any_row(device, EntryType.FOLDER)
        if row is not None:
            self._remove_with_all_in_it(device, row.ino)

    def _remove_with_all_in_it(self, device: DataDevice, ino: int) -> None:
        assert device.node is not None, "whoever acts is awake"
        for child in device.node.desk.children(ino):
            self._remove_with_all_in_it(device, child.ino)
        row = device.disk.committed.shelf.rows.get(ino)
        if row is not None and row.live:
            act = _seeing(device, row, gives_up=row.content)
            self._do(device, f"rm {row.shown}", act, lambda n: n.desk.remove(ino))

    def _touch(self, device: DataDevice) -> None:
        row = self._any_row(device)
        if row is not None:
            mtime = self._chance.randrange(1000)
            act = _seeing(device, row)
            self._do(
                device,
                f"touch {row.shown}",
                act,
                lambda n: n.desk.set_attributes(row.ino, mtime, None),
            )

    def _do(
        self, device: DataDevice, words: str, act: Act, edit: Callable[[DataNode], object]
    ) -> bool:
        """Whether it was told to have succeeded."""
        assert device.node is not None, "whoever acts is awake"
        act = replace(act, stood=_standing(device))
        gone = _folders_gone(device)
        try:
            edit(device.node)
        except UserError as error:
            self._note(f"{device.name}: {words}: {error}")
            return False
        finally:
            self._learn(device, act, gone)
        self._note(f"{device.name}: {words}")
        return True

    def _learn(self, device: DataDevice, act: Act, gone: frozenset[Coordinate]) -> None:
        me = device.identity.device
        fresh = [
            (record.coordinate, data)
            for data, record in device.disk.committed.records.items()
            if record.device == me and not self._model.knows(record.coordinate, data)
        ]
        for at, data in sorted(fresh):
            if self._model.knows(at, data):
                # Another of a liar's, at one coordinate.
                continue
            seen = act.saw if is_tombstone(decode_record(data)) else act.saw | gone
            self._model.wrote(data, replace(act, saw=seen))
            act = replace(act, stood=act.stood | {at})

    def _note(self, sentence: str) -> None:
        if self._agenda.trace is not None:
            self._agenda.note(sentence)


def _standing(device: DataDevice) -> frozenset[Coordinate]:
    return frozenset(record.coordinate for record in device.disk.committed.records.values())


def _ignored(shown: Shown | None) -> None:
    """The simulation looks for itself."""


def _folders_gone(device: DataDevice) -> frozenset[Coordinate]:
    """Who puts something into a folder sees that it was deleted, and brings it back."""
    rows = device.disk.committed.shelf.rows.values()
    gone = [row for row in rows if row.deleted and row.type is EntryType.FOLDER and not row.loser]
    return frozenset(at for row in gone for at in _behind(device, row))


def _loser_now(device: DataDevice, row: Shown, base: Base | None) -> Shown:
    """The row of a conflict's loser that was opened: another version may have the same bytes."""
    rows = device.disk.committed.shelf.losers(row.item)
    seen = base.context if base is not None else ()
    return next((each for each in rows if sees(seen, each.version)), row)


def _opening(device: DataDevice, row: Shown) -> Act:
    """Whoever writes a file goes on from what it was when it was opened."""
    return Act(device.name, frozenset(_behind(device, row)), frozenset({row.content} - {None}))  # type: ignore[arg-type]


def _seeing(device: DataDevice, row: Shown, gives_up: ContentId | None = None) -> Act:
    """Whoever acts on a row has seen the versions behind it; a conflict's loser stands beside the
    winner, and a folder is all the folders that are merged there."""
    shelf = device.disk.committed.shelf
    rows = [row, *shelf.merged_into(row.item)]
    winner = shelf.winner(row.item) if row.loser else None
    saw = {at for each in (*rows, *([winner] if winner else [])) for at in _behind(device, each)}
    return Act(device.name, frozenset(saw), frozenset({gives_up} - {None}))  # type: ignore[arg-type]


def _behind(device: DataDevice, row: Shown) -> set[Coordinate]:
    """The versions with the bytes that a row shows; a winner's row stands for those without
    bytes, too."""
    heads = [
        (head, decode_entry(head.body)) for head in device.disk.committed.shelf.heads(row.item)
    ]
    shown = next((entry for head, entry in heads if head.coordinate == row.version), None)
    return {
        head.coordinate
        for head, entry in heads
        if shown is not None and (_same_bytes(entry, shown) or (not row.loser and _bare(entry)))
    }


def _same_bytes(one: Entry, other: Entry) -> bool:
    return (one.type, one.deleted, one.content, one.target) == (
        other.type,
        other.deleted,
        other.content,
        other.target,
    )


def _bare(entry: Entry) -> bool:
    return entry.deleted or entry.type is EntryType.FOLDER
