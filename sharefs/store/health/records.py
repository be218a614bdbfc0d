"""Do rosters, commits and heads hold together?

A record is good if it decodes to what its columns say, and if a commit at its coordinate lists its
hash; a commit, if it decodes to what its columns say and its device's key signed it. What is not is
set aside: others, told by the fingerprint that it is missing, send it again.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from itertools import groupby

from blake3 import blake3

from sharefs.errors import RemoteProtocolError
from sharefs.records.commit import decode_commit, verify_commit
from sharefs.records.ids import Coordinate, SpaceId
from sharefs.records.record import decode_record, hash_record
from sharefs.spaces.roster import Roster, fold, hash_operation
from sharefs.store.database import Store
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient
from sharefs.store.sums import RUN_SEQUENCES

COMMITS_KEPT_MAX = 8
_SENT_AGAIN = "it is set aside; members who have it send it again."

_Run = tuple[int, bytes, bytes, int]


def check_records(patient: Patient) -> Iterator[Finding]:
    """Rosters first, as they tell who may sign; sums last, as they follow from the records."""
    yield from _check_operations(patient)
    rosters = {number: roster for number, _, roster in rosters_of(patient.reader)}
    yield from _check_commits(patient, rosters)
    yield from _check_heads(patient)
    yield from _check_dominated(patient)
    yield from _check_sums(patient)


def rosters_of(reader: sqlite3.Connection) -> Iterator[tuple[int, SpaceId, Roster]]:
    """Number, id and roster of every space; what can not be an operation of it is left out."""
    spaces = reader.execute("SELECT number, id FROM space ORDER BY number").fetchall()
    for number, id in spaces:
        good = [data for _, hash, data in _operations(reader, number) if _is_good(hash, data, id)]
        yield number, id, fold(id, good)


def _operations(reader: sqlite3.Connection, space: int) -> list[tuple[int, bytes, bytes]]:
    return reader.execute(
        "SELECT number, hash, data FROM roster_operation WHERE space = ? ORDER BY number", (space,)
    ).fetchall()


def _is_good(hash: bytes, data: bytes, space: SpaceId) -> bool:
    if hash_operation(data) != hash:
        return False
    try:
        fold(space, [data])
    except RemoteProtocolError:
        return False
    return True


def _check_operations(patient: Patient) -> Iterator[Finding]:
    for space, id in patient.reader.execute("SELECT number, id FROM space").fetchall():
        for number, hash, data in _operations(patient.reader, space):
            if not _is_good(hash, data, id):
                yield _drop(
                    patient,
                    Finding(
                        "roster",
                        patient.space_name(space),
                        "An operation of the space's roster is not what its member signed.",
                        _SENT_AGAIN,
                    ),
                    "roster_operation",
                    number,
                    data,
                )


# --- commits ------------------------------------------------------------------------------------


def _check_commits(patient: Patient, rosters: Mapping[int, Roster]) -> Iterator[Finding]:
    rows = patient.reader.execute(
        'SELECT number, space, device, incarnation, first, last, data FROM "commit" ORDER BY number'
    )
    for number, space, device, incarnation, first, last, data in rows:
        told = Coordinate(device, incarnation, first)
        if not _is_commit(data, told, last, rosters.get(space)):
            yield _drop(
                patient,
                Finding(
                    "commit",
                    patient.space_name(space),
                    f"A commit of {last - first + 1} records is not what its device signed: what"
                    " it lists can not be given to other members from here.",
                    _SENT_AGAIN,
                ),
                '"commit"',
                number,
                data,
            )


def _is_commit(data: bytes, told: Coordinate, last: int, roster: Roster | None) -> bool:
    try:
        commit = decode_commit(data)
        certificate = roster.devices.get(commit.device) if roster is not None else None
        if certificate is not None:
            verify_commit(commit, certificate.device_key)
    except RemoteProtocolError:
        return False
    return (commit.device, commit.incarnation, commit.first) == told and commit.last == last


# --- heads --------------------------------------------------------------------------------------


def _check_heads(patient: Patient) -> Iterator[Finding]:
    listed = _Listed(patient.reader)
    rows = patient.reader.execute(
        "SELECT number, space, item, device, incarnation, sequence, data FROM record"
        " ORDER BY space, device, incarnation, sequence"
    )
    for number, space, item, device, incarnation, sequence, data in rows:
        coordinate = Coordinate(device, incarnation, sequence)
        path = patient.path_of_item
        if not _is_record(data, item, coordinate):
            sentence = "A version's record is not what its writer made."
            yield _drop(
                patient,
                Finding("record", path(space, item), sentence, _SENT_AGAIN),
                "record",
                number,
                data,
            )
        elif not listed.has(space, coordinate, hash_record(data)):
            yield Finding(
                "record",
                path(space, item),
                "No commit that is here lists this version: it is shown here, and can not be given"
                " to other members. Save the file again to share it.",
                "",
            )


def _is_record(data: bytes, item: bytes, coordinate: Coordinate) -> bool:
    try:
        record = decode_record(data)
    except RemoteProtocolError:
        return False
    return record.item == item and record.coordinate == coordinate


class _Listed:
    """Which hashes the commits list. Records come in order, so few commits are kept in mind."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._commits = lru_cache(COMMITS_KEPT_MAX)(self._read)

    def has(self, space: int, at: Coordinate, hash: bytes) -> bool:
        rows = self._reader.execute(
            'SELECT number, first FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?'
            " AND last >= ? AND first <= ?",
            (space, at.device, at.incarnation, at.sequence, at.sequence),
        ).fetchall()
        for number, first in rows:
            hashes = self._commits(number)
            if at.sequence - first < len(hashes) and hashes[at.sequence - first] == hash:
                return True
        return False

    def _read(self, number: int) -> tuple[bytes, ...]:
        (data,) = self._reader.execute(
            'SELECT data FROM "commit" WHERE number = ?', (number,)
        ).fetchone()
        try:
            return decode_commit(data).hashes
        except RemoteProtocolError:
            return ()


def _check_dominated(patient: Patient) -> Iterator[Finding]:
    items = patient.reader.execute(
        "SELECT space, item FROM record GROUP BY space, item HAVING count(*) > 1"
    )
    for space, item in items:
        superfluous = _superfluous(patient.reader, space, item)
        if superfluous:
            yield patient.mend(
                Finding(
                    "record",
                    patient.path_of_item(space, item),
                    f"{len(superfluous)} versions are kept that a later one has replaced.",
                    "they are dropped, as they are when a version is replaced.",
                ),
                partial(_delete_records, numbers=superfluous),
            )


def _superfluous(reader: sqlite3.Connection, space: int, item: bytes) -> list[int]:
    rows = reader.execute(
        "SELECT number, data FROM record WHERE space = ? AND item = ? ORDER BY number",
        (space, item),
    ).fetchall()
    records = []
    for number, data in rows:
        try:
            records.append((number, decode_record(data)))
        except RemoteProtocolError:
            continue
    return [
        number
        for number, record in records
        if any(
            other.dominates(record) or (other == record and earlier < number)
            for earlier, other in records
        )
    ]


def _delete_records(store: Store, numbers: list[int]) -> None:
    store.connection.executemany(
        "DELETE FROM record WHERE number = ?", [(number,) for number in numbers]
    )


# --- sums ---------------------------------------------------------------------------------------


def _check_sums(patient: Patient) -> Iterator[Finding]:
    """A finding for a space, however many of its sums are wrong."""
    for space, wrong in groupby(_wrong_sums(patient.reader), key=lambda wrong: wrong[0][0]):
        count = 0
        for run, right in wrong:
            count += 1
            if patient.store is not None:
                with patient.store.transaction():
                    _write_sum(patient.store, run, right)
        yield Finding(
            "record",
            patient.space_name(space),
            f"{count} of the sums by which members compare what they have are wrong.",
            "they are made anew from the records.",
            mended=patient.store is not None,
        )


def _wrong_sums(reader: sqlite3.Connection) -> Iterator[tuple[_Run, tuple[int, bytes] | None]]:
    """Runs, with what they should say: count and sum, or nothing."""
    kept = reader.execute(
        "SELECT space, device, incarnation, number, count, sum FROM run"
        " ORDER BY space, device, incarnation, number"
    )
    both = heapq.merge(
        ((row[:4], 0, *row[4:]) for row in kept),
        ((run, 1, count, value) for run, count, value in _sums(reader)),
    )
    for run, found in groupby(both, key=lambda each: each[0]):
        said = {who: (count, value) for _, who, count, value in found}
        if said.get(0) != said.get(1):
            yield run, said.get(1)


def _sums(reader: sqlite3.Connection) -> Iterator[tuple[_Run, int, bytes]]:
    rows = reader.execute(
        "SELECT space, device, incarnation, sequence, data FROM record WHERE dead = 0"
        " ORDER BY space, device, incarnation, sequence"
    )
    runs = groupby(rows, key=lambda row: (*row[:3], row[3] // RUN_SEQUENCES))
    for run, members in runs:
        hashes = [int.from_bytes(blake3(row[4]).digest()) for row in members]
        yield run, len(hashes), (sum(hashes) % 2**256).to_bytes(32)


def _write_sum(store: Store, run: _Run, right: tuple[int, bytes] | None) -> None:
    store.connection.execute(
        "DELETE FROM run WHERE space = ? AND device = ? AND incarnation = ? AND number = ?", run
    )
    if right is not None:
        store.connection.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?)", (*run, *right))


def _drop(patient: Patient, finding: Finding, table: str, number: int, data: bytes) -> Finding:
    def drop(store: Store) -> None:
        patient.set_aside(f"{finding.kind}-{blake3(data).hexdigest()[:16]}", data)
        store.connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))

    return patient.mend(finding, drop)
