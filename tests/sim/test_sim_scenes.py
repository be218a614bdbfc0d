"""What the simulated network hears when all is well."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from msgspec.structs import replace

from sharefs.node import collection
from sharefs.node.holdings import Holdings
from sharefs.records.ids import PublicKey
from sharefs.sync import machine
from sharefs.wire.message import decode_message, encode_message
from sharefs.wire.sync import Idle, Page, Push
from tests.sim.data_history import LONG_SECONDS, DataHistory, quickly
from tests.sim.data_node import TOP_INO, DataDevice
from tests.sim.faults import PEACE, Faults
from tests.sim.network import Frames
from tests.sim.surroundings import simulated

PEACE_SECONDS = 20.0
SEED_OF_FOUR_DEVICES = 0
SETTLE_SECONDS = 2 * machine.SUMMARY_INTERVAL_SECONDS + 0.5
"""Then the next round is far."""
MADE_DURABLE_SECONDS = 1.0
"""The pool may take as long before the first Push goes."""
HOP_SECONDS = PEACE.delay_seconds


@pytest.fixture
def peaceful() -> Iterator[DataHistory]:
    """All four members, at work and not linked yet."""
    with simulated(), quickly():
        history = DataHistory(SEED_OF_FOUR_DEVICES, PEACE)
        for device in history.devices:
            device.start()
        yield history


def link_in_a_line(history: DataHistory) -> list[DataDevice]:
    devices = history.devices
    for one, other in pairwise(devices):
        history.network.link(one.key, other.key)
    return devices


def link_all(history: DataHistory) -> list[DataDevice]:
    history.network.heal()
    return history.devices


def make_folder(history: DataHistory, device: DataDevice, name: str) -> None:
    node = device.node
    assert node is not None, "at peace, everybody is awake"

    def make() -> None:
        node.desk.make_folder(TOP_INO, name)

    device.guarded(make)
    history.agenda.run_until(history.agenda.now + MADE_DURABLE_SECONDS)


def make_link(history: DataHistory, device: DataDevice, name: str) -> None:
    node = device.node
    assert node is not None, "at peace, everybody is awake"

    def make() -> None:
        node.desk.make_symlink(TOP_INO, name, "elsewhere")

    device.guarded(make)
    history.agenda.run_until(history.agenda.now + SETTLE_SECONDS)


def shows(device: DataDevice, name: str) -> bool:
    rows = device.disk.committed.shelf.rows.values()
    return any(row.live and row.shown == name for row in rows)


def pushes_heard(history: DataHistory) -> list[tuple[PublicKey, PublicKey]]:
    """Who hears a Push from whom, from here on."""
    heard: list[tuple[PublicKey, PublicKey]] = []
    for device in history.devices:

        def arrived(
            peer: PublicKey,
            channel: int,
            frames: Frames,
            device: DataDevice = device,
            before: object = device.arrived,
        ) -> None:
            if isinstance(decode_message(frames[0]), Push):
                heard.append((peer, device.key))
            before(peer, channel, frames)  # type: ignore[operator]

        device.arrived = arrived  # type: ignore[method-assign]
    return heard


def test_a_network_at_peace_says_under_100_bytes_a_round() -> None:
    with simulated(), quickly():
        history = DataHistory(1, PEACE)
        history.run()
        said: list[Frames] = []
        for device in history.devices:
            device.overheard = said
        history.agenda.run_until(history.agenda.now + PEACE_SECONDS)
    links = len(history.devices) * (len(history.devices) - 1)
    rounds = int(PEACE_SECONDS / machine.SUMMARY_INTERVAL_SECONDS)
    assert links * (rounds - 1) <= len(said) <= links * (rounds + 1)
    assert all(isinstance(decode_message(header), Idle) for (header,) in said)
    assert all(len(header) < 100 for (header,) in said)


def test_news_goes_down_a_line_of_devices_with_no_timer(
    peaceful: DataHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "SUMMARY_DELAY_SECONDS", PEACE_SECONDS)
    first, *others = link_in_a_line(peaceful)
    assert len(others) == 3
    peaceful.agenda.run_until(SETTLE_SECONDS)
    heard = pushes_heard(peaceful)
    make_folder(peaceful, first, "news")
    peaceful.agenda.run_until(peaceful.agenda.now + len(others) * HOP_SECONDS)
    assert all(shows(device, "news") for device in others)
    keys = [device.key for device in peaceful.devices]
    assert heard == list(pairwise(keys))


def test_where_all_are_linked_news_goes_to_each_once(peaceful: DataHistory) -> None:
    first, *others = link_all(peaceful)
    peaceful.agenda.run_until(SETTLE_SECONDS)
    heard = pushes_heard(peaceful)
    make_folder(peaceful, first, "news")
    peaceful.agenda.run_until(peaceful.agenda.now + PEACE_SECONDS)
    assert sorted(heard) == sorted((first.key, device.key) for device in others)


def test_in_a_ring_news_goes_over_each_link_at_most_once_in_each_direction(
    peaceful: DataHistory,
) -> None:
    first, *others = link_in_a_line(peaceful)
    peaceful.network.link(first.key, others[-1].key)
    peaceful.agenda.run_until(SETTLE_SECONDS)
    heard = pushes_heard(peaceful)
    make_folder(peaceful, first, "news")
    peaceful.agenda.run_until(peaceful.agenda.now + PEACE_SECONDS)
    assert all(shows(device, "news") for device in others)
    assert len(heard) == len(set(heard))
    assert len(others) <= len(heard) <= len(others) + 1


def remove(history: DataHistory, device: DataDevice, name: str) -> None:
    node = device.node
    assert node is not None, "at peace, everybody is awake"
    rows = device.disk.committed.shelf.rows.values()
    (row,) = (row for row in rows if row.shown == name)
    device.guarded(lambda: node.desk.remove(row.ino))
    history.agenda.run_until(history.agenda.now + MADE_DURABLE_SECONDS)


def restore(history: DataHistory, device: DataDevice) -> None:
    device.kill()
    device.disk.restore(with_token=False)
    device.start()
    history.network.heal()
    history.agenda.run_until(history.agenda.now + PEACE_SECONDS)


def tombstones(history: DataHistory) -> list[int]:
    return [len(device.disk.committed.dead) for device in history.devices]


@pytest.mark.parametrize("within_the_grace", [True, False])
def test_a_disk_that_is_set_back_brings_nothing_back_within_the_grace(
    peaceful: DataHistory, monkeypatch: pytest.MonkeyPatch, within_the_grace: bool
) -> None:
    """And after it, brings it back for all alike."""
    first, second, *_ = link_all(peaceful)
    grace = 2 * SETTLE_SECONDS if within_the_grace else 1.0
    monkeypatch.setattr(collection, "TOMBSTONE_GRACE_SECONDS", grace)
    make_link(peaceful, first, "news")
    assert second.node is not None, "at peace, everybody is awake"
    second.node.store.make_durable()
    second.disk.back_up()
    assert shows(second, "news")
    remove(peaceful, first, "news")
    peaceful.agenda.run_until(peaceful.agenda.now + SETTLE_SECONDS)
    assert tombstones(peaceful) == [int(within_the_grace)] * 4
    restore(peaceful, second)
    assert {shows(device, "news") for device in peaceful.devices} == {not within_the_grace}
    peaceful.agenda.run_until(peaceful.agenda.now + 3 * SETTLE_SECONDS)
    assert tombstones(peaceful) == [0] * 4
    assert {shows(device, "news") for device in peaceful.devices} == {not within_the_grace}


def without_records(sender: PublicKey, frames: Frames) -> Frames:
    """A page that claims to be all."""
    message = decode_message(frames[0])
    if not isinstance(message, Page):
        return frames
    return (encode_message(replace(message, shipments=())),)


@pytest.mark.parametrize("told", [True, False])
def test_a_delete_that_was_withheld_comes_by_an_audit(
    peaceful: DataHistory, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """If whoever is given what it deleted says so; else never."""
    # Whoever believes a liar claims to have it; an audit comes long before the grace ends.
    monkeypatch.setattr(collection, "TOMBSTONE_GRACE_SECONDS", LONG_SECONDS)
    if not told:
        monkeypatch.setattr(Holdings, "tombstones_over", lambda *_: ())
    first, second, *others = link_all(peaceful)
    make_link(peaceful, first, "news")
    peaceful.network.gone(second.key)
    remove(peaceful, first, "news")
    peaceful.agenda.run_until(peaceful.agenda.now + SETTLE_SECONDS)
    peaceful.network.rewrite = without_records
    peaceful.network.heal()
    peaceful.network.faults = Faults(withhold=1.0)
    peaceful.agenda.run_until(peaceful.agenda.now + HOP_SECONDS * 5)
    assert shows(second, "news")
    assert second.disk.committed.frontier == first.disk.committed.frontier
    peaceful.agenda.run_until(peaceful.agenda.now + 2 * SETTLE_SECONDS)
    assert shows(second, "news") == (not told)
    assert not any(shows(device, "news") for device in others)
