"""What the simulated network hears when all is well."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from sharefs.records.ids import PublicKey
from sharefs.sync import machine
from sharefs.wire.message import decode_message
from sharefs.wire.sync import Idle, Push
from tests.sim.data_history import DataHistory, quickly
from tests.sim.data_node import TOP_INO, DataDevice
from tests.sim.faults import PEACE
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


def shows(device: DataDevice, name: str) -> bool:
    return any(row.shown == name for row in device.disk.committed.shelf.rows.values())


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
