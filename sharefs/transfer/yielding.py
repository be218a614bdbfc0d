"""How much may what nobody waits for take of a link that others need, too?

Theory of operation. A full link makes a queue, and a queue makes the round trip longer, of whatever
else travels there: the talk of the family as much as our own messages. Each short question to a
device tells its round trip. When that is QUEUE_S_MAX longer than the least of the last minutes,
twice in a row, what is fetched in the background from this device goes at half the rate that was
measured, and at half of that if the queue is still there at the next answer. When it is gone, the
rate grows again, until it is what it was before, and then is free.

One long round trip tells nothing: on a slow link, each of our own chunks delays what comes just
behind it, also where nothing else travels. To yield to that left two thirds of such a link unused.
"""

from sharefs.records.content import KIB
from sharefs.transfer.limits import Bucket

QUEUE_S_MAX = 0.1
LEAST_WINDOW_S = 150.0
"""The least is that of the last one or two of these: a way may change for good."""
RATE_BYTES_PER_S_MIN = 32 * KIB
SHRINK = 0.5
GROW = 1.25


class Yielding:
    """The background transfers from one device."""

    def __init__(self) -> None:
        self._bucket: Bucket | None = None
        self._free_at_bytes_per_s = 0.0
        self._least_s = self._least_before_s = float("inf")
        self._window_at = float("-inf")
        self._latest_s = 0.0

    @property
    def bytes_per_s(self) -> float | None:
        """What they are held to; None if they are free."""
        return self._bucket.bytes_per_s if self._bucket else None

    def answered(self, round_trip_s: float, bytes_per_s: float, now: float) -> None:
        """A short question took so long, while so much came, lately, of all kinds."""
        if now - self._window_at > LEAST_WINDOW_S:
            self._window_at = now
            self._least_before_s, self._least_s = self._least_s, round_trip_s
        self._least_s = min(self._least_s, round_trip_s)
        before_s, self._latest_s = self._latest_s, round_trip_s
        least_s = min(self._least_s, self._least_before_s)
        if min(before_s, round_trip_s) - least_s >= QUEUE_S_MAX:
            self._shrink(bytes_per_s, now)
        elif self._bucket:
            self._bucket.bytes_per_s *= GROW
            if self._bucket.bytes_per_s > self._free_at_bytes_per_s:
                self._bucket = None

    def _shrink(self, bytes_per_s: float, now: float) -> None:
        if self._bucket is None:
            rate = max(bytes_per_s, RATE_BYTES_PER_S_MIN)
            self._free_at_bytes_per_s = rate
            self._bucket = Bucket(rate, now)
        self._bucket.bytes_per_s = max(self._bucket.bytes_per_s * SHRINK, RATE_BYTES_PER_S_MIN)

    def open_at(self, now: float) -> float:
        """From when on more may be asked for: not after `now` if it may at once."""
        return self._bucket.open_at(now) if self._bucket else now

    def take(self, size_bytes: int, now: float) -> None:
        """So much is asked for."""
        if self._bucket:
            self._bucket.take(size_bytes, now)
