"""What is known of a device that is online?"""

from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer.credit import Flow
from sharefs.transfer.events import Known
from sharefs.transfer.yielding import Yielding

DISTRUSTED_CONTENTS_MAX = 1024
_MISS_WEIGHT = 1 / 8
_QUESTIONS_LIKE_A_MISS = 64
_ROUND_TRIP_LIKE_A_QUESTION_S = 0.005
_FAILURES_MAX = 32


class Peer:
    """A device that can be asked."""

    def __init__(self, device: DeviceId, now: float, known: Known) -> None:
        self.device = device
        self.spaces: frozenset[SpaceId] = frozenset()
        self.flow = Flow(now, known.bytes_per_s, known.round_trip_s)
        self.failures = 0
        self._failures_before = known.failures
        self.yielding = Yielding()
        self.heard_at = now
        self.questions = 0
        """Asks that it has not answered."""
        self.misses = 0.5
        """How often it lately did not hold what it was asked for, from 0 to 1."""

    def answered(self, *, holds: bool) -> None:
        """It said whether it holds something."""
        self.misses += ((0 if holds else 1) - self.misses) * _MISS_WEIGHT

    def reluctance(self, now: float) -> tuple[bool, float]:
        """Whom to give chunks to first: the least, which would deliver soonest."""
        return self.flow.stalled, self.flow.ready_in_s(0, now)

    def cost(self, *, likely: bool) -> float:
        """Whom to ask first: the least cost. Spreads questions over those who hold things: the
        nearer, and the less often they failed, the more of them."""
        failures = min(self.failures + self._failures_before, _FAILURES_MAX)
        asked = self.questions + failures + self.flow.round_trip_s / _ROUND_TRIP_LIKE_A_QUESTION_S
        return (0.0 if likely else self.misses) + asked / _QUESTIONS_LIKE_A_MISS


def short_name(device: DeviceId) -> str:
    """How to name a device that nothing else is known of."""
    return f"device {device.hex()[:8]}"


class Distrust:
    """Which devices sent something else than a content's bytes: the latest such contents."""

    def __init__(self) -> None:
        self._devices: dict[ContentId, frozenset[DeviceId]] = {}

    def of(self, content: ContentId) -> frozenset[DeviceId]:
        """The devices from which this content is not taken."""
        return self._devices.get(content, frozenset())

    def add(self, content: ContentId, device: DeviceId) -> None:
        """Never again take this content from the device."""
        self._devices[content] = self._devices.pop(content, frozenset()) | {device}
        if len(self._devices) > DISTRUSTED_CONTENTS_MAX:
            del self._devices[next(iter(self._devices))]
