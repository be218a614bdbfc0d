"""How fast may bytes travel, one way?

Theory of operation. Each limit is a bucket into which tokens, one for a byte, run at its rate. A
chunk may travel while no bucket that it concerns is in debt, and takes its size out of all of
them: it may leave a debt, which is paid before the next one. So over any time, what travels is the
rate times the time and a chunk at most. An idle bucket saves up for DEPTH_S, so that a timer that
fires late costs nothing. Buckets are empty at first: a limit that is new holds at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sharefs.records.ids import DeviceId, SpaceId

DEPTH_S = 0.1
PAUSE_S_MIN = 0.005
"""Who is refused looks again no sooner: at a high rate, several chunks become due meanwhile."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many bytes a second: of a space, to or from these devices together, or of all."""

    bytes_per_s: int
    space: SpaceId | None = None
    devices: frozenset[DeviceId] | None = None

    def concerns(self, space: SpaceId, device: DeviceId) -> bool:
        """Whether what belongs to this space, and travels to or from this device, is limited."""
        return (self.space is None or self.space == space) and (
            self.devices is None or device in self.devices
        )


class Bucket:
    """What one limit lets through."""

    def __init__(self, bytes_per_s: float, now: float) -> None:
        assert bytes_per_s > 0, "a limit lets something through"
        self.bytes_per_s = bytes_per_s
        """May be changed at any time."""
        self._tokens = 0.0
        self._at = now

    def open_at(self, now: float) -> float:
        """From when on something may travel."""
        self._run(now)
        return now if self._tokens >= 0 else now - self._tokens / self.bytes_per_s

    def take(self, size_bytes: int, now: float) -> None:
        """So much travels now."""
        self._run(now)
        self._tokens -= size_bytes

    def give_back(self, size_bytes: int, now: float) -> None:
        """So much was to travel, and did not; no more of it is saved up than by an idle bucket."""
        self.take(-size_bytes, now)
        self._run(now)

    def _run(self, now: float) -> None:
        earned = (now - self._at) * self.bytes_per_s
        self._tokens = min(self._tokens + earned, self.bytes_per_s * DEPTH_S)
        self._at = now


class Limits:
    """All limits of one way. False if there are none."""

    def __init__(self) -> None:
        self._buckets: dict[Limit, Bucket] = {}

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def change(self, limits: Iterable[Limit], now: float) -> None:
        """From now on these. The debts of those that stay, stay."""
        kept = self._buckets
        self._buckets = {
            limit: kept.get(limit) or Bucket(limit.bytes_per_s, now) for limit in limits
        }

    def open_at(self, space: SpaceId, device: DeviceId, now: float) -> float:
        """From when on something may travel: not after `now` if it may at once."""
        times = [bucket.open_at(now) for bucket in self._concerned(space, device)]
        until = max(times, default=now)
        return until if until <= now else max(until, now + PAUSE_S_MIN)

    def take(self, space: SpaceId, device: DeviceId, size_bytes: int, now: float) -> None:
        """So much travels now."""
        for bucket in self._concerned(space, device):
            bucket.take(size_bytes, now)

    def give_back(self, space: SpaceId, device: DeviceId, size_bytes: int, now: float) -> None:
        """So much did not travel after all."""
        for bucket in self._concerned(space, device):
            bucket.give_back(size_bytes, now)

    def _concerned(self, space: SpaceId, device: DeviceId) -> list[Bucket]:
        return [b for limit, b in self._buckets.items() if limit.concerns(space, device)]
