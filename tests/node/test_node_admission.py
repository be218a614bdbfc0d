import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from msgspec.structs import replace

from sharefs.errors import (
    AlreadyMember,
    BadArgument,
    DiskFull,
    InviterNotReachable,
    NoSuchSpace,
    NotAllowed,
    TicketNotValid,
)
from sharefs.mesh.knock import knock
from sharefs.node import admission as admission_module
from sharefs.records.ids import ContentId, PublicKey, Signature, SpaceId
from sharefs.spaces.identity import (
    Certificate,
    Identity,
    curve_public_key,
    new_identity,
    signing_key,
)
from sharefs.spaces.identity import _signed_bytes as certificate_words
from sharefs.spaces.rights import Role
from sharefs.spaces.roster import Admit, create_space, extend, fold, invite_of, make_proof
from sharefs.spaces.ticket import Address, Door, Ticket, read_ticket, write_ticket
from sharefs.wire.message import Message, decode_message, encode_message
from sharefs.wire.session import Hello, Redeem, Redeemed, Refused
from sharefs.wire.sync import Page, Pull, PullRoster, Push, RosterOperations, Summary
from sharefs.wire.transfer import Ask, Offer
from tests.node.node_parties import Party, Raw, agree, meet


def test_who_joins_is_a_member_for_all_and_sees_everything(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    carol = party("Carol")
    report = carol.service.join(anna.service.invite("Family", "contributor", 3600.0))
    assert (report.name, report.role, report.members) == ("Family", "contributor", 3)
    meet(anna, bob, carol)
    agree("a.txt", anna, bob, carol)
    assert carol.read("a.txt") == b"hello"
    for each in (anna, bob, carol):
        members = each.service.members("Family")
        assert sorted(m.name for m in members if m.online) == ["Anna", "Bob", "Carol"]


def test_a_ticket_lets_one_person_in(anna: Party, party: Callable[[str], Party]) -> None:
    text = anna.service.invite("Family", "contributor", 3600.0)
    party("Bob").service.join(text)
    with pytest.raises(TicketNotValid, match="used already"):
        party("Carol").service.join(text)


def test_of_many_who_redeem_one_ticket_at_once_one_is_let_in(
    anna: Party, party: Callable[[str], Party]
) -> None:
    text = anna.service.invite("Family", "contributor", 3600.0)
    bearers = [party(name) for name in ("Bob", "Carol", "Dave")]
    joined: list[str] = []

    def join(bearer: Party) -> None:
        for _ in range(2):
            # The answer may have been another's, as all knock with the ticket's key.
            with suppress(TicketNotValid, InviterNotReachable):
                bearer.service.join(text)
                joined.append(bearer.name)
                return

    threads = [threading.Thread(target=join, args=(bearer,)) for bearer in bearers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 1
    assert len(anna.replica().roster.members) == 2


def test_an_expired_ticket_lets_nobody_in(
    anna: Party, party: Callable[[str], Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = read_ticket(anna.service.invite("Family", "contributor", 1.0))
    bob = party("Bob")
    with pytest.raises(TicketNotValid, match="expired"):
        bob.service.join(write_ticket(replace(ticket, expires=1)))
    # The inviter's clock counts, whatever the ticket says.
    monkeypatch.setattr(time, "time", lambda: ticket.expires / 1000 + 1)
    later = write_ticket(replace(ticket, expires=2**60))
    with pytest.raises(TicketNotValid, match="expired"):
        bob.service.join(later)
    assert bob.service.spaces() == []


def test_nobody_joins_twice(anna: Party, bob: Party) -> None:
    text = anna.service.invite("Family", "contributor", 3600.0)
    with pytest.raises(AlreadyMember):
        bob.service.join(text)


def test_an_inviter_who_is_away_is_told_of_soon(
    anna: Party, party: Callable[[str], Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "KNOCK_SECONDS_MAX", 0.1)
    monkeypatch.setattr(admission_module, "JOIN_SECONDS_MAX", 0.3)
    ticket = read_ticket(anna.service.invite("Family", "contributor", 3600.0))
    bob = party("Bob")
    anna.down()
    (door,) = ticket.doors
    nowhere = tuple(Address("192.0.2.1", port, port) for port in range(1, 17))
    doors = tuple(Door(door.device, door.curve_key, nowhere) for _ in range(16))
    with pytest.raises(InviterNotReachable):
        bob.service.join(write_ticket(replace(ticket, doors=doors)))
    anna.up()
    bob.service.join(write_ticket(ticket))
    meet(anna, bob)


def test_a_bearer_whose_disk_was_full_joins_with_the_same_ticket(
    anna: Party, party: Callable[[str], Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = anna.service.invite("Family", "contributor", 3600.0)
    bob = party("Bob")

    def full(*_: object) -> None:
        raise DiskFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(bob.node.state.ledger, "add_space", full)
        with pytest.raises(DiskFull):
            bob.service.join(text)
    assert bob.service.spaces() == []
    bob.service.join(text)
    meet(anna, bob)


def test_an_inviter_whose_disk_is_full_lets_nobody_half_in(
    anna: Party, party: Callable[[str], Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "KNOCK_SECONDS_MAX", 0.5)
    text = anna.service.invite("Family", "contributor", 3600.0)
    bob = party("Bob")
    seal = anna.node.exchange.seal

    def full() -> None:
        seal()
        if len(anna.node.state.replicas[space].roster.members) > 1:
            raise DiskFull("full")

    space = anna.replica().id
    with monkeypatch.context() as patch:
        patch.setattr(anna.node.exchange, "seal", full)
        with pytest.raises(InviterNotReachable):
            bob.service.join(text)
    assert len(anna.replica().roster.members) == 1
    assert bob.service.spaces() == []
    bob.service.join(text)
    meet(anna, bob)


def test_whom_a_ticket_let_in_is_durable_before_it_is_answered(
    anna: Party, party: Callable[[str], Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = party("Bob")
    store = anna.node.state.store
    sync, say = store.make_durable, anna.node.state.mesh.send
    events: list[str] = []

    def note_sync() -> None:
        events.append("sync")
        sync()

    def note_send(key: PublicKey, channel: object, frames: tuple[bytes, ...]) -> bool:
        if isinstance(decode_message(frames[0]), Redeemed):
            events.append("answer")
        return say(key, channel, frames)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "make_durable", note_sync)
    monkeypatch.setattr(anna.node.state.mesh, "send", note_send)
    anna.invite(bob)
    assert events.count("answer") == 1
    assert events[events.index("answer") - 1] == "sync"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Family", "Family (Mallory)"), ("a/b", "a-b"), ("..", "Space"), ("ö" * 128, "ö" * 127)],
)
def test_a_space_that_others_named_gets_a_name_that_a_folder_can_have(
    anna: Party, name: str, shown: str
) -> None:
    mallory = new_identity(bytes(range(96)), "Mallory", "laptop", 1000)
    space, create = create_space(mallory.device_key, mallory.certificate, name, bytes(16), 1000)
    ticket = read_ticket(anna.service.invite("Family", "reader", 60.0))
    operations = admitted(mallory, space, create, anna.identity.certificate)
    replica = anna.node.loop.call(
        lambda: anna.node.admission._joined(replace(ticket, space=space), operations)
    )
    assert replica.id == space
    (row,) = (row for row in anna.service.spaces() if row.id == space.hex())
    assert row.name == shown
    assert len(row.name.encode()) <= 255


def admitted(
    owner: Identity, space: SpaceId, create: bytes, *bearers: Certificate
) -> tuple[bytes, ...]:
    """The operations of a space into which its owner let these."""
    operations = [create]
    for number, certificate in enumerate(bearers):
        secret = bytes([number]) * 32
        invite = invite_of(secret, PublicKey(secret), Role.CONTRIBUTOR, 2**60)
        admit = Admit(invite.ticket_key, certificate, make_proof(secret, space, certificate))
        for body in (invite, admit):
            roster = fold(space, operations)
            operations.append(extend(roster, owner.device_key, owner.device, body, 2000))
    return tuple(operations)


def test_spaces_have_names_of_their_own(anna: Party) -> None:
    for name in ("Family", "", "a/b", "x" * 129, "ö" * 128):
        with pytest.raises(BadArgument):
            anna.create(name)
    with pytest.raises(NoSuchSpace, match="Family"):
        anna.service.members("Work")
    anna.create("Work")
    assert [space.name for space in anna.service.spaces()] == ["Family", "Work"]


@pytest.mark.parametrize(
    ("role", "seconds"), [("owner", 60.0), ("king", 60.0), ("reader", 0.0), ("reader", 1e12)]
)
def test_tickets_that_are_impossible_are_refused(anna: Party, role: str, seconds: float) -> None:
    with pytest.raises(BadArgument):
        anna.service.invite("Family", role, seconds)


def test_only_who_may_invite_does(anna: Party, bob: Party) -> None:
    with pytest.raises(NotAllowed):
        bob.service.invite("Family", "reader", 60.0)


def test_a_ticket_stays_short_whatever_addresses_others_tell(anna: Party, mallory: Raw) -> None:
    addresses = tuple(Address(f"{number:03}".ljust(255, "x"), 1, 1) for number in range(16))
    mallory.say(Hello(addresses, (anna.replica().id,), (), False))
    mallory.settle()
    ticket = read_ticket(anna.service.invite("Family", "reader", 60.0))
    assert ticket.doors[0].device == anna.device


# --- at the door --------------------------------------------------------------------------------


def say_as_bearer(anna: Party, ticket: Ticket, message: Message) -> object:
    """What the door answers to a ticket's bearer."""
    (door,) = ticket.doors
    reply = knock(
        ticket.curve_secret, door.curve_key, door.addresses[0], encode_message(message), 0.4
    )
    return decode_message(reply)


def redeem(ticket: Ticket, bearer: Party, space: SpaceId | None = None) -> Redeem:
    certificate = bearer.identity.certificate
    key = invite_of(ticket.secret, PublicKey(bytes(32)), Role.READER, 0).ticket_key
    proof = make_proof(ticket.secret, ticket.space, certificate)
    return Redeem(space or ticket.space, Admit(key, certificate, proof))


def test_a_bearer_can_do_nothing_but_redeem(anna: Party, party: Callable[[str], Party]) -> None:
    anna.write("a.txt", b"hello")
    content = anna.there("a.txt").content
    assert content is not None
    ticket = read_ticket(anna.service.invite("Family", "reader", 60.0))
    space = ticket.space
    for message in (
        PullRoster(space),
        Pull(space, (), 0, 0),
        Ask(space, content, True, True),
        Hello((), (space,), (), True),
    ):
        with pytest.raises(InviterNotReachable):
            say_as_bearer(anna, ticket, message)
    assert anna.alive


def test_a_proof_is_good_for_one_bearer_and_one_space(
    anna: Party, party: Callable[[str], Party]
) -> None:
    anna.create("Work")
    bob, carol = party("Bob"), party("Carol")
    ticket = read_ticket(anna.service.invite("Family", "reader", 60.0))
    work = read_ticket(anna.service.invite("Work", "reader", 60.0))
    stolen = redeem(ticket, bob)
    other = Admit(stolen.admit.ticket_key, carol.identity.certificate, stolen.admit.proof)
    for bearer, message in (
        (ticket, Redeem(ticket.space, other)),
        (ticket, redeem(ticket, bob, work.space)),
        (work, redeem(ticket, bob)),
    ):
        with pytest.raises(InviterNotReachable):
            say_as_bearer(anna, bearer, message)
    assert len(anna.replica().roster.members) == 1
    assert isinstance(say_as_bearer(anna, ticket, redeem(ticket, bob)), Redeemed)
    assert isinstance(say_as_bearer(anna, ticket, redeem(ticket, bob)), Redeemed), "again"
    assert isinstance(say_as_bearer(anna, ticket, redeem(ticket, carol)), Refused)


def test_a_key_that_nobody_invited_is_not_let_in(anna: Party) -> None:
    address = anna.node.state.address
    with pytest.raises(TicketNotValid):
        knock(bytes(range(32)), anna.identity.certificate.curve_key, address, b"x", 5.0)
    assert not anna.node._admits(curve_public_key(bytes(range(32))))


# --- one device, two certificates ---------------------------------------------------------------


def test_a_certificate_that_another_space_believes_opens_no_other(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    """Mallory claims, in a space of hers, that Bob's device is hers and has her key. Anna, who is
    in both spaces, must not take Mallory's sockets for Bob's."""
    anna.write("secret.txt", b"for the family")
    secret = anna.there("secret.txt").content
    assert secret is not None
    mallory, erin = (new_identity(bytes([n]) * 96, "Mallory", "laptop", 1000) for n in (1, 2))
    blank = replace(erin.certificate, device_key=bob.identity.certificate.device_key)
    signature = signing_key(erin.secrets.person_secret).sign(certificate_words(blank))
    false = replace(blank, signature=Signature(signature))
    space, create = create_space(mallory.device_key, mallory.certificate, "Trap", bytes(16), 1000)
    operations = admitted(mallory, space, create, false, anna.identity.certificate)
    ticket = read_ticket(anna.service.invite("Family", "reader", 60.0))
    anna.node.loop.call(
        lambda: anna.node.admission._joined(replace(ticket, space=space), operations)
    )
    with closing(Raw(erin, anna)) as raw:
        check_a_stranger(raw, anna, bob, space, secret)


def check_a_stranger(raw: Raw, anna: Party, bob: Party, space: SpaceId, secret: ContentId) -> None:
    """It gets nothing of Family."""
    family = anna.replica().id
    raw.say(Hello((), (space, family), (), True), PullRoster(family), Pull(family, (), 0, 0))
    raw.say(Ask(family, secret, True, True), PullRoster(space))
    raw.hears(RosterOperations, lambda m: m.space == space)
    assert not [m for m in raw.heard(RosterOperations) if m.space == family]
    assert not raw.heard(Offer)
    assert not raw.heard(Page)
    anna.write("more.txt", b"for the family")
    agree("more.txt", anna, bob)
    raw.settle()
    assert not [m for m in raw.heard(Push) if m.space == family]
    assert not [m for m in raw.heard(Summary) if m.space == family]
