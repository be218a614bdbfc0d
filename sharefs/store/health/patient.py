"""Which home is examined, and may it be mended?"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from sharefs.records.ids import ROOT, ContentId
from sharefs.store.connection import translated
from sharefs.store.database import Store
from sharefs.store.health.finding import Finding
from sharefs.store.home import Home
from sharefs.store.whole import write_file

DEPTH_MAX = 256
PATHS_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Patient:
    """A home whose node is down. Invariant: what `reader` sees is what was committed, as it is a
    connection of its own, so that rows may change while others are read."""

    home: Home
    reader: sqlite3.Connection
    store: Store | None = None
    """To mend with; None to look only."""
    doubted: set[ContentId] = field(default_factory=set)
    """Contents that were found wrong, and are not mended: what follows from them is not told."""

    def mend(self, finding: Finding, change: Callable[[Store], None]) -> Finding:
        """Do what a finding's remedy says, if we are to."""
        assert finding.remedy, "what can be mended has a remedy"
        if self.store is None:
            return finding
        with self.store.transaction():
            change(self.store)
        return replace(finding, mended=True)

    def mend_content(
        self, finding: Finding, content: ContentId, change: Callable[[Store], None]
    ) -> Finding:
        """As `mend`, of how much of a content is here, on which other things depend."""
        if self.store is None:
            self.doubted.add(content)

        def change_all(store: Store) -> None:
            change(store)
            store.holding.note_contents([content])

        return self.mend(finding, change_all)

    def set_aside(self, name: str, data: bytes) -> None:
        """Keep bytes that can not stand where they were. Raises DiskFull, HomeNotUsable."""
        path = self.home.set_aside_folder / name
        with translated(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_file(path, data)

    def space_name(self, space: int) -> str:
        """How the mount calls a space."""
        row = self.reader.execute("SELECT name FROM space WHERE number = ?", (space,)).fetchone()
        return str(row[0]) if row else f"space {space}"

    def path_of_item(self, space: int, item: bytes) -> str:
        """Where the mount shows an item, or would, as the rows have it now."""
        return path_of_item(self.reader, self.space_name(space), space, item)

    def paths_of_content(self, content: bytes) -> str:
        """The files that have a content: some of them, and how many more."""
        rows = self.reader.execute(
            "SELECT space, item FROM entry WHERE content = ? AND live = 1 AND content IS NOT NULL"
            " ORDER BY ino LIMIT ?",
            (content, PATHS_SHOWN_MAX + 1),
        ).fetchall()
        paths = [self.path_of_item(space, item) for space, item in rows[:PATHS_SHOWN_MAX]]
        return ", ".join(paths) + (" and others" if len(rows) > PATHS_SHOWN_MAX else "")

    def one(self, query: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.reader.execute(query, values).fetchone()
        return None if row is None else row[0]


def path_of_item(
    connection: sqlite3.Connection, space_name: str, space: int, item: bytes, schema: str = "main"
) -> str:
    """Climb the folders in which an item is listed; rows may be wrong, so not for ever."""
    parts: list[str] = []
    for _ in range(DEPTH_MAX):
        row = connection.execute(
            f"SELECT shown, name, place FROM {schema}.entry"
            " WHERE space = ? AND item = ? AND loser = 0",
            (space, item),
        ).fetchone()
        if item == ROOT or row is None:
            break
        shown, name, item = row
        parts.append(shown or name)
    return "/".join([space_name, *reversed(parts)])
