"""What do the heads of a space add up to, and which commit signed one?

The port of `sync.reconciliation` on the database. In the loop, between batches.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sharefs.records.commit import Commit, decode_commit
from sharefs.records.ids import DeviceId, RecordHash
from sharefs.records.record import decode_record, encode_record, hash_record
from sharefs.store.ledger import Ledger
from sharefs.store.sums import RUN_SEQUENCES
from sharefs.sync.reconciliation import Author, part_width
from sharefs.tree.dead import is_dead
from sharefs.wire.audit import DIGEST_SIZE_BYTES, SPAN_PARTS, Span, Wanted
from sharefs.wire.sync import Shipment


@dataclass(frozen=True, slots=True)
class Holdings:
    """The heads of one space that are by members' devices: others may have none of the rest. Dead
    ones are here if asked for, and neither summed up nor listed: others may have dropped them."""

    ledger: Ledger
    space: int
    members: Collection[DeviceId]

    def authors(self) -> dict[Author, int]:
        sums = self.ledger.sums(self.space)
        return {author: value for author, value in sums.items() if author[0] in self.members}

    def extent(self, span: Span) -> tuple[int, int] | None:
        return self.ledger.extent(self.space, span.author, span.first, span.last)

    def parts(self, span: Span) -> list[tuple[int, int]]:
        """From the runs' sums; of so small a span that runs are too long, from its records."""
        width = part_width(span)
        if width >= RUN_SEQUENCES:
            values = self.ledger.runs(self.space, span.author, span.first, span.last)
        else:
            values = [(at, 1, int.from_bytes(hash)) for at, hash in self.listed(span)]
        parts = [(0, 0)] * SPAN_PARTS
        for sequence, count, value in values:
            number = (sequence - span.first) // width
            parts[number] = (parts[number][0] + count, parts[number][1] + value)
        return [(count, value % 2**256) for count, value in parts]

    def listed(self, span: Span) -> list[tuple[int, RecordHash]]:
        records = self.ledger.counted_in(self.space, span.author, span.first, span.last)
        return sorted((sequence, hash_record(data)) for sequence, data in records)

    def hashes_at(self, author: Author, sequence: int) -> list[RecordHash]:
        records = self.ledger.records_in(self.space, *author, sequence, sequence)
        return [hash_record(data) for _, data in records]

    def shipments(self, wanted: Iterable[Wanted], size_bytes_max: int) -> tuple[Shipment, ...]:
        """Those of the wanted records that are here, with their commits; one at least, as many as
        fit."""
        found: dict[Commit, list[tuple[int, bytes]]] = defaultdict(list)
        size = 0
        for each in dict.fromkeys(wanted):
            for data in self._wanted(each):
                commit = self._commit_of(each, hash_record(data))
                if commit is None:
                    continue
                size += len(data) + (0 if commit in found else 40 * len(commit.hashes) + 200)
                if found and size > size_bytes_max:
                    return _shipped(found)
                found[commit].append((each.sequence - commit.first, data))
        return _shipped(found)

    def tombstones_over(self, shipments: Iterable[Shipment]) -> tuple[Wanted, ...]:
        """The heads of dead items that dominate what is shipped."""
        shipped = [decode_record(data) for each in shipments for _, data in each.records]
        heads = self.ledger.heads_of(self.space, dict.fromkeys(record.item for record in shipped))
        found = [
            (head.coordinate, hash_record(encode_record(head)))
            for record in shipped
            for head in heads.get(record.item, ())
            if head.dominates(record) and is_dead(heads[record.item])
        ]
        return tuple(Wanted(*at, hash[:DIGEST_SIZE_BYTES]) for at, hash in dict.fromkeys(found))

    def _wanted(self, wanted: Wanted) -> list[bytes]:
        at = wanted.sequence
        records = self.ledger.records_in(self.space, wanted.device, wanted.incarnation, at, at)
        return [d for _, d in records if hash_record(d)[:DIGEST_SIZE_BYTES] == wanted.digest]

    def _commit_of(self, wanted: Wanted, hash: RecordHash) -> Commit | None:
        author = (wanted.device, wanted.incarnation)
        for data in self.ledger.commits_at(self.space, author, wanted.sequence):
            commit = decode_commit(data)
            if commit.hashes[wanted.sequence - commit.first] == hash:
                return commit
        return None


def _shipped(found: dict[Commit, list[tuple[int, bytes]]]) -> tuple[Shipment, ...]:
    return tuple(Shipment(commit, tuple(sorted(records))) for commit, records in found.items())
