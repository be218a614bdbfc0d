"""Is what arrived what its author signed, and how far does it bring us?"""

from collections.abc import Iterable

from blake3 import blake3

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import encode
from sharefs.records.commit import Commit, verify_commit
from sharefs.records.ids import Frontier, PublicKey
from sharefs.records.record import Record, decode_record, hash_record
from sharefs.wire.sync import FrontierEntries, Shipment

DIGEST_SIZE_BYTES = 16


def open_shipment(shipment: Shipment, key: PublicKey) -> list[tuple[Record, bytes]]:
    """The records in a shipment, with their bytes.

    Raises RemoteProtocolError unless `key` signed the commit, and each record is the one that the
    commit lists there, at its coordinate.
    """
    commit = shipment.commit
    verify_commit(commit, key)
    opened = []
    for position, data in shipment.records:
        if position >= len(commit.hashes) or hash_record(data) != commit.hashes[position]:
            raise RemoteProtocolError("a record is not the one that its commit lists")
        record = decode_record(data)
        coordinate = (commit.device, commit.incarnation, commit.first + position)
        if record.coordinate != coordinate:
            raise RemoteProtocolError("a record is not at its commit's coordinate")
        opened.append((record, data))
    return opened


def is_whole(shipment: Shipment) -> bool:
    """Whether every record of the commit is in the shipment, none as its hash alone."""
    positions = {position for position, _ in shipment.records}
    return len(positions) == len(shipment.commit.hashes)


def advanced_by(shipments: Iterable[Shipment], ours: Frontier) -> Frontier:
    """How far whole commits, each the next of its author, bring a replica that is at `ours`."""
    reached: Frontier = {}
    for shipment in shipments:
        commit = shipment.commit
        key = (commit.device, commit.incarnation)
        at = reached.get(key, ours.get(key, 0))
        if commit.first <= at + 1 and commit.last > at and is_whole(shipment):
            reached[key] = commit.last
    return reached


def ship(commit: Commit, records: Iterable[tuple[int, bytes]]) -> Shipment:
    """A commit with those of its records that are kept, given as (sequence, bytes)."""
    return Shipment(commit, tuple((sequence - commit.first, data) for sequence, data in records))


def entries_of(frontier: Frontier) -> FrontierEntries:
    """A frontier as it travels."""
    return tuple((d, i, s) for (d, i), s in sorted(frontier.items()))


def frontier_of(entries: FrontierEntries) -> Frontier:
    """A frontier that arrived; where a key is there twice, the greater counts."""
    frontier: Frontier = {}
    for device, incarnation, sequence in entries:
        key = (device, incarnation)
        frontier[key] = max(frontier.get(key, 0), sequence)
    return frontier


def within(frontier: Frontier, limits: Frontier) -> Frontier:
    """A frontier without what does not count, as its incarnation is closed (I8)."""
    if not limits:
        return frontier
    return {key: min(sequence, limits.get(key, sequence)) for key, sequence in frontier.items()}


def is_beyond(other: Frontier, ours: Frontier) -> bool:
    """Whether `other` tells of a record that `ours` lacks."""
    return any(sequence > ours.get(key, 0) for key, sequence in other.items())


def digest_of(roster: bytes, frontier: Frontier, fingerprint: bytes) -> bytes:
    """16 bytes that are equal where two replicas are."""
    return blake3(encode((roster, entries_of(frontier), fingerprint))).digest(DIGEST_SIZE_BYTES)
