"""Is the database whole?"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from sharefs.store.database import Store
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient

COMPLAINTS_MAX = 100


def check_database(patient: Patient) -> Iterator[Finding]:
    """SQLite's own check, and rows of bytes whose content is not there."""
    complaints = _complaints(patient)
    if complaints:
        yield _rebuild_indexes(patient, complaints)
        if not is_whole(patient):
            return
    for table, count in _orphans(patient).items():
        yield patient.mend(
            Finding(
                "database",
                "",
                f"The database has {count} rows in `{table}` about contents that it has not.",
                "these rows are removed; the files with the bytes stay.",
            ),
            partial(_drop_orphans, table=table),
        )


def is_whole(patient: Patient) -> bool:
    """Whether there is any use in looking further."""
    return not _complaints(patient)


def _complaints(patient: Patient) -> list[str]:
    try:
        rows = patient.reader.execute(f"PRAGMA integrity_check({COMPLAINTS_MAX})").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    return [text for (text,) in rows if text != "ok"]


def _rebuild_indexes(patient: Patient, complaints: list[str]) -> Finding:
    said = f"SQLite finds the database damaged ({complaints[0]}; {len(complaints)} in all)."
    if patient.store is None:
        return Finding("database", "", said, "its indexes are made anew, which may be enough.")
    # What can not be read at all complains again.
    with suppress(sqlite3.Error):
        patient.store.connection.execute("REINDEX")
    if not _complaints(patient):
        return Finding("database", "", said, "its indexes were made anew.", mended=True)
    return Finding(
        "database",
        "",
        f"{said} New indexes did not help: restore {patient.home.database_file} from a backup, or"
        " move it away and join the spaces again; the contents beside it are recognised then.",
        "",
    )


def _orphans(patient: Patient) -> dict[str, int]:
    counts = {
        table: patient.one(
            f"SELECT count(*) FROM {table} WHERE content NOT IN (SELECT id FROM content)"
        )
        for table in ("manifest", "chunk")
    }
    return {table: count for table, count in counts.items() if count}


def _drop_orphans(store: Store, table: str) -> None:
    store.connection.execute(f"DELETE FROM {table} WHERE content NOT IN (SELECT id FROM content)")
