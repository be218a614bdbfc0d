"""Does each space know how far it is, and can no sequence of ours be used twice?"""

import secrets
from collections.abc import Iterator
from functools import partial

from sharefs.records.ids import DeviceId, Incarnation
from sharefs.store.database import Store
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient
from sharefs.store.ledger import INCARNATION_SIZE_BYTES


def check_frontier(patient: Patient, me: DeviceId) -> Iterator[Finding]:
    """`me` is the device of this home."""
    spaces = patient.reader.execute(
        "SELECT number, name, incarnation, next_sequence FROM space ORDER BY number"
    ).fetchall()
    for number, name, incarnation, following in spaces:
        yield from _check_authors(patient, number, name)
        sealed = patient.one(
            'SELECT max(last) FROM "commit" WHERE space = ? AND device = ? AND incarnation = ?',
            *(number, me, incarnation),
        )
        used = patient.one(
            "SELECT max(sequence) FROM record WHERE space = ? AND device = ? AND incarnation = ?",
            *(number, me, incarnation),
        )
        told = patient.one(
            "SELECT sequence FROM frontier WHERE space = ? AND device = ? AND incarnation = ?",
            *(number, me, incarnation),
        )
        if following <= max(sealed or 0, used or 0, told or 0):
            yield _count_anew(patient, number, name)
        elif (told or 0) < (sealed or 0):
            yield _raise_own(patient, number, name, (me, incarnation, sealed))


def _check_authors(patient: Patient, space: int, name: str) -> Iterator[Finding]:
    # From author to author by the index, as there may be a million commits of one.
    authors = patient.reader.execute(
        'SELECT DISTINCT device, incarnation FROM "commit" WHERE space = ?'
        " EXCEPT SELECT device, incarnation FROM frontier WHERE space = ?",
        (space, space),
    ).fetchall()
    for author in authors:
        yield patient.mend(
            Finding(
                "frontier",
                name,
                "What one device wrote in the space would not be given to other members.",
                "it is given again.",
            ),
            partial(_merge, space=space, entry=(*author, 0)),
        )


def _raise_own(
    patient: Patient, space: int, name: str, entry: tuple[DeviceId, Incarnation, int]
) -> Finding:
    return patient.mend(
        Finding(
            "frontier",
            name,
            "What this device wrote last in the space is not told to other members.",
            "it is told again.",
        ),
        partial(_merge, space=space, entry=entry),
    )


def _merge(store: Store, space: int, entry: tuple[DeviceId, Incarnation, int]) -> None:
    store.ledger.merge_frontier(space, [entry])


def _count_anew(patient: Patient, space: int, name: str) -> Finding:
    incarnation = Incarnation(secrets.token_bytes(INCARNATION_SIZE_BYTES))
    return patient.mend(
        Finding(
            "frontier",
            name,
            "This device would use numbers again that its records in the space have already.",
            "it counts anew, under a new incarnation.",
        ),
        lambda store: store.ledger.set_incarnation(space, incarnation),
    )
