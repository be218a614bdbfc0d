"""How do two replicas find the few records in which they differ?"""

from typing import Annotated

from msgspec import Meta, Struct

from sharefs.records.ids import Count, DeviceId, Incarnation, SpaceId
from sharefs.wire.sync import FRONTIER_ENTRIES_MAX, Shipment

SPANS_MAX = 32
SPAN_PARTS = 16
SPAN_POWER_MAX = 16
"""So wide a span has all sequences that there can be."""
LISTED_MAX = 256
WANTED_MAX = 256
DIGEST_SIZE_BYTES = 16

Digest = Annotated[bytes, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
"""Of a sum; or the first bytes of a record's hash."""


class Span(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An author's sequences from `first` on, 16 ** `power` of them. Invariant: `first` is a
    multiple of that."""

    device: DeviceId
    incarnation: Incarnation
    first: Count
    power: Annotated[int, Meta(ge=1, le=SPAN_POWER_MAX)]

    @property
    def author(self) -> tuple[DeviceId, Incarnation]:
        return (self.device, self.incarnation)

    @property
    def last(self) -> int:
        return self.first + self.width - 1

    @property
    def width(self) -> int:
        return 1 << 4 * self.power


class Wanted(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A record that the asker lacks."""

    device: DeviceId
    incarnation: Incarnation
    sequence: Count
    digest: Digest


class AskSums(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=23):
    """What do your heads in these spans add up to? Without spans: each author's."""

    space: SpaceId
    audit: Count
    """The asker's own number of this question; comes back with the answer."""
    spans: Annotated[tuple[Span, ...], Meta(max_length=SPANS_MAX)]


class Split(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """The digests of the sums of a span's parts, empty where nothing is; all of the span asked for
    that is not in this one is empty, too."""

    first: Count
    power: Annotated[int, Meta(ge=2, le=SPAN_POWER_MAX)]
    digests: Annotated[
        tuple[Annotated[bytes, Meta(max_length=DIGEST_SIZE_BYTES)], ...],
        Meta(min_length=SPAN_PARTS, max_length=SPAN_PARTS),
    ]


class Listed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """All heads in the span asked for, but for those of dead items."""

    records: Annotated[tuple[tuple[Count, Digest], ...], Meta(max_length=LISTED_MAX)]


class Sums(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=24):
    """The sums asked for: of all authors, or of each span, in the order of the question."""

    space: SpaceId
    audit: Count
    authors: Annotated[
        tuple[tuple[DeviceId, Incarnation, Digest], ...], Meta(max_length=FRONTIER_ENTRIES_MAX)
    ]
    spans: Annotated[tuple[Split | Listed, ...], Meta(max_length=SPANS_MAX)]


class AskRecords(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=25):
    """Send me these."""

    space: SpaceId
    audit: Count
    records: Annotated[tuple[Wanted, ...], Meta(max_length=WANTED_MAX)]


class Records(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=26):
    """As many of the records asked for as a message holds, with their commits."""

    space: SpaceId
    audit: Count
    shipments: Annotated[tuple[Shipment, ...], Meta(max_length=WANTED_MAX)]


class Tombstones(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=60):
    """What dominates records that the sender was given in an audit: they were deleted. As
    tombstones are in no sum, they are not asked for."""

    space: SpaceId
    shipments: Annotated[tuple[Shipment, ...], Meta(max_length=WANTED_MAX)]
