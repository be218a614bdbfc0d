"""What does an invitation look like on paper?

`sharefs1` and base64url of the canonical ticket and four bytes of its hash, so that a slip in
copying is told from an old or foreign ticket. A `.sharefs` file holds the same text.
"""

import base64
import binascii
from typing import Annotated, Literal

from blake3 import blake3
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError, TicketNotValid
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import Count, DeviceId, PublicKey, SpaceId
from sharefs.spaces.identity import PersonName, curve_public_key
from sharefs.spaces.limits import SPACE_NAME_SIZE_MAX, TICKET_PREFIX, TICKET_SIZE_BYTES_MAX
from sharefs.spaces.rights import Role

ADDRESSES_MAX = 16
_CHECK_SIZE_BYTES = 4
_CURVE_CONTEXT = "sharefs 2026-11 ticket curve key 1"


class Address(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a device listens: control on `port`, bulk on `bulk_port`, both over TCP."""

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    bulk_port: Annotated[int, Meta(ge=1, le=65535)]


class Door(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A member's device that may admit the bearer, and where it was seen."""

    device: DeviceId
    curve_key: PublicKey
    addresses: Annotated[tuple[Address, ...], Meta(max_length=ADDRESSES_MAX)]


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An invitation. Whoever holds `secret` may be admitted once, until it expires."""

    version: Literal[1]
    space: SpaceId
    space_name: Annotated[str, Meta(min_length=1, max_length=SPACE_NAME_SIZE_MAX)]
    inviter: PersonName
    role: Role
    expires: Count
    """Milliseconds."""
    secret: PublicKey
    doors: Annotated[tuple[Door, ...], Meta(min_length=1, max_length=ADDRESSES_MAX)]

    @property
    def curve_secret(self) -> bytes:
        """The Curve25519 key with which the bearer's sockets show themselves."""
        return blake3(self.secret, derive_key_context=_CURVE_CONTEXT).digest()


def ticket_curve_key(secret: bytes) -> PublicKey:
    """The public half of a ticket's Curve25519 key, for the roster."""
    return curve_public_key(blake3(secret, derive_key_context=_CURVE_CONTEXT).digest())


def write_ticket(ticket: Ticket) -> str:
    """The text to hand over."""
    data = encode(ticket)
    check = blake3(data).digest(_CHECK_SIZE_BYTES)
    return TICKET_PREFIX + base64.urlsafe_b64encode(data + check).decode().rstrip("=")


def read_ticket(text: str) -> Ticket:
    """Raises TicketNotValid, with what to do, for anything but an undamaged ticket of this
    version."""
    text = "".join(text.split())
    if not text.startswith(TICKET_PREFIX):
        raise TicketNotValid(f"This is no sharefs ticket: one begins with {TICKET_PREFIX}.")
    body = text.removeprefix(TICKET_PREFIX)
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TicketNotValid(_GARBLED) from error
    payload, check = data[:-_CHECK_SIZE_BYTES], data[-_CHECK_SIZE_BYTES:]
    if blake3(payload).digest(_CHECK_SIZE_BYTES) != check:
        raise TicketNotValid(_GARBLED)
    try:
        return decode(payload, Ticket, TICKET_SIZE_BYTES_MAX)
    except RemoteProtocolError as error:
        raise TicketNotValid(
            "The ticket was made by another version of sharefs: ask for a new one."
        ) from error


_GARBLED = "The ticket is garbled: copy the whole text again, or use the .sharefs file."
