"""What is on the sockets?

A message is a header, not empty, and perhaps a payload. Messages with an empty header are the
mesh's own and end here: a *greeting* (the payload is the instance of the dialler's mesh) opens a
route, and a *probe* (no payload) finds out whether one is still there.
"""

import zmq

INSTANCE_SIZE_BYTES = 8
MESSAGE_FRAMES_MAX = 2

Part = bytes | memoryview


def greeting(instance: bytes) -> tuple[bytes, bytes]:
    """Opens a route from the listener that gets it."""
    assert len(instance) == INSTANCE_SIZE_BYTES, "an instance has eight bytes"
    return (b"", instance)


PROBE = (b"",)


def receive(socket: zmq.Socket[bytes]) -> tuple[bytes, memoryview | None] | None:
    """The next message's header and payload, which is not copied; None for one with too many
    frames.

    Raises zmq.Again when there is none. On a ROUTER, the first frame must have been taken.
    """
    header = socket.recv(zmq.NOBLOCK)
    if not socket.get(zmq.RCVMORE):
        return header, None
    payload = socket.recv(zmq.NOBLOCK, copy=False)
    if not payload.more:
        return header, payload.buffer
    while socket.recv(zmq.NOBLOCK, copy=False).more:
        pass
    return None


def send(socket: zmq.Socket[bytes], frames: tuple[Part, ...]) -> None:
    """Raises zmq.Again or, on a ROUTER, EHOSTUNREACH, at the first frame: then nothing was sent."""
    for frame in frames[:-1]:
        socket.send(frame, zmq.NOBLOCK | zmq.SNDMORE)
    socket.send(frames[-1], zmq.NOBLOCK)


def send_or_refuse(socket: zmq.Socket[bytes], frames: tuple[Part, ...]) -> bool:
    """As `send`; False when the queue is full, and not merely thought to be."""
    try:
        send(socket, frames)
    except zmq.Again:
        # A send looks at what the other thread has told it only now and then; this always does.
        socket.get(zmq.EVENTS)
        try:
            send(socket, frames)
        except zmq.Again:
            return False
    return True
