"""What does the transfer of bytes want done?"""

from dataclasses import dataclass

from sharefs.errors import UserError
from sharefs.records.content import Manifest
from sharefs.records.ids import ContentId, DeviceId
from sharefs.wire.transfer import Ask, Cancel, Hurry, WantChunks


@dataclass(frozen=True, slots=True)
class Send:
    """Send to a device, on the control channel."""

    device: DeviceId
    message: Ask | WantChunks | Hurry | Cancel


@dataclass(frozen=True, slots=True)
class KeepManifest:
    """Keep a content's manifest, verified; no chunk is asked for before ManifestKept answers."""

    content: ContentId
    manifest: Manifest
    encoded: bytes


@dataclass(frozen=True, slots=True)
class KeepSmall:
    """Keep a whole small content, verified; ContentStored or StoreFailed answers."""

    content: ContentId
    manifest: Manifest
    encoded: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Satisfied:
    """What the waiter wanted can be read."""

    waiter: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The waiter waits in vain."""

    waiter: int
    error: UserError


@dataclass(frozen=True, slots=True)
class Report:
    """A sentence for the person, about a device or about nobody."""

    device: DeviceId | None
    sentence: str
    content: ContentId | None = None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Let TimerFired come at this time, instead of at any set before."""

    at: float


Effect = Send | KeepManifest | KeepSmall | Satisfied | Failed | Report | SetTimer
