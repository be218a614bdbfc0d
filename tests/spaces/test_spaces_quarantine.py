"""Who signed what can not both be true is found out, by proof alone (I8)."""

import random

import pytest
from msgspec.structs import replace

from sharefs.records.commit import Seal, contradict, seal_of, sign_commit
from sharefs.records.ids import Incarnation, OperationHash, RecordHash, Signature, SpaceId
from sharefs.spaces.identity import Identity
from sharefs.spaces.rights import Role
from sharefs.spaces.roster import Quarantine, decode_operation, encode_operation, fold
from tests.spaces.space_people import ANNA, BOB, CAROL, DAVE, Past, family

LIFE, NEXT_LIFE = Incarnation(b"life0001"), Incarnation(b"life0002")


@pytest.fixture
def past() -> Past:
    past = family()
    past.invite(ANNA, 7, Role.READER)
    past.admit(ANNA, CAROL, 7)
    return past


def seal(
    past: Past,
    first: int,
    *hashes: int,
    author: Identity = BOB,
    life: Incarnation = LIFE,
    space: SpaceId | None = None,
) -> Seal:
    signed = sign_commit(
        author.device_key,
        space or past.space,
        author.device,
        life,
        first,
        OperationHash(bytes(32)),
        tuple(RecordHash(bytes([hash] * 32)) for hash in hashes),
    )
    return seal_of(signed)


def closed(past: Past) -> dict[Incarnation, int]:
    return {life: closed.until for (_, life), closed in past.roster.closed.items()}


def test_any_member_proves_it(past: Past) -> None:
    past.add(CAROL, Quarantine(seal(past, 5, 1), seal(past, 5, 2), 9), 4000)
    (found,) = past.roster.closed.values()
    assert (found.until, found.since) == (9, 4000)
    assert past.roster.limits == {(BOB.device, LIFE): 9}
    assert BOB.device in past.roster.devices, "the device is a member's as before"


def test_the_accused_itself_may_tell(past: Past) -> None:
    past.add(BOB, Quarantine(seal(past, 5, 1), seal(past, 5, 2), 9), 4000)
    assert closed(past) == {LIFE: 9}


def test_commits_that_overlap_are_proof(past: Past) -> None:
    past.add(ANNA, Quarantine(seal(past, 1, 1, 2), seal(past, 2, 2, 3), 3), 4000)
    assert closed(past) == {LIFE: 3}


@pytest.mark.parametrize(
    "proof",
    [
        lambda past: (seal(past, 1, 1), seal(past, 2, 2)),
        lambda past: (seal(past, 1, 1), seal(past, 1, 1)),
        lambda past: (seal(past, 1, 1), replace(seal(past, 1, 1), signature=Signature(bytes(64)))),
        lambda past: (seal(past, 1, 1), replace(seal(past, 1, 1), digest=bytes(32))),
        lambda past: (replace(seal(past, 1, 1), digest=bytes(32)), seal(past, 1, 1)),
        lambda past: (seal(past, 1, 1), seal(past, 1, 2, life=NEXT_LIFE)),
        lambda past: (seal(past, 1, 1), seal(past, 1, 2, author=ANNA)),
        lambda past: (seal(past, 1, 1, author=DAVE), seal(past, 1, 2, author=DAVE)),
        lambda past: tuple(seal(past, 1, n, space=SpaceId(bytes(32))) for n in (1, 2)),
        lambda past: (seal(past, 1, 1), seal(past, 1, 2, space=SpaceId(bytes(32)))),
    ],
)
def test_what_proves_nothing_is_void(past: Past, proof) -> None:  # type: ignore[no-untyped-def]
    one, other = proof(past)
    past.add(ANNA, Quarantine(one, other, 9), 4000)
    assert closed(past) == {}


def test_who_is_no_member_proves_nothing(past: Past) -> None:
    past.add(DAVE, Quarantine(seal(past, 5, 1), seal(past, 5, 2), 9), 4000)
    assert closed(past) == {}


def test_whoever_has_most_decides_in_whatever_order_it_is_told(past: Past) -> None:
    proof = (seal(past, 5, 1), seal(past, 5, 2))
    other = (seal(past, 1, 1, life=NEXT_LIFE), seal(past, 1, 2, life=NEXT_LIFE))
    upon = past.roster
    for author, until in ((ANNA, 7), (CAROL, 9), (BOB, 8)):
        past.add(author, Quarantine(*proof, until), 4000, upon)
    past.add(ANNA, Quarantine(*other, 1), 4000)
    assert closed(past) == {LIFE: 9, NEXT_LIFE: 1}
    chance = random.Random(3)
    for _ in range(10):
        shuffled = chance.sample(past.operations, len(past.operations))
        assert fold(past.space, shuffled).closed == past.roster.closed


def test_a_proof_is_small(past: Past) -> None:
    many = [seal(past, 1, *range(256)), seal(past, 256, *range(1, 200))]
    assert contradict(*many)
    data = past.add(ANNA, Quarantine(many[0], many[1], 2**62), 4000)
    assert len(data) < 1024
    assert encode_operation(decode_operation(data)) == data
