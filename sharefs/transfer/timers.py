"""What is due, and when? One deadline for each key; a later `set` of the same key replaces it."""

import heapq
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=bytes)


class Timers(Generic[Key]):
    """A heap whose replaced entries are skipped when their time comes."""

    def __init__(self) -> None:
        self._at: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, key: Key, at: float | None) -> None:
        """Replace the key's deadline; None for no deadline."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))

    def __contains__(self, key: Key) -> bool:
        return key in self._at

    def earliest(self) -> float | None:
        """The next deadline."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Key | None:
        """Take out a key whose deadline has come."""
        at = self.earliest()
        if at is None or at > now:
            return None
        key = heapq.heappop(self._heap)[1]
        del self._at[key]
        return key
