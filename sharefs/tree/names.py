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


def assign_names(rows: Iterable[Shown], label: Label) -> dict[int, str]:
    """Inode to shown name, for one folder's live rows less those merged away."""
    ordered = sorted(rows, key=lambda row: (row.created, row.item, row.version))
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


def _candidates(row: Shown, label: Label) -> Iterator[str]:
    if row.loser:
        when = datetime.fromtimestamp(row.stamp / 1000, UTC).strftime("%Y-%m-%d %H.%M")
        words = f"conflict, {label(row.version.device)}, {when}"
    else:
        words = label(creator_of(row.item))
    number = 1
    while True:
        yield put_in_brackets(row.name, words if number == 1 else f"{words} {number}")
        number += 1


def put_in_brackets(name: str, words: str) -> str:
    """`report.odt` and `Bob` make `report (Bob).odt`, cut to 255 bytes in the stem."""
    stem, suffix = split_suffix(name)
    words = words.replace("/", "-").replace("\x00", "")
    added = f" ({words}){suffix}"
    room = NAME_SIZE_BYTES_MAX - len(added.encode())
    return stem.encode()[:room].decode(errors="ignore") + added


def split_suffix(name: str) -> tuple[str, str]:
    """Stem and suffix; a leading dot begins no suffix, and `.tar.gz` is one."""
    stem, dot, last = name.rpartition(".")
    if not stem.strip(".") or len(last.encode()) > _SUFFIX_SIZE_BYTES_MAX:
        return name, ""
    for double in _DOUBLE_SUFFIXES:
        if stem.endswith(double) and stem != double:
            return stem.removesuffix(double), double + dot + last
    return stem, dot + last
