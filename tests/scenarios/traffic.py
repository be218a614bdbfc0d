"""How many bytes has a process sent and received over TCP, by the kernel's own account?

The counters that `ss -ti` shows, asked for by netlink (sock_diag(7)). Connections that have ended
are not counted.
"""

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_DONE = 3
_ERROR = 2
_INFO = 2
_HEADER = struct.Struct("=IHHII")
_MESSAGE_SIZE_BYTES = 72
_INODE_AT = 68
_COUNTERS_AT = 120
"""Of tcpi_bytes_acked and tcpi_bytes_received in struct tcp_info."""


class Traffic(NamedTuple):
    """Bytes of a process's TCP connections."""

    sent: int
    received: int


def traffic(pid: int) -> Traffic:
    """All that the living connections of a process have carried."""
    inodes = _socket_inodes(pid)
    sent = received = 0
    # What is bound for both families shows among those of IPv6.
    for family in (socket.AF_INET, socket.AF_INET6):
        for inode, (acked, got) in _connections(family).items():
            if inode in inodes:
                sent, received = sent + acked, received + got
    return Traffic(sent, received)


def _socket_inodes(pid: int) -> set[int]:
    inodes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = os.readlink(path)
            if target.startswith("socket:["):
                inodes.add(int(target[8:-1]))
    return inodes


def _connections(family: int) -> dict[int, tuple[int, int]]:
    request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 2**32 - 1)
    found: dict[int, tuple[int, int]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as diag:
        diag.settimeout(10)
        diag.send(_HEADER.pack(16 + len(request), _DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
        while True:
            data = diag.recv(1 << 20)
            while data:
                size, kind, *_ = _HEADER.unpack_from(data)
                assert kind != _ERROR, "the kernel does not tell of its sockets"
                if kind == _DONE:
                    return found
                found |= _counters(data[16:size])
                data = data[(size + 3) & ~3 :]


def _counters(message: bytes) -> dict[int, tuple[int, int]]:
    (inode,) = struct.unpack_from("=I", message, _INODE_AT)
    at = _MESSAGE_SIZE_BYTES
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, at)
        if kind == _INFO and size >= 4 + _COUNTERS_AT + 16:
            return {inode: struct.unpack_from("=QQ", message, at + 4 + _COUNTERS_AT)}
        at += (max(size, 4) + 3) & ~3
    return {}
