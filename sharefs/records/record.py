"""What is one signed version of an item, and which version has seen which?"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from blake3 import blake3
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import (
    ROOT,
    Coordinate,
    Count,
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    RecordHash,
)

RECORD_SIZE_BYTES_MAX = 96 * 1024
BODY_SIZE_BYTES_MAX = 64 * 1024
CONTEXT_ENTRIES_MAX = 1024
STAMP_MAX = 2**62

ContextEntry = tuple[DeviceId, Incarnation, Count]


class Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One version of an item. Invariant: `context` is sorted, one entry for a (device,
    incarnation)."""

    version: Literal[1]
    item: ItemId
    kind: Annotated[str, Meta(max_length=32)]
    device: DeviceId
    incarnation: Incarnation
    sequence: Annotated[int, Meta(ge=1, le=2**62)]
    context: Annotated[tuple[ContextEntry, ...], Meta(max_length=CONTEXT_ENTRIES_MAX)]
    stamp: Count
    """Milliseconds; see `stamp_after`."""
    body: Annotated[bytes, Meta(max_length=BODY_SIZE_BYTES_MAX)]

    @property
    def coordinate(self) -> Coordinate:
        return Coordinate(self.device, self.incarnation, self.sequence)

    @property
    def rank(self) -> tuple[int, DeviceId, Incarnation, int, bytes]:
        """The total order among heads (I5): the greatest is the winner. Only two records at one
        coordinate (I8) are told apart by their bytes."""
        return (self.stamp, self.device, self.incarnation, self.sequence, encode_record(self))

    def dominates(self, other: "Record") -> bool:
        """I4, for two versions of one item. Two that claim to have seen each other, as only a
        device that went astray makes them, are in conflict."""
        return sees(self.context, other.coordinate) and not sees(other.context, self.coordinate)


def sees(context: Iterable[ContextEntry], coordinate: Coordinate) -> bool:
    """Whether a version vector covers a coordinate."""
    device, incarnation, sequence = coordinate
    return any(d == device and i == incarnation and s >= sequence for d, i, s in context)


def context_of(superseded: Iterable[Record]) -> tuple[ContextEntry, ...]:
    """The version vector of a writer that saw these heads."""
    seen: Frontier = {}
    for record in superseded:
        for device, incarnation, sequence in (*record.context, record.coordinate):
            key = (device, incarnation)
            seen[key] = max(seen.get(key, 0), sequence)
    return tuple((d, i, s) for (d, i), s in sorted(seen.items()))


def stamp_after(superseded: Iterable[Record], now_ms: int) -> int:
    """A per-item hybrid clock: the wall clock, or one more than every head superseded.

    At the end of time it stands still, so that a version stamped so by somebody else can be
    superseded by one that others accept.
    """
    return min(STAMP_MAX, max([now_ms, *(record.stamp + 1 for record in superseded)]))


def encode_record(record: Record) -> bytes:
    """The canonical bytes, which `hash_record` names."""
    return encode(record)


def hash_record(data: bytes) -> RecordHash:
    """Name an encoded record."""
    return RecordHash(blake3(data).digest())


def decode_record(data: bytes) -> Record:
    """Raises RemoteProtocolError for anything but a well-formed record."""
    record = decode(data, Record, RECORD_SIZE_BYTES_MAX)
    keys = [(device, incarnation) for device, incarnation, _ in record.context]
    if any(later <= earlier for earlier, later in pairwise(keys)):
        raise RemoteProtocolError("a record's context is not sorted")
    if record.item == ROOT:
        raise RemoteProtocolError("a record of the top folder, which has none")
    if sees(record.context, record.coordinate):
        raise RemoteProtocolError("a record claims to have seen itself")
    return record
