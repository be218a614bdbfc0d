"""What can happen to the transfer of bytes?"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from sharefs.errors import UserError
from sharefs.records.content import Manifest
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer.limits import Limit
from sharefs.wire.transfer import Dropped, Have, Lack, Later, Offer


class Priority(IntEnum):
    """How urgent bytes are: the lower, the sooner."""

    READ = 0
    """A program is blocked on them."""
    READ_AHEAD = 1
    FETCH = 2
    """A person asked for the whole file."""
    REPLICATION = 3
    """The space is set to keep its contents here."""
    BACKGROUND = 4
    """Nobody would miss them soon."""

    @property
    def urgent(self) -> bool:
        """Whether a program is, or will soon be, blocked."""
        return self <= Priority.READ_AHEAD

    @property
    def yields(self) -> bool:
        """Whether it makes room for whatever else travels: nobody waits for it."""
        return self >= Priority.REPLICATION


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody waits for the bytes `start` .. `end` of a content, until Satisfied or Failed."""

    waiter: int
    """A number that is never used twice."""
    space: SpaceId
    content: ContentId
    size: int
    manifest: Manifest | None
    have: bytes
    """The bitmap of the chunks that are here; empty for none."""
    start: int
    end: int
    priority: Priority
    likely: tuple[DeviceId, ...] = ()
    """Devices that probably hold it, the version's writer for one: the first to be asked."""
    held: bool = False
    """As after Paused."""
    coming: int = 0
    """The set of chunks that are being copied from other local contents, as of ManifestKept."""
    looks: bool = False
    """It is being looked what can be copied: ManifestKept will tell."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The waiter gave up. What was asked for already is cancelled, and kept if it comes."""

    waiter: int


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is to be asked for on the waiter's behalf, and it does not fail for that."""

    waiter: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The waiter is held back no more."""

    waiter: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """All who wait for a content are to be told this. What was asked for already is cancelled,
    and kept if it comes."""

    content: ContentId
    error: UserError


@dataclass(frozen=True, slots=True)
class Known:
    """How good the way to a device was before, or probably is: until it is measured anew."""

    round_trip_s: float | None = None
    bytes_per_s: float = 0.0
    failures: float = 0.0
    """How often it did not send, or sent something else, lately."""


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A device can be asked about contents of these spaces. Again when they change."""

    device: DeviceId
    spaces: tuple[SpaceId, ...]
    known: Known = Known()


@dataclass(frozen=True, slots=True)
class Answered:
    """A device answered a short question after so long."""

    device: DeviceId
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A device went away: what was asked of it will not come."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class Received:
    """An answer from a device."""

    device: DeviceId
    message: Offer | Have | Lack | Later | Dropped


@dataclass(frozen=True, slots=True)
class ChunkArrived:
    """A chunk's bytes came, and are being verified and written if `Transfer.expects` said so."""

    device: DeviceId
    content: ContentId
    index: int
    size_bytes: int
    before_bytes: int = 0
    """So many of these had come before, and were told of."""


@dataclass(frozen=True, slots=True)
class PieceArrived:
    """A piece of a chunk came, which is not whole yet."""

    device: DeviceId
    content: ContentId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ChunkStored:
    """A chunk is verified and can be read. `device` is our own for one copied locally."""

    device: DeviceId
    content: ContentId
    index: int


@dataclass(frozen=True, slots=True)
class ChunkBad:
    """A chunk does not match its name. `device` is our own if a local copy failed."""

    device: DeviceId
    content: ContentId
    index: int


@dataclass(frozen=True, slots=True)
class ManifestKept:
    """The answer to KeepManifest: `have` is here already, `coming` is being copied from other
    local contents, each chunk of it to end in ChunkStored or ChunkBad with our own device."""

    content: ContentId
    have: bytes = b""
    coming: bytes = b""


@dataclass(frozen=True, slots=True)
class ContentStored:
    """Every chunk of a content can be read; the answer to KeepSmall."""

    content: ContentId


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The disk did not take a chunk or a manifest."""

    content: ContentId
    error: UserError


@dataclass(frozen=True, slots=True)
class Freed:
    """The local bytes of a content are gone."""

    content: ContentId


@dataclass(frozen=True, slots=True)
class StillHere:
    """Of what could be read of a content, no more than `have` can still be."""

    content: ContentId
    have: bytes


@dataclass(frozen=True, slots=True)
class Unsaved:
    """So many bytes of chunks, and of small contents, are stored now, and a crash would lose
    them: said when that grows or falls."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class LimitsChanged:
    """So fast may bytes come from now on; and of which spaces they come first (below 0), or last
    (above 0)."""

    limits: tuple[Limit, ...]
    ranks: Mapping[SpaceId, int]


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the last SetTimer has come."""


WantEvent = Wanted | Unwanted | Paused | Resumed | Cancelled
PeerEvent = PeerUp | Answered | PeerDown | Received
ChunkEvent = ChunkArrived | PieceArrived | ChunkStored | ChunkBad
StoreEvent = ManifestKept | ContentStored | StoreFailed | Freed | StillHere
Event = WantEvent | PeerEvent | ChunkEvent | StoreEvent | Unsaved | LimitsChanged | TimerFired
