"""How are the peers reached that we know an address of?

A *line* is one DEALER, dialling one address of one peer, with the monitor that tells how it
fares. Each dialled peer has two, for control and for bulk. ZeroMQ connects a line again by itself
when the peer goes away, but never after a failure of the protocol: not after being denied, nor
after a message that was too long. So a line that is not up when its patience ends is made anew,
at the peer's next address if there are several. Patience grows from 2 to 30 s, doubling after each
round of the addresses, while the peer stays away.
"""

import time
from dataclasses import dataclass, field

import zmq

from sharefs.errors import AddressNotUsable
from sharefs.mesh.events import Arrived, Channel, Denied
from sharefs.mesh.frames import Part, greeting, receive, send_or_refuse
from sharefs.mesh.links import Links
from sharefs.mesh.monitor import Monitor
from sharefs.mesh.settings import READ_MESSAGES_MAX, CurveKeys, endpoint, new_dialler
from sharefs.mesh.watch import Watch
from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import ADDRESSES_MAX, Address

PATIENCE_S_MIN = 2.0
PATIENCE_S_MAX = 30.0
PATIENCE_DOUBLED_MAX = 8
_MONITORED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


@dataclass(eq=False, slots=True)
class Line:
    """A DEALER and its monitor, with their names at the watch."""

    key: PublicKey
    channel: Channel
    address: Address
    socket: zmq.Socket[bytes]
    monitor: Monitor
    socket_name: int = -1
    monitor_name: int = -1
    up: bool = False


@dataclass(eq=False, slots=True)
class _Dial:
    """A peer to reach."""

    addresses: list[Address]
    lines: dict[Channel, Line] = field(default_factory=dict)
    attempts: int = 0
    due: float = 0.0
    """When patience ends, on the monotonic clock."""


class Dialler:
    """All lines of a mesh. `due` is when `redial` wants to be called."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: CurveKeys,
        instance: bytes,
        watch: Watch,
        links: Links,
    ) -> None:
        self._context = context
        self._keys = keys
        self._greeting = greeting(instance)
        self._watch = watch
        self._links = links
        self._dials: dict[PublicKey, _Dial] = {}
        self.due = float("inf")

    def dial(self, key: PublicKey, address: Address) -> None:
        """Reach the peer there, from now on and again whenever the link is lost.

        A further address is tried when the first one fails; one that can not be is left out.
        """
        try:
            endpoint(address.host, address.port)
        except AddressNotUsable:
            return
        dial = self._dials.setdefault(key, _Dial([]))
        if address in dial.addresses:
            return
        # The first address is the one that is being tried. A new one is the likeliest to be right,
        # and the one that was tried last the least.
        dial.addresses.insert(1, address)
        del dial.addresses[ADDRESSES_MAX:]
        if not dial.lines:
            self._try(key, dial)
        elif dial.due < float("inf"):
            dial.attempts = 0
            dial.due = min(dial.due, time.monotonic() + PATIENCE_S_MIN)
            self._reckon()

    def hang_up(self, key: PublicKey) -> None:
        """Dial the peer no more, and close what was dialled."""
        dial = self._dials.pop(key, None)
        if dial is not None:
            for line in dial.lines.values():
                self._close(line)
            self._reckon()

    def send(self, key: PublicKey, channel: Channel, frames: tuple[Part, ...]) -> bool | None:
        """False when the line's queue is full; None when no line is up."""
        dial = self._dials.get(key)
        line = None if dial is None else dial.lines[channel]
        if line is None or not line.up:
            return None
        self._watch.doubt(line.socket_name)
        return send_or_refuse(line.socket, frames)

    def redial(self) -> None:
        """Make anew the lines of whoever was not reached in time."""
        now = time.monotonic()
        for key, dial in self._dials.items():
            if dial.due <= now:
                self._try(key, dial)

    def linger(self, seconds: float) -> None:
        """Closing is to wait until control messages have left."""
        for dial in self._dials.values():
            dial.lines[Channel.CONTROL].socket.set(zmq.LINGER, int(1000 * seconds))

    def close(self) -> None:
        """Hang up on all."""
        for key in list(self._dials):
            self.hang_up(key)

    def _try(self, key: PublicKey, dial: _Dial) -> None:
        """Open the lines that are not up. The next address comes only if nothing answers at this
        one: while the control line is up there, the bulk line must lead there too."""
        control = dial.lines.get(Channel.CONTROL)
        reached = control is not None and control.up
        if control is not None and not reached:
            dial.addresses.append(dial.addresses.pop(0))
        for channel in Channel:
            line = dial.lines.get(channel)
            if line is not None and line.up and reached:
                continue
            if line is not None:
                self._close(line)
            dial.lines[channel] = self._open(key, channel, dial.addresses[0])
        rounds = min(dial.attempts // len(dial.addresses), PATIENCE_DOUBLED_MAX)
        dial.due = time.monotonic() + min(PATIENCE_S_MIN * 2**rounds, PATIENCE_S_MAX)
        dial.attempts += 1
        self._reckon()

    def _reckon(self) -> None:
        self.due = min((dial.due for dial in self._dials.values()), default=float("inf"))

    def _open(self, key: PublicKey, channel: Channel, address: Address) -> Line:
        socket = new_dialler(self._context, self._keys, key, channel)
        line = Line(key, channel, address, socket, Monitor(self._context, socket, _MONITORED))
        line.monitor_name = self._watch.add(line.monitor.socket, lambda: self._read_monitor(line))
        line.socket_name = self._watch.add(socket, lambda: self._read(line))
        port = address.port if channel is Channel.CONTROL else address.bulk_port
        socket.connect(endpoint(address.host, port))
        return line

    def _close(self, line: Line) -> None:
        self._watch.remove(line.monitor_name)
        self._watch.remove(line.socket_name)
        line.monitor.close()
        line.socket.close()
        self._mark(line, False)

    def _read(self, line: Line) -> bool:
        # What the monitor has to say came before the messages did.
        self._read_monitor(line)
        for _ in range(READ_MESSAGES_MAX[line.channel]):
            try:
                message = receive(line.socket)
            except zmq.Again:
                return True
            if message is not None and message[0]:
                self._links.events.append(Arrived(line.key, line.channel, *message))
        return False

    def _read_monitor(self, line: Line) -> bool:
        for event in line.monitor.read():
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                if line.channel is Channel.CONTROL:
                    self._links.events.append(Denied(line.key, line.address))
            else:
                self._mark(line, event == zmq.EVENT_HANDSHAKE_SUCCEEDED and self._greet(line))
        return True

    def _greet(self, line: Line) -> bool:
        """Let the other side learn the route; without it the line would lead one way only."""
        self._watch.doubt(line.socket_name)
        return send_or_refuse(line.socket, self._greeting)

    def _mark(self, line: Line, up: bool) -> None:
        if line.up == up:
            return
        line.up = up
        if line.channel is Channel.CONTROL:
            self._links.line_changed(line.key, up)
        dial = self._dials.get(line.key)
        if dial is not None:
            self._expect(dial)

    def _expect(self, dial: _Dial) -> None:
        """ZeroMQ may connect a lost line by itself, until patience ends."""
        if all(line.up for line in dial.lines.values()):
            dial.attempts = 0
            dial.due = float("inf")
        elif dial.due == float("inf"):
            dial.due = time.monotonic() + PATIENCE_S_MIN
        self._reckon()
