"""What does a folder show, without a word to the loop or the network?

Theory of operation. Rows are cached by folder: names as they were looked up, or, after a listing,
all of them; and by inode. After each COMMIT the node calls `forget` with the rows that changed, and
those go; a folder of which all was known keeps in mind which names it does not know any more. So
whoever copies many files into a folder, or looks at it meanwhile, pays for each file once. A read
that began before that may end after it: every read of a folder is registered while it runs,
`forget` marks it stale, and what is stale is given to the caller but not cached. Look-ups in the
cache take no lock where the name is known.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from sharefs.records.ids import ContentId
from sharefs.records.record import Record
from sharefs.records.shown import Shown
from sharefs.store.connection import Place, Readers, Touched
from sharefs.store.groups import among, in_groups
from sharefs.store.ledger import heads_at
from sharefs.store.rows import SELECT_ROWS_WITH_LOCAL, shown_of

CACHED_ENTRIES_MAX = 50_000
MOUNT_ROOT_INO = 1
MISSES_MAX = 8
UNKNOWN_MAX = 2048
"""With more than so many changes a folder is listed anew."""

_LISTED = "WHERE space = ? AND place = ? AND live = 1 AND shown <> '' AND merged IS NULL"


class _NotKnown(Enum):
    """That nothing is cached of a name, not even that it is not there."""

    NOT_KNOWN = auto()


_NOT_KNOWN: Final = _NotKnown.NOT_KNOWN


@dataclass(slots=True, eq=False)
class _Folder:
    """What is cached of one folder. Invariant: `names` has all its entries if `whole`, but for
    those that are in `unknown`."""

    names: dict[str, Shown | None] = field(default_factory=dict)
    """None for a name that was looked up and is not there."""
    inos: set[int] = field(default_factory=set)
    """Of rows in `_entries` that are in this place, shown or not."""
    whole: bool = False
    used: bool = True
    ordered: bool = True
    """`names` is in the order of listings."""
    unknown: set[str] = field(default_factory=set)
    """Names that changed since all were known."""
    missed: int = 0
    """How often a name was looked up that is not there, while not all were known."""


@dataclass(slots=True, eq=False)
class _Read:
    """A read under way. `place` is None where the folder is not known beforehand."""

    place: Place | None
    stale: bool = False


class ReadView:
    """The rows of all spaces, for any thread. Invariant: what is cached is what was committed."""

    def __init__(self, readers: Readers, entries_max: int = CACHED_ENTRIES_MAX) -> None:
        self._readers = readers
        self._entries_max = entries_max
        self._lock = threading.Lock()
        self._folders: dict[Place, _Folder] = {}
        self._entries: dict[int, Shown] = {}
        self._reads: set[_Read] = set()
        self._count = 0
        self.changed: Callable[[Iterable[int]], None] = lambda inos: None
        """Told the inodes of rows that are other than they were, and are read anew by now."""

    def entry(self, ino: int) -> Shown | None:
        """The row with an inode number, deleted or not."""
        row = self._entries.get(ino)
        return row if row is not None else self._load_entry(ino)

    def lookup(self, folder: int, name: str) -> Shown | None:
        """The entry that a folder shows under a name."""
        at = self._entries.get(folder) or self._load_entry(folder)
        if at is None:
            return None
        place = (at.space, at.item if at.merged is None else at.merged)
        cached = self._folders.get(place)
        if cached is not None:
            cached.used = True
            row = cached.names.get(name, _NOT_KNOWN)
            if row is _NOT_KNOWN and cached.whole:
                row = self._name_in(cached, name)
            if row is not _NOT_KNOWN:
                return row
            if cached.missed >= MISSES_MAX:
                # Somebody makes files there, and looks for each beforehand.
                rows = self._load_listing(place)
                cached.missed = -len(rows)
                return next((row for row in rows if row.shown == name), None)
        return self._load_name(place, name)

    def _name_in(self, folder: _Folder, name: str) -> Shown | _NotKnown | None:
        """Of a folder that is whole. With the lock: a name goes from `unknown` to `names`, and
        back, between two looks without it, and would be in neither."""
        with self._lock:
            if name in folder.unknown:
                return _NOT_KNOWN
            return folder.names.get(name)

    def children(self, folder: int) -> list[Shown]:
        """What a folder shows, by name. Empty for what is no folder."""
        at = self.entry(folder)
        if at is None:
            return []
        place = (at.space, at.item if at.merged is None else at.merged)
        cached = self._folders.get(place)
        if cached is None or not cached.whole:
            return self._load_listing(place)
        cached.used = True
        rows = self._listing_of(cached)
        if rows is None and self._load_unknown(place, cached):
            rows = self._listing_of(cached)
        return self._load_listing(place) if rows is None else rows

    def _listing_of(self, folder: _Folder) -> list[Shown] | None:
        """With the lock, as what changes meanwhile goes from `names`."""
        with self._lock:
            if folder.unknown or not folder.ordered:
                return None
            return [row for row in folder.names.values() if row is not None]

    def folder(self, entry: Shown) -> int:
        """The inode of the folder that lists an entry; for a space's top folder, the mount's root.

        Also the mount's root where the folder has not arrived yet.
        """
        rows = self._query("WHERE space = ? AND item = ? AND loser = 0", entry.space, entry.place)
        return rows[0].ino if rows else MOUNT_ROOT_INO

    def heads_of(self, entry: Shown) -> list[Record]:
        """The heads of the item of a row."""
        with self._readers.lent() as connection:
            return heads_at(connection, entry.space, entry.item)

    def entries_of(self, content: ContentId) -> list[Shown]:
        """The rows of all spaces that have a content."""
        return self._query("WHERE content = ? AND content IS NOT NULL ORDER BY ino", content)

    def forget(self, touched: Iterable[Touched]) -> None:
        """After a COMMIT: these rows are other than they were."""
        rows = list(touched)
        places = {(space, place) for space, place, _, _ in rows}
        with self._lock:
            for read in self._reads:
                read.stale = read.stale or read.place is None or read.place in places
            for space, place, ino, name in rows:
                self._forget_row((space, place), ino, name)
        self.changed(ino for _, _, ino, _ in rows)

    def _forget_row(self, place: Place, ino: int, name: str) -> None:
        self._entries.pop(ino, None)
        folder = self._folders.get(place)
        if folder is None:
            return
        if folder.whole and name:
            # First, as look-ups take no lock.
            folder.unknown.add(name)
        if ino in folder.inos:
            folder.inos.discard(ino)
            self._count -= 1
        if name in folder.names:
            del folder.names[name]
            self._count -= 1

    # --- reads that are cached ------------------------------------------------------------------

    def _load_entry(self, ino: int) -> Shown | None:
        read = self._begin(None)
        try:
            rows = self._query("WHERE ino = ?", ino)
            with self._lock:
                if rows and not read.stale:
                    self._keep_entry(rows[0])
            return rows[0] if rows else None
        finally:
            self._end(read)

    def _load_name(self, place: Place, name: str) -> Shown | None:
        read = self._begin(place)
        try:
            rows = self._query(f"{_LISTED} AND shown = ?", *place, name)
            row = rows[0] if rows else None
            with self._lock:
                folder = self._folders.get(place)
                if not read.stale and folder is not None and name in folder.names:
                    # Who read it meanwhile, maybe before a COMMIT that this one saw, is believed
                    # until `forget`: nobody sees a change and then what was before it.
                    row = folder.names[name]
                elif not read.stale:
                    self._keep_name(place, name, row)
            return row
        finally:
            self._end(read)

    def _load_listing(self, place: Place) -> list[Shown]:
        read = self._begin(place)
        try:
            rows = self._query(f"{_LISTED} ORDER BY shown", *place)
            with self._lock:
                if not read.stale and len(rows) <= self._entries_max:
                    self._keep_listing(place, rows)
            return rows
        finally:
            self._end(read)

    def _load_unknown(self, place: Place, folder: _Folder) -> bool:
        """Look up what changed in a folder of which all was known; False if that is too much, or
        something changed again meanwhile."""
        read = self._begin(place)
        try:
            unknown = sorted(folder.unknown)
            if len(unknown) > UNKNOWN_MAX:
                return False
            rows: list[Shown] = []
            for group in in_groups(unknown):
                rows += self._query(f"{_LISTED} AND shown {among(group)}", *place, *group)
            with self._lock:
                if read.stale or self._folders.get(place) is not folder:
                    return False
                for row in rows:
                    self._keep_name(place, row.shown, row)
                folder.unknown.difference_update(unknown)
                folder.names = dict(sorted(folder.names.items()))
                folder.ordered = True
                return folder.whole
        finally:
            self._end(read)

    def _query(self, condition: str, *values: object) -> list[Shown]:
        with self._readers.lent() as connection:
            rows = connection.execute(f"{SELECT_ROWS_WITH_LOCAL}{condition}", values).fetchall()
        return [shown_of(row) for row in rows]

    def _begin(self, place: Place | None) -> _Read:
        read = _Read(place)
        with self._lock:
            self._reads.add(read)
        return read

    def _end(self, read: _Read) -> None:
        with self._lock:
            self._reads.discard(read)

    # --- the cache, with the lock held ----------------------------------------------------------

    def _keep_entry(self, row: Shown) -> None:
        folder = self._folders.setdefault((row.space, row.place), _Folder())
        if row.ino not in folder.inos:
            self._count += 1
        folder.inos.add(row.ino)
        self._entries[row.ino] = row
        self._make_room()

    def _keep_name(self, place: Place, name: str, row: Shown | None) -> None:
        folder = self._folders.setdefault(place, _Folder())
        if name not in folder.names:
            self._count += 1
            folder.ordered = False
        folder.names[name] = row
        folder.unknown.discard(name)
        if row is not None:
            self._keep_entry(row)
        else:
            folder.missed += 1
            self._make_room()

    def _keep_listing(self, place: Place, rows: list[Shown]) -> None:
        self._drop(place)
        folder = _Folder({row.shown: row for row in rows}, {row.ino for row in rows}, whole=True)
        self._entries.update((row.ino, row) for row in rows)
        self._folders[place] = folder
        self._count += 2 * len(rows)
        self._make_room()

    def _make_room(self) -> None:
        """Drop whole folders, in the order of their coming, but those used of late once later."""
        while self._count > 2 * self._entries_max and len(self._folders) > 1:
            place = next(iter(self._folders))
            folder = self._folders[place]
            if folder.used:
                folder.used = False
                self._folders[place] = self._folders.pop(place)
            else:
                self._drop(place)

    def _drop(self, place: Place) -> None:
        folder = self._folders.pop(place, None)
        if folder is None:
            return
        for ino in folder.inos:
            self._entries.pop(ino, None)
        self._count -= len(folder.inos) + len(folder.names)
