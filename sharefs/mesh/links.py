"""Which peers are linked, and by what? No sockets.

Two devices may be joined by a *line* that we dialled, by a *route* that they opened to our
listener, or by both; either carries messages both ways. A peer is linked while it has one for
control.

A route is what a greeting came by. A newer greeting replaces an older route: the peer's socket
connected anew, so the old connection is dead even where nobody has told us yet. The greeting
carries the *instance* of the peer's mesh, drawn when its process started: when another one
greets, the peer has restarted, and forgotten all it was told, although some link of it may still
seem up. Both are reported as LinkDown, LinkUp.
"""

from dataclasses import dataclass, field

from sharefs.mesh.events import Channel, LinkDown, LinkUp, MeshEvent
from sharefs.records.ids import PublicKey


@dataclass(slots=True)
class _Peer:
    line_up: bool = False
    routes: list[bytes | None] = field(default_factory=lambda: [None for _ in Channel])
    instance: bytes = b""

    @property
    def linked(self) -> bool:
        return self.line_up or self.routes[Channel.CONTROL] is not None


class Links:
    """All peers with a line or a route. What the loop should know is appended to `events`."""

    def __init__(self) -> None:
        self.events: list[MeshEvent] = []
        self._peers: dict[PublicKey, _Peer] = {}

    def linked(self, key: PublicKey) -> bool:
        """Can control messages be sent?"""
        peer = self._peers.get(key)
        return peer is not None and peer.linked

    def route(self, key: PublicKey, channel: Channel) -> bytes | None:
        """The routing id on our listener by which the peer can be reached."""
        peer = self._peers.get(key)
        return None if peer is None else peer.routes[channel]

    def routes(self, channel: Channel) -> list[tuple[PublicKey, bytes]]:
        """All of a channel's."""
        found = ((key, peer.routes[channel]) for key, peer in self._peers.items())
        return [(key, route) for key, route in found if route is not None]

    def line_changed(self, key: PublicKey, up: bool) -> None:
        """The control line that we dialled came up, or went down."""
        peer = self._peers.setdefault(key, _Peer())
        was_linked = peer.linked
        peer.line_up = up
        self._report(key, peer, was_linked)

    def greeted(self, key: PublicKey, channel: Channel, route: bytes, instance: bytes) -> None:
        """A peer's dialler came in by `route`."""
        peer = self._peers.setdefault(key, _Peer())
        was_linked = peer.linked
        restarted = peer.instance not in (b"", instance)
        replaced = channel is Channel.CONTROL and peer.routes[channel] not in (None, route)
        if restarted:
            peer.routes = [None for _ in Channel]
        peer.routes[channel] = route
        peer.instance = instance
        if was_linked and (restarted or (replaced and not peer.line_up)):
            self.events.append(LinkDown(key))
            was_linked = False
        self._report(key, peer, was_linked)

    def route_lost(self, key: PublicKey, channel: Channel, route: bytes) -> None:
        """ZeroMQ does not know that route any more."""
        peer = self._peers.get(key)
        if peer is None or peer.routes[channel] != route:
            return
        was_linked = peer.linked
        peer.routes[channel] = None
        self._report(key, peer, was_linked)

    def _report(self, key: PublicKey, peer: _Peer, was_linked: bool) -> None:
        if peer.linked and not was_linked:
            self.events.append(LinkUp(key))
        if was_linked and not peer.linked:
            self.events.append(LinkDown(key))
        if not peer.line_up and not any(peer.routes):
            del self._peers[key]
