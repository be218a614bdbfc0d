"""What bounds sharefs? Copies with nothing around them: by the disk, by plain rsync, by TCP.

Plain TCP goes through the same links as sharefs: what it reaches there shows that the links, and
not the proxies that make them, are the limit.
"""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.bench.bench_subjects import (
    LINK_BYTES_S,
    LINK_DELAY_S,
    SOURCES,
    Pair,
    Sources,
    Subject,
    do,
    running,
    wait_for,
)
from tests.scenarios.proxy import Link, Proxy, free_ports

BLOCK_SIZE_BYTES = 256 * 1024
CONNECT_S_MAX = 10.0


@contextmanager
def _open_disk(folder: Path) -> Iterator[Pair]:
    near = folder / "near"
    near.mkdir(parents=True)
    yield Pair(
        near, near, ghosts=False, plain=True, bring=lambda path: _copied(path, folder / "copied")
    )


def _copied(path: Path, to: Path) -> Path:
    do("cp", path, to)
    return to


@contextmanager
def _open_rsync(folder: Path) -> Iterator[Pair]:
    """A daemon, and clients that copy whole files from it."""
    near, copied = folder / "near", folder / "copied"
    near.mkdir(parents=True)
    port = free_ports(1)
    settings = folder / "rsyncd.conf"
    settings.write_text(
        f"port = {port}\naddress = 127.0.0.1\nuse chroot = no\nreverse lookup = no\n"
        f"[near]\npath = {near}\nread only = yes\nuid = {_user()}\ngid = {_group()}\n"
    )
    log = folder / "rsyncd.log"
    command = ["rsync", "--daemon", "--no-detach", f"--config={settings}", f"--log-file={log}"]

    def bring(path: Path) -> Path:
        do("rsync", "--whole-file", f"rsync://127.0.0.1:{port}/near/{path.name}", copied)
        return copied

    with running(command, folder / "rsync.log") as process:
        wait_for(lambda: _listens(port), process, log)
        yield Pair(near, near, ghosts=False, bring=bring)


def _user() -> str:
    return subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip()


def _group() -> str:
    return subprocess.run(["id", "-g"], capture_output=True, text=True, check=True).stdout.strip()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Server:
    """Sends the part of a file that a connection asks for, as `FIRST END`, and nothing else."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake who accepts.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), self._file.open("rb") as file:
            first, end = (int(word) for word in connection.recv(100).split())
            connection.sendfile(file, first, end - first)
            # The other end closes when it has all.
            connection.recv(1)


def _receive(port: int, to: Path, first: int, end: int) -> None:
    """That part of the file, from the server behind the port."""
    buffer = bytearray(BLOCK_SIZE_BYTES)
    with (
        socket.create_connection(("127.0.0.1", port), CONNECT_S_MAX) as connection,
        to.open("r+b", buffering=0) as file,
    ):
        connection.sendall(f"{first} {end}".encode())
        file.seek(first)
        while first < end and (size := connection.recv_into(buffer)):
            file.write(memoryview(buffer)[:size])
            first += size


@contextmanager
def _open_link(folder: Path) -> Iterator[Pair]:
    near, copied = folder / "near", folder / "copied"
    near.mkdir(parents=True)
    with ExitStack() as stack:
        port = _serve_behind(stack, near / "film", Link(LINK_BYTES_S, LINK_DELAY_S))

        def bring(path: Path) -> Path:
            copied.touch()
            _receive(port, copied, 0, path.stat().st_size)
            return copied

        yield Pair(near, near, ghosts=False, bring=bring)


def _serve_behind(stack: ExitStack, film: Path, link: Link) -> int:
    server = _Server(film)
    stack.callback(server.close)
    port = free_ports(2)
    stack.callback(Proxy(port, server.port, link).close)
    return port


@contextmanager
def _open_sources(folder: Path) -> Iterator[Sources]:
    folder.mkdir(parents=True)
    film, copied = folder / "film", folder / "copied"
    links = [Link() for _ in range(SOURCES)]
    with ExitStack() as stack:
        ports = [_serve_behind(stack, film, link) for link in links]

        def limit(bytes_s: float) -> None:
            for link in links:
                link.bytes_s = bytes_s

        def bring() -> Path:
            copied.touch()
            size = film.stat().st_size
            with ThreadPoolExecutor(SOURCES) as pool:
                parts = [
                    pool.submit(
                        _receive, port, copied, size * at // SOURCES, size * (at + 1) // SOURCES
                    )
                    for at, port in enumerate(ports)
                ]
                for part in parts:
                    part.result()
            return copied

        yield Sources(
            share=lambda original: do("cp", original, film),
            limit=limit,
            bring=bring,
            done_bytes=lambda: 0,
            end_one=lambda: None,
        )


def _rsync_version() -> str:
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, timeout=60)
    found = re.search(r"version (\S+)", said.stdout)
    return found[1] if found else "of unknown version"


DISK = Subject("disk", (), lambda: "of this machine", {"pair": _open_disk}, "cp")
RSYNC = Subject(
    "rsync", ("rsync",), _rsync_version, {"pair": _open_rsync}, "daemon, whole files, plain text"
)
TCP = Subject(
    "tcp",
    (),
    lambda: "of this machine",
    {"link": _open_link, "sources": _open_sources},
    "plain, through the same links as sharefs",
)
