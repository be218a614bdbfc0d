"""Do the rows of the view follow from the heads?

They are made anew, from all heads, in a database of their own beside the home's, and compared with
those that stand: so memory stays small, and what differs is put right by a few statements. It takes
as long as receiving all heads anew: about a minute for 300 000, and as much of the disk as the
database again.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.record import Record, decode_record
from sharefs.store.connection import InoCounter
from sharefs.store.database import Store, open_database
from sharefs.store.dead import Dead
from sharefs.store.groups import among, in_groups
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient, path_of_item
from sharefs.store.rows import COLUMNS

RECORDS_AT_ONCE = 512
FINDINGS_MAX = 1000
"""So many rows are told of one by one, in each way in which they may be wrong."""

Batch = tuple[list[tuple[Record, bytes]], dict[ItemId, int]]
"""Records with their bytes, and the inodes that their items have."""
Grow = Callable[[Store, int, Iterator[Batch]], None]
"""Have the tree receive batches into the space of a number."""

_NAMES = [name.strip() for name in COLUMNS.split(",")]
_COMPARED = [name for name in _NAMES if name not in {"ino", "space", "item", "loser"}]
_SAME = " AND ".join(f"stands.{name} IS fresh.{name}" for name in _COMPARED)
_ITEM = "stands.space = fresh.space AND stands.item = fresh.item"
_VERSION = (
    "stands.device = fresh.device AND stands.incarnation = fresh.incarnation"
    " AND stands.sequence = fresh.sequence"
)
_WINNER = "stands.loser = 0 AND fresh.loser = 0"
_LOSER = f"stands.loser = 1 AND fresh.loser = 1 AND {_VERSION}"
_PAIRS = (f"{_ITEM} AND {_WINNER}", f"{_ITEM} AND {_LOSER}")
"""How a row is found again, winner or loser; with the figures in it, so that SQLite uses the index
that is for it."""


def check_view(patient: Patient, grow: Grow) -> Iterator[Finding]:
    """`grow` has the shipped tree make the rows."""
    with _scratch(patient) as fresh:
        for (space,) in patient.reader.execute("SELECT number FROM space").fetchall():
            grow(fresh, space, _batches(patient.reader, space))
        fresh.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path = fresh.connection.execute("PRAGMA database_list").fetchone()[2]
        patient.reader.execute("ATTACH ? AS fresh", (path,))
        try:
            yield from _check_dead(patient)
            yield from _compare(patient, path)
        finally:
            patient.reader.execute("DETACH fresh")


@contextmanager
def _scratch(patient: Patient) -> Iterator[Store]:
    """A database with the same spaces and top folders, and no heads."""
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=patient.home.data_folder) as folder:
        store = open_database(Path(folder) / "fresh.db", Path(folder) / "token")
        try:
            # It is thrown away, whatever comes.
            store.connection.execute("PRAGMA synchronous = OFF")
            greatest = patient.one("SELECT max(ino) FROM entry") or 1
            store.new_ino = InoCounter(greatest + 1)
            with store.transaction():
                for space, id, name in patient.reader.execute("SELECT number, id, name FROM space"):
                    ino = patient.one(
                        "SELECT ino FROM entry WHERE space = ? AND item = ? AND loser = 0",
                        *(space, ROOT),
                    )
                    store.ledger.add_space(id, name, space, ino)
            yield store
        finally:
            store.abandon()


def _batches(reader: sqlite3.Connection, space: int) -> Iterator[Batch]:
    rows = reader.execute("SELECT data FROM record WHERE space = ? ORDER BY number", (space,))
    while group := rows.fetchmany(RECORDS_AT_ONCE):
        records = []
        for (data,) in group:
            try:
                records.append((decode_record(data), data))
            except RemoteProtocolError:
                continue
        yield records, _inos(reader, space, [record.item for record, _ in records])


def _inos(reader: sqlite3.Connection, space: int, items: list[ItemId]) -> dict[ItemId, int]:
    found: dict[ItemId, int] = {}
    for group in in_groups(items):
        found.update(
            reader.execute(
                f"SELECT item, ino FROM entry WHERE space = ? AND item {among(group)}"
                " AND loser = 0",
                (space, *group),
            )
        )
    return found


def _check_dead(patient: Patient) -> Iterator[Finding]:
    """Which items are nothing but deleted follows from the heads as well."""
    wrong = patient.reader.execute(
        "SELECT DISTINCT stands.space, stands.item, fresh.dead FROM fresh.record AS fresh"
        " JOIN main.record AS stands USING (space, device, incarnation, sequence, item)"
        " WHERE stands.dead <> fresh.dead"
    ).fetchall()
    for space, item, dead in wrong:

        def mend(store: Store, space: int = space, item: ItemId = item, dead: int = dead) -> None:
            Dead(store, space).set_dead(item, bool(dead))

        yield patient.mend(
            Finding(
                "record",
                patient.path_of_item(space, item),
                "Whether it was deleted, and nothing else, is noted wrongly.",
                "it is noted as its versions say.",
            ),
            mend,
        )


# --- what differs -------------------------------------------------------------------------------


def _wrong(loser: int) -> str:
    """Rows of `fresh` that do not stand so."""
    return (
        f"FROM fresh.entry AS fresh LEFT JOIN main.entry AS stands ON {_PAIRS[loser]}"
        f" WHERE fresh.loser = {loser} AND (stands.ino IS NULL OR NOT ({_SAME}))"
    )


def _extra(loser: int) -> str:
    """Rows that stand for nothing."""
    return (
        f"FROM main.entry AS stands LEFT JOIN fresh.entry AS fresh ON {_PAIRS[loser]}"
        f" WHERE stands.loser = {loser} AND fresh.ino IS NULL"
    )


def _compare(patient: Patient, path: str) -> Iterator[Finding]:
    found = [finding for loser in (0, 1) for finding in _findings(patient, loser)]
    if found and patient.store is not None:
        _put_right(patient.store, path)
        assert not _counts(patient.reader), "rows that were put right stand right"
    yield from (replace(finding, mended=patient.store is not None) for finding in found)


def _findings(patient: Patient, loser: int) -> Iterator[Finding]:
    reader = patient.reader
    differ = ", ".join(f"stands.{name} IS fresh.{name}" for name in _COMPARED)
    rows = reader.execute(
        f"SELECT fresh.space, fresh.item, fresh.live, stands.live, {differ} {_wrong(loser)}"
        f" LIMIT {FINDINGS_MAX}"
    )
    for space, item, live, stood, *same in rows:
        odd = [name for name, equal in zip(_COMPARED, same, strict=True) if not equal]
        at = path_of_item(reader, patient.space_name(space), space, item, "fresh")
        yield Finding("view", at, _told(live, stood, odd), "it is shown as its versions say.")
    rows = reader.execute(
        f"SELECT stands.space, stands.item, stands.live {_extra(loser)} LIMIT {FINDINGS_MAX}"
    )
    for space, item, live in rows:
        sentence = (
            "It is shown, although no version of it is here."
            if live
            else "The view has a row of which there is no version."
        )
        at = patient.path_of_item(space, item)
        yield Finding("view", at, sentence, "it is not shown any more.")


def _told(live: int, stood: int | None, odd: list[str]) -> str:
    if live and not stood:
        return "It is not shown, although a version of it is here."
    if stood and not live:
        return "It is shown, although it was deleted."
    if stood is None:
        return "The view does not know that it was deleted."
    return f"It is not shown as its versions say: {', '.join(odd)} differ."


def _counts(reader: sqlite3.Connection) -> int:
    parts = [part(loser) for part in (_wrong, _extra) for loser in (0, 1)]
    return sum(reader.execute(f"SELECT count(*) {part}").fetchone()[0] for part in parts)


def _put_right(store: Store, path: str) -> None:
    columns = ", ".join(f"fresh.{name}" for name in _NAMES)
    store.connection.execute("ATTACH ? AS fresh", (path,))
    try:
        with store.transaction():
            # All that is wrong goes first, as no two winners of an item can stand.
            for part in (_extra(0), _extra(1), _wrong(0), _wrong(1)):
                store.connection.execute(
                    f"DELETE FROM main.entry WHERE ino IN (SELECT stands.ino {part})"
                )
            for loser in (0, 1):
                store.connection.execute(
                    f"INSERT INTO main.entry ({COLUMNS}) SELECT {columns} {_wrong(loser)}"
                )
    finally:
        store.connection.execute("DETACH fresh")
