"""How does a node send to the holder of a key, and learn who sent to it?

`Mesh` is the node's one door to the network. It moves opaque frames between curve keys; what they
mean, and whether the sender may say so, is for the node to know: the gate is asked at the
handshake only.

A message may be lost whenever a connection ends, even if it is made again at once; it is never
reordered or cut on one link. Whoever needs an answer asks again.
"""

import os
import time
from collections.abc import Callable

from sharefs.mesh.dialler import Dialler
from sharefs.mesh.events import Channel, MeshEvent
from sharefs.mesh.frames import INSTANCE_SIZE_BYTES, MESSAGE_FRAMES_MAX, Part
from sharefs.mesh.gate import Gate
from sharefs.mesh.links import Links
from sharefs.mesh.listener import Listener
from sharefs.mesh.settings import CurveKeys, new_context
from sharefs.mesh.watch import Watch
from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address


class Mesh:
    """All sockets of a node. Used by one thread, except `wake`.

    `admits` is called within `wait`, at each handshake of a client.
    """

    def __init__(
        self, curve_secret: bytes, curve_public: PublicKey, admits: Callable[[PublicKey], bool]
    ) -> None:
        keys = CurveKeys(curve_secret, curve_public)
        self._context = new_context()
        self._watch = Watch()
        self._links = Links()
        self._gate = Gate(self._context, admits)
        self._listener = Listener(self._context, keys, self._watch, self._links)
        instance = os.urandom(INSTANCE_SIZE_BYTES)
        self._dialler = Dialler(self._context, keys, instance, self._watch, self._links)
        self._watch.add(self._gate.socket, self._gate.read)

    def listen(self, host: str, port: int, bulk_port: int) -> Address:
        """Accept connections, once; port 0 is drawn by the system. Returns where others find us.

        Raises AddressNotUsable.
        """
        return self._listener.listen(host, port, bulk_port)

    def dial(self, key: PublicKey, address: Address) -> None:
        """Reach the peer there, from now on and again whenever the link is lost.

        Idempotent. Several addresses of one peer are tried in turn until one answers. An address
        that can not be one is left out, as it may come from anybody.
        """
        self._dialler.dial(key, address)

    def hang_up(self, key: PublicKey) -> None:
        """Dial the peer no more. A connection that it made to us stays."""
        self._dialler.hang_up(key)

    def linked(self, key: PublicKey) -> bool:
        """Is there a link to send control messages by?"""
        return self._links.linked(key)

    def send(self, key: PublicKey, channel: Channel, frames: tuple[Part, ...]) -> bool:
        """Send a header, and perhaps a payload.

        False when there is no link for that channel or its queue is full: then nothing was sent,
        and the caller may try again in some milliseconds. True promises nothing about arrival.
        """
        assert frames[0], "an empty header would be the mesh's own message"
        assert len(frames) <= MESSAGE_FRAMES_MAX, "a message has a header and perhaps a payload"
        sent = self._dialler.send(key, channel, frames)
        return self._listener.send(key, channel, frames) if sent is None else sent

    def wait(self, timeout_s: float) -> list[MeshEvent]:
        """What happened, as soon as something did; empty after a wake, the timeout, or idle work.

        The list is bounded by what is read from each socket in one turn, not by time.
        """
        self._watch.read_unsure()
        due = min(self._listener.due, self._dialler.due)
        if self._links.events:
            timeout_s = 0.0
        elif due != float("inf"):
            timeout_s = max(0.0, min(timeout_s, due - time.monotonic()))
        self._watch.read_ready(timeout_s)
        if due != float("inf"):
            self._fire(time.monotonic())
        events, self._links.events = self._links.events, []
        return events

    def wake(self) -> None:
        """End the wait, or the next one. From any thread, at any time."""
        self._watch.wake()

    def flush(self, seconds: float) -> None:
        """To be called before `close`, which then waits so long, at the most, until what control
        messages are queued for those who are connected has left."""
        self._dialler.linger(seconds)
        self._listener.linger(seconds)

    def close(self) -> None:
        """Hang up and free the ports. What is queued may be lost. Idempotent."""
        if self._context.closed:
            return
        self._dialler.close()
        self._listener.close()
        self._watch.close()
        self._gate.socket.close()
        self._context.term()

    def _fire(self, now: float) -> None:
        if self._listener.due <= now:
            self._listener.probe()
        if self._dialler.due <= now:
            self._dialler.redial()
