"""Who plays? A space with its members, made once, as keys and rosters take long to make.

What each may do is written down here again, for the checkers: they do not ask the roster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import cast

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sharefs.errors import RemoteProtocolError
from sharefs.records.commit import Seal, signed_bytes
from sharefs.records.ids import DeviceId, OperationHash, PublicKey, Signature, SpaceId
from sharefs.spaces.identity import Identity, verify
from sharefs.spaces.rights import Role
from sharefs.spaces.roster import Roster, create_space, fold, hash_operation
from tests.spaces.space_people import Past, person

NAMES = ("Anna", "Bob", "Carol", "Dora")
READER = "Eve"


class QuickKey:
    """Signs with a keyed hash: as good as Ed25519 among simulated devices, and 20 times as fast."""

    def __init__(self, public: PublicKey) -> None:
        self._secret = blake3(b"quick" + public).digest()

    def sign(self, data: bytes) -> bytes:
        return blake3(data, key=self._secret).digest(64)


def verify_seal_quickly(seal: Seal, key: PublicKey) -> None:
    """In the place of `verify_seal`."""
    if QuickKey(key).sign(signed_bytes(seal)) != seal.signature:
        raise RemoteProtocolError("a commit's signature does not match")


def verify_either(key: PublicKey, signature: Signature, data: bytes) -> None:
    """In the place of `verify`, for a roster that began with slow signatures."""
    if QuickKey(key).sign(data) != signature:
        verify(key, signature, data)


@dataclass(frozen=True)
class Cast:
    """A space. `operations[n]` is what the n-th member knew when they came in; the first, who let
    all others in, knows everything."""

    space: SpaceId
    people: tuple[Identity, ...]
    operations: tuple[tuple[bytes, ...], ...]
    writers: frozenset[DeviceId]

    @property
    def known_operations(self) -> tuple[OperationHash, ...]:
        """The hashes of all there are."""
        return tuple(map(hash_operation, self.operations[0]))


@cache
def members() -> Cast:
    """Anna's space: Bob, Carol and Dora may write, Eve may read."""
    people = tuple(map(person, (*NAMES, READER)))
    anna = people[0]
    space, created = create_space(anna.device_key, anna.certificate, "Family", bytes(16), 1000)
    past = Past(space, [created])
    known: list[tuple[bytes, ...]] = []
    for number, bearer in enumerate(people[1:], 1):
        role = Role.READER if bearer is people[-1] else Role.CONTRIBUTOR
        past.invite(anna, number, role)
        past.admit(anna, bearer, number)
        known.append(tuple(past.operations))
    known.insert(0, known[-1])
    quick = tuple(map(_quick, people))
    writers = frozenset(p.device for p in people[:-1])
    return Cast(space, quick, tuple(known), writers)


def _quick(identity: Identity) -> Identity:
    key = QuickKey(identity.certificate.device_key)
    return Identity(identity.secrets, cast(Ed25519PrivateKey, key))


@cache
def _folded(space: SpaceId, operations: frozenset[bytes]) -> Roster:
    return fold(space, operations)


def fold_once(space: SpaceId, operations: Iterable[bytes]) -> Roster:
    """In the place of `fold`, which verifies every signature: the same for the same operations."""
    return _folded(space, frozenset(operations))
