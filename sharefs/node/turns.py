"""Whose chunk goes out next, and when, so that no more goes than a person allows?

Theory of operation. Where there are limits on what is sent, the first chunk that a device waits for
and that they let through is the next: one that has to wait holds up no other space's. Whoever had
a turn is the last of those of its rank, so that devices share a limit. Who waits for its turn is
told so each LATER_SECONDS, and does not take us for gone.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer.limits import Limit, Limits
from sharefs.wire.transfer import Later

LATER_SECONDS = 1.0


class Waiting(Protocol):
    """A chunk that a device waits for."""

    @property
    def space(self) -> SpaceId: ...

    @property
    def content(self) -> ContentId: ...

    @property
    def size(self) -> int: ...

    @property
    def urgent(self) -> bool: ...


Chunk = TypeVar("Chunk", bound=Waiting)


class Turns:
    """The limits of what is sent. In the loop. `at` calls at a monotonic time, and `again` is
    called when something that was held back may go."""

    def __init__(
        self,
        at: Callable[[float, Callable[[], None]], None],
        send: Callable[[DeviceId, Later], None],
        again: Callable[[], None],
    ) -> None:
        self._at = at
        self._send = send
        self._again = again
        self._limits = Limits()
        self._ranks: Mapping[SpaceId, int] = {}
        self._look_at: float | None = None
        self._told: dict[DeviceId, float] = {}

    def __bool__(self) -> bool:
        """Whether it matters who is next."""
        return bool(self._limits) or bool(self._ranks)

    def change(self, limits: tuple[Limit, ...], ranks: Mapping[SpaceId, int]) -> None:
        """From now on these."""
        self._limits.change(limits, time.monotonic())
        self._ranks = ranks
        self._again()

    def rank(self, waiting: deque[Chunk]) -> int:
        """Whether who waits for these comes before others, or after them."""
        return min((self._ranks.get(chunk.space, 0) for chunk in waiting), default=0)

    def next_of(self, device: DeviceId, waiting: deque[Chunk]) -> Chunk | None:
        """The chunk that may go next to a device; None if all have to wait. Those that are urgent
        are the first that it waits for."""
        if not self or not waiting:
            return waiting[0] if waiting else None
        firsts: dict[SpaceId, Chunk] = {}
        for chunk in waiting:
            firsts.setdefault(chunk.space, chunk)
        now = time.monotonic()
        open_at = {space: self._limits.open_at(space, device, now) for space in firsts}
        for chunk in sorted(firsts.values(), key=self._order):
            if open_at[chunk.space] <= now:
                return chunk
        self._hold_back(device, waiting[0], min(open_at.values()), now)
        return None

    def _order(self, chunk: Waiting) -> tuple[bool, int]:
        return not chunk.urgent, self._ranks.get(chunk.space, 0)

    def took(self, device: DeviceId, chunk: Waiting) -> None:
        """It goes."""
        if self._limits:
            self._limits.take(chunk.space, device, chunk.size, time.monotonic())

    def try_take(self, space: SpaceId, device: DeviceId, size: int) -> bool:
        """Whether so much may go at once, which it then does."""
        now = time.monotonic()
        if self._limits and self._limits.open_at(space, device, now) > now:
            return False
        self._limits.take(space, device, size, now)
        return True

    def _hold_back(self, device: DeviceId, chunk: Waiting, open_at: float, now: float) -> None:
        if now >= self._told.get(device, 0.0) + LATER_SECONDS:
            self._told[device] = now
            self._send(device, Later(chunk.space, chunk.content))
        look_at = min(open_at, now + LATER_SECONDS)
        if self._look_at is None or look_at < self._look_at:
            self._look_at = look_at
            self._at(look_at, self._look)

    def _look(self) -> None:
        # Of several timers, the first looks for all.
        if self._look_at is not None and self._look_at <= time.monotonic():
            self._look_at = None
            self._again()

    def gone(self, device: DeviceId) -> None:
        """It waits for nothing any more."""
        self._told.pop(device, None)
