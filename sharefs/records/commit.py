"""What does a device sign?

Up to 256 consecutive records of its own, as a list of their hashes: an Ed25519 check costs 0.14
ms, so records are not signed one by one. A record that has since been dominated travels as its
hash alone, and the receiver can still check the commit.
"""

from typing import Annotated, Literal

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import (
    DeviceId,
    Incarnation,
    OperationHash,
    PublicKey,
    RecordHash,
    Signature,
    SpaceId,
)

COMMIT_RECORDS_MAX = 256
COMMIT_SIZE_BYTES_MAX = 16 * 1024
_DOMAIN = b"sharefs commit 1\x00"


class Commit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A signed run of one device's records, `first` .. `last` in its sequence."""

    version: Literal[1]
    space: SpaceId
    device: DeviceId
    incarnation: Incarnation
    first: Annotated[int, Meta(ge=1, le=2**62)]
    roster: OperationHash
    """A roster operation that the writer had seen: its rights are those at that point or later."""
    hashes: Annotated[tuple[RecordHash, ...], Meta(min_length=1, max_length=COMMIT_RECORDS_MAX)]
    signature: Signature

    @property
    def last(self) -> int:
        return self.first + len(self.hashes) - 1


class Seal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commit with its hashes in one: what is signed, and enough to prove that it was."""

    version: Literal[1]
    space: SpaceId
    device: DeviceId
    incarnation: Incarnation
    first: Annotated[int, Meta(ge=1, le=2**62)]
    count: Annotated[int, Meta(ge=1, le=COMMIT_RECORDS_MAX)]
    roster: OperationHash
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Of the hashes, one after the other."""
    signature: Signature

    @property
    def last(self) -> int:
        return self.first + self.count - 1


def seal_of(commit: Commit) -> Seal:
    """What a commit's device signed."""
    return Seal(
        commit.version,
        commit.space,
        commit.device,
        commit.incarnation,
        commit.first,
        len(commit.hashes),
        commit.roster,
        blake3(b"".join(commit.hashes)).digest(),
        commit.signature,
    )


def signed_bytes(seal: Seal) -> bytes:
    """Equal for what says the same, whatever its signature."""
    return _DOMAIN + encode(
        (
            seal.version,
            seal.space,
            seal.device,
            seal.incarnation,
            seal.first,
            seal.count,
            seal.roster,
            seal.digest,
        )
    )


def contradict(one: Seal, other: Seal) -> bool:
    """Whether two seals prove, if both are signed, that their device went astray (I8): it signs
    each of its sequences once."""
    authors = [(seal.space, seal.device, seal.incarnation) for seal in (one, other)]
    overlap = one.first <= other.last and other.first <= one.last
    return authors[0] == authors[1] and overlap and signed_bytes(one) != signed_bytes(other)


def sign_commit(
    key: Ed25519PrivateKey,
    space: SpaceId,
    device: DeviceId,
    incarnation: Incarnation,
    first: int,
    roster: OperationHash,
    hashes: tuple[RecordHash, ...],
) -> Commit:
    """Sign a run of records with the device's key."""
    blank = Commit(1, space, device, incarnation, first, roster, hashes, Signature(bytes(64)))
    signature = Signature(key.sign(signed_bytes(seal_of(blank))))
    return Commit(1, space, device, incarnation, first, roster, hashes, signature)


def verify_commit(commit: Commit, key: PublicKey) -> None:
    """Raises RemoteProtocolError if the device's key did not sign this."""
    verify_seal(seal_of(commit), key)


def verify_seal(seal: Seal, key: PublicKey) -> None:
    """Raises RemoteProtocolError if the device's key did not sign this."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(seal.signature, signed_bytes(seal))
    except InvalidSignature as error:
        raise RemoteProtocolError("a commit's signature does not match") from error


def encode_commit(commit: Commit) -> bytes:
    """The canonical bytes."""
    return encode(commit)


def decode_commit(data: bytes) -> Commit:
    """Raises RemoteProtocolError for anything but a well-formed commit."""
    return decode(data, Commit, COMMIT_SIZE_BYTES_MAX)
