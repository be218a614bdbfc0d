"""How much may be under way from one device, and when is it lost?

Theory of operation. Chunks are pulled, and a device sends them in the order they were asked for,
the urgent ones first.
Credit is the number of bytes that may be under way. Four chunks always may, so that one is read
while another travels, and a third is verified here. Beyond that, credit grows by what arrives, so
that it doubles in a round trip, until it is twice what the device delivers in the time from a
question to its answer, or 8 MiB: more would only make a queue, which a blocked read has to wait
behind, and is lost in a crash. It is halved when nothing comes for a while. A chunk is lost when
the device delivers nothing at all for some seconds, or went on delivering what was asked of it long
after that chunk.
"""

from collections import deque
from dataclasses import dataclass, replace

from sharefs.records.content import MIB
from sharefs.records.ids import ContentId

CREDIT_CHUNKS_MIN = 4
CREDIT_BYTES_START = MIB
CREDIT_BYTES_MAX = 8 * MIB
CREDIT_GAIN = 2
SERVICE_S = 0.02
"""What a device takes to read, verify and encipher a chunk, beside the round trip."""
READ_RESERVE_BYTES = 4 * MIB
"""A blocked read may go this far beyond the credit that others have used up."""
SILENCE_S_MAX = 4.0
EXCUSED_S_MAX = 120.0
"""So long a device may put off what it was asked for."""
OVERTAKEN_CHUNKS_MAX = 16
RATE_ASSUMED_BYTES_PER_S = MIB
ROUND_TRIP_ASSUMED_S = 0.05
"""Where nothing is known."""
ROUND_TRIPS_KEPT = 8
METER_WINDOW_S = 0.25
METER_FIRST_BYTES = 4 * MIB
METER_FIRST_S = 0.01
"""So many bytes tell something sooner, where nothing is known."""
METER_IDLE_S = 2.0

ChunkKey = tuple[ContentId, int]


class Meter:
    """Bytes a second, over the time in which some were awaited."""

    def __init__(self, now: float, bytes_per_s: float = 0.0) -> None:
        self.total_bytes = 0
        self.bytes_per_s = bytes_per_s
        self._window_at = now
        self._window_bytes = 0
        self._last_at = now

    def resume(self, now: float) -> None:
        """Do not count the time before now, in which nothing was awaited."""
        self._window_at = now
        self._window_bytes = 0

    def add(self, size_bytes: int, now: float) -> None:
        """Some came."""
        if now - self._last_at > METER_IDLE_S:
            self.bytes_per_s = 0.0
            self.resume(now)
        self._last_at = now
        self.total_bytes += size_bytes
        self._window_bytes += size_bytes
        elapsed = now - self._window_at
        first = not self.bytes_per_s and self._window_bytes >= METER_FIRST_BYTES
        if elapsed >= (METER_FIRST_S if first else METER_WINDOW_S):
            measured = self._window_bytes / elapsed
            self.bytes_per_s = (self.bytes_per_s + measured) / 2 if self.bytes_per_s else measured
            self.resume(now)

    def rate_at(self, now: float) -> float:
        """The rate to show: none when nothing has come lately."""
        return self.bytes_per_s if now - self._last_at <= METER_IDLE_S else 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A chunk that was asked for, the `serial`th of its device."""

    size_bytes: int
    at: float
    serial: int
    urgent: bool

    def comes_before(self, other: "Request") -> bool:
        """Whether it comes sooner than another that was asked of its device."""
        return (not self.urgent, self.serial) < (not other.urgent, other.serial)


class Flow:
    """The chunks under way from one device. `requests` is in the order in which they were asked."""

    def __init__(
        self, now: float, bytes_per_s: float = 0.0, round_trip_s: float | None = None
    ) -> None:
        """With what is assumed until it is measured."""
        self.requests: dict[ChunkKey, Request] = {}
        self.credit_bytes = CREDIT_BYTES_START
        self.under_way_bytes = 0
        self.stalled = False
        """Something was lost, and nothing has come since: ask for one chunk at a time."""
        self.meter = Meter(now, bytes_per_s)
        self._round_trip_assumed_s = ROUND_TRIP_ASSUMED_S if round_trip_s is None else round_trip_s
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS_KEPT)
        self._progress_at = now
        self._arrived_at = now
        """When something came, or the first of what is under way was asked for."""
        self._serial = 0
        self._serial_arrived = {False: 0, True: 0}
        """The latest that can have overtaken what is not urgent, and what is."""

    # --- how far it is --------------------------------------------------------------------------

    @property
    def measured_round_trip_s(self) -> float | None:
        """The least of the latest: what a queue adds is not of the way. None if not measured."""
        return min(self._round_trips, default=None)

    @property
    def round_trip_s(self) -> float:
        """As measured, or assumed."""
        measured = self.measured_round_trip_s
        return self._round_trip_assumed_s if measured is None else measured

    def answered(self, round_trip_s: float) -> None:
        """An answer came after so long."""
        self._round_trips.append(round_trip_s)

    @property
    def _way_s(self) -> float:
        return SERVICE_S + self.round_trip_s

    def ready_in_s(self, size_bytes: int, now: float) -> float:
        """How long a chunk would take that is asked for now."""
        return (
            self._way_s + self._silence_s(now) + self._delivery_s(self.under_way_bytes + size_bytes)
        )

    def awaited_s(self, key: ChunkKey, now: float) -> float:
        """How long a chunk will probably take that was asked for."""
        request = self.requests[key]
        before = (each for each in self.requests.values() if each.comes_before(request))
        ahead = request.size_bytes + sum(each.size_bytes for each in before)
        return self._silence_s(now) + self._delivery_s(ahead)

    def _silence_s(self, now: float) -> float:
        """Longer than it should have been: who was silent for long may well be so as long again."""
        if not self.requests:
            return 0.0
        oldest = next(iter(self.requests.values()))
        due = self._progress_at + self._way_s + self._delivery_s(oldest.size_bytes)
        return max(0.0, now - due)

    def _delivery_s(self, size_bytes: int) -> float:
        return size_bytes / (self.meter.bytes_per_s or RATE_ASSUMED_BYTES_PER_S)

    # --- what is under way ----------------------------------------------------------------------

    def admits(self, size_bytes: int, *, urgent: bool) -> bool:
        """Whether one more chunk may be asked for. One always may if none is under way."""
        if not self.requests:
            return True
        if self.stalled:
            return False
        few = len(self.requests) < CREDIT_CHUNKS_MIN
        limit = CREDIT_BYTES_MAX if few else self.credit_bytes
        limit += READ_RESERVE_BYTES if urgent else 0
        return self.under_way_bytes + size_bytes <= limit

    def ask(self, key: ChunkKey, size_bytes: int, now: float, *, urgent: bool) -> None:
        """A chunk is being asked for."""
        if not self.requests:
            self._progress_at = self._arrived_at = now
            self.meter.resume(now)
        self.forget(key)
        self._serial += 1
        self.requests[key] = Request(size_bytes, now, self._serial, urgent)
        self.under_way_bytes += size_bytes

    def hurry(self, key: ChunkKey) -> bool:
        """A chunk that was asked for has become urgent. Whether its device is to be told: it would
        come behind others that are not."""
        request = self.requests.get(key)
        if request is None or request.urgent:
            return False
        others = self.requests.values()
        if all(each.urgent or each.serial >= request.serial for each in others):
            return False
        self.requests[key] = replace(request, urgent=True)
        return True

    def forget(self, key: ChunkKey) -> Request | None:
        """A chunk is no longer under way."""
        request = self.requests.pop(key, None)
        if request:
            self.under_way_bytes -= request.size_bytes
        assert self.under_way_bytes >= 0, "what is under way is the sum of the requests"
        return request

    def arrived(self, key: ChunkKey, size_bytes: int, now: float) -> None:
        """A chunk, or the last piece of one, came, perhaps of one that was given up."""
        request = self.forget(key)
        if request:
            # What is urgent may overtake all that is not.
            for urgent in {True, request.urgent}:
                serial = max(self._serial_arrived[urgent], request.serial)
                self._serial_arrived[urgent] = serial
        self.came(size_bytes, now)

    def came(self, size_bytes: int, now: float) -> None:
        """Bytes came."""
        self._progress_at = self._arrived_at = now
        self.stalled = False
        self.meter.add(size_bytes, now)
        grown = min(self.credit_bytes + size_bytes, CREDIT_BYTES_MAX)
        if self.meter.bytes_per_s:
            grown = min(grown, int(CREDIT_GAIN * self.meter.bytes_per_s * self._way_s))
        self.credit_bytes = max(grown, CREDIT_BYTES_START)

    def excuse(self, now: float) -> None:
        """It says that what was asked of it comes later: believed for a while."""
        self._progress_at = max(self._progress_at, min(now, self._arrived_at + EXCUSED_S_MAX))

    def due(self) -> float | None:
        """When to look for lost chunks."""
        if not self.requests:
            return None
        oldest = next(iter(self.requests.values()))
        return self._progress_at + SILENCE_S_MAX + self._delivery_s(oldest.size_bytes)

    def give_up(self, now: float) -> list[ChunkKey]:
        """Take out what is lost, with halved credit if something is."""
        due = self.due()
        if due is not None and now >= due:
            lost = list(self.requests)
            self.stalled = True
        else:
            lost = [key for key, request in self.requests.items() if self._overtaken(request, now)]
        for key in lost:
            self.forget(key)
        if lost:
            self.credit_bytes = max(self.credit_bytes // 2, CREDIT_BYTES_START)
        return lost

    def _overtaken(self, request: Request, now: float) -> bool:
        later = self._serial_arrived[request.urgent] - request.serial
        return later > OVERTAKEN_CHUNKS_MAX and now - request.at >= SILENCE_S_MAX
