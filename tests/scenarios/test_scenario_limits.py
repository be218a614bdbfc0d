"""What a person limits is limited, at once, and for those whom it concerns."""

import time

import pytest

from sharefs.web.client import Client
from tests.scenarios.group import Group, Node, until
from tests.scenarios.real_files import write_random

SIZE_BYTES = 12_000_000
RATE = 6_000_000
BUSY = 2.0
"""So much longer may it take on a machine with other work. It may never be quicker."""


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    anna, bob = lasting_group.family("Anna", "Bob")
    write_random(anna.at("Family", "film.mkv"), SIZE_BYTES, 1)
    until(bob.at("Family", "film.mkv").exists, 10)
    return [anna, bob]


def seconds_to_fetch(node: Node) -> float:
    """Anew."""
    path = str(node.at("Family", "film.mkv"))
    with Client(node.home.socket_file) as client:
        client.free([path])
        began = time.monotonic()
        with client.fetch([path]) as steps:
            last = list(steps)[-1]
    assert not last.failures
    return time.monotonic() - began


def takes_its_time(seconds: float) -> bool:
    expected = SIZE_BYTES / RATE
    return 0.9 * expected < seconds < BUSY * expected


def test_a_limit_down_holds_for_its_space_and_peer(family: list[Node]) -> None:
    _, bob = family
    bob.ask("settings", "bandwidth", "down", "6M", "--space", "Family", "--peer", "Anna")
    assert takes_its_time(seconds_to_fetch(bob))
    listed = bob.ask("settings", "bandwidth")
    assert "Family, Anna" in listed
    bob.ask("settings", "bandwidth", "down", "default", "--space", "Family", "--peer", "Anna")
    bob.ask("settings", "bandwidth", "down", "6M", "--peer", "Bob")
    assert seconds_to_fetch(bob) < 0.9 * SIZE_BYTES / RATE
    bob.ask("settings", "bandwidth", "down", "default", "--peer", "Bob")


def test_a_limit_up_holds_and_is_lifted_at_once(family: list[Node]) -> None:
    anna, bob = family
    anna.ask("settings", "bandwidth", "up", "6MB/s")
    assert takes_its_time(seconds_to_fetch(bob))
    anna.ask("settings", "bandwidth", "up", "off")
    assert seconds_to_fetch(bob) < 0.9 * SIZE_BYTES / RATE


def test_a_limit_of_these_hours_takes_the_place_of_the_others(family: list[Node]) -> None:
    _, bob = family
    hour = time.localtime().tm_hour
    bob.ask("settings", "bandwidth", "down", "500K")
    bob.ask("settings", "bandwidth", "down", "6M", "--hours", f"{hour}-{(hour + 2) % 24}")
    bob.ask("settings", "bandwidth", "down", "100K", "--hours", f"{(hour + 2) % 24}-{hour}")
    assert takes_its_time(seconds_to_fetch(bob))
