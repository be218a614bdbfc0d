"""What happened to a socket's connections?

Of what a connection is to send, the kernel would take some megabytes, and more the slower the link
is: nothing that is urgent could overtake them. So each is told, when it is made, to take little
more than what is on its way.
"""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import zmq

from sharefs.records.content import KIB

UNSENT_BYTES_MAX = 128 * KIB
"""Of one connection, in the kernel."""
_MADE = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
_EVENT = struct.Struct("=Hi")
_numbers = count()


class Monitor:
    """The events of one socket, as ZeroMQ's I/O thread reports them."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], monitored: zmq.Socket[bytes], events: int
    ) -> None:
        name = f"inproc://monitor-{next(_numbers)}"
        self._monitored = monitored
        monitored.monitor(name, events | _MADE)
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
            event, value = _EVENT.unpack(description)
            if event & _MADE:
                _keep_queue_short(value)
            else:
                yield event

    def close(self) -> None:
        """To be called before the monitored socket is closed: an I/O thread that reports to
        nobody would wait for ever."""
        self._monitored.disable_monitor()
        self.socket.close()


def _keep_queue_short(descriptor: int) -> None:
    """If it was closed meanwhile, it may be another of our sockets, which takes no harm."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
