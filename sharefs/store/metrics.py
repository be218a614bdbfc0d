"""How good was the way to each device, and how often was it there?

Small and seldom written: what a crash loses of it is measured again.
"""

from dataclasses import astuple, dataclass

from sharefs.records.ids import DeviceId
from sharefs.store.connection import Writer


@dataclass(slots=True)
class PeerMetrics:
    """Of one device. `online_s` of `observed_s` it was online; both, and the failures, count the
    less the longer ago they were."""

    round_trip_s: float | None = None
    down_bytes_per_s: float = 0.0
    """From it to us; 0 while that was not measured."""
    up_bytes_per_s: float = 0.0
    online_s: float = 0.0
    observed_s: float = 0.0
    failures: float = 0.0


class MetricsTable:
    """On the writing connection, in the loop."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def load(self) -> dict[DeviceId, PeerMetrics]:
        """Of every device that is known."""
        rows = self._writer.connection.execute(
            "SELECT device, round_trip_s, down_bytes_per_s, up_bytes_per_s, online_s, observed_s,"
            " failures FROM peer_metrics"
        )
        return {DeviceId(device): PeerMetrics(*values) for device, *values in rows}

    def save(self, metrics: dict[DeviceId, PeerMetrics]) -> None:
        """These, and no others."""
        self._writer.connection.execute("DELETE FROM peer_metrics")
        self._writer.connection.executemany(
            "INSERT INTO peer_metrics VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(device, *astuple(each)) for device, each in sorted(metrics.items())],
        )
