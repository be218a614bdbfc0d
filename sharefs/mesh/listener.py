"""How are the peers reached that dialled us?

One ROUTER for control and one for bulk. A peer's connection is known by the routing id that the
ROUTER drew for it, and is used for that peer once a greeting came by it, if it still leads there
then. Clients may also choose a routing id; those begin with another byte than the drawn ones, and
nothing is ever sent to them.
"""

import errno
import ipaddress
import socket as plain_socket
import time

import zmq

from sharefs.errors import AddressNotUsable
from sharefs.mesh.events import Arrived, Channel
from sharefs.mesh.frames import INSTANCE_SIZE_BYTES, PROBE, Part, receive, send_or_refuse
from sharefs.mesh.gate import key_of
from sharefs.mesh.links import Links
from sharefs.mesh.monitor import Monitor
from sharefs.mesh.settings import READ_MESSAGES_MAX, CurveKeys, endpoint, new_listener
from sharefs.mesh.watch import Watch
from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address

PROBE_DELAY_S = 0.01
"""From a disconnection that is reported until the ROUTER has surely forgotten the route."""
_DRAWN_ROUTE_SIZE_BYTES = 5


class Listener:
    """Both ROUTERs of a mesh. `due` is when `probe` wants to be called."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: CurveKeys,
        watch: Watch,
        links: Links,
    ) -> None:
        self._context = context
        self._keys = keys
        self._watch = watch
        self._links = links
        self._sockets: dict[Channel, zmq.Socket[bytes]] = {}
        self._names: dict[Channel, int] = {}
        self._monitors: list[Monitor] = []
        self.due = float("inf")

    def listen(self, host: str, port: int, bulk_port: int) -> Address:
        """Raises AddressNotUsable, and then listens on neither port."""
        assert not self._sockets, "a mesh listens once"
        number = _resolve(host)
        control = new_listener(self._context, self._keys, Channel.CONTROL)
        bulk = new_listener(self._context, self._keys, Channel.BULK)
        try:
            address = Address(host, _bind(control, number, port), _bind(bulk, number, bulk_port))
        except AddressNotUsable:
            control.close()
            bulk.close()
            raise
        self._serve(Channel.CONTROL, control)
        self._serve(Channel.BULK, bulk)
        return address

    def send(self, key: PublicKey, channel: Channel, frames: tuple[Part, ...]) -> bool:
        """False when the peer has no route, or its queue is full."""
        route = self._links.route(key, channel)
        return route is not None and self._send_by(key, channel, route, frames)

    def probe(self) -> None:
        """Find the routes that are gone: ZeroMQ tells that some connection ended, but not whose."""
        self.due = float("inf")
        for channel in self._sockets:
            for key, route in self._links.routes(channel):
                self._send_by(key, channel, route, PROBE)

    def linger(self, seconds: float) -> None:
        """Closing is to wait until control messages have left."""
        if Channel.CONTROL in self._sockets:
            self._sockets[Channel.CONTROL].set(zmq.LINGER, int(1000 * seconds))

    def close(self) -> None:
        """Close what listens."""
        for monitor in self._monitors:
            monitor.close()
        for socket in self._sockets.values():
            socket.close()

    def _serve(self, channel: Channel, socket: zmq.Socket[bytes]) -> None:
        monitor = Monitor(self._context, socket, zmq.EVENT_DISCONNECTED)
        self._sockets[channel] = socket
        self._monitors.append(monitor)
        self._watch.add(monitor.socket, lambda: self._read_monitor(monitor))
        self._names[channel] = self._watch.add(socket, lambda: self._read(channel, socket))

    def _send_by(
        self, key: PublicKey, channel: Channel, route: bytes, frames: tuple[Part, ...]
    ) -> bool:
        self._watch.doubt(self._names[channel])
        try:
            return send_or_refuse(self._sockets[channel], (route, *frames))
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._links.route_lost(key, channel, route)
            return False

    def _read_monitor(self, monitor: Monitor) -> bool:
        for _ in monitor.read():
            self.due = min(self.due, time.monotonic() + PROBE_DELAY_S)
        return True

    def _read(self, channel: Channel, socket: zmq.Socket[bytes]) -> bool:
        for _ in range(READ_MESSAGES_MAX[channel]):
            try:
                route = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            message = receive(socket)
            if message is not None:
                self._take(channel, route, *message)
        return False

    def _take(
        self, channel: Channel, route: zmq.Frame, header: bytes, payload: memoryview | None
    ) -> None:
        if header:
            self._links.events.append(Arrived(key_of(route), channel, header, payload))
        elif payload is not None and len(payload) == INSTANCE_SIZE_BYTES:
            drawn = route.bytes
            key, is_drawn = key_of(route), drawn[0] == 0 and len(drawn) == _DRAWN_ROUTE_SIZE_BYTES
            if is_drawn and self._is_there(key, channel, drawn):
                self._links.greeted(key, channel, drawn, bytes(payload))

    def _is_there(self, key: PublicKey, channel: Channel, route: bytes) -> bool:
        """ZeroMQ still reads out what came by a connection that is gone; it may even read that
        after the greeting by which the same peer came in again, whose route must stay."""
        self._sockets[channel].get(zmq.EVENTS)  # A send alone may not know yet.
        return self._send_by(key, channel, route, PROBE)


def _resolve(host: str) -> str:
    """An IP address: ZeroMQ takes names that are none for those of network interfaces."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = plain_socket.getaddrinfo(host, None, type=plain_socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressNotUsable(f"There is no address to listen on by the name {host!r}.") from error
    return str(found[0][4][0])


def _bind(socket: zmq.Socket[bytes], host: str, port: int) -> int:
    """The port, drawn by the system for 0."""
    try:
        socket.bind(endpoint(host, port or "*"))
    except zmq.ZMQError as error:
        raise AddressNotUsable(_why_not(error, host, port)) from error
    return int(socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])


def _why_not(error: zmq.ZMQError, host: str, port: int) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program: choose another with --listen."
    if error.errno in (zmq.EADDRNOTAVAIL, errno.ENODEV):
        return f"{host} is not an address of this machine: choose another with --listen."
    return f"Can not listen on port {port} of {host}: {error.strerror}."
