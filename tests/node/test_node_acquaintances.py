import random

import pytest

from sharefs.node import acquaintances
from sharefs.node.reports import PeerReport
from sharefs.transfer.events import Known
from tests.node.node_parties import Party, agree, until


def known_to(party: Party, other: Party) -> PeerReport:
    (report,) = [each for each in party.service.peers() if each.id == other.device.hex()]
    return report


def test_what_is_measured_of_a_device_is_told(anna: Party, bob: Party) -> None:
    anna.write("big", random.Random(8).randbytes(12_000_000))
    agree("big", anna, bob)
    bob.read("big")
    until(lambda: known_to(bob, anna).down_bytes_per_second, "what came is measured")
    until(lambda: known_to(anna, bob).up_bytes_per_second, "what went is measured")
    report = known_to(bob, anna)
    assert (report.member, report.device, report.online) == ("Anna", "laptop", True)
    assert report.near == "this machine"
    assert report.address.startswith("127.0.0.1:")
    assert 0 < (until(lambda: known_to(bob, anna).round_trip_s, "it answers") or 0) < 1.0
    assert report.failures == 0
    assert report.online_share is not None
    assert 0 < report.online_share <= 1


def test_what_was_measured_is_assumed_after_a_restart(anna: Party, bob: Party) -> None:
    until(lambda: known_to(bob, anna).round_trip_s, "it answers")
    metrics = bob.node.acquaintances._metrics[anna.device]

    def note() -> None:
        metrics.down_bytes_per_s, metrics.failures = 5e6, 3.0

    bob.node.loop.call(note)
    measured_s = known_to(bob, anna).round_trip_s
    anna.down()
    bob.down()
    bob.up()
    report = known_to(bob, anna)
    assert not report.online
    assert report.round_trip_s == measured_s
    assert report.down_bytes_per_second == 5e6
    assert report.failures == 3
    assert report.last_seen is not None
    known = bob.node.acquaintances.known(anna.device)
    assert known.bytes_per_s == 5e6
    assert known.round_trip_s == measured_s
    anna.up()
    until(lambda: bob.sees(anna))
    flow = bob.node.carriage._machine._books.peers[anna.device].flow
    assert flow.meter.bytes_per_s == 5e6


def test_who_is_away_is_online_for_a_smaller_share(anna: Party, bob: Party) -> None:
    share = until(lambda: known_to(bob, anna).online_share)
    anna.down()
    until(lambda: not bob.sees(anna))
    before = until(lambda: known_to(bob, anna).online_share) or 0
    until(lambda: (known_to(bob, anna).online_share or 1) < before)
    assert share


def test_where_nothing_was_measured_addresses_tell_how_near_a_device_is(
    anna: Party, bob: Party
) -> None:
    bob.node.loop.call(bob.node.acquaintances._metrics.clear)
    known = bob.node.loop.call(lambda: bob.node.acquaintances.known(anna.device))
    assert known == Known(round_trip_s=0.0005)


def test_what_failed_long_ago_counts_less(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquaintances, "HALF_LIFE_SECONDS", 0.2)
    known_to(bob, anna)
    metrics = bob.node.acquaintances._metrics[anna.device]
    bob.node.loop.call(lambda: setattr(metrics, "failures", 8.0))
    until(lambda: known_to(bob, anna).failures < 2)
