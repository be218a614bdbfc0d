"""What happened to a socket's connections?"""

import struct
from collections.abc import Iterator
from itertools import count

import zmq

_EVENT = struct.Struct("=Hi")
_numbers = count()


class Monitor:
    """The events of one socket, as ZeroMQ's I/O thread reports them."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], monitored: zmq.Socket[bytes], events: int
    ) -> None:
        name = f"inproc://monitor-{next(_numbers)}"
        self._monitored = monitored
        monitored.monitor(name, events)
        self.socket = context.socket(zmq.PAIR)
        self.socket.set(zmq.LINGER, 0)
        # The I/O thread stands still while this queue is full, so it has no limit: a report is
        # short, and the loop reads them all each time.
        self.socket.set(zmq.RCVHWM, 0)
        self.socket.connect(name)

    def read(self) -> Iterator[int]:
        """The events since the last time, until there are no more."""
        while True:
            try:
                description, _ = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield _EVENT.unpack(description)[0]

    def close(self) -> None:
        """To be called before the monitored socket is closed: an I/O thread that reports to
        nobody would wait for ever."""
        self._monitored.disable_monitor()
        self.socket.close()
