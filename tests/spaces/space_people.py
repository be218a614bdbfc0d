"""People with keys, a space, and the operations that they make on it."""

from dataclasses import dataclass, field

import msgspec
from blake3 import blake3

from sharefs.records.ids import PublicKey, Signature, SpaceId
from sharefs.spaces.identity import Identity, new_identity
from sharefs.spaces.rights import Role
from sharefs.spaces.roster import (
    Admit,
    Create,
    Invite,
    Operation,
    Quarantine,
    Roster,
    create_space,
    decode_operation,
    encode_operation,
    extend,
    fold,
    invite_of,
    make_proof,
)
from sharefs.spaces.ticket import ticket_curve_key

DAY_MS = 86_400_000


def person(name: str, number: int = 0) -> Identity:
    seed = blake3(f"{name} {number}".encode()).digest(96)
    return new_identity(seed, name, "laptop", 1000)


ANNA, BOB, CAROL, DAVE = person("Anna"), person("Bob"), person("Carol"), person("Dave")


def secret(number: int) -> bytes:
    return blake3(number.to_bytes(4, "big")).digest()


@dataclass
class Past:
    """A space and what was done to it, as one who knows everything sees it."""

    space: SpaceId
    operations: list[bytes] = field(default_factory=list)

    @property
    def roster(self) -> Roster:
        return fold(self.space, self.operations)

    def invite(
        self,
        author: Identity,
        number: int,
        role: Role = Role.CONTRIBUTOR,
        expires_ms: int = DAY_MS,
        upon: Roster | None = None,
    ) -> bytes:
        ticket = secret(number)
        body = invite_of(ticket, ticket_curve_key(ticket), role, expires_ms)
        return self.add(author, body, 2000, upon)

    def admit(
        self,
        author: Identity,
        bearer: Identity,
        number: int,
        now_ms: int = 3000,
        upon: Roster | None = None,
    ) -> bytes:
        return self.add(author, admission(self.space, bearer, number), now_ms, upon)

    def add(
        self,
        author: Identity,
        body: Invite | Admit | Quarantine,
        now_ms: int,
        upon: Roster | None = None,
    ) -> bytes:
        roster = upon or self.roster
        data = extend(roster, author.device_key, author.device, body, now_ms)
        self.operations.append(data)
        return data

    def names(self) -> list[str]:
        return sorted(member.label for member in self.roster.members.values())


def admission(space: SpaceId, bearer: Identity, number: int) -> Admit:
    ticket = secret(number)
    proof = make_proof(ticket, space, bearer.certificate)
    key = invite_of(ticket, PublicKey(bytes(32)), Role.READER, 0).ticket_key
    return Admit(key, bearer.certificate, proof)


def family() -> Past:
    """Anna's space, with Bob in it as a contributor."""
    space, first = create_space(ANNA.device_key, ANNA.certificate, "Family", bytes(16), 1000)
    past = Past(space, [first])
    past.invite(ANNA, 1)
    past.admit(ANNA, BOB, 1)
    return past


def tampered(data: bytes, **fields: object) -> bytes:
    """An operation with other words under its old signature."""
    return encode_operation(msgspec.structs.replace(decode_operation(data), **fields))


def usurpation(space: SpaceId, usurper: Identity) -> bytes:
    """A second creation of a space, correctly signed by whoever wants to own it."""
    _, data = create_space(usurper.device_key, usurper.certificate, "Mine", bytes(16), 1000)
    real = decode_operation(data)
    assert isinstance(real.body, Create)
    return resigned(msgspec.structs.replace(real, space=space), usurper)


def resigned(operation: Operation, author: Identity) -> bytes:
    """The operation, with a correct signature of its author."""
    words = msgspec.structs.astuple(operation)[:-1]
    signed = b"sharefs operation 1\x00" + msgspec.msgpack.encode(words)
    signature = Signature(author.device_key.sign(signed))
    return encode_operation(msgspec.structs.replace(operation, signature=signature))
