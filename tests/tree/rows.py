"""Rows of a view, made by hand."""

from itertools import count

from msgspec.structs import replace

from sharefs.records.entry import EntryType
from sharefs.records.ids import ROOT, Coordinate, DeviceId, Incarnation, item_id
from sharefs.records.shown import Shown

ANNA, BOB, CAROL = (DeviceId(bytes([number] * 16)) for number in (1, 2, 3))
_numbers = count(10)


def row(name: str, creator: DeviceId = ANNA, created: int = 0, **fields: object) -> Shown:
    number = next(_numbers)
    plain = Shown(
        ino=number,
        space=1,
        item=item_id(creator, number.to_bytes(8)),
        version=Coordinate(creator, Incarnation(bytes(8)), number),
        loser=False,
        type=EntryType.FILE,
        deleted=False,
        live=True,
        parent=ROOT,
        anchor=ROOT,
        place=ROOT,
        merged=None,
        name=name,
        shown=name,
        created=created,
        stamp=created,
        mtime_ns=0,
        executable=False,
        size=0,
        content=None,
        target="",
        local=0,
    )
    return replace(plain, **fields)
