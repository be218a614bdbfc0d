"""How does a test come between two nodes? A proxy on loopback, where the one behind it announces
that it is to be found.

It may be a slow link: so many bytes a second each way, which arrive so much later. What is on the
way is bounded, as are the buffers before and behind it, so that it is not a long one instead.
"""

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

BLOCK_SIZE_BYTES = 256 * 1024
LINK_BLOCK_SIZE_BYTES = 16 * 1024
LINK_BLOCK_S = 0.002
"""How long a block of a slow link takes; so long waits what another connection sends."""
LINK_BEHIND_S_MAX = 0.01
"""A link that was woken late catches up for no more than that."""
LINK_BLOCKS_MAX = 256
"""On their way, of one connection."""
LINK_BUFFER_SIZE_BYTES = 256 * 1024
CALL_S_MAX = 10.0
_PORTS_FIRST, _PORTS_LAST = 20_000, 32_000
_TRIES_MAX = 200
_given: set[int] = set()


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody uses, or was given before: who was may not
    listen yet."""
    for _ in range(_TRIES_MAX):
        first = random.SystemRandom().randrange(_PORTS_FIRST, _PORTS_LAST)
        ports = range(first, first + count)
        if not _given.isdisjoint(ports):
            continue
        with contextlib.ExitStack() as stack:
            try:
                for port in ports:
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.update(ports)
            return first
    raise AssertionError("no ports are free")


@dataclass(slots=True)
class Link:
    """What lies between the two ends; each way has its own rate. It may change at any time."""

    bytes_s: float | None = None
    """At most so many each way, of all connections together."""
    delay_s: float = 0.0
    """From one end to the other."""
    queue_s: float = 0.0
    """How much may wait at the rate's bound, in one line for all connections: what comes to it
    comes out as much later."""

    @property
    def block_size_bytes(self) -> int:
        """How much goes through at once."""
        if self.bytes_s is None:
            return BLOCK_SIZE_BYTES
        return min(max(int(self.bytes_s * LINK_BLOCK_S), LINK_BLOCK_SIZE_BYTES), BLOCK_SIZE_BYTES)


class _Way:
    """One direction of a link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.carried_bytes = 0
        self._free_at = 0.0

    async def carry(self, size_bytes: int) -> float:
        """Return when they are on the link; gives when they are at its other end."""
        self.carried_bytes += size_bytes
        now = asyncio.get_running_loop().time()
        if self.link.bytes_s is not None:
            begin = max(self._free_at, now - LINK_BEHIND_S_MAX)
            self._free_at = begin + size_bytes / self.link.bytes_s
            await asyncio.sleep(max(0.0, self._free_at - now - self.link.queue_s))
            now = max(now, self._free_at)
        return now + self.link.delay_s

    @property
    def queued_s(self) -> float:
        """How long what comes now would wait. From any thread."""
        return max(0.0, self._free_at - time.monotonic())


class Proxy:
    """Forwards the two ports of a node, from `port` and the next one, until it is closed."""

    def __init__(self, port: int, target: int, link: Link | None = None) -> None:
        self.port = port
        self._target = target
        self._link = link
        self._there, self._back = (_Way(link or Link()) for _ in range(2))
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.join()

    @property
    def carried_bytes(self) -> int:
        """Both ways, since it began."""
        return self._there.carried_bytes + self._back.carried_bytes

    @property
    def queued_s(self) -> float:
        """How long what the one behind it says would wait now."""
        return self._back.queued_s

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._run(self._cut())

    def join(self) -> None:
        """Take connections."""
        self._run(self._join())

    def close(self) -> None:
        """Cut, for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S_MAX)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S_MAX)

    async def _join(self) -> None:
        for number in range(2) if not self._servers else ():
            connected = partial(self._connected, self._target + number)
            listening = self._socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self.port + number))
            server = await asyncio.start_server(connected, sock=listening)
            self._servers.append(server)

    def _socket(self) -> socket.socket:
        """Connections that come in take its buffer's size over."""
        new = socket.socket()
        if self._link is not None:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LINK_BUFFER_SIZE_BYTES)
            new.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BUFFER_SIZE_BYTES)
        return new

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        new = self._socket()
        new.setblocking(False)
        try:
            await self._loop.sock_connect(new, ("127.0.0.1", port))
        except OSError:
            new.close()
            raise
        return await asyncio.open_connection(sock=new)

    async def _cut(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in list(self._writers):
            writer.transport.abort()
        # The tasks of the connections see their ends.
        while self._writers:
            await asyncio.sleep(0)

    async def _connected(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with self._kept(writer), contextlib.suppress(OSError):
            there, to = await self._connect(port)
            with self._kept(to):
                pumps = [
                    asyncio.ensure_future(pump)
                    for pump in (
                        self._pump(reader, to, self._there),
                        self._pump(there, writer, self._back),
                    )
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                to.transport.abort()
                writer.transport.abort()
                await asyncio.wait(pumps)

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Any:
        self._writers.add(writer)
        try:
            yield
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way
    ) -> None:
        with contextlib.suppress(OSError):
            if self._link is not None:
                await self._pump_slowly(reader, writer, way)
                return
            while data := await reader.read(BLOCK_SIZE_BYTES):
                way.carried_bytes += len(data)
                writer.write(data)
                await writer.drain()

    async def _pump_slowly(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(LINK_BLOCKS_MAX)
        delivering = asyncio.ensure_future(_deliver(line, writer))
        try:
            while data := await reader.read(way.link.block_size_bytes):
                await line.put((await way.carry(len(data)), data))
        finally:
            delivering.cancel()
            await asyncio.wait([delivering])


async def _deliver(
    line: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
) -> None:
    """Until it is cancelled. The end of a connection loses what is on its way, as a cut does."""
    while True:
        due, data = await line.get()
        early_s = due - asyncio.get_running_loop().time()
        if early_s > 0:
            await asyncio.sleep(early_s)
        if not writer.is_closing():
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
