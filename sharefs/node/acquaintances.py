"""How good is the way to each member's device, and how often is it there?

Theory of operation. Every few seconds time is counted, for those who are online and for those who
are not, and what the transfer has measured since is taken over. All of it is saved seldom, and when
the node goes down. What was known of a device is what the transfer assumes of it when it comes up:
whom to ask first, and how much of it, before anything is measured anew. Of a device that never was
online, its addresses tell how near it may be.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sharefs.mesh.nearness import Nearness, nearness
from sharefs.node.peers import Peers
from sharefs.node.reports import PeerReport
from sharefs.node.state import State
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId
from sharefs.spaces.identity import Certificate
from sharefs.store.metrics import MetricsTable, PeerMetrics
from sharefs.transfer.events import Known
from sharefs.transfer.snapshot import Standing

SAVE_INTERVAL_SECONDS = 600.0
HALF_LIFE_SECONDS = 30 * 24 * 3600.0
"""Of what counts as past."""
TELLING_BYTES_MIN = 4 * MIB
"""Fewer tell nothing of how fast a device sends."""
ROUND_TRIP_ASSUMED_S = {Nearness.MACHINE: 0.0005, Nearness.NETWORK: 0.002}


@dataclass(slots=True)
class _Seen:
    """How much of what was measured is in the metrics already."""

    at: float = 0.0
    down_bytes: int = 0
    up_bytes: int = 0
    failures: int = 0


class Acquaintances:
    """The metrics of every member's device. In the loop only."""

    def __init__(
        self,
        state: State,
        peers: Peers,
        standing: Callable[[DeviceId], Standing | None],
        sent: Callable[[DeviceId], tuple[int, float]],
    ) -> None:
        """`standing` is what came from a device that is online; `sent` the bytes that went there
        since it is, and how fast."""
        self._state = state
        self._peers = peers
        self._standing = standing
        self._sent = sent
        self._table = MetricsTable(state.store)
        self._metrics = self._table.load()
        self._seen: dict[DeviceId, _Seen] = {}
        self._counted_at = self._saved_at = time.monotonic()

    # --- what happens ---------------------------------------------------------------------------

    def known(self, device: DeviceId) -> Known:
        """What to assume of a device that comes up."""
        metrics = self._metrics.get(device, PeerMetrics())
        round_trip_s = metrics.round_trip_s
        if round_trip_s is None:
            round_trip_s = ROUND_TRIP_ASSUMED_S.get(self._nearness(device))
        return Known(round_trip_s, metrics.down_bytes_per_s, metrics.failures)

    def down(self, device: DeviceId) -> None:
        """It goes: what was measured is known no more afterwards."""
        self._measure(device)
        self._seen.pop(device, None)

    def round(self) -> None:
        """Every few seconds."""
        self._count()
        if time.monotonic() - self._saved_at >= SAVE_INTERVAL_SECONDS:
            self.save()

    def save(self) -> None:
        """What is known of those who are members still."""
        self._count()
        self._saved_at = time.monotonic()
        members = {certificate.device for certificate in self._state.devices.values()}
        self._metrics = {d: each for d, each in self._metrics.items() if d in members}
        self._table.save(self._metrics)

    def _count(self) -> None:
        now = time.monotonic()
        elapsed, self._counted_at = now - self._counted_at, now
        kept = 0.5 ** (elapsed / HALF_LIFE_SECONDS)
        for certificate in self._state.devices.values():
            metrics = self._metrics.setdefault(certificate.device, PeerMetrics())
            online = self._peers.is_online(certificate.device)
            metrics.observed_s = metrics.observed_s * kept + elapsed
            metrics.online_s = metrics.online_s * kept + (elapsed if online else 0.0)
            metrics.failures *= kept
            if online:
                self._measure(certificate.device)

    def _measure(self, device: DeviceId) -> None:
        standing = self._standing(device)
        if standing is None:
            return
        metrics = self._metrics.setdefault(device, PeerMetrics())
        seen = self._seen.setdefault(device, _Seen())
        metrics.failures += standing.failures - seen.failures
        seen.failures = standing.failures
        if standing.round_trip_s is not None:
            metrics.round_trip_s = standing.round_trip_s
        enough = standing.bytes - seen.down_bytes >= TELLING_BYTES_MIN
        if enough and standing.bytes_per_second:
            seen.down_bytes = standing.bytes
            metrics.down_bytes_per_s = _mean(metrics.down_bytes_per_s, standing.bytes_per_second)
        sent_bytes, sent_bytes_per_s = self._sent(device)
        if sent_bytes - seen.up_bytes >= TELLING_BYTES_MIN and sent_bytes_per_s:
            seen.up_bytes = sent_bytes
            metrics.up_bytes_per_s = _mean(metrics.up_bytes_per_s, sent_bytes_per_s)

    # --- for people -----------------------------------------------------------------------------

    def report(self) -> list[PeerReport]:
        """Of every member's device but this one: those who are online first."""
        self._count()
        reports = [self._report(each) for each in self._state.devices.values()]
        return sorted(reports, key=lambda report: (not report.online, report.member, report.device))

    def _report(self, certificate: Certificate) -> PeerReport:
        device = certificate.device
        metrics = self._metrics[device]
        online = self._peers.is_online(device)
        addresses = self._state.ledger.addresses(device)
        seen = self._state.ledger.last_seen(device)
        return PeerReport(
            member=self._state.person_name(device),
            device=certificate.device_name,
            id=device.hex(),
            online=online,
            address=f"{addresses[0][0].host}:{addresses[0][0].port}" if addresses else "",
            near=self._nearness(device).value if addresses else "",
            round_trip_s=metrics.round_trip_s,
            down_bytes_per_second=metrics.down_bytes_per_s,
            up_bytes_per_second=metrics.up_bytes_per_s,
            online_share=metrics.online_s / metrics.observed_s if metrics.observed_s else None,
            failures=round(metrics.failures),
            last_seen=time.time() if online else seen,
        )

    def _nearness(self, device: DeviceId) -> Nearness:
        return nearness(address.host for address, _ in self._state.ledger.addresses(device))


def _mean(before: float, measured: float) -> float:
    return (before + measured) / 2 if before else measured
