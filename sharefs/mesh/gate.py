"""Who may complete a handshake?

ZeroMQ asks the socket at `inproc://zeromq.zap.01` about each client (RFC 27, ZAP). The answer
names the client by its key; ZeroMQ puts that name on every frame of the connection as its
User-Id, which the client can not change. The gate is asked once, at the handshake: whoever stops
being admitted later stays connected, so every message is authorised again by those who act on it.
"""

from collections.abc import Callable

import zmq

from sharefs.mesh.settings import ZAP_DOMAIN
from sharefs.records.ids import PublicKey

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_CURVE = b"CURVE"
_CURVE_REQUEST_FRAMES = 7


class Gate:
    """The ZAP handler of one context."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], admits: Callable[[PublicKey], bool]
    ) -> None:
        self._admits = admits
        self.socket = context.socket(zmq.REP)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(_ZAP_ENDPOINT)

    def read(self) -> bool:
        """Answer what was asked; True when nothing is left."""
        while True:
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._answer(request)

    def _answer(self, request: list[bytes]) -> None:
        """Deny unless everything is as it should be, and answer even if `admits` raises: a REP that
        did not answer would ask nothing more."""
        request_id = request[1] if len(request) > 1 else b""
        status, user = b"400", b""
        try:
            key = _asking_key(request)
            if key is not None and self._admits(key):
                status, user = b"200", key.hex().encode()
        finally:
            self.socket.send_multipart([_ZAP_VERSION, request_id, status, b"", user, b""])


def key_of(frame: zmq.Frame) -> PublicKey:
    """The key that the sender of a frame proved to have."""
    user = frame.get("User-Id")
    assert isinstance(user, str), "the gate names every client that it lets in"
    return PublicKey(bytes.fromhex(user))


def _asking_key(request: list[bytes]) -> PublicKey | None:
    """Frames: version, request id, domain, address, routing id, mechanism, key."""
    if len(request) != _CURVE_REQUEST_FRAMES:
        return None
    version, _, domain, _, _, mechanism, key = request
    well_formed = (version, domain, mechanism, len(key)) == (_ZAP_VERSION, ZAP_DOMAIN, _CURVE, 32)
    return PublicKey(key) if well_formed else None
