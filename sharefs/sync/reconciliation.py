"""In which records do two sets differ?

Range-based set reconciliation (Aljoscha Meyer, "Range-Based Set Reconciliation", SRDS 2023): who
asks compares the sums of ranges with its own, and asks for the parts of those that differ, down to
lists of records. A range here is a span of one author's sequences, always split at the same places,
16-fold, so that no bounds travel. Each difference costs some 300 bytes for each 16-fold of the
records that there are, whatever their number.

Only what the asker lacks is found; the other side asks for itself. Who answers keeps no state.

Rejected: splitting by count, as Negentropy does, which makes ranges even but has bounds travel, and
every answer count its way through the records; invertible Bloom filters, which need the number of
differences beforehand, and fail whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Incarnation, RecordHash
from sharefs.wire.audit import (
    DIGEST_SIZE_BYTES,
    LISTED_MAX,
    SPAN_PARTS,
    SPAN_POWER_MAX,
    AskSums,
    Listed,
    Span,
    Split,
    Sums,
    Wanted,
)
from sharefs.wire.sync import FRONTIER_ENTRIES_MAX

LISTED_AT_ONCE = 32
"""So few records of a span are listed, not split."""

Author = tuple[DeviceId, Incarnation]


class Holdings(Protocol):
    """The heads of one replica, by authors who are members."""

    def authors(self) -> Mapping[Author, int]:
        """The sum of the hashes of each author's heads."""
        ...

    def extent(self, span: Span) -> tuple[int, int] | None:
        """The lowest and the highest sequence of a head in the span."""
        ...

    def parts(self, span: Span) -> Sequence[tuple[int, int]]:
        """How many heads are in each of a span's 16 parts, and the sum of their hashes."""
        ...

    def listed(self, span: Span) -> Sequence[tuple[int, RecordHash]]:
        """The sequences and hashes of the heads in a span, in order."""
        ...

    def hashes_at(self, author: Author, sequence: int) -> Sequence[RecordHash]:
        """Of the heads at a coordinate."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    """What to ask next, and what is lacking for sure."""

    spans: tuple[Span, ...]
    wanted: tuple[Wanted, ...]


def check(ask: AskSums) -> None:
    """Raises RemoteProtocolError for a question that no honest peer asks."""
    if any(span.first % span.width for span in ask.spans):
        raise RemoteProtocolError("a span that begins in the middle of one")


def tell(holdings: Holdings, ask: AskSums) -> Sums:
    """The answer to a question, which was checked."""
    if ask.spans:
        return Sums(ask.space, ask.audit, (), tuple(_told(holdings, span) for span in ask.spans))
    sums = sorted(holdings.authors().items())
    authors = tuple((*author, _digest(value)) for author, value in sums if value)
    return Sums(ask.space, ask.audit, authors[:FRONTIER_ENTRIES_MAX], ())


def compare(holdings: Holdings, asked: Sequence[Span], sums: Sums) -> Findings:
    """What an answer tells us. Raises RemoteProtocolError for one that no honest peer gives."""
    if len(sums.spans) != len(asked):
        raise RemoteProtocolError("not as many answers as questions")
    if not asked:
        return Findings(_differing_authors(holdings, sums), ())
    spans: list[Span] = []
    wanted: list[Wanted] = []
    for span, answer in zip(asked, sums.spans, strict=True):
        match answer:
            case Split():
                spans += _differing_parts(holdings, span, answer)
            case Listed():
                wanted += _lacking(holdings, span, answer)
    return Findings(tuple(spans), tuple(wanted))


def _told(holdings: Holdings, span: Span) -> Split | Listed:
    extent = holdings.extent(span)
    if extent is None:
        return Listed(())
    narrow = _narrowed(span, *extent)
    if narrow.power > 1:
        parts = holdings.parts(narrow)
        if sum(count for count, _ in parts) > LISTED_AT_ONCE:
            return Split(narrow.first, narrow.power, tuple(_digests(parts)))
    listed = [(sequence, hash[:DIGEST_SIZE_BYTES]) for sequence, hash in holdings.listed(narrow)]
    return Listed(tuple(listed[:LISTED_MAX]))


def _narrowed(span: Span, lowest: int, highest: int) -> Span:
    """The smallest span in which both stand."""
    while span.power > 1:
        smaller = _span_at(span.author, lowest, span.power - 1)
        if smaller.last < highest:
            break
        span = smaller
    return span


def _span_at(author: Author, sequence: int, power: int) -> Span:
    return Span(*author, sequence - sequence % SPAN_PARTS**power, power)


def part_width(span: Span) -> int:
    """How many sequences each of a span's parts has."""
    return span.width // SPAN_PARTS


def _differing_authors(holdings: Holdings, sums: Sums) -> tuple[Span, ...]:
    ours = holdings.authors()
    return tuple(
        Span(device, incarnation, 0, SPAN_POWER_MAX)
        for device, incarnation, digest in sums.authors
        if digest != _digest(ours.get((device, incarnation), 0))
    )


def _differing_parts(holdings: Holdings, asked: Span, told: Split) -> Iterator[Span]:
    span = _span_at(asked.author, told.first, told.power)
    if span.first != told.first or told.first < asked.first or span.last > asked.last:
        raise RemoteProtocolError("an answer about another span")
    ours = _digests(holdings.parts(span))
    width = part_width(span)
    for number, (digest, other) in enumerate(zip(told.digests, ours, strict=True)):
        if digest and digest != other:
            yield _span_at(span.author, span.first + number * width, span.power - 1)


def _lacking(holdings: Holdings, asked: Span, told: Listed) -> Iterator[Wanted]:
    for sequence, digest in told.records:
        if not asked.first <= sequence <= asked.last:
            raise RemoteProtocolError("a record of another span")
        here = holdings.hashes_at(asked.author, sequence)
        if digest not in {hash[:DIGEST_SIZE_BYTES] for hash in here}:
            yield Wanted(*asked.author, sequence, digest)


def _digests(parts: Sequence[tuple[int, int]]) -> list[bytes]:
    return [_digest(value) if count else b"" for count, value in parts]


def _digest(value: int) -> bytes:
    return blake3(value.to_bytes(32)).digest(DIGEST_SIZE_BYTES)
