"""What does the mesh tell the loop?"""

from enum import IntEnum

from msgspec import Struct

from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address


class Channel(IntEnum):
    """Which of a peer's two connections: short messages, or chunks."""

    CONTROL = 0
    BULK = 1


class Arrived(Struct, frozen=True):
    """A message from the device that proved to have `key`. Whether it may say so is not checked
    here."""

    key: PublicKey
    channel: Channel
    header: bytes
    """Never empty: messages with an empty header are the mesh's own."""
    payload: memoryview | None
    """The second frame, not copied; it may be kept as long as it is useful."""


class LinkUp(Struct, frozen=True):
    """Control messages can be sent to `key` now. It may be a ticket's key, not a device's."""

    key: PublicKey


class LinkDown(Struct, frozen=True):
    """No link to `key` is left. Whatever was sent and not answered may be lost."""

    key: PublicKey


class Denied(Struct, frozen=True):
    """The device at `address` does not admit us (yet): reported at every attempt that fails so."""

    key: PublicKey
    address: Address


MeshEvent = Arrived | LinkUp | LinkDown | Denied
