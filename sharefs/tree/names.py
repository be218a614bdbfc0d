"""Under which names does a folder show its entries?

A pure function of the rows, the same for every member: the earliest of a name keeps it; the
others get their contributor in brackets, and conflicts' losers their writer and time. No name
that somebody gave is ever taken away by a made one.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from sharefs.records.entry import NAME_SIZE_BYTES_MAX
from sharefs.records.ids import DeviceId, creator_of
from sharefs.records.shown import Shown

Label = Callable[[DeviceId], str]
"""How a device's person is called in this space."""

_DOUBLE_SUFFIXES = (".tar",)
_SUFFIX_SIZE_BYTES_MAX = 64
_LABEL_SIZE_BYTES_MAX = 64
_STAMP_MAX = 253_402_300_799_000
"""The last moment of the calendar, in milliseconds: a stamp is whatever its writer says."""


def assign_names(rows: Iterable[Shown], label: Label) -> dict[int, str]:
    """Inode to shown name, for one folder's live rows less those merged away."""
    ordered = sorted(rows, key=_seniority)
    names: dict[int, str] = {}
    taken: set[str] = set()
    clashing: list[Shown] = []
    for row in ordered:
        if row.loser:
            continue
        if row.name in taken:
            clashing.append(row)
            continue
        taken.add(row.name)
        names[row.ino] = row.name
    for row in (*clashing, *(row for row in ordered if row.loser)):
        names[row.ino] = next(name for name in _candidates(row, label) if name not in taken)
        taken.add(names[row.ino])
    return names


def _seniority(row: Shown) -> tuple[object, ...]:
    """Only two records at one coordinate (I8) are told apart by what they hold."""
    return (row.created, row.item, row.version, row.content or b"", row.target)


def could_be_made(name: str) -> bool:
    """Whether a name looks as if `assign_names` had made it."""
    return " (" in name


def _candidates(row: Shown, label: Label) -> Iterator[str]:
    if row.loser:
        moment = datetime.fromtimestamp(min(row.stamp, _STAMP_MAX) / 1000, UTC)
        who = _cut(label(row.version.device), _LABEL_SIZE_BYTES_MAX)
        words = f"conflict, {who}, {moment:%Y-%m-%d %H.%M}"
    else:
        words = _cut(label(creator_of(row.item)), _LABEL_SIZE_BYTES_MAX)
    number = 1
    while True:
        yield put_in_brackets(row.name, words if number == 1 else f"{words} {number}")
        number += 1


def put_in_brackets(name: str, words: str) -> str:
    """`report.odt` and `Bob` make `report (Bob).odt`, cut to 255 bytes in the stem."""
    stem, suffix = split_suffix(name)
    words = words.replace("/", "-").replace("\x00", "")
    added = f" ({words}){suffix}"
    return _cut(stem, NAME_SIZE_BYTES_MAX - len(added.encode())) + added


def _cut(text: str, size_bytes: int) -> str:
    return text.encode()[:size_bytes].decode(errors="ignore")


def split_suffix(name: str) -> tuple[str, str]:
    """Stem and suffix; a leading dot begins no suffix, a space ends none, and `.tar.gz` is one."""
    stem, dot, last = name.rpartition(".")
    if not stem.strip(".") or " " in last or len(last.encode()) > _SUFFIX_SIZE_BYTES_MAX:
        return name, ""
    for double in _DOUBLE_SUFFIXES:
        if stem.endswith(double) and stem != double:
            return stem.removesuffix(double), double + dot + last
    return stem, dot + last
