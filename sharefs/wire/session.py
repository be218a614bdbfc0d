"""How do two devices meet, and how does a ticket's bearer come in?"""

from typing import Annotated

from msgspec import Meta, Struct

from sharefs.records.ids import SpaceId
from sharefs.spaces.roster import OPERATION_SIZE_BYTES_MAX, OPERATIONS_MAX, Admit
from sharefs.spaces.ticket import Address, Door

SPACES_MAX = 1024
DOORS_MAX = 256
SENTENCE_SIZE_MAX = 500

EncodedOperation = Annotated[bytes, Meta(max_length=OPERATION_SIZE_BYTES_MAX)]


class Hello(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """The first word of either side, and again when something in it changes.

    `spaces` are those that the receiver is a member of too; `doors` are other members of them.
    """

    addresses: Annotated[tuple[Address, ...], Meta(max_length=16)]
    spaces: Annotated[tuple[SpaceId, ...], Meta(max_length=SPACES_MAX)]
    doors: Annotated[tuple[Door, ...], Meta(max_length=DOORS_MAX)]
    answer: bool
    """Say yours too: the sender has not heard it yet."""


class Ping(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Are you there?"""

    number: Annotated[int, Meta(ge=0, le=2**62)]


class Pong(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Yes."""

    number: Annotated[int, Meta(ge=0, le=2**62)]


class Bye(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """The node goes down."""


class Redeem(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """A ticket's bearer asks to be admitted."""

    space: SpaceId
    admit: Admit


class Redeemed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """You are a member: here is the roster."""

    space: SpaceId
    operations: Annotated[tuple[EncodedOperation, ...], Meta(max_length=OPERATIONS_MAX)]


class Refused(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """You are not admitted, and why."""

    space: SpaceId
    sentence: Annotated[str, Meta(max_length=SENTENCE_SIZE_MAX)]
