"""How do spaces begin, and how do people come in?"""

import secrets
import time
from collections.abc import Callable

from msgspec.structs import replace

from sharefs.errors import (
    AlreadyMember,
    BadArgument,
    InviterNotReachable,
    NameNotPossible,
    NameTooLong,
    NotAllowed,
    RemoteProtocolError,
    SharefsError,
    TicketNotValid,
)
from sharefs.mesh.knock import knock
from sharefs.node.peers import Peers
from sharefs.node.replica import Replica
from sharefs.node.state import State, now_ms
from sharefs.records.canonical import encode
from sharefs.records.entry import NAME_SIZE_BYTES_MAX, check_name
from sharefs.records.ids import PublicKey, SpaceId
from sharefs.spaces.limits import SPACE_NAME_SIZE_MAX, TICKET_SIZE_BYTES_MAX
from sharefs.spaces.rights import INVITABLE_ROLES, Right, Role
from sharefs.spaces.roster import (
    Admit,
    Invite,
    check_proof,
    create_space,
    extend,
    fold,
    hash_operation,
    invite_of,
    make_proof,
)
from sharefs.spaces.ticket import (
    ADDRESSES_MAX,
    Door,
    Ticket,
    ticket_curve_key,
    write_ticket,
)
from sharefs.tree.names import put_in_brackets
from sharefs.wire.message import decode_message, encode_message
from sharefs.wire.session import Redeem, Redeemed, Refused

KNOCK_SECONDS_MAX = 5.0
JOIN_SECONDS_MAX = 30.0
"""At all doors together."""
INVITE_SECONDS_MAX = 366 * 24 * 3600.0


class Admission:
    """Creating, inviting, joining, admitting. In the loop, but for `join`, which waits."""

    def __init__(
        self,
        state: State,
        peers: Peers,
        opened: Callable[[SpaceId], Replica],
        roster_grew: Callable[[Replica], None],
    ) -> None:
        self._state = state
        self._peers = peers
        self._opened = opened
        self._roster_grew = roster_grew

    def create(self, name: str) -> Replica:
        """Raises BadArgument for a name that is impossible, or shown here already."""
        try:
            check_name(name)
        except (NameNotPossible, NameTooLong) as error:
            raise BadArgument(str(error)) from error
        if len(name) > SPACE_NAME_SIZE_MAX:
            raise BadArgument(f"A space's name has at most {SPACE_NAME_SIZE_MAX} characters.")
        if any(row.name == name for row in self._state.ledger.spaces()):
            raise BadArgument(f"You have a space named {name} already: choose another name.")
        identity = self._state.identity
        id, operation = create_space(
            identity.device_key, identity.certificate, name, secrets.token_bytes(16), now_ms()
        )
        return self._add(id, name, [operation])

    def _add(self, id: SpaceId, name: str, operations: list[bytes]) -> Replica:
        number = self._state.ledger.add_space(id, name)
        for operation in operations:
            self._state.ledger.add_operation(number, hash_operation(operation), operation)
        self._state.relied_upon = True
        return self._opened(id)

    def invite(self, replica: Replica, role: str, expires_s: float) -> str:
        """The text of a new one-use ticket. Raises NotAllowed, BadArgument."""
        if not replica.may(Right.INVITE):
            raise NotAllowed("Only the owner and admins of a space invite others to it.")
        if role not in {r.value for r in INVITABLE_ROLES}:
            roles = ", ".join(r.value for r in INVITABLE_ROLES)
            raise BadArgument(f"A ticket can not give the role {role}: choose one of {roles}.")
        if not 0 < expires_s <= INVITE_SECONDS_MAX:
            raise BadArgument("A ticket is good for at least a second and at most a year.")
        secret = secrets.token_bytes(32)
        expires = now_ms() + int(expires_s * 1000)
        invite = invite_of(secret, ticket_curve_key(secret), Role(role), expires)
        self._extend(replica, invite)
        certificate = self._state.identity.certificate
        doors = [Door(certificate.device, certificate.curve_key, self._peers.addresses())]
        for device in self._peers.online():
            key = replica.roster.devices.get(device)
            addresses = self._peers.peers[device].addresses
            if key is not None and addresses:
                doors.append(Door(device, key.curve_key, addresses))
        ticket = Ticket(
            1,
            replica.id,
            replica.roster.name,
            certificate.person_name,
            Role(role),
            expires,
            PublicKey(secret),
            tuple(doors[:ADDRESSES_MAX]),
        )
        # Our own door is the first; others may tell longer addresses than a ticket has room for.
        while len(encode(ticket)) > TICKET_SIZE_BYTES_MAX and len(ticket.doors) > 1:
            ticket = replace(ticket, doors=ticket.doors[:-1])
        return write_ticket(ticket)

    def _extend(self, replica: Replica, body: Admit | Invite) -> None:
        operation = extend(
            replica.roster, self._state.identity.device_key, self._state.me, body, now_ms()
        )
        replica.add_operations([operation])
        self._state.relied_upon = True
        self._roster_grew(replica)

    # --- the bearer -----------------------------------------------------------------------------

    def join(self, ticket: Ticket) -> Replica:
        """Not in the loop: it waits for the network.

        Raises TicketNotValid, AlreadyMember, InviterNotReachable.
        """
        if ticket.space in self._state.replicas:
            raise AlreadyMember(f"You are a member of {ticket.space_name} already.")
        if ticket.expires < now_ms():
            raise TicketNotValid(f"The ticket expired: ask {ticket.inviter} for a new one.")
        certificate = self._state.identity.certificate
        proof = make_proof(ticket.secret, ticket.space, certificate)
        ticket_key = invite_of(ticket.secret, certificate.curve_key, ticket.role, 0).ticket_key
        redeem = Redeem(ticket.space, Admit(ticket_key, certificate, proof))
        try:
            operations = self._knock(ticket, encode_message(redeem))
            return self._state.loop.call(lambda: self._joined(ticket, operations))
        except RemoteProtocolError as error:
            raise TicketNotValid(
                f"What answers to the ticket makes no sense: ask {ticket.inviter} for a new one."
            ) from error

    def _knock(self, ticket: Ticket, frame: bytes) -> tuple[bytes, ...]:
        failure: SharefsError = InviterNotReachable(
            f"The ticket names nobody's address: ask {ticket.inviter} for a new one."
        )
        end = time.monotonic() + JOIN_SECONDS_MAX
        for door in ticket.doors:
            for address in door.addresses:
                patience_s = min(KNOCK_SECONDS_MAX, end - time.monotonic())
                if patience_s <= 0:
                    break
                try:
                    reply = knock(ticket.curve_secret, door.curve_key, address, frame, patience_s)
                    answer = decode_message(reply)
                except (InviterNotReachable, TicketNotValid, RemoteProtocolError) as error:
                    failure = error
                    continue
                if isinstance(answer, Redeemed) and answer.space == ticket.space:
                    return answer.operations
                if isinstance(answer, Refused):
                    raise TicketNotValid(answer.sentence)
        if isinstance(failure, InviterNotReachable):
            raise InviterNotReachable(
                f"{ticket.inviter} can not be reached now. The ticket stays good until it"
                " expires: try again when they are online."
            )
        raise failure

    def _joined(self, ticket: Ticket, operations: tuple[bytes, ...]) -> Replica:
        roster = fold(ticket.space, operations)
        if self._state.me not in roster.devices:
            raise TicketNotValid("The answer to the ticket does not name us as a member.")
        if ticket.space in self._state.replicas:
            raise AlreadyMember(f"You are a member of {ticket.space_name} already.")
        taken = {row.name for row in self._state.ledger.spaces()}
        owner = next(iter(roster.members.values())).name
        wanted = _possible_name(roster.name)
        name, number = wanted, 1
        while name in taken:
            name = put_in_brackets(wanted, owner if number == 1 else f"{owner} {number}")
            number += 1
        replica = self._add(ticket.space, name, list(operations))
        for door in ticket.doors:
            for address in door.addresses:
                self._state.ledger.save_address(door.device, address, 0.0)
        self._peers.dial_all()
        return replica

    # --- the door -------------------------------------------------------------------------------

    def redeemed(self, key: PublicKey, redeem: Redeem) -> None:
        """A ticket's bearer knocked; `key` is what their sockets showed."""
        replica = self._state.replicas.get(redeem.space)
        if replica is None or replica.roster.tickets.get(key) != redeem.admit.ticket_key:
            raise RemoteProtocolError("a bearer asks for another space or ticket than its own")
        check_proof(replica.id, redeem.admit)
        refusal = self._admit(replica, redeem.admit)
        if refusal is not None:
            answer: Redeemed | Refused = Refused(replica.id, refusal)
        else:
            operations = tuple(self._state.ledger.operations(replica.number))
            answer = Redeemed(replica.id, operations)
        self._state.sending.say(key, answer)

    def _admit(self, replica: Replica, admit: Admit) -> str | None:
        """Let the bearer in, or say why not."""
        roster = replica.roster
        if admit.certificate.device in roster.devices:
            known = roster.devices[admit.certificate.device]
            return None if known == admit.certificate else "This device is known otherwise."
        if admit.ticket_key in roster.used:
            return "The ticket was used already: it lets one person in. Ask for a new one."
        if admit.certificate.person in roster.members:
            return "This person is a member already."
        if time.time() * 1000 > roster.invites[admit.ticket_key].invite.expires:
            return "The ticket expired: ask for a new one."
        self._extend(replica, admit)
        return None


def _possible_name(name: str) -> str:
    """The name of a space that others created, as a folder can have it."""
    name = name.replace("/", "-").replace("\x00", "")
    while len(name.encode()) > NAME_SIZE_BYTES_MAX:
        name = name[:-1]
    return "Space" if name in {"", ".", ".."} else name
