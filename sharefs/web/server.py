"""How is the local API served beside the node's loop?

By uvicorn in a thread of its own, on a Unix socket of mode 0600. The node's lock on its home guards
the socket's file too: whoever starts a server has the lock, so a file that is there is a dead
node's.
"""

import asyncio
import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

import uvicorn

from sharefs.errors import HomeNotUsable, NodeFailed
from sharefs.web.api import make_app
from sharefs.web.ports import Node

BACKLOG_CONNECTIONS = 128
CONCURRENT_CONNECTIONS_MAX = 256
GRACE_S = 3
"""How long answers may take that are under way when the server is stopped."""


class ApiServer:
    """The API of one node on one socket: started once, stopped once."""

    def __init__(self, node: Node, socket_file: Path) -> None:
        self._node = node
        self._socket_file = socket_file
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sharefs-api", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._listener: socket.socket | None = None
        self._server: uvicorn.Server | None = None

    def start(self) -> None:
        """Returns when requests are answered. Raises HomeNotUsable or NodeFailed."""
        self._listener = _listen(self._socket_file)
        self._thread.start()
        self._up.wait()
        if self._server is None or not self._server.started:
            self.stop()
            raise NodeFailed("The local API could not be started: the node's log says why.")

    def stop(self) -> None:
        """Ends fetches, lets short answers finish, and removes the socket. May be called twice."""
        if self._listener is None:
            return
        if self._loop is not None and self._thread.is_alive():
            # The loop may have ended by itself since.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._begin_to_stop)
        self._thread.join()
        self._listener.close()
        self._listener = None
        self._socket_file.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._up.set()

    async def _serve(self) -> None:
        assert self._listener is not None, "start() makes the listener before the thread"
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._server = _Server(_quiet_config(self._node, self._closing), self._up)
        await self._server.serve(sockets=[self._listener])

    def _begin_to_stop(self) -> None:
        assert self._closing is not None, "the loop runs, so _serve has begun"
        assert self._server is not None, "the loop runs, so _serve has begun"
        self._closing.set()
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Tells when it is up."""

    def __init__(self, config: uvicorn.Config, up: threading.Event) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()


def _quiet_config(node: Node, closing: asyncio.Event) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(node, closing),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG_CONNECTIONS,
        limit_concurrency=CONCURRENT_CONNECTIONS_MAX,
        timeout_graceful_shutdown=GRACE_S,
    )


def _listen(path: Path) -> socket.socket:
    try:
        _remove_stale(path)
        return _bind(path)
    except OSError as error:
        raise HomeNotUsable(
            f"The socket {path} can not be made ({error.strerror or error}):"
            " choose a home on a local disk that you can write, with a shorter path."
        ) from error


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux takes the mode of the file from the socket, so the file is never open to others.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HomeNotUsable(f"{path} is in the way of the node's socket: move it elsewhere.")
    path.unlink()
