"""How do the mount's edits become versions, and what does the mount see?

Implements `View` and `Changes` of `sharefs.mount.ports`.
"""

import logging
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from sharefs.errors import (
    CrossSpaceMove,
    EntryExists,
    FolderNotEmpty,
    IsAFolder,
    NoSuchEntry,
    NotAFolder,
    NotAllowed,
)
from sharefs.mount.ports import Base, Draft, SpaceFolder
from sharefs.node import conflicts
from sharefs.node.conflicts import seen_behind
from sharefs.node.holders import Holders
from sharefs.node.pins import Pins
from sharefs.node.publication import Publication
from sharefs.node.replica import Replica
from sharefs.node.state import State, now_ms
from sharefs.records.entry import EntryType, check_name, time_kept
from sharefs.records.ids import ROOT, DeviceId, ItemId, creator_of
from sharefs.records.record import context_of
from sharefs.records.shown import Shown
from sharefs.spaces.rights import Right
from sharefs.tree import operations
from sharefs.tree.operations import Bytes, Change
from sharefs.tree.tree import heads_behind

log = logging.getLogger("sharefs.node")


class Desk:
    """What the mount asks for. From any thread, but for the methods that begin with `_`."""

    def __init__(self, state: State, holders: Holders, pins: Pins) -> None:
        self._state = state
        self._pins = pins
        self._holders = holders
        self._folders: list[SpaceFolder] = []
        self.publication = Publication(state)

    # --- View -----------------------------------------------------------------------------------

    def spaces(self) -> list[SpaceFolder]:
        return self._folders

    def refresh_spaces(self) -> None:
        """In the loop, when a space or our role in it changed."""
        folders = []
        for row in self._state.ledger.spaces():
            replica = self._state.replicas[row.id]
            root = replica.shelf.winner(ROOT)
            assert root is not None, "a space has a row for its root"
            writable = replica.may(Right.CONTRIBUTE)
            began = min(member.since for member in replica.roster.members.values())
            mtime_ns = max(root.mtime_ns, began * 1_000_000)
            folders.append(SpaceFolder(root.ino, row.number, row.name, writable, mtime_ns))
        self._folders = folders

    def entry(self, ino: int) -> Shown | None:
        return self._state.view.entry(ino)

    def lookup(self, folder: int, name: str) -> Shown | None:
        return self._state.view.lookup(folder, name)

    def children(self, folder: int) -> list[Shown]:
        return self._state.view.children(folder)

    def folder(self, entry: Shown) -> int:
        return self._state.view.folder(entry)

    def watch(self, changed: Callable[[Iterable[int]], None]) -> None:
        self._state.view.changed = changed

    def base(self, entry: Shown) -> Base:
        heads = heads_behind(entry, self._state.view.heads_of(entry))
        if not heads:
            raise NoSuchEntry("The entry was changed just now: try again.")
        stamp = max(head.stamp for head in heads)
        return Base(entry.item, context_of(heads), stamp, entry.created, entry.loser)

    def describe(self, entry: Shown) -> dict[str, str]:
        replica = self.replica(entry.space)
        words = {
            "contributor": replica.roster.label(creator_of(entry.item)),
            "writer": replica.roster.label(entry.version.device),
        }
        if entry.type is EntryType.FILE:
            words.update(self._describe_bytes(entry, replica))
        if entry.loser:
            words["conflict"] = "loser"
        if self._pins.is_pinned(entry):
            words["pinned"] = "yes"
        return words

    def _describe_bytes(self, entry: Shown, replica: Replica) -> dict[str, str]:
        """What is here, and who has all of it, or some."""
        if entry.content is None:
            return {"state": "local"}
        here = self._state.contents.local_bytes(entry.content)
        whole, partly = self._holders.of(entry), self._holders.partly(entry)
        names = self._names(replica, whole, partly)
        if here >= entry.size:
            names.insert(0, replica.roster.label(self._state.me))
            state = "local" if whole else "last copy"
        elif here > 0:
            state = "partial"
        else:
            online = any(map(self._holders.is_online, (*whole, *partly)))
            state = self._state_of_ghost(entry) if online else "unavailable"
        return {"state": state, "holders": ", ".join(dict.fromkeys(names))}

    def _names(self, replica: Replica, whole: list[DeviceId], partly: list[DeviceId]) -> list[str]:
        """Those who are online come first, and of these, who has all of it."""
        ranked = []
        for device in (*whole, *partly):
            online, some = self._holders.is_online(device), device in partly
            remarks = ["partial"] * some + ["offline"] * (not online)
            remark = f" ({', '.join(remarks)})" if remarks else ""
            ranked.append((not online, some, replica.roster.label(device) + remark))
        return [name for *_, name in sorted(ranked)]

    def _state_of_ghost(self, entry: Shown) -> str:
        return "stream-only" if self._state.keeping.is_stream_only(entry) else "ghost"

    def replica(self, number: int) -> Replica:
        """Raises NoSuchEntry for a space that is not here any more."""
        return self._state.replica_numbered(number)

    # --- Changes --------------------------------------------------------------------------------

    def new_ino(self) -> int:
        return self._state.store.new_ino()

    def make_folder(self, folder: int, name: str) -> Shown:
        return self._state.loop.call(lambda: self._make(folder, name, None))

    def make_symlink(self, folder: int, name: str, target: str) -> Shown:
        return self._state.loop.call(lambda: self._make(folder, name, target))

    def remove(self, ino: int, base: Base | None = None) -> None:
        self._state.make_room(lambda: self._remove(ino, base))

    def rename(self, ino: int, folder: int, name: str) -> None:
        self._state.loop.call(lambda: self._rename(ino, folder, name))

    def set_attributes(self, ino: int, mtime_ns: int | None, executable: bool | None) -> None:
        self._state.loop.call(lambda: self._touch(ino, mtime_ns, executable))

    def resolve(self, ino: int, keep: str) -> list[ItemId]:
        """As `conflicts.settle`. Raises also NoSuchEntry, ReadOnlySpace."""
        return self._state.loop.call(lambda: self._resolve(ino, keep))

    def publish(self, draft: Draft, done: Callable[[Shown | None], None]) -> None:
        self.publication.publish(draft, done)

    # --- in the loop ----------------------------------------------------------------------------

    def _find(self, ino: int, *, deleted_too: bool = False) -> tuple[Replica, Shown]:
        for replica in self._state.replicas.values():
            row = replica.shelf.row(ino)
            if row is not None and row.space == replica.number and (row.live or deleted_too):
                return replica, row
        raise NoSuchEntry("The entry is gone.")

    def _find_folder(self, ino: int) -> tuple[Replica, Shown]:
        replica, row = self._find(ino)
        if row.type is not EntryType.FOLDER:
            raise NotAFolder("It is not a folder.")
        return replica, row

    def _named(self, replica: Replica, place: ItemId, name: str) -> Shown | None:
        rows = replica.shelf.named(place, [name])
        return next((row for row in rows if row.shown == name), None)

    def _author(self, replica: Replica, *changes: Change) -> None:
        replica.author(changes, now_ms())

    def _make(self, folder: int, name: str, target: str | None) -> Shown:
        check_name(name)
        replica, place = self._find_folder(folder)
        replica.check_writable()
        if self._named(replica, place.item, name) is not None:
            raise EntryExists(f"{name} is there already.")
        item = self._state.new_item()
        if target is None:
            change = operations.make_folder(item, place.item, name, now_ms())
        else:
            change = operations.make_symlink(item, place.item, name, target, now_ms())
        self._author(replica, change)
        row = replica.shelf.winner(item)
        assert row is not None, "what was made has a row"
        return row

    def _members(self, replica: Replica, row: Shown) -> list[Shown]:
        """A folder, and all that are shown as part of it."""
        if row.type is not EntryType.FOLDER:
            return [row]
        return [row, *replica.shelf.merged_into(row.item)]

    def _remove(self, ino: int, base: Base | None = None) -> None:
        replica, row = self._find(ino)
        replica.check_writable()
        if row.item == ROOT:
            raise NotAllowed("A space's own folder can not be removed.")
        if row.type is EntryType.FOLDER and replica.shelf.listed(row.item):
            raise FolderNotEmpty(f"{row.shown} is not empty.")
        if row.loser:
            conflicts.let_go(replica, row)
            return
        if base is not None and base.item == row.item:
            self._author(replica, operations.remove_base(row, base.context, base.stamp))
            return
        self._author(
            replica,
            *(
                operations.remove(member, seen_behind(replica, member))
                for member in self._members(replica, row)
                if not member.deleted
            ),
        )

    def _rename(self, ino: int, folder: int, name: str) -> None:
        check_name(name)
        replica, row = self._find(ino)
        to, place = self._find_folder(folder)
        replica.check_writable()
        if row.item == ROOT:
            raise NotAllowed("A space's own folder keeps its name and place.")
        if to is not replica:
            raise CrossSpaceMove("From one space to another, an entry is copied and deleted.")
        self._check_outside(replica, row, place)
        existing = self._named(replica, place.item, name)
        if existing is not None and existing.ino == row.ino:
            return
        if existing is not None:
            if self._replace(replica, row, existing):
                return
            # It may be a loser of the same item that was let go.
            replica, row = self._find(ino)
        if row.loser:
            conflicts.keep_apart(replica, replace(row, place=place.item, shown=name))
            return
        parent = row.parent if place.item == row.place else place.item
        wanted = row.name if name == row.shown else name
        self._author(
            replica,
            *(
                operations.move(member, seen_behind(replica, member), parent, wanted)
                for member in self._members(replica, row)
            ),
        )

    def _check_outside(self, replica: Replica, row: Shown, place: Shown) -> None:
        """The kernel does so, too, but others may have moved either since it looked."""
        at: Shown | None = place if row.type is EntryType.FOLDER else None
        while at is not None and at.item != ROOT:
            if row.item in (at.item, at.merged):
                raise NotAllowed(f"{row.shown} can not be moved into itself.")
            at = replica.shelf.winner(at.place)

    def _replace(self, replica: Replica, row: Shown, existing: Shown) -> bool:
        """Make room at a name that is taken. True if the rename is done with that."""
        if existing.type is EntryType.FOLDER:
            if row.type is not EntryType.FOLDER:
                raise IsAFolder(f"{existing.shown} is a folder.")
            self._remove(existing.ino)
            return False
        if row.type is EntryType.FOLDER:
            raise NotAFolder(f"{existing.shown} is not a folder.")
        if existing.loser or EntryType.SYMLINK in (row.type, existing.type):
            self._remove(existing.ino)
            return False
        if row.item == existing.item:
            conflicts.keep_loser(replica, row)
            return True
        held = Bytes(row.size, row.content, row.mtime_ns, row.executable)
        seen = seen_behind(replica, existing)
        self._author(replica, operations.replace_bytes(existing, seen, held))
        self._remove(row.ino)
        return True

    def _resolve(self, ino: int, keep: str) -> list[ItemId]:
        # A delete, too, can be what won.
        replica, row = self._find(ino, deleted_too=True)
        replica.check_writable()
        return conflicts.settle(replica, row, keep)

    def _touch(self, ino: int, mtime_ns: int | None, executable: bool | None) -> None:
        replica, row = self._find(ino)
        replica.check_writable()
        if row.item == ROOT:
            raise NotAllowed("Its times and modes are not kept.")
        if row.loser:
            mtime_ns = row.mtime_ns if mtime_ns is None else time_kept(mtime_ns)
            executable = row.executable if executable is None else executable
            kept = replace(row, mtime_ns=mtime_ns, executable=executable)
            if kept != row:
                conflicts.keep_apart(replica, kept)
            return
        seen = seen_behind(replica, row)
        change = operations.touch(row, seen, mtime_ns, executable)
        if change.body != operations.keep(row, seen).body:
            self._author(replica, change)
