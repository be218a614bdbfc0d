"""Commits of Anna's, for machines that are to receive them."""

from itertools import count

from sharefs.records.commit import Commit
from sharefs.records.ids import (
    DeviceId,
    Incarnation,
    OperationHash,
    Signature,
    SpaceId,
    item_id,
)
from sharefs.records.record import Record, encode_record, hash_record
from sharefs.sync.shipment import ship
from sharefs.wire.sync import Shipment

SPACE = SpaceId(bytes(32))
ANNA = DeviceId(bytes([1] * 16))
FIRST = Incarnation(bytes(8))


def shipments(*sizes: int) -> list[Shipment]:
    """One after the other, of so many records, each of an item of its own."""
    sequences = count(1)
    return [_shipment([next(sequences) for _ in range(size)]) for size in sizes]


def _shipment(sequences: list[int]) -> Shipment:
    records = [(sequence, encode_record(_record(sequence))) for sequence in sequences]
    hashes = tuple(hash_record(data) for _, data in records)
    roster, signature = OperationHash(bytes(32)), Signature(bytes(64))
    return ship(Commit(1, SPACE, ANNA, FIRST, sequences[0], roster, hashes, signature), records)


def _record(sequence: int) -> Record:
    item = item_id(ANNA, sequence.to_bytes(8))
    return Record(1, item, "entry", ANNA, FIRST, sequence, (), sequence, b"")
