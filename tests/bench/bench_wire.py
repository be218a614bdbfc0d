"""How many bytes has a process received over TCP? Asked of the kernel, so that nothing is left out.

Those that wait in the kernel for the process to read them are counted apart.

What `ss -tinp` shows: netlink's sock_diag gives each socket's tcp_info, and /proc its process.
Sockets that were closed before are not counted.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST_DUMP = 0x301
INET_DIAG_INFO = 2
ALL_STATES = 0xFFFFFFFF
LISTENS = 1 << 10
ANSWER_SIZE_BYTES_MAX = 1024 * 1024

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
_SOCKET_SIZE_BYTES = 72
"""struct inet_diag_msg; its last words are rqueue, wqueue, the user and the socket's inode."""
_RECEIVED_OFFSET_BYTES = 128
"""tcpi_bytes_received in struct tcp_info."""


def bytes_received(pids: Iterable[int]) -> int:
    """The sum over the TCP sockets that are open in the sessions that the processes lead."""
    return _sum(pids, lambda received, _: received)


def bytes_read(pids: Iterable[int]) -> int:
    """As `bytes_received`, but only what the processes have taken from the kernel."""
    return _sum(pids, lambda received, waiting: received - waiting)


def _sum(pids: Iterable[int], count: Callable[[int, int], int]) -> int:
    leaders = set(pids)
    inodes = {inode for pid in _processes(leaders) for inode in _inodes(pid)}
    return sum(count(*counts) for inode, *counts in _sockets() if inode in inodes)


def _processes(leaders: set[int]) -> Iterator[int]:
    """By session and not by parent: sshfs lets its ssh be adopted."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if os.getsid(int(entry.name)) in leaders:
                    yield int(entry.name)


def _inodes(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _sockets() -> Iterator[tuple[int, int, int]]:
    """(inode, bytes received, bytes not read yet) of every TCP socket that is connected in our
    network: of one that listens, the second is something else."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
            body = _REQUEST.pack(
                family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), ALL_STATES & ~LISTENS
            )
            size = _HEADER.size + len(body)
            kernel.send(_HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body)
            yield from _answers(kernel)


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int, int]]:
    while True:
        data = kernel.recv(ANSWER_SIZE_BYTES_MAX)
        while data:
            size, kind, *_ = _HEADER.unpack_from(data)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise OSError("the kernel does not tell its sockets' counters")
            yield _read_socket(data[_HEADER.size : size])
            data = data[(size + 3) & ~3 :]


def _read_socket(message: bytes) -> tuple[int, int, int]:
    waiting, _, _, inode = struct.unpack_from("=IIII", message, _SOCKET_SIZE_BYTES - 16)
    at = _SOCKET_SIZE_BYTES
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        if kind == INET_DIAG_INFO:
            (received,) = struct.unpack_from("=Q", message, at + 4 + _RECEIVED_OFFSET_BYTES)
            return inode, received, waiting
        at += (size + 3) & ~3
    return inode, 0, 0
