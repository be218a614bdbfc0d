"""Heads in memory, as `reconciliation` asks for them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from sharefs.records.ids import DeviceId, Incarnation, RecordHash
from sharefs.sync.reconciliation import Author, part_width
from sharefs.wire.audit import SPAN_PARTS, Span

Head = tuple[DeviceId, Incarnation, int, RecordHash]


class MemoryHoldings:
    """The port without a disk."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._heads: dict[Author, list[tuple[int, RecordHash]]] = {}
        for device, incarnation, sequence, hash in sorted(heads):
            self._heads.setdefault((device, incarnation), []).append((sequence, hash))

    def add(self, head: Head) -> None:
        device, incarnation, sequence, hash = head
        of_author = self._heads.setdefault((device, incarnation), [])
        if (sequence, hash) not in of_author[bisect_left(of_author, (sequence, hash)) :][:1]:
            insort(of_author, (sequence, hash))

    @property
    def heads(self) -> set[Head]:
        return {(*author, *head) for author, heads in self._heads.items() for head in heads}

    def authors(self) -> dict[Author, int]:
        return {
            author: sum(int.from_bytes(hash) for _, hash in heads) % 2**256
            for author, heads in self._heads.items()
        }

    def extent(self, span: Span) -> tuple[int, int] | None:
        found = self.listed(span)
        return (found[0][0], found[-1][0]) if found else None

    def parts(self, span: Span) -> list[tuple[int, int]]:
        parts = [(0, 0)] * SPAN_PARTS
        for sequence, hash in self.listed(span):
            number = (sequence - span.first) // part_width(span)
            count, value = parts[number]
            parts[number] = (count + 1, (value + int.from_bytes(hash)) % 2**256)
        return parts

    def listed(self, span: Span) -> list[tuple[int, RecordHash]]:
        heads = self._heads.get(span.author, [])
        low = bisect_left(heads, span.first, key=lambda head: head[0])
        return heads[low : bisect_right(heads, span.last, key=lambda head: head[0])]

    def hashes_at(self, author: Author, sequence: int) -> list[RecordHash]:
        near = self.listed(Span(*author, sequence - sequence % 16, 1))
        return [hash for at, hash in near if at == sequence]
