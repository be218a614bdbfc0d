"""The mount's ports in memory: one device's spaces, its contents, and a loop that publishes.

Honest where it matters to the mount: a version whose writer had not seen the item's present version
makes a conflict, published files are taken over by moving them, and the loop can be made to wait.
"""

import dataclasses
import os
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from blake3 import blake3
from msgspec.structs import replace

from sharefs import errors
from sharefs.mount.askers import Arrival
from sharefs.mount.ports import EVERY_BYTE, Base, Draft, DraftBytes, SpaceFolder
from sharefs.records.entry import EntryType, check_name
from sharefs.records.ids import ROOT, ContentId, Coordinate, DeviceId, Incarnation, ItemId
from sharefs.records.shown import Shown
from sharefs.store.written import Written

DEVICE, INCARNATION = DeviceId(b"d" * 16), Incarnation(b"i" * 8)
STAMP_MS = 1_700_000_000_000


class FakeHouse:
    """View, Contents and Changes at once."""

    def __init__(self, folder: Path, spaces: tuple[str, ...] = ("Family",)) -> None:
        self.drafts_folder = folder
        self.rows: dict[int, Shown] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.items: dict[tuple[int, ItemId], int] = {}
        self.bytes: dict[ContentId, bytes] = {}
        self.ghosts: dict[ContentId, Ghost] = {}
        self.offline: set[ContentId] = set()
        self.published: list[tuple[str, bytes]] = []
        self.copied: list[int] = []
        """The sizes of drafts that others were copied from."""
        self.notes: dict[Path, tuple[int, str, Base | None]] = {}
        self.fail_publications = False
        self.room = (1 << 40, 1 << 39)
        self._lock = threading.RLock()
        self._changed = threading.Condition()
        self._told: Callable[[Iterable[int]], None] = lambda inos: None
        self._ino = 1
        self._sequence = 0
        self._drafts = 0
        self._spaces: list[SpaceFolder] = []
        for number, name in enumerate(spaces, 1):
            ino = self.new_ino()
            self._spaces.append(SpaceFolder(ino, number, name, True, STAMP_MS * 10**6))
            self.names[ino] = {}
            self._put(self._row(ino, number, ROOT, EntryType.FOLDER, ROOT, ""))
        self._open = threading.Event()
        self._open.set()
        self._queue: queue.Queue[tuple[Draft, Callable[[Shown | None], None]] | None] = (
            queue.Queue()
        )
        self._loop = threading.Thread(target=self._work, name="fake loop")
        self._loop.start()

    def close(self) -> None:
        self._open.set()
        self._queue.put(None)
        self._loop.join()

    def set_writable(self, number: int, writable: bool) -> None:
        self._spaces = [
            dataclasses.replace(space, writable=writable) if space.space == number else space
            for space in self._spaces
        ]

    # --- the loop -----------------------------------------------------------------------------

    def hold(self) -> None:
        """From now on, publications wait."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def settle(self) -> None:
        """Wait until everything handed over so far is published."""
        self._queue.join()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            self._open.wait()
            draft, done = task
            done(None if self.fail_publications else self._publish(draft))
            self._queue.task_done()

    def _publish(self, draft: Draft) -> Shown:
        data = draft.bytes.path.read_bytes()
        draft.bytes.path.unlink()
        content = self.keep(data)
        with self._lock:
            folder = self.rows[draft.folder]
            self.published.append((draft.name, data))
            if draft.base is None or draft.base.loser:
                item = self._new_item()
                if draft.ino in self.rows:
                    self._erase(draft.ino)
            else:
                item = draft.base.item
                self._supersede(draft, item)
            row = self._row(draft.ino, draft.space, item, EntryType.FILE, folder.item, draft.name)
            row = replace(
                row,
                size=len(data),
                local=len(data),
                content=content,
                mtime_ns=draft.mtime_ns,
                executable=draft.executable,
            )
            self._put(row, draft.folder)
            return self.rows[draft.ino]

    def _supersede(self, draft: Draft, item: ItemId) -> None:
        assert draft.base is not None
        present = self.items.get((draft.space, item))
        if present is None:
            return
        row = self.rows[present]
        seen = {(device, incarnation): last for device, incarnation, last in draft.base.context}
        device, incarnation, sequence = row.version
        self._erase(present)
        if seen.get((device, incarnation), 0) < sequence:
            loser = replace(row, ino=self.new_ino(), loser=True, shown=f"{row.name} (conflict)")
            folder = self.items[(row.space, row.place)]
            self.rows[loser.ino] = loser
            self.names[folder][loser.shown] = loser.ino

    # --- rows ---------------------------------------------------------------------------------

    def _new_item(self) -> ItemId:
        self._sequence += 1
        return ItemId(DEVICE + self._sequence.to_bytes(8, "big"))

    def _row(
        self, ino: int, space: int, item: ItemId, type: EntryType, parent: ItemId, name: str
    ) -> Shown:
        self._sequence += 1
        return Shown(
            ino=ino,
            space=space,
            item=item,
            version=Coordinate(DEVICE, INCARNATION, self._sequence),
            loser=False,
            type=type,
            deleted=False,
            live=True,
            parent=parent,
            anchor=parent,
            place=parent,
            merged=None,
            name=name,
            shown=name,
            created=STAMP_MS,
            stamp=STAMP_MS + self._sequence,
            mtime_ns=STAMP_MS * 10**6,
            executable=False,
            size=0,
            content=None,
            target="",
            local=0,
        )

    def _put(self, row: Shown, folder: int | None = None) -> None:
        self.rows[row.ino] = row
        self.items[(row.space, row.item)] = row.ino
        if row.type is EntryType.FOLDER:
            self.names.setdefault(row.ino, {})
        if folder is not None:
            shown, number = row.name, 2
            while self.names[folder].get(shown, row.ino) != row.ino:
                shown, number = f"{row.name} ({number})", number + 1
            self.rows[row.ino] = replace(row, shown=shown)
            self.names[folder][shown] = row.ino

    def _erase(self, ino: int) -> None:
        row = self.rows.pop(ino)
        folder = self.items[(row.space, row.place)]
        if self.names[folder].get(row.shown) == ino:
            del self.names[folder][row.shown]
        if not row.loser:
            self.items.pop((row.space, row.item), None)
        self.names.pop(ino, None)

    def _versioned(self, row: Shown, **fields: object) -> Shown:
        self._sequence += 1
        version = Coordinate(DEVICE, INCARNATION, self._sequence)
        newer = replace(row, version=version, stamp=row.stamp + 1)
        return replace(newer, **fields)

    # --- what others do --------------------------------------------------------------------------

    def top(self, number: int = 1) -> int:
        return self._spaces[number - 1].ino

    def add(self, name: str, data: bytes, folder: int | None = None, **fields: object) -> Shown:
        """A file that came from elsewhere."""
        with self._lock:
            folder = self.top() if folder is None else folder
            there = self.rows[folder]
            ino = self.new_ino()
            row = self._row(ino, there.space, self._new_item(), EntryType.FILE, there.item, name)
            content = self.keep(data)
            held = replace(row, size=len(data), local=len(data), content=content)
            self._put(replace(held, **fields), folder)
            return self.rows[ino]

    def change(self, ino: int, data: bytes, **fields: object) -> Shown:
        """Another member's next version of a file."""
        with self._lock:
            content = self.keep(data)
            held = replace(self.rows[ino], content=content, size=len(data), local=len(data))
            row = self._versioned(held, **fields)
            self.rows[ino] = row
        self._told([ino])
        return row

    def watch(self, changed: Callable[[Iterable[int]], None]) -> None:
        self._told = changed

    def keep(self, data: bytes) -> ContentId | None:
        if not data:
            return None
        content = ContentId(blake3(data).digest())
        self.bytes[content] = data
        return content

    def make_ghost(self, ino: int) -> "Ghost":
        """Its bytes are elsewhere until that is set."""
        row = self.rows[ino]
        assert row.content is not None
        self.rows[ino] = replace(row, local=0)
        self.ghosts[row.content] = Ghost(self._changed)
        return self.ghosts[row.content]

    def await_waiting(self, count: int, seconds: float) -> None:
        """Until so many wait for all ghosts together."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(ghost.waiting for ghost in self.ghosts.values()) == count, seconds
            )

    def content(self, row: Shown) -> bytes:
        if row.content is None:
            return b""
        if row.content in self.offline:
            raise errors.NoHolderOnline("Nobody who has it is online.")
        if row.content in self.ghosts and not self.ghosts[row.content].wait(20):
            raise errors.NoHolderOnline("Nobody who has it came online.")
        return self.bytes[row.content]

    # --- View -------------------------------------------------------------------------------------

    def spaces(self) -> list[SpaceFolder]:
        return self._spaces

    def entry(self, ino: int) -> Shown | None:
        return self.rows.get(ino)

    def lookup(self, folder: int, name: str) -> Shown | None:
        ino = self.names.get(folder, {}).get(name)
        return None if ino is None else self.rows.get(ino)

    def children(self, folder: int) -> list[Shown]:
        with self._lock:
            return [self.rows[ino] for ino in self.names.get(folder, {}).values()]

    def folder(self, entry: Shown) -> int:
        return self.items[(entry.space, entry.place)]

    def base(self, entry: Shown) -> Base:
        seen = ((*entry.version,),)
        return Base(entry.item, seen, entry.stamp, entry.created, entry.loser)

    def describe(self, entry: Shown) -> dict[str, str]:
        state = "local" if entry.local == entry.size else "ghost"
        return {"state": state, "contributor": "Anna"}

    # --- Contents ---------------------------------------------------------------------------------

    def open(self, entry: Shown) -> "FakeReader":
        return FakeReader(self, entry)

    def new_draft(
        self,
        folder: int,
        name: str,
        base: Base | None,
        like: Shown | DraftBytes | None = None,
        size: int = EVERY_BYTE,
    ) -> Written:
        with self._lock:
            self._drafts += 1
            path = self.drafts_folder / f"draft{self._drafts}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.notes[path] = (folder, name, base)
        written = Written(path, descriptor)
        try:
            if isinstance(like, Shown):
                written.write(0, self.content(like)[:size])
            elif like is not None:
                self.copied.append(like.size)
                written.write(0, like.read(0, like.size))
        except BaseException:
            written.close()
            written.discard()
            raise
        return written

    def note_draft(self, path: Path, folder: int, name: str, base: Base | None) -> None:
        if not path.exists():
            raise FileNotFoundError(path)
        self.notes[path] = (folder, name, base)

    def free_bytes(self) -> tuple[int, int]:
        return self.room

    # --- Changes ----------------------------------------------------------------------------------

    def new_ino(self) -> int:
        with self._lock:
            self._ino += 1
            return self._ino

    def make_folder(self, folder: int, name: str) -> Shown:
        return self._make(folder, name, EntryType.FOLDER, "")

    def make_symlink(self, folder: int, name: str, target: str) -> Shown:
        return self._make(folder, name, EntryType.SYMLINK, target)

    def _make(self, folder: int, name: str, type: EntryType, target: str) -> Shown:
        check_name(name)
        with self._lock:
            if name in self.names[folder]:
                raise errors.EntryExists(name)
            there = self.rows[folder]
            ino = self.new_ino()
            row = self._row(ino, there.space, self._new_item(), type, there.item, name)
            self._put(replace(row, target=target), folder)
            return self.rows[ino]

    def remove(self, ino: int, base: Base | None = None) -> None:
        with self._lock:
            if ino not in self.rows:
                raise errors.NoSuchEntry(str(ino))
            if self.names.get(ino):
                raise errors.FolderNotEmpty(str(ino))
            self._erase(ino)

    def rename(self, ino: int, folder: int, name: str) -> None:
        with self._lock:
            if ino not in self.rows:
                raise errors.NoSuchEntry(str(ino))
            row = self.rows[ino]
            target = self.lookup(folder, name)
            if target is not None and row.type is EntryType.FILE:
                self._erase(ino)
                moved = self._versioned(target, content=row.content, size=row.size, local=row.local)
                self.rows[target.ino] = replace(moved, mtime_ns=row.mtime_ns)
                return
            if target is not None:
                self.remove(target.ino)
            del self.names[self.folder(row)][row.shown]
            item = self.rows[folder].item
            moved = self._versioned(row, name=name, parent=item, anchor=item, place=item)
            self._put(replace(moved, loser=False), folder)

    def set_attributes(self, ino: int, mtime_ns: int | None, executable: bool | None) -> None:
        with self._lock:
            if ino not in self.rows:
                raise errors.NoSuchEntry(str(ino))
            row = self.rows[ino]
            self.rows[ino] = self._versioned(
                row,
                mtime_ns=row.mtime_ns if mtime_ns is None else mtime_ns,
                executable=row.executable if executable is None else executable,
            )

    def publish(self, draft: Draft, done: Callable[[Shown | None], None]) -> None:
        self._queue.put((draft, done))


class Ghost:
    """Bytes that are elsewhere until they are `set`, and how many threads wait for them."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._waiting: list[Arrival] = []
        self._here = False
        self.waits = 0
        """How often somebody began to wait."""

    @property
    def here(self) -> bool:
        return self._here

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def set(self) -> None:
        with self._changed:
            self._here = True
            for arrival in self._waiting:
                arrival.set()

    def wait(self, seconds: float) -> bool:
        arrival = Arrival()
        with self._changed:
            if self._here:
                return True
            self._waiting.append(arrival)
            self.waits += 1
            self._changed.notify_all()
        try:
            return arrival.wait(seconds)
        finally:
            with self._changed:
                self._waiting.remove(arrival)
                self._changed.notify_all()

    def await_waiting(self, count: int, seconds: float) -> bool:
        """Whether so many wait, before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) == count, seconds)


class FakeReader:
    """Reads from memory; waits for a ghost's event."""

    def __init__(self, house: FakeHouse, entry: Shown) -> None:
        self._house = house
        self._entry = entry
        self.closed = False

    def has(self, offset: int, size: int) -> bool:
        ghost = self._house.ghosts.get(self._entry.content) if self._entry.content else None
        return ghost is None or ghost.here

    def read(self, offset: int, size: int) -> bytes:
        assert not self.closed
        return self._house.content(self._entry)[offset : offset + size]

    def close(self) -> None:
        self.closed = True
