"""What is shown of a content on its way?"""

from dataclasses import dataclass

from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer.content import Content, Stage
from sharefs.transfer.peers import Peer


@dataclass(frozen=True, slots=True)
class Source:
    """A device that bytes of the content came from, since they were first wanted."""

    device: DeviceId
    bytes: int
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How good the way to a device is, since it is online."""

    bytes: int
    """That came."""
    bytes_per_second: float
    """When last some came; 0 if none did."""
    round_trip_s: float | None
    failures: int
    """How often it did not send, or sent something else."""


def standing_of(peer: Peer) -> Standing:
    """What to show and to remember of it now."""
    meter = peer.flow.meter
    return Standing(
        meter.total_bytes, meter.bytes_per_s, peer.flow.measured_round_trip_s, peer.failures
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """A content that somebody waits for."""

    content: ContentId
    space: SpaceId
    size: int
    done: int
    """Bytes of it that are here."""
    bytes_per_second: float
    sources: tuple[Source, ...]
    state: str
    """`asking`, `fetching`, `waiting` (nobody online has it) or `paused`."""


def progress_of(content: Content, now: float) -> Progress:
    """What to show of it now."""
    held = content.stage in (Stage.WAITING, Stage.PAUSED)
    sources = tuple(
        # What came just before does not make it travel now.
        Source(device, meter.total_bytes, 0.0 if held else meter.rate_at(now))
        for device, meter in content.sources.items()
    )
    state = content.stage.value if held else "fetching" if content.useful else "asking"
    rate = sum(source.bytes_per_second for source in sources)
    space = next(iter(content.spaces))
    return Progress(content.id, space, content.size, content.have_bytes, rate, sources, state)
