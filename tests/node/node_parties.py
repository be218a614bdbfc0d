"""How do the tests of the node get nodes? Whole ones, in this process, but for the mount."""

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from sharefs.errors import UserError
from sharefs.mesh.events import Arrived, Channel
from sharefs.mesh.sockets import Mesh
from sharefs.mount import kernel
from sharefs.mount.core import Core
from sharefs.node import carriage
from sharefs.node import node as node_module
from sharefs.node.node import Node
from sharefs.node.options import NodeOptions
from sharefs.node.replica import Replica
from sharefs.node.service import Service
from sharefs.records.entry import EntryType
from sharefs.records.ids import DeviceId
from sharefs.records.shown import Shown
from sharefs.spaces.identity import Identity, encode_identity, new_identity
from sharefs.store.home import Home
from sharefs.sync import machine
from sharefs.wire.message import Message, decode_message, encode_message
from sharefs.wire.session import Ping, Pong

PATIENCE_S_MAX = 15.0
POLL_S = 0.01

Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str = "") -> Value:
    """What the condition gives as soon as that is true."""
    end = time.monotonic() + PATIENCE_S_MAX
    while not (value := condition()):
        assert time.monotonic() < end, f"in vain: {what or condition}"
        time.sleep(POLL_S)
    return value


class NoMount:
    """Stands in for the kernel's mount: its end is the end of the core."""

    def __init__(self, core: Core, mount_point: Path) -> None:
        self._core = core
        self.ended = threading.Event()

    def unmount(self) -> None:
        self._core.close()
        self.ended.set()


def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that start from now on mount nothing."""
    monkeypatch.setattr(kernel, "check_system", lambda: None)
    monkeypatch.setattr(kernel, "prepare_mount_point", lambda path, is_default=False: path)
    monkeypatch.setattr(kernel, "mount", NoMount)
    # What was lost on the way is made up for soon.
    monkeypatch.setattr(machine, "SUMMARY_INTERVAL_SECONDS", 0.5)
    monkeypatch.setattr(carriage, "SYNC_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(node_module, "PING_INTERVAL_SECONDS", 0.3)


class Party:
    """A person with a node."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.home = Home.at(folder / name.lower())
        self.home.prepare()
        seed = random.Random(name).randbytes(96)
        identity = new_identity(seed, name, "laptop", 1000)
        self.home.write_identity(encode_identity(identity))
        self.device: DeviceId = identity.device
        self._listen: str | None = "127.0.0.1:0"
        self.announce: str | None = None
        """Where the others are told that the node is."""
        self.identity = identity

    # --- life -----------------------------------------------------------------------------------

    def up(self) -> "Party":
        options = NodeOptions(listen=self._listen, discovery=False, announce=self.announce)
        self.service = Service(self.home, options)
        # From then on where it was before, so that the others find it.
        self._listen = None
        self.node: Node = self.service._node
        self.service.start()
        return self

    def listen_anywhere(self) -> None:
        """At the next start, as at the first."""
        self._listen = "127.0.0.1:0"

    def down(self) -> None:
        self.service.close()

    def kill(self) -> None:
        """As SIGKILL would, as far as files can tell: nothing is settled, saved or said."""
        node = self.node
        node.loop.stop()
        node.state.pool.shutdown(wait=True, cancel_futures=True)
        node.state.mesh.close()
        node.state.store.abandon()
        node._closing[0]()
        node._closing.clear()

    @property
    def alive(self) -> bool:
        return self.node.loop.failure is None and not self.node.loop.stopping

    # --- spaces ---------------------------------------------------------------------------------

    def create(self, name: str = "Family") -> None:
        self.service.create_space(name)

    def invite(self, bearer: "Party", space: str = "Family", role: str = "contributor") -> None:
        bearer.service.join(self.service.invite(space, role, 3600.0))

    def replica(self, space: str = "Family") -> Replica:
        return self.node.loop.call(lambda: self.node.replica_named(space))

    def sees(self, other: "Party") -> bool:
        return other.device in self.node.peers.online()

    def top(self, space: str = "Family") -> int:
        """The inode of a space's top folder."""
        return next(f.ino for f in self.node.desk.spaces() if f.name == space)

    # --- files ----------------------------------------------------------------------------------

    def write(self, path: str, data: bytes, space: str = "Family") -> None:
        """As a program does: open or create, write, close. Returns when it is in the view."""
        *folders, name = path.split("/")
        folder = self.folder("/".join(folders), space)
        core = self.node.core
        handle = core.create(folder, name, 0o644, os.O_RDWR | os.O_TRUNC)
        if data:
            core.write(handle, 0, data)
        core.release(handle)
        until(lambda: self.entry(path, space) is not None and not core._overlay.draft(handle.ino))

    def folder(self, path: str, space: str = "Family") -> int:
        """The inode of a folder; made if need be."""
        at = self.top(space)
        for name in filter(None, path.split("/")):
            row = self.node.desk.lookup(at, name)
            at = (row or self.node.desk.make_folder(at, name)).ino
        return at

    def entry(self, path: str, space: str = "Family") -> Shown | None:
        """What the view has at a path."""
        row = self.node.desk.entry(self.top(space))
        for name in path.split("/"):
            row = self.node.desk.lookup(row.ino, name) if row is not None else None
        return row

    def there(self, path: str, space: str = "Family") -> Shown:
        """The entry, which must be there by now."""
        row = self.entry(path, space)
        assert row is not None, path
        return row

    def read(self, path: str, space: str = "Family") -> bytes:
        """The whole file; fetched if need be."""
        row = self.there(path, space)
        core = self.node.core
        handle = core.open(row.ino, os.O_RDONLY)
        try:
            return core.read(handle, 0, row.size)
        finally:
            core.release(handle)

    def edit(self, path: str, data: bytes, space: str = "Family") -> None:
        """As a program that overwrites what is there; returns when it is in the view."""
        core, row = self.node.core, self.there(path, space)
        handle = core.open(row.ino, os.O_WRONLY | os.O_TRUNC)
        core.write(handle, 0, data)
        core.release(handle)
        until(lambda: not core._overlay.draft(handle.ino))

    def move(self, path: str, to: str, space: str = "Family") -> None:
        """As `mv` does."""
        (folder, name), (there, other) = self._place(path, space), self._place(to, space)
        self.node.core.rename(folder, name, there, other)

    def remove(self, path: str, space: str = "Family") -> None:
        """As `rm` and `rmdir` do."""
        folder, name = self._place(path, space)
        if self.there(path, space).type is EntryType.FOLDER:
            self.node.core.rmdir(folder, name)
        else:
            self.node.core.unlink(folder, name)

    def _place(self, path: str, space: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return (self.there(folder, space).ino if folder else self.top(space)), name

    def names(self, folder: str = "", space: str = "Family") -> list[str]:
        """What the view lists."""
        ino = self.there(folder, space).ino if folder else self.top(space)
        return sorted(row.shown for row in self.node.desk.children(ino))

    def fails(self, path: str) -> UserError | None:
        """How reading it fails."""
        try:
            self.read(path)
        except UserError as error:
            return error
        return None

    def backup(self, to: Path) -> None:
        """Copy the data of a node that is down."""
        shutil.copytree(self.home.data_folder, to)

    def restore(self, backup: Path) -> None:
        """Put the database of a backup in the place of what is there."""
        for name in ("sharefs.db", "sharefs.db-wal", "sharefs.db-shm"):
            (self.home.data_folder / name).unlink(missing_ok=True)
            if (backup / name).exists():
                shutil.copy(backup / name, self.home.data_folder / name)


def meet(*parties: Party) -> None:
    """Wait until all see all."""
    until(lambda: all(one.sees(other) for one in parties for other in parties if one is not other))


def agree(path: str, *parties: Party, space: str = "Family") -> None:
    """Wait until all show the same version at a path."""
    until(
        lambda: (
            len({row.version if (row := p.entry(path, space)) else None for p in parties}) == 1
            and parties[0].entry(path, space) is not None
        ),
        f"{path} is the same everywhere",
    )


def apart(*parties: Party) -> Callable[[], None]:
    """Take the parties' nodes off each other, until the returned function is called."""
    gates = [(p, p.node.state.mesh.send) for p in parties]
    for party, _ in gates:
        party.node.state.mesh.send = lambda *_: False  # type: ignore[method-assign]

    def join() -> None:
        for party, send in gates:
            party.node.state.mesh.send = send  # type: ignore[method-assign]

    return join


class Raw:
    """A member's sockets in hostile hands: says whatever the test wants under that member's key."""

    def __init__(self, identity: Identity, at: Party) -> None:
        self.device = identity.device
        self._target = at.identity.certificate.curve_key
        certificate = identity.certificate
        self.mesh = Mesh(identity.secrets.curve_secret, certificate.curve_key, lambda _: True)
        self.mesh.dial(self._target, at.node.state.address)
        self.arrived: list[Arrived] = []
        self.answers_pings = False
        until(self._linked)

    def _linked(self) -> bool:
        self._turn()
        return self.mesh.linked(self._target)

    def _turn(self) -> None:
        events = self.mesh.wait(0.0)
        for event in events:
            if isinstance(event, Arrived):
                self.arrived.append(event)
                message = decode_message(event.header)
                if self.answers_pings and isinstance(message, Ping):
                    pong = encode_message(Pong(message.number))
                    self.mesh.send(self._target, Channel.CONTROL, (pong,))

    def say(self, *messages: Message) -> None:
        self.send(*(encode_message(message) for message in messages))

    def send(self, *headers: bytes, payload: bytes | None = None) -> None:
        """Raw frames on the control sockets."""
        for header in headers:
            frames = (header,) if payload is None else (header, payload)
            until(lambda frames=frames: self._sent(Channel.CONTROL, frames))  # type: ignore[misc]

    def _sent(self, channel: Channel, frames: tuple[bytes, ...]) -> bool:
        self._turn()
        return self.mesh.send(self._target, channel, frames)

    def heard(self, kind: type[Value]) -> list[Value]:
        """What was said to us so far, of one kind of message."""
        self._turn()
        messages = [decode_message(arrived.header) for arrived in self.arrived]
        return [message for message in messages if isinstance(message, kind)]

    def hears(self, kind: type[Value], what: Callable[[Value], bool] = lambda _: True) -> Value:
        """Wait for a message."""
        return until(lambda: [m for m in self.heard(kind) if what(m)], str(kind))[0]

    def settle(self) -> None:
        """Everything said so far was dealt with: the answer to a Ping comes after it."""
        self._pings = getattr(self, "_pings", 1000) + 1
        self.say(Ping(self._pings))
        self.hears(Pong, lambda pong: pong.number == self._pings)

    def close(self) -> None:
        self.mesh.close()


def raw_member(party: Party, at: Party) -> Raw:
    """Take a party's node down, and go on under its key by hand."""
    party.down()
    return Raw(party.identity, at)
