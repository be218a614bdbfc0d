"""What do the tests of the mesh need again and again? Parties, and patience with a limit."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sharefs.mesh.events import Arrived, Channel, MeshEvent
from sharefs.mesh.sockets import Mesh
from sharefs.records.ids import PublicKey
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import Address

PATIENCE_S_MAX = 15.0


class Party:
    """A mesh, whom it admits, and all that it was told."""

    def __init__(self) -> None:
        self.secret = os.urandom(32)
        self.key = curve_public_key(self.secret)
        self.admitted: set[PublicKey] = set()
        self.events: list[MeshEvent] = []
        self.mesh = Mesh(self.secret, self.key, self.admitted.__contains__)

    def listen(self) -> Address:
        return self.mesh.listen("127.0.0.1", 0, 0)

    def turn(self, timeout_s: float = 0.005) -> None:
        self.events += self.mesh.wait(timeout_s)

    def heard(self) -> list[Arrived]:
        return [event for event in self.events if isinstance(event, Arrived)]

    def said(self, *kinds: type) -> list[MeshEvent]:
        """The events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]


@contextmanager
def party() -> Iterator[Party]:
    """One that is closed whatever happens."""
    party = Party()
    try:
        yield party
    finally:
        party.mesh.close()


def introduce(*parties: Party) -> None:
    """Everybody admits everybody."""
    for party in parties:
        party.admitted.update(other.key for other in parties)


def until(condition: Callable[[], bool], *parties: Party) -> None:
    """Give the parties turns until the condition holds."""
    end = time.monotonic() + PATIENCE_S_MAX
    while not condition():
        assert time.monotonic() < end, [party.events for party in parties]
        for party in parties:
            party.turn()


def both_linked(one: Party, other: Party) -> bool:
    return one.mesh.linked(other.key) and other.mesh.linked(one.key)


def link(dialler: Party, listener: Party) -> None:
    """`dialler` dials `listener`; on return both channels work both ways."""
    introduce(dialler, listener)
    dialler.mesh.dial(listener.key, listener.listen())
    until(lambda: both_linked(dialler, listener), dialler, listener)
    for one, other in ((dialler, listener), (listener, dialler)):
        until(lambda one=one, other=other: send_bulk(one, other), dialler, listener)  # type: ignore[misc]
        until(lambda other=other: bool(other.heard()), dialler, listener)  # type: ignore[misc]
    dialler.events.clear()
    listener.events.clear()


def send_bulk(one: Party, other: Party) -> bool:
    return one.mesh.send(other.key, Channel.BULK, (b"first",))


class PeerProcess:
    """A mesh in a process of its own that answers every message with the same (mesh_peer.py).

    Ends with its `with`, whatever happens in there.
    """

    def __init__(self, secret: bytes, address: Address | None, dial: tuple[PublicKey, Address]):
        self.key = curve_public_key(secret)
        host, port, bulk_port = ("127.0.0.1", 0, 0) if address is None else _parts(address)
        key, target = dial
        arguments = {
            "secret": secret.hex(),
            "listen": [host, port, bulk_port],
            "dial": [key.hex(), *_parts(target)],
        }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("mesh_peer.py")), json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        try:
            self.address = Address(*json.loads(self.process.stdout.readline()))
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def _parts(address: Address) -> tuple[str, int, int]:
    return address.host, address.port, address.bulk_port
