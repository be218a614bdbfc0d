"""Who is in a space, with which role and devices?

Theory of operation. The roster is a set of signed operations, each naming the operations that
it was made upon (`previous`, the heads its author knew). Folding the set in the order (depth,
hash), which is a topological order, gives the same members on every replica, whatever arrived
first. An operation that breaks a rule when its turn comes (author without the right, ticket
used before, expired) is void, for everybody alike. One whose `previous` are not all here waits.

A quarantine (I8) closes an incarnation, and not the device: whoever copied a disk by mistake goes
on under a new one, and a liar is told of by name, and gains nothing by it that a member who writes
nonsense does not have anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.commit import Seal, contradict, verify_seal
from sharefs.records.ids import (
    Count,
    DeviceId,
    Frontier,
    Incarnation,
    OperationHash,
    PersonId,
    PublicKey,
    Signature,
    SpaceId,
)
from sharefs.spaces.identity import Certificate, public_key, signing_key, verify, verify_certificate
from sharefs.spaces.limits import SPACE_NAME_SIZE_MAX
from sharefs.spaces.rights import INVITABLE_ROLES, RIGHTS, Right, Role

OPERATION_SIZE_BYTES_MAX = 8 * 1024
OPERATIONS_MAX = 4096
PREVIOUS_MAX = 64
_DOMAIN = b"sharefs operation 1\x00"
_TICKET_DOMAIN = b"sharefs redeem 1\x00"


class Create(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """The first operation: its hash is the space's id, its author the owner."""

    name: Annotated[str, Meta(min_length=1, max_length=SPACE_NAME_SIZE_MAX)]
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    policy: Literal["collaborate", "contribute", "broadcast"]
    certificate: Certificate


class Invite(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """A one-use ticket: whoever proves to hold its secret may be admitted."""

    ticket_key: PublicKey
    curve_key: PublicKey
    role: Role
    expires: Count
    """Milliseconds."""


class Admit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """A member's device let a ticket's bearer in. `proof` is the ticket key's signature."""

    ticket_key: PublicKey
    certificate: Certificate
    proof: Signature


class Quarantine(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """A device signed what it can not have signed both: the incarnation is closed.

    Any member's device may say so, as the seals prove it. Nothing of the incarnation counts beyond
    `until`, the last that the author of this has: none of what a member's device had accepted is
    lost, as each that has more says so by an operation of its own.
    """

    one: Seal
    other: Seal
    until: Count


class Operation(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One signed step of a space's membership."""

    version: Literal[1]
    space: Annotated[bytes, Meta(max_length=32)]
    """Empty in the operation that creates the space."""
    previous: Annotated[tuple[OperationHash, ...], Meta(max_length=PREVIOUS_MAX)]
    depth: Annotated[int, Meta(ge=0, le=2**32)]
    author: DeviceId
    stamp: Count
    """Milliseconds, by the author's clock."""
    body: Create | Invite | Admit | Quarantine
    signature: Signature


def _signed_bytes(operation: Operation) -> bytes:
    return _DOMAIN + encode(
        (
            operation.version,
            operation.space,
            operation.previous,
            operation.depth,
            operation.author,
            operation.stamp,
            operation.body,
        )
    )


def encode_operation(operation: Operation) -> bytes:
    """The canonical bytes."""
    return encode(operation)


def decode_operation(data: bytes) -> Operation:
    """Raises RemoteProtocolError for anything but a well-formed operation."""
    return decode(data, Operation, OPERATION_SIZE_BYTES_MAX)


def hash_operation(data: bytes) -> OperationHash:
    """Name an encoded operation."""
    return OperationHash(blake3(data).digest())


def _sign(key: Ed25519PrivateKey, blank: Operation) -> Operation:
    signature = Signature(key.sign(_signed_bytes(blank)))
    return Operation(
        blank.version,
        blank.space,
        blank.previous,
        blank.depth,
        blank.author,
        blank.stamp,
        blank.body,
        signature,
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a space."""

    person: PersonId
    name: str
    label: str
    """The name, made unique in this space: what shown names and messages use."""
    role: Role
    devices: tuple[DeviceId, ...]
    since: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """An invitation nobody has used; whether it has expired is for a clock to say."""

    invite: Invite
    inviter: DeviceId


@dataclass(frozen=True, slots=True)
class Closed:
    """An incarnation that is quarantined (I8)."""

    proof: Quarantine
    until: int
    """Nothing beyond this sequence counts."""
    since: int
    """Milliseconds, by the clock of the first who told."""


@dataclass
class Roster:
    """The members of one space, as the operations that are here tell."""

    space: SpaceId
    name: str = ""
    members: dict[PersonId, Member] = field(default_factory=dict)
    devices: dict[DeviceId, Certificate] = field(default_factory=dict)
    invites: dict[PublicKey, OpenInvite] = field(default_factory=dict)
    used: set[PublicKey] = field(default_factory=set)
    tickets: dict[PublicKey, PublicKey] = field(default_factory=dict)
    """Curve key to ticket key, of every ticket there ever was."""
    closed: dict[tuple[DeviceId, Incarnation], Closed] = field(default_factory=dict)
    heads: tuple[OperationHash, ...] = ()
    depth: int = -1
    known: frozenset[OperationHash] = frozenset()

    @property
    def digest(self) -> bytes:
        """Equal where the same operations are held."""
        return blake3(b"".join(sorted(self.known))).digest()

    @property
    def limits(self) -> Frontier:
        """How far closed incarnations count."""
        return {author: closed.until for author, closed in self.closed.items()}

    def member_of(self, device: DeviceId) -> Member | None:
        """The member whose device this is."""
        certificate = self.devices.get(device)
        return self.members.get(certificate.person) if certificate else None

    def label(self, device: DeviceId) -> str:
        """How to name whoever uses this device."""
        member = self.member_of(device)
        return member.label if member else "unknown"

    def may(self, device: DeviceId, right: Right) -> bool:
        """Whether the device's person has the right here."""
        member = self.member_of(device)
        return member is not None and right in RIGHTS[member.role]


def fold(space: SpaceId, operations: Iterable[bytes]) -> Roster:
    """The roster that a set of encoded operations makes.

    Raises RemoteProtocolError for bytes that are no operation, and for an operation of another
    space.
    """
    known = {hash_operation(data): decode_operation(data) for data in operations}
    if len(known) > OPERATIONS_MAX:
        raise RemoteProtocolError(f"a roster of {len(known)} operations")
    roster = Roster(space)
    placed: dict[OperationHash, Operation] = {}
    for key, operation in sorted(known.items(), key=lambda pair: (pair[1].depth, pair[0])):
        if not _belongs(key, operation, space):
            raise RemoteProtocolError("an operation of another space")
        if not _follows(operation, placed):
            continue
        placed[key] = operation
        try:
            _apply(roster, operation)
        except RemoteProtocolError:
            continue
    superseded = {previous for operation in placed.values() for previous in operation.previous}
    roster.heads = tuple(sorted(placed.keys() - superseded))[:PREVIOUS_MAX]
    roster.depth = max((operation.depth for operation in placed.values()), default=-1)
    roster.known = frozenset(placed)
    return roster


def _belongs(key: OperationHash, operation: Operation, space: SpaceId) -> bool:
    """A space is created once, by the operation that it is named by: a second one would make its
    author an owner."""
    if isinstance(operation.body, Create):
        return SpaceId(key) == space and not operation.space
    return operation.space == space


def _follows(operation: Operation, placed: dict[OperationHash, Operation]) -> bool:
    if isinstance(operation.body, Create):
        return not operation.previous and operation.depth == 0
    if not operation.previous or any(key not in placed for key in operation.previous):
        return False
    return operation.depth == 1 + max(placed[key].depth for key in operation.previous)


def _apply(roster: Roster, operation: Operation) -> None:
    """Raises RemoteProtocolError where the operation is void."""
    match operation.body:
        case Create() as create:
            verify_certificate(create.certificate)
            if operation.author != create.certificate.device:
                raise RemoteProtocolError("a space is created by its owner's device")
            verify(create.certificate.device_key, operation.signature, _signed_bytes(operation))
            roster.name = create.name
            _add_member(roster, create.certificate, Role.OWNER, operation.stamp)
        case Invite() as invite:
            _check_author(roster, operation, Right.INVITE)
            if invite.role not in INVITABLE_ROLES or invite.ticket_key in roster.used:
                raise RemoteProtocolError("no such invitation is possible")
            roster.invites[invite.ticket_key] = OpenInvite(invite, operation.author)
            roster.tickets[invite.curve_key] = invite.ticket_key
        case Admit() as admit:
            _check_author(roster, operation, Right.READ)
            _apply_admit(roster, admit, operation.stamp)
        case Quarantine() as quarantine:
            _check_author(roster, operation, Right.READ)
            _apply_quarantine(roster, quarantine, operation.stamp)


def _check_author(roster: Roster, operation: Operation, right: Right) -> None:
    certificate = roster.devices.get(operation.author)
    if certificate is None or not roster.may(operation.author, right):
        raise RemoteProtocolError("the author of an operation may not do this")
    verify(certificate.device_key, operation.signature, _signed_bytes(operation))


def _apply_admit(roster: Roster, admit: Admit, stamp: int) -> None:
    opened = roster.invites.get(admit.ticket_key)
    if opened is None or stamp > opened.invite.expires:
        raise RemoteProtocolError("the ticket was used before, or had expired")
    check_proof(roster.space, admit)
    if admit.certificate.person in roster.members or admit.certificate.device in roster.devices:
        raise RemoteProtocolError("the bearer is a member already")
    del roster.invites[admit.ticket_key]
    roster.used.add(admit.ticket_key)
    _add_member(roster, admit.certificate, opened.invite.role, stamp)


def _apply_quarantine(roster: Roster, quarantine: Quarantine, stamp: int) -> None:
    one, other = quarantine.one, quarantine.other
    accused = roster.devices.get(one.device)
    if accused is None or one.space != roster.space or not contradict(one, other):
        raise RemoteProtocolError("what is no proof of anything")
    for seal in (one, other):
        verify_seal(seal, accused.device_key)
    author = (one.device, one.incarnation)
    known = roster.closed.get(author)
    if known is None:
        roster.closed[author] = Closed(quarantine, quarantine.until, stamp)
    else:
        until = max(known.until, quarantine.until)
        roster.closed[author] = Closed(known.proof, until, known.since)


def check_proof(space: SpaceId, admit: Admit) -> None:
    """Raises RemoteProtocolError unless the ticket's bearer asked to be admitted with this
    certificate."""
    verify_certificate(admit.certificate)
    verify(admit.ticket_key, admit.proof, _proof_bytes(space, admit.certificate))


def _proof_bytes(space: SpaceId, certificate: Certificate) -> bytes:
    return _TICKET_DOMAIN + space + encode(certificate)


def make_proof(ticket_secret: bytes, space: SpaceId, certificate: Certificate) -> Signature:
    """What a ticket's bearer sends to be admitted."""
    return Signature(signing_key(ticket_secret).sign(_proof_bytes(space, certificate)))


def _add_member(roster: Roster, certificate: Certificate, role: Role, stamp: int) -> None:
    taken = {member.label for member in roster.members.values()}
    name = certificate.person_name
    label = next(
        candidate
        for number in range(1, OPERATIONS_MAX + 2)
        if (candidate := name if number == 1 else f"{name} {number}") not in taken
    )
    member = Member(certificate.person, name, label, role, (certificate.device,), stamp)
    roster.members[certificate.person] = member
    roster.devices[certificate.device] = certificate


def create_space(
    key: Ed25519PrivateKey, certificate: Certificate, name: str, nonce: bytes, now_ms: int
) -> tuple[SpaceId, bytes]:
    """The first operation of a new space; `nonce` is 16 random bytes."""
    body = Create(name, nonce, "collaborate", certificate)
    blank = Operation(1, b"", (), 0, certificate.device, now_ms, body, Signature(bytes(64)))
    data = encode_operation(_sign(key, blank))
    return SpaceId(hash_operation(data)), data


def extend(
    roster: Roster,
    key: Ed25519PrivateKey,
    author: DeviceId,
    body: Invite | Admit | Quarantine,
    now_ms: int,
) -> bytes:
    """The next operation upon a roster, encoded."""
    blank = Operation(
        1,
        roster.space,
        roster.heads,
        roster.depth + 1,
        author,
        now_ms,
        body,
        Signature(bytes(64)),
    )
    return encode_operation(_sign(key, blank))


def invite_of(ticket_secret: bytes, curve_key: PublicKey, role: Role, expires_ms: int) -> Invite:
    """The operation body that opens a ticket."""
    return Invite(public_key(signing_key(ticket_secret)), curve_key, role, expires_ms)
