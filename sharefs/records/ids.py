"""Who, what, and which version?

Every identifier is a distinct type over bytes, with its length in the type, so that decoding
checks it and mypy keeps them apart.
"""

from typing import Annotated, NamedTuple, NewType

from blake3 import blake3
from msgspec import Meta

PersonId = NewType("PersonId", Annotated[bytes, Meta(min_length=16, max_length=16)])
"""The first 16 bytes of the BLAKE3 hash of a person's Ed25519 public key."""
DeviceId = NewType("DeviceId", Annotated[bytes, Meta(min_length=16, max_length=16)])
"""The first 16 bytes of the BLAKE3 hash of a device's Ed25519 public key."""
Incarnation = NewType("Incarnation", Annotated[bytes, Meta(min_length=8, max_length=8)])
"""Random; new whenever the database that counts the sequence can no longer be trusted (I3)."""
ItemId = NewType("ItemId", Annotated[bytes, Meta(min_length=24, max_length=24)])
"""The id of the device that created the item, and 8 random bytes: the contributor is in the id."""
SpaceId = NewType("SpaceId", Annotated[bytes, Meta(min_length=32, max_length=32)])
"""The hash of the operation that created the space."""
RecordHash = NewType("RecordHash", Annotated[bytes, Meta(min_length=32, max_length=32)])
OperationHash = NewType("OperationHash", Annotated[bytes, Meta(min_length=32, max_length=32)])
ContentId = NewType("ContentId", Annotated[bytes, Meta(min_length=32, max_length=32)])
"""The hash of a manifest."""
ChunkId = NewType("ChunkId", Annotated[bytes, Meta(min_length=32, max_length=32)])
"""The BLAKE3 hash of a chunk's bytes."""
PublicKey = NewType("PublicKey", Annotated[bytes, Meta(min_length=32, max_length=32)])
Signature = NewType("Signature", Annotated[bytes, Meta(min_length=64, max_length=64)])

ROOT = ItemId(bytes(24))
"""The item that is the space's top folder; it has no record."""

Count = Annotated[int, Meta(ge=0, le=2**62)]


class Coordinate(NamedTuple):
    """Where a record stands among all records of a space (I2: unique)."""

    device: DeviceId
    incarnation: Incarnation
    sequence: int


Frontier = dict[tuple[DeviceId, Incarnation], int]
"""`{(device, incarnation): sequence}`: what a replica holds (I6), or a record's context."""


def device_id(key: PublicKey) -> DeviceId:
    """Name a device by its signing key."""
    return DeviceId(blake3(key).digest(16))


def person_id(key: PublicKey) -> PersonId:
    """Name a person by their key."""
    return PersonId(blake3(key).digest(16))


def item_id(device: DeviceId, nonce: bytes) -> ItemId:
    """Name a new item of `device`; `nonce` is 8 random bytes."""
    return ItemId(device + nonce)


def creator_of(item: ItemId) -> DeviceId:
    """The device that created the item."""
    return DeviceId(item[:16])
