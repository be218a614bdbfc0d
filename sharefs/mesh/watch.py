"""Which of many sockets may have something to read?

ZeroMQ offers a descriptor for each socket, but it tells only of *new* events: whatever a socket's
other calls happened to notice (a send looks at the same queue) is never signalled again. Hence
the rule: a socket is waited on only after a read found nothing; after a send, or a read that
stopped early, it is *unsure* and gets read before the next wait.
"""

import os
import select
import threading
from collections.abc import Callable

import zmq

Read = Callable[[], bool]
"""Reads a socket until ZeroMQ says that nothing is there (True), or stops early (False)."""


class Watch:
    """Epoll on the descriptors of sockets, and a way to wake it from other threads."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._reads: dict[int, Read] = {}
        # A dict for its order: no socket starves.
        self._unsure: dict[int, None] = {}
        self._wake_lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._reads[self._wake] = self._read_wake

    def add(self, socket: zmq.Socket[bytes], read: Read) -> int:
        """Watch a socket from now on; returns its descriptor, to name it by."""
        descriptor = socket.fileno()
        self._epoll.register(descriptor, select.EPOLLIN)
        self._reads[descriptor] = read
        self._unsure[descriptor] = None
        return descriptor

    def remove(self, descriptor: int) -> None:
        """To be called before the socket is closed."""
        self._epoll.unregister(descriptor)
        del self._reads[descriptor]
        self._unsure.pop(descriptor, None)

    def doubt(self, descriptor: int) -> None:
        """To be called after each send on the socket."""
        self._unsure[descriptor] = None

    def read_unsure(self) -> None:
        """Read the sockets that epoll may not tell of."""
        unsure, self._unsure = self._unsure, {}
        for descriptor in unsure:
            self._read(descriptor)

    def read_ready(self, timeout_s: float) -> None:
        """Wait until a socket may have something, or a wake, or the timeout; and read."""
        if self._unsure:
            timeout_s = 0.0
        for descriptor, _ in self._epoll.poll(timeout_s):
            self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        # It may have been removed by the read before.
        read = self._reads.get(descriptor)
        if read is not None and not read():
            self._unsure[descriptor] = None

    def wake(self) -> None:
        """End the wait, or the next one. From any thread; without effect after `close`."""
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _read_wake(self) -> bool:
        os.eventfd_read(self._wake)
        return True

    def close(self) -> None:
        """Forget all."""
        with self._wake_lock:
            os.close(self._wake)
            self._wake = -1
        self._epoll.close()
        self._reads.clear()
        self._unsure.clear()
