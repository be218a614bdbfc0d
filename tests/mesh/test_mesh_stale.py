"""What is still read of a connection that is gone?"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq

from sharefs.mesh.events import Channel, LinkDown, LinkUp
from sharefs.mesh.frames import greeting
from sharefs.mesh.settings import CurveKeys, new_context, new_dialler
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import Address
from tests.mesh.mesh_parties import PATIENCE_S_MAX, Party, party, until

CONTROL = Channel.CONTROL
FIRST, SECOND = b"instance", b"restarts"


@pytest.fixture
def anna() -> Iterator[Party]:
    with party() as anna:
        yield anna


@contextmanager
def connection(
    keys: CurveKeys, server: Party, address: Address, channel: Channel
) -> Iterator[zmq.Socket[bytes]]:
    """A socket that is connected, and has said nothing yet. The server reads none of its own."""
    with new_context() as context, new_dialler(context, keys, server.key, channel) as socket:
        port = address.port if channel is Channel.CONTROL else address.bulk_port
        socket.connect(f"tcp://127.0.0.1:{port}")
        end = time.monotonic() + PATIENCE_S_MAX
        while not socket.poll(5, zmq.POLLOUT):
            assert time.monotonic() < end, "not connected"
            server.mesh._gate.read()
        yield socket


def await_end(server: Party, channel: Channel) -> None:
    """Until ZeroMQ has reported one more connection as ended."""
    monitor = server.mesh._listener._monitors[channel].socket
    assert monitor.poll(int(1000 * PATIENCE_S_MAX)), "no connection has ended"
    monitor.recv_multipart()


def greet_and_go(keys: CurveKeys, server: Party, address: Address, channel: Channel) -> None:
    """On return the greeting has arrived, nobody has read it, and its connection has ended."""
    with connection(keys, server, address, channel) as socket:
        socket.set(zmq.LINGER, int(1000 * PATIENCE_S_MAX))
        socket.send_multipart(greeting(FIRST))
    await_end(server, channel)


@pytest.fixture
def keys(anna: Party) -> CurveKeys:
    secret = os.urandom(32)
    keys = CurveKeys(secret, curve_public_key(secret))
    anna.admitted.add(keys.public)
    return keys


def test_the_greeting_of_a_connection_that_is_gone_links_nobody(
    anna: Party, keys: CurveKeys
) -> None:
    address = anna.listen()
    greet_and_go(keys, anna, address, CONTROL)
    # The I/O thread tells of an end before it ends all: by a further handshake it has.
    with connection(keys, anna, address, CONTROL) as socket:
        socket.send(b"first message after it")
        until(lambda: bool(anna.heard()), anna)
    assert anna.said(LinkUp, LinkDown) == []


@pytest.mark.parametrize("channel", list(Channel))
@pytest.mark.parametrize("instance", [FIRST, SECOND])
def test_a_greeting_that_is_read_late_takes_no_route_away(
    anna: Party, keys: CurveKeys, channel: Channel, instance: bytes
) -> None:
    """ZeroMQ reads the connections in turn, and after one of which only the end is left, the last
    one first: so an older greeting comes after a newer."""
    address = anna.listen()
    with connection(keys, anna, address, channel) as socket:
        socket.send_multipart(greeting(FIRST))
        until(lambda: anna.mesh._links.route(keys.public, channel) is not None, anna)
    await_end(anna, channel)
    greet_and_go(keys, anna, address, channel)
    with connection(keys, anna, address, channel) as socket:
        for message in (greeting(instance), (b"read both, some time",)):
            socket.send_multipart(message)
        with connection(keys, anna, address, channel):
            pass  # A handshake takes longer than what was sent before it.
        until(lambda: bool(anna.heard()), anna)
        assert anna.mesh.send(keys.public, channel, (b"header",))
        while socket.recv() != b"header":
            pass
