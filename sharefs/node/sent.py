"""What went to whom lately? Pure."""

from dataclasses import dataclass

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer.credit import Meter

LATELY_SECONDS = 3.0
TARGETS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Sending:
    """Bytes of a content that went to a device."""

    content: ContentId
    device: DeviceId
    bytes: int
    bytes_per_second: float


@dataclass(slots=True)
class _Flow:
    meter: Meter
    last_at: float


class Sent:
    """Those to whom something went in the last few seconds, the latest last."""

    def __init__(self) -> None:
        self._flows: dict[tuple[ContentId, DeviceId], _Flow] = {}

    def add(self, device: DeviceId, content: ContentId, size_bytes: int, now: float) -> None:
        """Something went."""
        flow = self._flows.pop((content, device), None)
        if flow is None or now - flow.last_at > LATELY_SECONDS:
            flow = _Flow(Meter(now), now)
        flow.meter.add(size_bytes, now)
        flow.last_at = now
        self._flows[content, device] = flow
        if len(self._flows) > TARGETS_MAX:
            del self._flows[next(iter(self._flows))]

    def all(self, now: float) -> list[Sending]:
        """What goes, or just went."""
        for key in [k for k, flow in self._flows.items() if now - flow.last_at > LATELY_SECONDS]:
            del self._flows[key]
        return [
            Sending(content, device, flow.meter.total_bytes, flow.meter.rate_at(now))
            for (content, device), flow in self._flows.items()
        ]
