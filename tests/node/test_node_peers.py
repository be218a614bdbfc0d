from collections.abc import Callable

import pytest

from sharefs.errors import DiskFull
from sharefs.node import node as node_module
from sharefs.node import peers as peers_module
from sharefs.records.ids import SpaceId
from sharefs.spaces.ticket import Address, Door
from sharefs.wire.session import Bye, Hello, Ping, Pong
from sharefs.wire.sync import Summary
from tests.node.node_parties import Party, Raw, agree, meet, until

NOBODY_LISTENS = "127.0.0.1:1"


def test_a_save_is_seen_and_read_elsewhere(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"hello"


def test_those_who_were_let_in_by_others_find_each_other(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    """Carol knows only the doors of Anna's ticket; Bob hears of her by Anna's Hello."""
    carol = party("Carol")
    anna.invite(carol)
    meet(bob, carol)
    anna.down()
    carol.write("c.txt", b"from carol")
    agree("c.txt", bob, carol)


def test_whom_nobody_can_dial_finds_who_came_later(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    """Bob, behind a router, can only dial himself: whoever comes, he must be told where."""
    bob.down()
    bob.announce = NOBODY_LISTENS
    bob.up()
    meet(anna, bob)
    anna.node.loop.call(lambda: forget_addresses(anna, bob))
    carol = party("Carol")
    anna.invite(carol)
    meet(bob, carol)
    carol.down()
    until(lambda: not bob.sees(carol))
    carol.listen_anywhere()
    carol.up()
    meet(bob, carol)


def forget_addresses(party: Party, other: Party) -> None:
    """But for those where it says that it is now."""
    connection = party.node.state.ledger._connection
    port = other.node.state.announced
    assert port is not None
    connection.execute(
        "DELETE FROM device_address WHERE device = ? AND port != ?", (other.device, port.port)
    )


def test_who_comes_online_is_made_known_to_the_others(
    anna: Party, mallory: Raw, party: Callable[[str], Party]
) -> None:
    """And nothing else is said to them for it."""
    carol = party("Carol")
    anna.invite(carol)
    where = Door(carol.device, carol.identity.certificate.curve_key, (carol.node.state.address,))
    mallory.hears(Hello, lambda hello: hello.doors == (where,) and not hello.answer)


def test_who_moved_is_made_known_to_the_others(anna: Party, carol: Party, mallory: Raw) -> None:
    where = Address("192.0.2.7", 7, 8)
    carol.node.loop.call(lambda: move(carol, where))
    door = Door(carol.device, carol.identity.certificate.curve_key, (where,))
    mallory.hears(Hello, lambda hello: hello.doors == (door,) and not hello.answer)


def move(party: Party, to: Address) -> None:
    party.node.state.announced = to
    party.node.peers.announce()


def test_who_has_no_space_with_a_newcomer_is_not_told_of_it(
    anna: Party, mallory: Raw, party: Callable[[str], Party]
) -> None:
    anna.create("Work")
    carol = party("Carol")
    anna.invite(carol, "Work")
    until(lambda: anna.sees(carol))
    mallory.settle()
    doors = [door for hello in mallory.heard(Hello) for door in hello.doors]
    assert carol.device not in [door.device for door in doors]


def test_who_says_bye_is_away_and_who_speaks_again_is_asked_hello(
    anna: Party, mallory: Raw
) -> None:
    space = anna.replica().id
    mallory.say(Bye())
    until(lambda: not anna.node.peers.online())
    mallory.say(Summary(space, bytes(32), (), bytes(32)))
    assert mallory.hears(Hello, lambda hello: hello.answer).spaces == (space,)
    assert not anna.node.peers.online()
    mallory.say(Hello((), (space,), (), False))
    until(anna.node.peers.online)


def test_who_is_silent_is_away(anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "PING_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(peers_module, "PEER_SILENT_SECONDS", 0.2)
    until(lambda: not anna.node.peers.online())
    mallory.say(Summary(anna.replica().id, bytes(32), (), bytes(32)))
    mallory.hears(Hello, lambda hello: hello.answer)


def test_who_is_linked_and_away_is_greeted_again(anna: Party, mallory: Raw) -> None:
    """A Hello may be lost, or be said to somebody who did not listen for a while."""
    mallory.say(Bye())
    until(lambda: not anna.node.peers.online())
    anna.node.loop.call(anna.node.peers.ping_round)
    mallory.hears(Hello, lambda hello: hello.answer)


def test_who_misbehaved_is_not_greeted_again(anna: Party, mallory: Raw) -> None:
    mallory.send(b"nonsense")
    until(lambda: not anna.node.peers.online())
    mallory.settle()
    before = len(mallory.heard(Hello))
    anna.node.loop.call(anna.node.peers.ping_round)
    mallory.settle()
    assert len(mallory.heard(Hello)) == before


def test_pings_go_on_after_a_full_disk(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "PING_INTERVAL_SECONDS", 0.05)
    failures = [DiskFull("full")] * 3
    ping_round = anna.node.peers.ping_round

    def fail_at_first() -> None:
        if failures:
            raise failures.pop()
        ping_round()

    monkeypatch.setattr(anna.node.peers, "ping_round", fail_at_first)
    until(lambda: not failures)
    before = len(mallory.heard(Ping))
    until(lambda: len(mallory.heard(Ping)) > before)


def test_only_spaces_that_both_know_are_spoken_of(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob's home lost a space; Anna's node still takes him for a member of it."""
    anna.create("Work")
    anna.invite(bob, "Work")
    until(lambda: len(anna.node.peers.peers[bob.device].spaces) == 2)
    work = bob.replica("Work").id
    bob.node.loop.call(lambda: bob.node.state.replicas.pop(work))
    bob.node.loop.call(bob.node.peers.announce)
    until(lambda: anna.node.peers.peers[bob.device].spaces == (anna.replica().id,))
    anna.write("a.txt", b"the other space goes on")
    agree("a.txt", anna, bob)
    assert anna.sees(bob)


def test_a_space_that_is_not_shared_is_no_reason_to_part(anna: Party, mallory: Raw) -> None:
    mallory.say(Summary(SpaceId(bytes(32)), bytes(32), (), bytes(32)))
    mallory.settle()
    assert anna.node.peers.online() == [mallory.device]


def test_an_address_of_somebody_else_is_hearsay(anna: Party, mallory: Raw) -> None:
    """Of a device that nobody knows, or under a key that is not its own, nothing is kept."""
    ledger = anna.node.state.ledger
    bob = next(iter(anna.node.state.devices.values()))
    heard, false = Address("192.0.2.7", 7, 8), Address("192.0.2.9", 7, 8)
    doors = (
        Door(bob.device, bob.curve_key, (heard,)),
        Door(bob.device, bob.device_key, (false,)),
        Door(anna.device, bob.curve_key, (false,)),
    )
    mallory.say(Hello((), (anna.replica().id,), doors, False))
    mallory.settle()
    known = anna.node.loop.call(lambda: dict(ledger.addresses(bob.device)))
    assert known[heard] == 0.0
    assert false not in known
    assert not anna.node.loop.call(lambda: ledger.addresses(anna.device))


def test_addresses_of_a_device_are_few(anna: Party, mallory: Raw) -> None:
    for batch in range(5):
        addresses = tuple(Address("192.0.2.7", 1 + 16 * batch + n, 1) for n in range(16))
        mallory.say(Hello(addresses, (anna.replica().id,), (), False))
    mallory.settle()
    ledger = anna.node.state.ledger
    assert len(anna.node.loop.call(lambda: ledger.addresses(mallory.device))) <= 16


def test_a_ping_is_answered_to_whoever_asked(anna: Party, mallory: Raw) -> None:
    mallory.say(Ping(7), Ping(8))
    mallory.hears(Pong, lambda pong: pong.number == 8)
    assert {pong.number for pong in mallory.heard(Pong)} >= {7, 8}


def test_who_restarts_is_online_again_soon(anna: Party, bob: Party) -> None:
    for _ in range(3):
        bob.kill()
        bob.up()
        meet(anna, bob)
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
