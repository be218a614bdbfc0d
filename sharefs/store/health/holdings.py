"""Does this device tell others that it holds what it holds?

Our accounts follow from the versions that are shown and the contents that are here, as `holding`
says, so these are checked before. What other devices said of themselves is theirs to say: of that
only the sums are checked. Nobody is told from here: who meets us next compares what all of it adds
up to, and asks.
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby

from msgspec.structs import replace

from sharefs.records.ids import DeviceId
from sharefs.records.intervals import Interval
from sharefs.store.database import Store
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient
from sharefs.store.holders import OURS, Summing
from sharefs.store.holding import SHARE_HERE, Here
from sharefs.store.sums import Author

FILES_AT_ONCE = 500

_TOLD = (
    "coalesce((SELECT held.last >= entry.sequence FROM holder JOIN held ON holder = holder.number"
    " WHERE holder.space = entry.space AND holder.device = ?1 AND author = entry.device"
    " AND holder.incarnation = entry.incarnation AND holder.partial = {partial}"
    " AND held.first <= entry.sequence ORDER BY held.first DESC LIMIT 1), 0)"
)
_STANDS = (
    "(SELECT count(*) = 1 AND max(record.item) = entry.item FROM record"
    " WHERE record.space = entry.space AND record.device = entry.device"
    " AND record.incarnation = entry.incarnation AND record.sequence = entry.sequence)"
)
"""Of two versions with one number (I8) nothing can be told apart."""
_WRONG = (
    "SELECT ino, space, item, content, here, whole, some FROM (SELECT *,"
    f" {SHARE_HERE} AS here, {_TOLD.format(partial=0)} AS whole, {_TOLD.format(partial=1)} AS some"
    " FROM entry WHERE content IS NOT NULL) AS entry"
    f" WHERE ((here = {Here.ALL:d}) <> whole OR (here = {Here.SOME:d}) <> some) AND {_STANDS}"
)


def check_holdings(patient: Patient, me: DeviceId) -> Iterator[Finding]:
    """`me` is the device of this home."""
    yield from _check_orphans(patient)
    yield from _check_accounts(patient)
    yield from _check_ends(patient, me)
    yield from _check_files(patient)


# --- the accounts themselves --------------------------------------------------------------------


def _check_orphans(patient: Patient) -> Iterator[Finding]:
    count = patient.one("SELECT count(*) FROM held WHERE holder NOT IN (SELECT number FROM holder)")
    if count:
        yield patient.mend(
            Finding(
                "holding",
                "",
                f"The database has {count} rows about who holds what, and not of which device.",
                "these rows are removed.",
            ),
            _drop_orphans,
        )


def _drop_orphans(store: Store) -> None:
    store.connection.execute("DELETE FROM held WHERE holder NOT IN (SELECT number FROM holder)")


def _check_accounts(patient: Patient) -> Iterator[Finding]:
    """What they add up to is what devices compare."""
    rows = patient.reader.execute(
        "SELECT number, space, device, count, sum, first, last FROM holder"
        " LEFT JOIN held ON holder = number ORDER BY number, first"
    )
    for (number, space, device, count, total), group in groupby(rows, key=lambda row: row[:5]):
        summing = Summing()
        apart, end = True, -2
        for first, last in _intervals(row[5:] for row in group):
            apart &= first > end + 1
            end = max(end, last)
            summing.add((first, last))
        if not apart or (count, total) != (summing.count, summing.total):
            whose = "this device" if device == OURS else "another device"
            yield patient.mend(
                Finding(
                    "holding",
                    patient.space_name(space),
                    f"What is noted of what {whose} holds does not add up.",
                    "it is added up anew.",
                ),
                partial(_add_up, number=number),
            )


def _intervals(rows: Iterator[tuple[int | None, int | None]]) -> Iterator[Interval]:
    """None of an account that has none."""
    for first, last in rows:
        if first is not None and last is not None:
            yield first, last


def _add_up(store: Store, number: int) -> None:
    store.holders.add_up(number)


def _check_ends(patient: Patient, me: DeviceId) -> Iterator[Finding]:
    """No version is held before it is there: when it comes, it would be told of at once."""
    rows = patient.reader.execute(
        "SELECT space, author, incarnation, partial, max(last) FROM holder"
        " JOIN held ON holder = number WHERE device = ? GROUP BY number",
        (OURS,),
    )
    for space, device, incarnation, some, last in rows:
        author = (device, incarnation)
        end = _end(patient, me, space, author)
        if last > end:
            yield patient.mend(
                Finding(
                    "holding",
                    patient.space_name(space),
                    "Other members are told that files are here of which nothing has come yet.",
                    "they are told so no more.",
                ),
                partial(_cut_off, space=space, author=author, end=end, last=last, some=bool(some)),
            )


def _end(patient: Patient, me: DeviceId, space: int, author: Author) -> int:
    """The last version of an author that can have been here."""
    where = "space = ? AND device = ? AND incarnation = ?"
    ends = [
        patient.one(f'SELECT max({column}) FROM "{table}" WHERE {where}', space, *author)
        for table, column in (("frontier", "sequence"), ("commit", "last"), ("record", "sequence"))
    ]
    if author[0] == me:
        ends.append(
            patient.one(
                "SELECT next_sequence - 1 FROM space WHERE number = ? AND incarnation = ?",
                *(space, author[1]),
            )
        )
    return max(end or 0 for end in ends)


def _cut_off(store: Store, space: int, author: Author, end: int, last: int, some: bool) -> None:
    store.holders.splice(space, OURS, author, end + 1, last, (), partial=some)


# --- and what is here ---------------------------------------------------------------------------


def _check_files(patient: Patient) -> Iterator[Finding]:
    rows = patient.reader.execute(_WRONG, (OURS,))
    while group := rows.fetchmany(FILES_AT_ONCE):
        # What is to be mended first may be right then.
        wrong = [row for row in group if row[3] not in patient.doubted]
        found = [
            _finding(patient, space, item, Here(here), whole, some)
            for _, space, item, _, here, whole, some in wrong
        ]
        if patient.store is not None:
            with patient.store.transaction():
                patient.store.holding.note_rows(ino for ino, *_ in wrong)
        yield from (replace(finding, mended=patient.store is not None) for finding in found)


def _finding(
    patient: Patient, space: int, item: bytes, here: Here, whole: int, some: int
) -> Finding:
    return Finding(
        "holding",
        patient.path_of_item(space, item),
        _sentence(here, bool(whole), bool(some)),
        "they are told how it is when they are met next.",
    )


def _sentence(here: Here, whole: bool, some: bool) -> str:
    """`whole` and `some` are what is told."""
    if whole and here is not Here.ALL:
        return "Other members are told that all of it is here, and it is not."
    if here is Here.ALL and not whole:
        return "All of it is here, and other members are not told so."
    if not some:
        return "Some of it is here, and other members are not told so."
    what = "all of it" if here is Here.ALL else "nothing"
    return f"Other members are told that some of it is here, and {what} is."
