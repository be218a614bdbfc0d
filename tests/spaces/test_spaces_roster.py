from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import OperationHash, Signature, SpaceId
from sharefs.spaces.rights import RIGHTS, Right, Role
from sharefs.spaces.roster import (
    OPERATION_SIZE_BYTES_MAX,
    OPERATIONS_MAX,
    Invite,
    check_proof,
    create_space,
    decode_operation,
    encode_operation,
    fold,
    hash_operation,
)
from tests.shapes import faults, refuses, refuses_or_keeps
from tests.spaces.space_people import (
    ANNA,
    BOB,
    CAROL,
    DAVE,
    DAY_MS,
    Past,
    admission,
    family,
    person,
    resigned,
    secret,
    tampered,
    usurpation,
)

FAMILY = family()
operations = st.sampled_from(FAMILY.operations)


def test_the_creator_owns_the_space_and_the_bearer_gets_the_role() -> None:
    roster = family().roster
    owner, bob = roster.member_of(ANNA.device), roster.member_of(BOB.device)
    assert owner is not None
    assert bob is not None
    assert (owner.role, owner.label) == (Role.OWNER, "Anna")
    assert (bob.role, bob.label) == (Role.CONTRIBUTOR, "Bob")
    assert roster.name == "Family"
    assert roster.may(BOB.device, Right.CONTRIBUTE)
    assert not roster.may(BOB.device, Right.INVITE)
    assert not roster.may(CAROL.device, Right.READ)
    assert roster.label(CAROL.device) == "unknown"


def test_members_of_one_name_are_told_apart() -> None:
    past = family()
    for number in (1, 2):
        past.invite(ANNA, 10 + number)
        past.admit(ANNA, person("Bob", number), 10 + number)
    assert past.names() == ["Anna", "Bob", "Bob 2", "Bob 3"]


@pytest.mark.parametrize("role", Role)
def test_only_roles_with_the_right_invite(role: Role) -> None:
    past = family()
    if role is not Role.OWNER:
        past.invite(ANNA, 5, role)
        past.admit(ANNA, CAROL, 5)
    author = ANNA if role is Role.OWNER else CAROL
    past.invite(author, 6)
    past.admit(author, DAVE, 6)
    assert ("Dave" in past.names()) == (Right.INVITE in RIGHTS[role])


def test_nobody_invites_an_owner() -> None:
    past = family()
    past.invite(ANNA, 5, Role.OWNER)
    past.admit(ANNA, CAROL, 5)
    assert "Carol" not in past.names()


def test_a_ticket_admits_once() -> None:
    past = family()
    past.invite(ANNA, 5)
    past.admit(ANNA, CAROL, 5)
    past.admit(ANNA, DAVE, 5)
    assert past.names() == ["Anna", "Bob", "Carol"]
    past.invite(ANNA, 5)
    past.admit(ANNA, DAVE, 5)
    assert past.names() == ["Anna", "Bob", "Carol"]


def test_a_ticket_redeemed_at_two_doors_at_once_admits_one_and_the_same_everywhere() -> None:
    past = family()
    past.invite(ANNA, 5)
    before = past.roster
    past.admit(ANNA, CAROL, 5, upon=before)
    past.admit(BOB, DAVE, 5, upon=before)
    names = past.names()
    assert len(names) == 3
    past.operations.reverse()
    assert past.names() == names


def test_an_expired_ticket_is_void() -> None:
    for now_ms, admitted in ((DAY_MS, True), (DAY_MS + 1, False)):
        past = family()
        past.invite(ANNA, 5, expires_ms=DAY_MS)
        past.admit(ANNA, CAROL, 5, now_ms)
        assert ("Carol" in past.names()) == admitted


def test_a_member_is_not_admitted_again() -> None:
    past = family()
    past.invite(ANNA, 5)
    past.admit(ANNA, BOB, 5)
    assert len(past.roster.members) == 2
    assert past.roster.invites, "the ticket is still good for somebody else"


def test_a_forged_author_is_void() -> None:
    past = family()
    past.invite(ANNA, 5)
    forged = decode_operation(past.admit(CAROL, CAROL, 5))
    past.operations[-1] = encode_operation(msgspec.structs.replace(forged, author=ANNA.device))
    assert "Carol" not in past.names()
    past.operations[-1] = resigned(msgspec.structs.replace(forged, author=ANNA.device), CAROL)
    assert "Carol" not in past.names()


def test_a_stranger_admits_nobody() -> None:
    past = family()
    past.invite(ANNA, 5)
    past.admit(CAROL, CAROL, 5)
    assert "Carol" not in past.names()


def test_an_admission_without_the_bearer_s_proof_is_void() -> None:
    past = family()
    past.invite(ANNA, 5)
    good = admission(past.space, CAROL, 5)
    elsewhere = admission(SpaceId(b"x" * 32), CAROL, 5)
    stolen = msgspec.structs.replace(good, certificate=DAVE.certificate)
    blank = msgspec.structs.replace(good, proof=Signature(bytes(64)))
    for bad in (elsewhere, stolen, blank):
        with pytest.raises(RemoteProtocolError):
            check_proof(past.space, bad)
        past.add(ANNA, bad, 3000)
    assert len(past.roster.members) == 2
    check_proof(past.space, good)
    past.add(ANNA, good, 3000)
    assert "Carol" in past.names()


def test_a_certificate_that_its_person_did_not_sign_admits_nobody() -> None:
    past = family()
    past.invite(ANNA, 5)
    certificate = msgspec.structs.replace(CAROL.certificate, person_name="Anna's mother")
    forged = msgspec.structs.replace(CAROL.secrets, certificate=certificate)
    past.admit(ANNA, type(CAROL)(forged, CAROL.device_key), 5)
    assert len(past.roster.members) == 2


def test_changed_words_under_a_signature_are_void() -> None:
    past = family()
    invite = past.invite(ANNA, 5, Role.READER)
    body = decode_operation(invite).body
    assert isinstance(body, Invite)
    past.operations[-1] = tampered(invite, body=msgspec.structs.replace(body, role=Role.ADMIN))
    past.admit(ANNA, CAROL, 5)
    assert "Carol" not in past.names()


def test_nobody_becomes_an_owner_by_creating_the_space_again() -> None:
    past = family()
    with pytest.raises(RemoteProtocolError, match="another space"):
        fold(past.space, [*past.operations, usurpation(past.space, BOB)])
    _, other = create_space(BOB.device_key, BOB.certificate, "Other", bytes(16), 1000)
    with pytest.raises(RemoteProtocolError, match="another space"):
        fold(past.space, [*past.operations, other])


def test_an_operation_waits_for_those_it_was_made_upon() -> None:
    past = family()
    past.invite(ANNA, 5)
    past.admit(ANNA, CAROL, 5)
    without_invite = [*past.operations[:-2], past.operations[-1]]
    roster = fold(past.space, without_invite)
    assert len(roster.members) == 2
    assert hash_operation(past.operations[-1]) not in roster.known
    assert roster.digest != past.roster.digest


def test_a_false_depth_is_not_placed() -> None:
    past = family()
    invite = decode_operation(past.invite(ANNA, 5))
    for depth in (0, invite.depth - 1, invite.depth + 1):
        lie = resigned(msgspec.structs.replace(invite, depth=depth), ANNA)
        assert hash_operation(lie) not in fold(past.space, [*past.operations[:-1], lie]).known


def test_an_operation_upon_something_unknown_or_nothing_is_not_placed() -> None:
    past = family()
    invite = decode_operation(past.invite(ANNA, 5))
    for previous in ((), (OperationHash(bytes(32)),)):
        lie = resigned(msgspec.structs.replace(invite, previous=previous), ANNA)
        assert hash_operation(lie) not in fold(past.space, [*past.operations[:-1], lie]).known


def branched(choices: list[tuple[int, int, int]]) -> Past:
    """Operations made by people who each know only some of the others'."""
    past = family()
    for author, number, known in choices:
        part = [past.operations[0], *(o for i, o in enumerate(past.operations) if known >> i & 1)]
        upon = fold(past.space, part)
        who = (ANNA, BOB, CAROL, DAVE)[author]
        if number % 2:
            past.invite(who, number // 2, (Role.ADMIN, Role.READER)[number % 4 // 2], upon=upon)
        else:
            bearer = (CAROL, DAVE)[number % 4 // 2]
            past.admit(who, bearer, number // 2 + 1, upon=upon)
    return past


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2**10) | st.just(2**20 - 1)),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_the_members_do_not_depend_on_the_order_of_arrival(
    choices: list[tuple[int, int, int]], random: Random
) -> None:
    past = branched(choices)
    shuffled = [*past.operations, *past.operations[:2]]
    random.shuffle(shuffled)
    assert fold(past.space, shuffled) == past.roster
    assert fold(past.space, shuffled).digest == past.roster.digest


@given(operations, st.data())
def test_an_operation_comes_back_and_damage_is_refused_or_void(
    good: bytes, data: st.DataObject
) -> None:
    assert encode_operation(decode_operation(good)) == good
    bad = data.draw(faults(st.just(good)))
    refuses_or_keeps(decode_operation, encode_operation, bad)  # type: ignore[arg-type]
    try:
        roster = fold(FAMILY.space, [*FAMILY.operations, bad])
    except RemoteProtocolError:
        return
    assert roster.members == FAMILY.roster.members


def test_what_is_too_large_is_refused() -> None:
    refuses(decode_operation, bytes(OPERATION_SIZE_BYTES_MAX + 1))


def test_too_many_operations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharefs.spaces.roster.OPERATIONS_MAX", 2)
    with pytest.raises(RemoteProtocolError, match="3 operations"):
        fold(FAMILY.space, FAMILY.operations)
    assert OPERATIONS_MAX > 1000


@pytest.mark.parametrize(
    ("planted", "claim"),
    [
        ("_check_author", test_a_forged_author_is_void),
        ("_check_author", test_a_stranger_admits_nobody),
        ("check_proof", test_an_admission_without_the_bearer_s_proof_is_void),
    ],
)
def test_a_planted_bug_is_found(
    planted: str, claim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sharefs.spaces.roster.{planted}", lambda *_: None)
    with pytest.raises(AssertionError):
        claim()


def test_secrets_of_tickets_differ() -> None:
    assert len({secret(number) for number in range(20)}) == 20
