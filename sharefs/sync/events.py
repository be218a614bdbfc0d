"""What happens to the machine of sync?"""

from dataclasses import dataclass, field

from sharefs.records.ids import DeviceId, Frontier, SpaceId
from sharefs.sync.reconciliation import Findings
from sharefs.wire.message import SyncMessage
from sharefs.wire.sync import Shipment


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A member's device is online; `spaces` are those it shares with us."""

    peer: DeviceId
    spaces: tuple[SpaceId, ...]


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A device is offline, or misbehaved."""

    peer: DeviceId


@dataclass(frozen=True, slots=True)
class Received:
    """A member's device said this about a space it is in."""

    peer: DeviceId
    message: SyncMessage


@dataclass(frozen=True, slots=True)
class Stands:
    """What is durably ours of a space, at first and whenever it changed."""

    space: SpaceId
    roster: bytes
    frontier: Frontier
    source: DeviceId | None
    """Who sent what changed it; None if we did."""
    fingerprint: bytes
    """Of the heads: the sum of their hashes, in 32 bytes."""
    limits: Frontier = field(default_factory=dict)
    """How far incarnations count that are closed (I8)."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit of our own is durable."""

    space: SpaceId
    shipment: Shipment


@dataclass(frozen=True, slots=True)
class ApplyFailed:
    """What a peer sent could not be applied: false, or by an author not in our roster."""

    peer: DeviceId
    space: SpaceId


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Some of what was applied was not kept after all; how the space stands follows."""

    space: SpaceId


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time asked for by SetTimer has come."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What Compare asked for."""

    peer: DeviceId
    space: SpaceId
    number: int
    findings: Findings


Event = (
    PeerUp
    | PeerDown
    | Received
    | Stands
    | Committed
    | ApplyFailed
    | RolledBack
    | Compared
    | TimerFired
)
