"""What is said to whom, and how much of it at once?

Theory of operation. What a batch has to say waits until the batch is committed, and is forgotten
if it is not. ZeroMQ queues messages by number and not by size, and does not tell what was read.
But a peer reads in order, so that its Pong, to a number that it can not guess, tells that
everything before the Ping was read. What was not is counted: to somebody who asks and does not
read, nothing long is said any more. Who misses an answer asks again, as if it had been lost.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sharefs.mesh.events import Channel
from sharefs.mesh.sockets import Mesh
from sharefs.records.content import KIB, MIB
from sharefs.records.ids import PublicKey
from sharefs.wire.message import Message, encode_message
from sharefs.wire.session import Ping

log = logging.getLogger("sharefs.node")

UNREAD_BYTES_MAX = 64 * MIB
"""Of one peer; a single message may be longer."""
PING_BYTES = 4 * MIB
"""After so much, a Ping is due at once."""
SHORT_MESSAGE_BYTES_MAX = 16 * KIB
"""These are always sent: ZeroMQ limits how many there are."""
PINGS_MAX = 64
_PING_BITS = 62


@dataclass(slots=True)
class _Listener:
    """How far somebody has read."""

    sent_bytes: int = 0
    read_bytes: int = 0
    pinged_bytes: int = 0
    pings: dict[int, tuple[int, float]] = field(default_factory=dict)
    """What had been sent before each Ping that is not answered, and when that was sent."""


class Sending:
    """The control messages of a node. In the loop only."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._waiting: list[tuple[PublicKey, bytes]] = []
        self._listeners: dict[PublicKey, _Listener] = {}
        self._awaited: set[int] = set()
        self._all_read: Callable[[], None] = lambda: None

    def say(self, key: PublicKey, message: Message) -> None:
        """Once the batch is committed."""
        self._waiting.append((key, encode_message(message)))

    def flush(self) -> None:
        """The batch is committed."""
        waiting, self._waiting = self._waiting, []
        for key, frame in waiting:
            self._send(key, frame)

    def discard(self) -> None:
        """The batch is not: what it had to say may not be true."""
        self._waiting.clear()

    def ping(self, key: PublicKey) -> int:
        """Ask whether it is there, and reads. The number that its Pong is to have."""
        listener = self._listeners.setdefault(key, _Listener())
        number = secrets.randbits(_PING_BITS)
        self._mesh.send(key, Channel.CONTROL, (encode_message(Ping(number)),))
        listener.pinged_bytes = listener.sent_bytes
        listener.pings[number] = listener.sent_bytes, time.monotonic()
        if len(listener.pings) > PINGS_MAX:
            del listener.pings[next(iter(listener.pings))]
        return number

    def await_reading(self, keys: Iterable[PublicKey], done: Callable[[], None]) -> None:
        """`done` is called when all of these have read what was sent to them so far."""
        self._awaited, self._all_read = set(map(self.ping, keys)), done
        if not self._awaited:
            done()

    def answered(self, key: PublicKey, number: int) -> float | None:
        """A Pong came: how long after its Ping, in seconds, if there was one."""
        listener = self._listeners.get(key)
        if listener is None or number not in listener.pings:
            return None
        sent_bytes, at = listener.pings.pop(number)
        listener.read_bytes = max(listener.read_bytes, sent_bytes)
        if number in self._awaited:
            self._awaited.discard(number)
            if not self._awaited:
                self._all_read()
        return time.monotonic() - at

    def gone(self, key: PublicKey) -> None:
        """The link is lost, and what was queued with it."""
        self._listeners.pop(key, None)

    def _send(self, key: PublicKey, frame: bytes) -> None:
        listener = self._listeners.setdefault(key, _Listener())
        unread = listener.sent_bytes - listener.read_bytes
        is_long = len(frame) > SHORT_MESSAGE_BYTES_MAX
        if is_long and unread and unread + len(frame) > UNREAD_BYTES_MAX:
            log.info("not sent to somebody who does not read: %s bytes", len(frame))
            return
        if self._mesh.send(key, Channel.CONTROL, (frame,)):
            listener.sent_bytes += len(frame)
        if listener.sent_bytes - listener.pinged_bytes >= PING_BYTES:
            self.ping(key)
