"""How does a row of the view become a `Shown`, and back?"""

from typing import Any

from sharefs.records.entry import EntryType
from sharefs.records.ids import Coordinate
from sharefs.records.shown import Shown
from sharefs.store.connection import Insertion

COLUMNS = (
    "ino, space, item, device, incarnation, sequence, loser, type, deleted, live, parent, anchor,"
    " place, merged, name, shown, created, stamp, mtime_ns, executable, size, content, target"
)
SELECT_ROWS = f"SELECT {COLUMNS}, 0 FROM entry "
"""For `tree`, which takes no interest in what is local."""
SELECT_ROWS_WITH_LOCAL = (
    f"SELECT {COLUMNS}, coalesce((SELECT local FROM content WHERE id = content), 0) FROM entry "
)
SAVE_ROW = Insertion(
    f"INSERT INTO entry ({COLUMNS})",
    len(COLUMNS.split(",")),
    "ON CONFLICT (ino) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS.split(", ")[1:]),
)

_TYPES = tuple(EntryType)
assert [int(type) for type in _TYPES] == list(range(len(_TYPES))), "types index this tuple"


def shown_of(row: tuple[Any, ...]) -> Shown:
    """From what either SELECT gives."""
    (
        ino,
        space,
        item,
        device,
        incarnation,
        sequence,
        loser,
        type,
        deleted,
        live,
        parent,
        anchor,
        place,
        merged,
        name,
        shown,
        created,
        stamp,
        mtime_ns,
        executable,
        size,
        content,
        target,
        local,
    ) = row
    # Equal values share an object, as tens of thousands of rows are kept in memory.
    return Shown(
        ino,
        space,
        item,
        Coordinate(device, incarnation, sequence),
        loser == 1,
        _TYPES[type],
        deleted == 1,
        live == 1,
        parent,
        parent if anchor == parent else anchor,
        parent if place == parent else place,
        merged,
        name,
        name if shown == name else shown,
        created,
        stamp,
        mtime_ns,
        executable == 1,
        size,
        content,
        target,
        local,
    )


def values_of(row: Shown) -> tuple[Any, ...]:
    """For SAVE_ROW."""
    return (
        row.ino,
        row.space,
        row.item,
        *row.version,
        row.loser,
        row.type,
        row.deleted,
        row.live,
        row.parent,
        row.anchor,
        row.place,
        row.merged,
        row.name,
        row.shown,
        row.created,
        row.stamp,
        row.mtime_ns,
        row.executable,
        row.size,
        row.content,
        row.target,
    )
