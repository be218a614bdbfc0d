"""How does a ticket's bearer put one question to a member's device?

Before membership nobody knows our own key; the roster knows the ticket's. So the bearer connects
once with that key, on sockets that have nothing to do with the node's own, asks, and waits for
the answer.
"""

import os
import time

import zmq

from sharefs.errors import AddressNotUsable, InviterNotReachable, TicketNotValid
from sharefs.mesh.events import Channel
from sharefs.mesh.frames import INSTANCE_SIZE_BYTES, greeting, receive, send_or_refuse
from sharefs.mesh.monitor import Monitor
from sharefs.mesh.settings import CurveKeys, endpoint, new_context, new_dialler
from sharefs.records.ids import PublicKey
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import Address

ASK_AGAIN_S = 1.0
"""Where two bearers of one ticket knock at once, an answer may go to the other."""
REFUSED_CONNECTIONS_MAX = 3
"""The third comes about half a second after the first: a node that is just restarting is found."""
_MONITORED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_CONNECT_RETRIED
)


def knock(
    secret: bytes, server: PublicKey, address: Address, frame: bytes, timeout_s: float
) -> bytes:
    """Ask the device at `address`, which must have the key `server`, and return its answer.

    Blocks. `secret` is the curve secret of the ticket. The question is asked again when no answer
    comes, and when the connection is made again, so it may arrive more than once.

    Raises TicketNotValid when the device does not admit the ticket's key, and InviterNotReachable
    when nobody who has the key `server` answers there in time.
    """
    keys = CurveKeys(secret, curve_public_key(secret))
    context = new_context()
    socket = new_dialler(context, keys, server, Channel.CONTROL)
    monitor = Monitor(context, socket, _MONITORED)
    try:
        socket.connect(endpoint(address.host, address.port))
        return _ask(socket, monitor, address, frame, time.monotonic() + timeout_s)
    except AddressNotUsable as error:
        raise InviterNotReachable(
            f"The ticket says that the inviter listens at {address.host!r}, which is no address."
        ) from error
    finally:
        monitor.close()
        socket.close()
        context.term()


def _ask(
    socket: zmq.Socket[bytes], monitor: Monitor, address: Address, frame: bytes, end: float
) -> bytes:
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor.socket, zmq.POLLIN)
    question = (greeting(os.urandom(INSTANCE_SIZE_BYTES)), (frame,))
    refused, again = 0, time.monotonic() + ASK_AGAIN_S
    while (left_s := end - time.monotonic()) > 0 and refused < REFUSED_CONNECTIONS_MAX:
        poller.poll(int(min(left_s, ASK_AGAIN_S) * 1000) + 1)
        if time.monotonic() >= again:
            again += ASK_AGAIN_S
            for message in question:
                send_or_refuse(socket, message)
        for event in monitor.read():
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise TicketNotValid(_DENIED)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                for message in question:
                    send_or_refuse(socket, message)
            else:
                refused += 1
        answer = _answer(socket)
        if answer is not None:
            return answer
    raise InviterNotReachable(
        f"The inviter's device does not answer at {address.host}, port {address.port}: "
        "it must be on and connected. Try again, or ask for a new ticket."
    )


def _answer(socket: zmq.Socket[bytes]) -> bytes | None:
    """The first message that is not the mesh's own."""
    try:
        while True:
            message = receive(socket)
            if message is not None and message[0]:
                return message[0]
    except zmq.Again:
        return None


_DENIED = (
    "The ticket is not valid any more: it was used, withdrawn, or has expired. Ask for a new one."
)
