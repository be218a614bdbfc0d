import os
import threading
from collections.abc import Callable, Iterator

import pytest

from sharefs.errors import InviterNotReachable, TicketNotValid
from sharefs.mesh.events import Arrived, Channel, LinkDown
from sharefs.mesh.knock import knock
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import Address
from tests.mesh.mesh_parties import Party, party

ENOUGH_S = 15.0


@pytest.fixture
def inviter() -> Iterator[Party]:
    with party() as someone:
        yield someone


def served(inviter: Party, knocking: Callable[[], bytes]) -> bytes:
    """What the knock returns, or raises, while the inviter answers every message."""
    outcome: list[bytes | Exception] = []

    def run() -> None:
        try:
            outcome.append(knocking())
        except Exception as error:
            outcome.append(error)
        inviter.mesh.wake()

    thread = threading.Thread(target=run)
    thread.start()
    while not outcome:
        for event in inviter.mesh.wait(ENOUGH_S):
            inviter.events.append(event)
            if isinstance(event, Arrived):
                answer = b"answer to " + event.header
                assert inviter.mesh.send(event.key, Channel.CONTROL, (answer,))
    thread.join()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def test_the_bearer_of_an_admitted_ticket_gets_an_answer(inviter: Party) -> None:
    secret = os.urandom(32)
    inviter.admitted.add(curve_public_key(secret))
    address = inviter.listen()
    answer = served(inviter, lambda: knock(secret, inviter.key, address, b"let me in", ENOUGH_S))
    assert answer == b"answer to let me in"
    assert inviter.heard()[0].key == curve_public_key(secret)
    while not inviter.said(LinkDown):
        inviter.turn(ENOUGH_S)


def test_the_bearer_of_a_ticket_that_is_not_admitted_is_told(inviter: Party) -> None:
    address = inviter.listen()
    with pytest.raises(TicketNotValid, match="not valid any more"):
        served(inviter, lambda: knock(bytes(32), inviter.key, address, b"let me in", ENOUGH_S))
    assert inviter.events == []


def test_nobody_listening_is_told_before_the_time_is_over(inviter: Party) -> None:
    address = inviter.listen()
    inviter.mesh.close()
    with pytest.raises(InviterNotReachable, match=f"127.0.0.1, port {address.port}"):
        knock(bytes(32), inviter.key, address, b"let me in", 60.0)


def test_a_device_that_never_answers_is_told(inviter: Party) -> None:
    address = inviter.listen()
    with pytest.raises(InviterNotReachable, match="does not answer"):
        knock(bytes(32), inviter.key, address, b"let me in", 0.1)


def test_a_device_with_another_key_is_not_asked(inviter: Party) -> None:
    secret = os.urandom(32)
    inviter.admitted.add(curve_public_key(secret))
    address = inviter.listen()
    other = curve_public_key(os.urandom(32))
    with pytest.raises(InviterNotReachable, match="does not answer"):
        served(inviter, lambda: knock(secret, other, address, b"let me in", ENOUGH_S))
    assert inviter.events == []


def test_an_address_that_is_none_is_told(inviter: Party) -> None:
    with pytest.raises(InviterNotReachable, match="no address"):
        knock(bytes(32), inviter.key, Address("lo;127.0.0.1", 1, 1), b"let me in", ENOUGH_S)
