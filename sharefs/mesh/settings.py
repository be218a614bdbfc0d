"""Which settings make ZeroMQ's sockets safe and quick?

ZeroMQ's defaults admit any key where no handler listens, buffer without limit, wait 30 s for silent
clients, and never give up what could not be sent. Everything here replaces one of them.
"""

import ipaddress
import re
from dataclasses import dataclass

import zmq

from sharefs.errors import AddressNotUsable
from sharefs.mesh.events import Channel
from sharefs.records.content import CHUNK_SIZE_BYTES_MAX, KIB, MANIFEST_SIZE_BYTES_MAX
from sharefs.records.ids import PublicKey

MESSAGE_SIZE_BYTES_MAX = {
    Channel.CONTROL: MANIFEST_SIZE_BYTES_MAX + 64 * KIB,
    Channel.BULK: CHUNK_SIZE_BYTES_MAX + 64 * KIB,
}
"""Of a frame. Whoever sends a larger one loses the connection."""
SEND_QUEUE_MESSAGES_MAX = {Channel.CONTROL: 1024, Channel.BULK: 4}
"""For each peer. Control messages are short; the long ones among them are answers, one a
question. Nothing that is urgent can overtake chunks, or pieces of them, that are in the queue."""
RECEIVE_QUEUE_MESSAGES_MAX = 64
READ_MESSAGES_MAX = {Channel.CONTROL: 256, Channel.BULK: 32}
"""From one socket in a row, before others get their turn."""
HANDSHAKE_MS_MAX = 4_000
CONNECT_MS_MAX = 5_000
RECONNECT_MS_MIN = 100
RECONNECT_MS_MAX = 30_000
HEARTBEAT_INTERVAL_MS = 10_000
HEARTBEAT_SILENCE_MS_MAX = 30_000
SOCKETS_MAX = 8_192
ZAP_DOMAIN = b"sharefs"

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A Curve25519 key pair, 32 raw bytes each."""

    secret: bytes
    public: PublicKey


def new_context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context with a thread for each channel, so that enciphering a chunk delays no message."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.IO_THREADS, len(Channel))
    context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
    return context


def new_listener(
    context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys, channel: Channel
) -> zmq.Socket[bytes]:
    """A ROUTER that asks the gate about every key, and says so when it can not deliver."""
    socket = context.socket(zmq.ROUTER)
    _restrain(socket, keys, channel)
    socket.set(zmq.CURVE_SERVER, 1)
    socket.set(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.set(zmq.ROUTER_MANDATORY, 1)
    return socket


def new_dialler(
    context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys, server: PublicKey, channel: Channel
) -> zmq.Socket[bytes]:
    """A DEALER that talks to `server` alone, and queues nothing while it is not connected."""
    socket = context.socket(zmq.DEALER)
    _restrain(socket, keys, channel)
    socket.set(zmq.CURVE_SERVERKEY, server)
    socket.set(zmq.IMMEDIATE, 1)
    socket.set(zmq.CONNECT_TIMEOUT, CONNECT_MS_MAX)
    socket.set(zmq.RECONNECT_IVL, RECONNECT_MS_MIN)
    socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
    return socket


def _restrain(socket: zmq.Socket[bytes], keys: CurveKeys, channel: Channel) -> None:
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IPV6, 1)
    socket.set(zmq.CURVE_SECRETKEY, keys.secret)
    socket.set(zmq.CURVE_PUBLICKEY, keys.public)
    socket.set(zmq.MAXMSGSIZE, MESSAGE_SIZE_BYTES_MAX[channel])
    socket.set(zmq.SNDHWM, SEND_QUEUE_MESSAGES_MAX[channel])
    socket.set(zmq.RCVHWM, RECEIVE_QUEUE_MESSAGES_MAX)
    socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS_MAX)
    socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS)
    socket.set(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_SILENCE_MS_MAX)
    socket.set(zmq.HEARTBEAT_TTL, HEARTBEAT_SILENCE_MS_MAX)
    socket.set(zmq.AFFINITY, 1 << channel)


def endpoint(host: str, port: int | str) -> str:
    """ZeroMQ's name of an address; `port` is `*` for any.

    Raises AddressNotUsable for a host that is neither an IP address nor a plain name: addresses
    come from peers, and ZeroMQ reads more into some characters.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        if not _HOST_NAME.match(host):
            raise AddressNotUsable(f"{host!r} is not the address of a machine.") from error
        return f"tcp://{host}:{port}"
    return f"tcp://[{address}]:{port}" if address.version == 6 else f"tcp://{address}:{port}"
