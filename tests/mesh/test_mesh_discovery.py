import os
import queue
import socket

import pytest

from sharefs.mesh import discovery as discovery_module
from sharefs.mesh.discovery import SERVICE, Discovery, key_hash, reachable_at
from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address

ENOUGH_S = 20.0


def multicast_works() -> bool:
    """Does the loopback interface carry multicast here? In many containers it does not."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        loopback = socket.inet_aton("127.0.0.1")
        group = socket.inet_aton("224.0.0.251")
        try:
            receiver.bind(("", 0))
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + loopback)
            receiver.settimeout(1.0)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
            sender.sendto(b"?", ("224.0.0.251", receiver.getsockname()[1]))
            return receiver.recv(1) == b"?"
        except OSError:
            return False


@pytest.mark.skipif(not multicast_works(), reason="the loopback interface carries no multicast")
def test_two_devices_on_one_network_find_each_other() -> None:
    keys = [PublicKey(os.urandom(32)) for _ in range(2)]
    addresses = [Address("127.0.0.1", 40001 + i, 40011 + i) for i in range(2)]
    found: list[queue.Queue[tuple[bytes, Address]]] = [queue.Queue(), queue.Queue()]
    discoveries = [
        Discovery(keys[i], lambda digest, address, i=i: found[i].put((digest, address)))  # type: ignore[misc]
        for i in range(2)
    ]
    for discovery, address in zip(discoveries, addresses, strict=True):
        discovery.start(address)
    try:
        for mine, other in ((0, 1), (1, 0)):
            expected = (key_hash(keys[other]), addresses[other])
            # There may be other devices on the network.
            while found[mine].get(timeout=ENOUGH_S) != expected:
                pass
    finally:
        for discovery in discoveries:
            discovery.stop()


def test_a_network_that_can_not_be_used_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    discovery = Discovery(PublicKey(bytes(32)), lambda digest, address: None)
    discovery.start(Address("203.0.113.1", 1, 2))
    discovery.stop()
    assert "not looked for" in caplog.text


def test_the_name_on_the_network_is_a_hash_of_the_key() -> None:
    key = PublicKey(bytes(range(32)))
    assert len(key_hash(key)) == 16
    assert key[:8].hex() not in key_hash(key).hex()
    assert len(key_hash(key).hex() + "." + SERVICE) < 64


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (["127.0.0.1", "192.0.2.7", "10.1.1.1"], ["10.1.1.1", "192.0.2.7"]),
        (["127.0.0.1"], ["127.0.0.1"]),
    ],
)
def test_a_mesh_that_listens_everywhere_tells_the_addresses_of_its_interfaces(
    monkeypatch: pytest.MonkeyPatch, own: list[str], told: list[str]
) -> None:
    monkeypatch.setattr(discovery_module, "_own_addresses", lambda: sorted(set(own)))
    everywhere = Address("0.0.0.0", 7000, 7001)
    assert [address.host for address in reachable_at(everywhere)] == told
    assert all(
        (address.port, address.bulk_port) == (7000, 7001) for address in reachable_at(everywhere)
    )


def test_a_mesh_that_listens_at_one_address_tells_that() -> None:
    assert reachable_at(Address("192.0.2.7", 7000, 7001)) == (Address("192.0.2.7", 7000, 7001),)
