"""How do two replicas of a space become equal?"""

from typing import Annotated

from msgspec import Meta, Struct

from sharefs.records.commit import Commit
from sharefs.records.ids import Count, DeviceId, Incarnation, SpaceId
from sharefs.records.record import RECORD_SIZE_BYTES_MAX
from sharefs.spaces.roster import OPERATIONS_MAX
from sharefs.wire.session import EncodedOperation

FRONTIER_ENTRIES_MAX = 4096
PAGE_COMMITS_MAX = 256
PUSH_TOLD_MAX = 64

FrontierEntries = Annotated[
    tuple[tuple[DeviceId, Incarnation, Count], ...], Meta(max_length=FRONTIER_ENTRIES_MAX)
]
"""A frontier, sorted."""


class Shipment(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commit with those of its records that are not dominated, each with its place in the
    commit."""

    commit: Commit
    records: Annotated[
        tuple[
            tuple[
                Annotated[int, Meta(ge=0, le=255)],
                Annotated[bytes, Meta(max_length=RECORD_SIZE_BYTES_MAX)],
            ],
            ...,
        ],
        Meta(max_length=256),
    ]


class Summary(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=16):
    """What the sender has of a space: the digest of its roster, its frontier, and the fingerprint
    of its heads (the sum of their hashes)."""

    space: SpaceId
    roster: Annotated[bytes, Meta(min_length=32, max_length=32)]
    frontier: FrontierEntries
    fingerprint: Annotated[bytes, Meta(min_length=32, max_length=32)]


class PullRoster(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=17):
    """Send me the roster."""

    space: SpaceId


class RosterOperations(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=18):
    """All operations that the sender has."""

    space: SpaceId
    operations: Annotated[tuple[EncodedOperation, ...], Meta(max_length=OPERATIONS_MAX)]


class Pull(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=19):
    """Send a page of what `frontier` lacks, from `cursor` on (0 at first; the sender's own
    number)."""

    space: SpaceId
    frontier: FrontierEntries
    cursor: Count
    pass_number: Count
    """The asker's own; comes back with the page."""


class Page(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=20):
    """A part of a pass. The last one (`complete`) brings the sender's frontier, to merge as a
    whole."""

    space: SpaceId
    asked: Count
    """The cursor that was asked for."""
    cursor: Count
    """Where the next page begins."""
    shipments: Annotated[tuple[Shipment, ...], Meta(max_length=PAGE_COMMITS_MAX)]
    complete: bool
    frontier: FrontierEntries
    pass_number: Count
    """Of the pull that this answers."""


class Push(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=21):
    """A commit that was just made, or just arrived by a push."""

    space: SpaceId
    shipment: Shipment
    told: Annotated[tuple[DeviceId, ...], Meta(max_length=PUSH_TOLD_MAX)]
    """Who else is pushed it, or was, as far as the sender knows: nobody forwards it to them."""


class Idle(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=22):
    """Nothing new: a digest of what the sender's Summary would say. Who has another one answers
    with theirs."""

    space: SpaceId
    digest: Annotated[bytes, Meta(min_length=16, max_length=16)]
