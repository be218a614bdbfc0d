import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import zmq

from sharefs.errors import AddressNotUsable
from sharefs.mesh import dialler as dialler_module
from sharefs.mesh import settings
from sharefs.mesh.events import Arrived, Channel, Denied, LinkDown, LinkUp
from sharefs.mesh.frames import greeting
from sharefs.mesh.monitor import UNSENT_BYTES_MAX
from sharefs.mesh.settings import CurveKeys, new_context, new_dialler
from sharefs.records.ids import PublicKey
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import ADDRESSES_MAX, Address
from sharefs.wire.message import MESSAGE_SIZE_BYTES_MAX
from tests.mesh.mesh_parties import Party, PeerProcess, both_linked, introduce, link, party, until

CONTROL, BULK = Channel.CONTROL, Channel.BULK
NOWHERE = (PublicKey(bytes(32)), Address("127.0.0.1", 1, 1))


@pytest.fixture
def anna() -> Iterator[Party]:
    with party() as someone:
        yield someone


@pytest.fixture
def bob() -> Iterator[Party]:
    with party() as someone:
        yield someone


@pytest.fixture
def mallory() -> Iterator[Party]:
    with party() as someone:
        yield someone


@pytest.fixture
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialler_module, "PATIENCE_S_MIN", 0.05)
    monkeypatch.setattr(dialler_module, "PATIENCE_S_MAX", 0.2)


def test_one_dial_serves_both_directions_on_both_channels(anna: Party, bob: Party) -> None:
    link(anna, bob)
    for channel in Channel:
        for one, other in ((anna, bob), (bob, anna)):
            assert one.mesh.send(other.key, channel, (b"header", b"payload"))
            until(lambda other=other: bool(other.heard()), anna, bob)  # type: ignore[misc]
            assert other.heard() == [Arrived(one.key, channel, b"header", memoryview(b"payload"))]
            other.events.clear()


def test_two_peers_may_dial_each_other(anna: Party, bob: Party) -> None:
    introduce(anna, bob)
    address_of_anna, address_of_bob = anna.listen(), bob.listen()
    anna.mesh.dial(bob.key, address_of_bob)
    bob.mesh.dial(anna.key, address_of_anna)
    until(lambda: both_linked(anna, bob), anna, bob)
    assert anna.mesh.send(bob.key, CONTROL, (b"to Bob",))
    assert bob.mesh.send(anna.key, CONTROL, (b"to Anna",))
    until(lambda: bool(anna.heard() and bob.heard()), anna, bob)
    assert [message.header for message in anna.heard()] == [b"to Anna"]
    assert [message.header for message in bob.heard()] == [b"to Bob"]
    assert anna.said(LinkUp, LinkDown) == [LinkUp(bob.key)]
    assert bob.said(LinkUp, LinkDown) == [LinkUp(anna.key)]


def test_a_dial_is_idempotent(anna: Party, bob: Party) -> None:
    introduce(anna, bob)
    address = bob.listen()
    for _ in range(3):
        anna.mesh.dial(bob.key, address)
    until(lambda: both_linked(anna, bob), anna, bob)
    anna.mesh.dial(bob.key, address)
    assert anna.mesh.send(bob.key, CONTROL, (b"once",))
    until(lambda: bool(bob.heard()), anna, bob)
    assert bob.said(LinkUp, LinkDown) == [LinkUp(anna.key)]


def test_an_unknown_key_is_denied_and_told_so(anna: Party, mallory: Party) -> None:
    address = anna.listen()
    mallory.mesh.dial(anna.key, address)
    until(lambda: bool(mallory.said(Denied)), anna, mallory)
    assert mallory.said(Denied)[0] == Denied(anna.key, address)
    assert not mallory.mesh.send(anna.key, CONTROL, (b"let me in",))
    assert anna.events == []


@pytest.mark.usefixtures("_short_patience")
def test_whoever_is_admitted_later_is_linked_then(anna: Party, bob: Party) -> None:
    bob.mesh.dial(anna.key, anna.listen())
    until(lambda: len(bob.said(Denied)) > 2, anna, bob)
    introduce(anna, bob)
    until(lambda: both_linked(anna, bob), anna, bob)


def test_the_gate_is_not_asked_again_after_the_handshake(anna: Party, bob: Party) -> None:
    link(anna, bob)
    bob.admitted.clear()
    assert anna.mesh.send(bob.key, CONTROL, (b"still here",))
    until(lambda: bool(bob.heard()), anna, bob)
    assert bob.heard()[0].key == anna.key


def test_a_gate_that_fails_denies_and_goes_on(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    introduce(anna, bob)

    def fail(_: PublicKey) -> bool:
        raise RuntimeError("the roster can not be read")

    gate = anna.mesh._gate
    monkeypatch.setattr(gate, "_admits", fail)
    bob.mesh.dial(anna.key, anna.listen())
    with pytest.raises(RuntimeError, match="roster"):
        until(lambda: False, anna)
    monkeypatch.undo()
    monkeypatch.setattr(dialler_module, "PATIENCE_S_MIN", 0.05)
    until(lambda: both_linked(anna, bob), anna, bob)


@pytest.mark.usefixtures("_short_patience")
def test_nobody_is_linked_who_has_another_key_than_the_one_dialled(
    anna: Party, bob: Party, mallory: Party
) -> None:
    introduce(anna, bob, mallory)
    anna.mesh.dial(bob.key, mallory.listen())
    anna.mesh.dial(bob.key, bob.listen())
    until(lambda: both_linked(anna, bob), anna, bob, mallory)
    assert mallory.events == []


@pytest.mark.usefixtures("_short_patience")
def test_the_addresses_of_a_peer_are_tried_in_turn(anna: Party, bob: Party) -> None:
    introduce(anna, bob)
    anna.mesh.dial(bob.key, NOWHERE[1])
    anna.mesh.dial(bob.key, Address("10 . not an address", 1, 1))
    anna.mesh.dial(bob.key, bob.listen())
    until(lambda: both_linked(anna, bob), anna, bob)


def test_hanging_up_ends_the_link_and_dialling_makes_it_anew(anna: Party, bob: Party) -> None:
    introduce(anna, bob)
    address = bob.listen()
    for _ in range(2):
        anna.mesh.dial(bob.key, address)
        until(lambda: both_linked(anna, bob), anna, bob)
        anna.mesh.hang_up(bob.key)
        until(lambda: bool(bob.said(LinkDown)), anna, bob)
        assert anna.said(LinkUp, LinkDown) == [LinkUp(bob.key), LinkDown(bob.key)]
        assert bob.said(LinkUp, LinkDown) == [LinkUp(anna.key), LinkDown(anna.key)]
        anna.events.clear()
        bob.events.clear()


@pytest.mark.parametrize("who_dials", ["we", "they", "both"])
def test_a_killed_peer_is_noticed_and_linked_again_after_its_restart(
    anna: Party, who_dials: str
) -> None:
    secret = os.urandom(32)
    target = (anna.key, anna.listen()) if who_dials != "we" else NOWHERE
    with PeerProcess(secret, None, target) as peer:
        address = peer.address
        anna.admitted.add(peer.key)
        if who_dials != "they":
            anna.mesh.dial(peer.key, address)
        until(lambda: anna.mesh.linked(peer.key), anna)
    for _ in range(2):
        until(lambda: not anna.mesh.linked(peer.key), anna)
        anna.events.clear()
        with PeerProcess(secret, address, target):
            until(lambda: answers(peer.key, anna), anna)
        assert isinstance(anna.said(LinkUp, LinkDown)[0], LinkUp)


def answers(key: PublicKey, asker: Party) -> bool:
    """Asked again each time: whatever is said while connections come and go may be lost."""
    asker.mesh.send(key, CONTROL, (b"there again?",))
    return bool(asker.heard())


def test_a_closed_mesh_is_noticed_and_its_ports_are_free_at_once(anna: Party, bob: Party) -> None:
    link(anna, bob)
    with party() as again:
        introduce(anna, again)
        address = again.listen()
    again.mesh.wake()
    with party() as third:
        assert third.mesh.listen(address.host, address.port, address.bulk_port) == address
    anna.mesh.hang_up(bob.key)
    until(lambda: bool(bob.said(LinkDown)), anna, bob)


def test_a_port_in_use_is_told(anna: Party, bob: Party) -> None:
    taken = anna.listen()
    with pytest.raises(AddressNotUsable, match=f"Port {taken.port} on 127.0.0.1 is in use"):
        bob.mesh.listen("127.0.0.1", taken.port, 0)
    with pytest.raises(AddressNotUsable, match=f"Port {taken.bulk_port} on 127.0.0.1 is in use"):
        bob.mesh.listen("127.0.0.1", 0, taken.bulk_port)
    assert bob.listen().port


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("203.0.113.1", "is not an address of this machine"),
        ("no such host", "no address to listen on"),
        ("", "no address to listen on"),
    ],
)
def test_a_host_that_is_not_ours_is_told(anna: Party, host: str, sentence: str) -> None:
    with pytest.raises(AddressNotUsable, match=sentence):
        anna.mesh.listen(host, 0, 0)


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "127.0.0.1"])
def test_names_and_wildcards_can_be_listened_on(anna: Party, bob: Party, host: str) -> None:
    introduce(anna, bob)
    address = bob.mesh.listen(host, 0, 0)
    anna.mesh.dial(bob.key, Address("127.0.0.1", address.port, address.bulk_port))
    until(lambda: both_linked(anna, bob), anna, bob)


@contextmanager
def client(
    secret: bytes, server: Party, address: Address, routing_id: bytes
) -> Iterator[zmq.Socket[bytes]]:
    """A client that is no mesh, connected to the control port under a routing id that it chose."""
    keys = CurveKeys(secret, curve_public_key(secret))
    server.admitted.add(keys.public)
    with new_context() as context, new_dialler(context, keys, server.key, CONTROL) as socket:
        socket.set(zmq.ROUTING_ID, routing_id)
        socket.connect(f"tcp://127.0.0.1:{address.port}")
        until(lambda: socket.poll(0, zmq.POLLOUT) != 0, server)
        yield socket


def test_a_client_that_takes_anothers_routing_id_gets_nothing_of_it(
    anna: Party, bob: Party
) -> None:
    """Even if it knew the one that was drawn for Bob, which nobody is told."""
    introduce(anna, bob)
    address = anna.listen()
    bob.mesh.dial(anna.key, address)
    until(lambda: both_linked(anna, bob), anna, bob)
    anna.events.clear()
    route = anna.mesh._links.route(bob.key, CONTROL)
    assert route is not None
    with client(bytes(32), anna, address, route) as socket:
        for frames in (greeting(b"instance"), (b"I am Bob",)):
            socket.send_multipart(frames)
        assert bob.mesh.send(anna.key, CONTROL, (b"I am",))
        until(lambda: bool(anna.heard()), anna, bob)
        assert anna.mesh.send(bob.key, CONTROL, (b"for Bob",))
        until(lambda: bool(bob.heard()), anna, bob)
        assert socket.poll(50) == 0
    assert [message.key for message in anna.heard()] == [bob.key]
    assert anna.said(LinkUp, LinkDown) == []


def test_nothing_is_sent_to_a_client_that_chose_its_routing_id(anna: Party) -> None:
    """What it says is taken, under its own key; of two with one id, only the first is heard."""
    address = anna.listen()
    with (
        client(b"1" * 32, anna, address, b"chosen") as first,
        client(b"2" * 32, anna, address, b"chosen") as second,
    ):
        for socket in (second, first):
            socket.send_multipart(greeting(b"instance"))
            socket.send(b"hello")
        until(lambda: bool(anna.heard()), anna)
        assert [message.key for message in anna.heard()] == [curve_public_key(b"1" * 32)]
        assert not any(anna.mesh.send(key, CONTROL, (b"secret",)) for key in anna.admitted)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_message_that_is_too_large_drops_the_connection(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch, channel: Channel
) -> None:
    limits = {CONTROL: 64 * 1024, BULK: 64 * 1024}
    monkeypatch.setattr(settings, "MESSAGE_SIZE_BYTES_MAX", limits)
    monkeypatch.setattr(dialler_module, "PATIENCE_S_MIN", 0.05)
    link(anna, bob)
    size = limits[channel]
    route = bob.mesh._links.route(anna.key, channel)
    assert anna.mesh.send(bob.key, channel, (bytes(size - 1024),))
    until(lambda: bool(bob.heard()), anna, bob)
    assert anna.mesh.send(bob.key, channel, (bytes(size + 1),))
    until(lambda: bob.mesh._links.route(anna.key, channel) not in (route, None), anna, bob)
    assert len(bob.heard()) == 1
    if channel is CONTROL:
        until(lambda: len(anna.said(LinkUp, LinkDown)) == 2, anna, bob)
        assert anna.said(LinkUp, LinkDown) == [LinkDown(bob.key), LinkUp(bob.key)]


def test_a_listener_that_sends_too_much_is_dialled_again(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MESSAGE_SIZE_BYTES_MAX", {CONTROL: 65536, BULK: 65536})
    monkeypatch.setattr(dialler_module, "PATIENCE_S_MIN", 0.05)
    link(anna, bob)
    assert bob.mesh.send(anna.key, CONTROL, (bytes(65537),))
    until(lambda: bool(anna.said(LinkUp)), anna, bob)
    assert anna.heard() == []


def test_a_message_of_too_many_frames_is_dropped_alone(anna: Party, bob: Party) -> None:
    link(anna, bob)
    socket = anna.mesh._dialler._dials[bob.key].lines[CONTROL].socket
    socket.send_multipart([b"header", b"payload", b"more", b"still more"])
    socket.send_multipart([b"good"])
    until(lambda: bool(bob.heard()), anna, bob)
    assert [message.header for message in bob.heard()] == [b"good"]


def test_a_wake_from_another_thread_ends_the_wait(anna: Party) -> None:
    anna.mesh.wait(0)
    thread = threading.Thread(target=anna.mesh.wake)
    start = time.monotonic()
    thread.start()
    assert anna.mesh.wait(60.0) == []
    assert time.monotonic() - start < 30.0
    thread.join()


def test_a_wake_before_the_wait_is_not_lost_and_many_are_one(anna: Party) -> None:
    for _ in range(3):
        anna.mesh.wake()
    assert anna.mesh.wait(60.0) == []
    start = time.monotonic()
    assert anna.mesh.wait(0.05) == []
    assert time.monotonic() - start > 0.03


def test_nothing_is_sent_to_whom_we_have_no_link(anna: Party, bob: Party) -> None:
    assert not anna.mesh.send(bob.key, CONTROL, (b"header",))
    assert not anna.mesh.linked(bob.key)


def test_the_kernel_takes_little_of_what_is_still_to_be_sent(anna: Party, bob: Party) -> None:
    link(anna, bob)
    limits = [
        limit
        for name in os.listdir("/proc/self/fd")
        if (limit := _unsent_bytes_max(int(name))) is not None
    ]
    assert limits == [UNSENT_BYTES_MAX] * 2 * len(Channel)


def _unsent_bytes_max(descriptor: int) -> int | None:
    """If it is a connection over TCP."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.type == socket.SOCK_STREAM and connection.getpeername()[1:]:
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    return None


def test_a_full_queue_is_told_and_loses_nothing(anna: Party, bob: Party) -> None:
    """Bob does not read, so the queues of both sides fill; what was taken arrives, in order."""
    link(bob, anna)
    for one, other in ((anna, bob), (bob, anna)):
        payload, sent = bytes(256 * 1024), 0
        while one.mesh.send(other.key, BULK, (b"%d" % sent, payload)):
            sent += 1
            assert sent < 1000, "the queue has no end"
        until(lambda other=other, sent=sent: len(other.heard()) == sent, one, other)  # type: ignore[misc]
        assert [int(message.header) for message in other.heard()] == list(range(sent))
        assert one.mesh.send(other.key, BULK, (b"again",))


def test_a_payload_can_be_kept_after_the_mesh_is_closed() -> None:
    with party() as anna, party() as bob:
        link(anna, bob)
        assert anna.mesh.send(bob.key, BULK, (b"chunk", bytes(range(256)) * 4096))
        until(lambda: bool(bob.heard()), anna, bob)
    payload = bob.heard()[0].payload
    assert payload is not None
    assert payload == bytes(range(256)) * 4096


def test_another_process_answers_thousands_of_messages_on_both_channels(anna: Party) -> None:
    with PeerProcess(os.urandom(32), None, NOWHERE) as peer:
        anna.mesh.dial(peer.key, peer.address)
        until(lambda: anna.mesh.linked(peer.key), anna)
        payload, sent = bytes(64 * 1024), 0
        on_their_way_max = settings.SEND_QUEUE_MESSAGES_MAX[BULK] // 2
        while len(anna.heard()) < 2000:
            # The echo refuses when its queue is full, so no more than half a queue is on its way.
            while sent < 2000 and sent - len(anna.heard()) < on_their_way_max:
                frames = (b"%d" % sent, payload) if sent % 4 else (b"%d" % sent,)
                if not anna.mesh.send(peer.key, BULK if sent % 4 else CONTROL, frames):
                    break
                sent += 1
            until(lambda: True, anna)
            anna.turn()
        for channel in Channel:
            numbers = [
                int(message.header) for message in anna.heard() if message.channel is channel
            ]
            assert numbers == sorted(numbers)
        assert len({message.header for message in anna.heard()}) == 2000


def test_every_message_of_the_protocol_fits_a_control_frame() -> None:
    assert settings.MESSAGE_SIZE_BYTES_MAX[CONTROL] >= MESSAGE_SIZE_BYTES_MAX


def test_of_many_addresses_the_newest_are_kept(anna: Party, bob: Party) -> None:
    for port in range(1, 100):
        anna.mesh.dial(bob.key, Address("127.0.0.1", port, port))
    ports = [address.port for address in anna.mesh._dialler._dials[bob.key].addresses]
    assert ports[0] == 1
    assert ports[1:] == list(range(99, 99 - len(ports[1:]), -1))
    assert len(ports) == ADDRESSES_MAX
