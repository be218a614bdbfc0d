"""How does a test come between two nodes? A proxy on loopback, where the one behind it announces
that it is to be found."""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any

BLOCK_SIZE_BYTES = 256 * 1024
CALL_S_MAX = 10.0
_PORTS_FIRST, _PORTS_LAST = 20_000, 32_000
_TRIES_MAX = 200


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody uses."""
    for _ in range(_TRIES_MAX):
        first = random.SystemRandom().randrange(_PORTS_FIRST, _PORTS_LAST)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no ports are free")


class Proxy:
    """Forwards the two ports of a node, from `port` and the next one, until it is closed."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.join()

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
            server = await asyncio.start_server(connected, "127.0.0.1", self.port + number)
            self._servers.append(server)

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
            there, to = await asyncio.open_connection("127.0.0.1", port)
            with self._kept(to):
                pumps = [
                    asyncio.ensure_future(pump)
                    for pump in (self._pump(reader, to), self._pump(there, writer))
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

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(BLOCK_SIZE_BYTES):
                writer.write(data)
                await writer.drain()
