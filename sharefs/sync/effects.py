"""What does the machine of sync have done?"""

from dataclasses import dataclass

from sharefs.records.ids import DeviceId, Frontier, Incarnation, SpaceId
from sharefs.sync.audit import Question
from sharefs.wire.audit import Span, Sums
from sharefs.wire.message import SyncMessage
from sharefs.wire.sync import Pull, Shipment


@dataclass(frozen=True, slots=True)
class Send:
    """Tell a peer."""

    peer: DeviceId
    message: SyncMessage


@dataclass(frozen=True, slots=True)
class SendPage:
    """Read the page that a peer asked for, and send it."""

    peer: DeviceId
    pull: Pull


@dataclass(frozen=True, slots=True)
class SendRoster:
    """Send all roster operations of a space."""

    peer: DeviceId
    space: SpaceId


@dataclass(frozen=True, slots=True)
class Answer:
    """Read what a peer asks for in an audit, and send it."""

    peer: DeviceId
    question: Question


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare the sums that a peer told of these spans with ours; `Compared` tells."""

    peer: DeviceId
    asked: tuple[Span, ...]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Apply:
    """Verify and keep these, then merge `frontier`, as one: all of it or nothing."""

    peer: DeviceId
    space: SpaceId
    shipments: tuple[Shipment, ...]
    frontier: Frontier


@dataclass(frozen=True, slots=True)
class Correct:
    """Send a peer the tombstones, of dead items, that dominate some of these, which it gave us."""

    peer: DeviceId
    space: SpaceId
    shipments: tuple[Shipment, ...]


@dataclass(frozen=True, slots=True)
class AddOperations:
    """Add to a space's roster."""

    peer: DeviceId
    space: SpaceId
    operations: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RenewIncarnation:
    """A peer has this much of an incarnation of ours: if it is the one that we count in, and
    nobody was told as much, begin a new one (I3)."""

    space: SpaceId
    incarnation: Incarnation
    sequence: int


@dataclass(frozen=True, slots=True)
class NotePassed:
    """A peer, whose roster is ours, said that it has all of this."""

    peer: DeviceId
    space: SpaceId
    frontier: Frontier


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire at this time, instead of any time set before."""

    at: float


Effect = (
    Send
    | SendPage
    | SendRoster
    | Answer
    | Compare
    | Apply
    | Correct
    | AddOperations
    | RenewIncarnation
    | NotePassed
    | SetTimer
)
