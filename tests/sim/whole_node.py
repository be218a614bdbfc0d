"""A device of the histories of whole nodes: the shipped `Node`, from the Core of the mount down.

Shipped: all of `node`, `mount` above the kernel (Core: drafts, moves, publishing), `store` with
SQLite and content files on a disk in memory, `transfer`, `sync`, `tree`, `spaces`, `wire`. Stood in
for: the kernel's mount, the mesh, the pool's and the loop's threads, and the clock.

Not covered: threads that really run at once; bytes of files that were written and not synced when
the power was cut (the database does go back to where it was synced last); discovery; the kernel.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sharefs.errors import UserError
from sharefs.mesh.events import Arrived, Channel, LinkDown, LinkUp, MeshEvent
from sharefs.mount import kernel
from sharefs.node import admission, collection
from sharefs.node import node as node_module
from sharefs.node.node import Node
from sharefs.node.options import NodeOptions
from sharefs.records import commit
from sharefs.records.ids import ContentId, Incarnation, PublicKey
from sharefs.records.record import Record
from sharefs.spaces import identity
from sharefs.spaces.identity import Identity, curve_public_key, encode_identity
from sharefs.spaces.ticket import Address, read_ticket
from sharefs.store import connection, reserve
from sharefs.store.connection import Writer
from sharefs.store.home import Home
from sharefs.store.shelf import Shelf
from tests.sim.agenda import Agenda
from tests.sim.data_node import spell
from tests.sim.model import is_tombstone
from tests.sim.network import Frames, Network
from tests.sim.stand_ins import Process, SimulatedMesh, TurnedLoop, TurnedPool, event_of
from tests.sim.surroundings import THREADING, TIME, WALL_CLOCK_BEGINS_SECONDS, Killed
from tests.spaces.space_people import person

SPACE_NAME = "Family"
SMALL_RESERVE_SIZE_BYTES = 4096
DATABASE_FILES = ("sharefs.db", "sharefs.db-wal")
TICKET_SECONDS = 3600.0
NAMES = ("Anna", "Bob", "Carol")


class WholeDevice:
    """A device: its home, and its node, if one runs. A `Port` of the network."""

    def __init__(self, name: str, folder: Path, agenda: Agenda, network: Network) -> None:
        self.name = name
        self.identity: Identity = person(name)
        self.key = self.identity.certificate.curve_key
        self.skew_seconds = 0.0
        self.home = Home.at(folder / name)
        self.home.prepare()
        self.home.write_identity(encode_identity(self.identity))
        self.node: Node | None = None
        self.ended: Callable[[], None] = lambda: None
        """Told when the process is gone."""
        self.changes = 0
        """So often the database was written to, exchanged, or opened."""
        self.tombstones: list[Record] = []
        """All that it ever held, or was about to."""
        self.set_aside: set[ContentId] = set()
        """Backups of programs that were seconds old when the process was killed. Those are gone."""
        self.process: Process | None = None
        self._agenda = agenda
        self._network = network
        self._durable = folder / f"{name} durable"
        self._backup = folder / f"{name} backup"
        self._fuse: int | None = None
        self._incarnation = Incarnation(bytes(8))
        network.ports[self.key] = self

    # --- life -----------------------------------------------------------------------------------

    @property
    def awake(self) -> bool:
        return self.node is not None

    @property
    def incarnation(self) -> Incarnation:
        node = self.node
        if node is not None and hasattr(node, "state"):
            for replica in node.state.replicas.values():
                self._incarnation = replica.incarnation
        return self._incarnation

    def start(self) -> None:
        assert self.node is None, "a device runs one process"
        self._fuse = None
        self.changes += 1
        self._let_files_age_alike()
        self.process = Process(self._agenda, self.guarded)
        self.guarded(self._start)

    def _start(self) -> None:
        options = NodeOptions(listen=None, discovery=False)
        with running(self):
            node = self.node = Node(self.home, options)
            try:
                node.start()
            except UserError as error:
                raise Killed(str(error)) from error

    def guarded(self, call: Callable[[], None]) -> None:
        """Call under this device's clock. What ends the process ends here."""
        before = TIME.skew_seconds, THREADING.is_alive, THREADING.later
        process = self.process
        if process is None:
            return
        TIME.skew_seconds, THREADING.later = self.skew_seconds, process.later
        THREADING.is_alive = lambda: process.alive
        try:
            with running(self):
                call()
        except Killed as end:
            if self.process is process:
                self._agenda.note(f"{self.name} stops here. {end}")
                self.kill()
        finally:
            TIME.skew_seconds, THREADING.is_alive, THREADING.later = before

    def kill(self) -> None:
        """As SIGKILL would: nothing is settled, saved or said."""
        node, process = self.node, self.process
        if node is None or process is None:
            return
        process.alive = False
        self.node = self.process = None
        self._network.gone(self.key)
        if hasattr(node, "core"):
            parked = node.core._overlay.all_parked()
            self.set_aside |= {each.entry.content for each in parked if each.entry.content}
        if hasattr(node, "state"):
            node.state.store.abandon()
        if node._closing:
            node._closing[0]()
        node._closing.clear()
        self.ended()

    def stop(self) -> None:
        """As `sharefs down` would."""
        node = self.node
        if node is None:
            return
        self.guarded(node.close)
        if self.node is node:
            assert self.process is not None, "a node has a process"
            self.process.alive = False
            self.node = self.process = None
            self._network.gone(self.key)
            self.ended()

    def _let_files_age_alike(self) -> None:
        """The times of drafts become those of versions: not the real ones, in a simulation."""
        for number, path in enumerate(sorted(self.home.drafts_folder.iterdir())):
            seconds = WALL_CLOCK_BEGINS_SECONDS + self._agenda.now + number
            os.utime(path, (seconds, seconds))

    # --- misfortunes ----------------------------------------------------------------------------

    def burn(self, effects: int) -> None:
        """Have it killed in the middle of what it does after so many commits and syncs."""
        self._fuse = effects

    def be_well(self) -> None:
        """Nothing that was to end it does."""
        self._fuse = None

    def smoulder(self) -> None:
        """It does something that can not be undone."""
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise Killed

    def disk_fails(self) -> sqlite3.OperationalError | None:
        """How the next commit or sync fails, if it does."""
        faults, chance = self._network.faults, self._agenda.chance
        code = None
        if faults.io_error and chance.random() < faults.io_error:
            code = sqlite3.SQLITE_IOERR
        elif faults.disk_full and chance.random() < faults.disk_full:
            code = sqlite3.SQLITE_FULL
        if code is None:
            return None
        error = sqlite3.OperationalError("a simulated failure")
        error.sqlite_errorcode = code
        return error

    def synced(self) -> None:
        """What the database holds now survives a power cut."""
        if self._network.faults.power_cut:
            self._copy(self.home.data_folder, self._durable)

    def lose_unsynced(self) -> bool:
        """The power was cut; whether that made a difference."""
        return self._put_back(self._durable)

    def back_up(self) -> None:
        """Of a device whose process is gone: keep a copy of the database."""
        self._copy(self.home.data_folder, self._backup)

    def restore(self) -> bool:
        """Put the backup in its place, if there is one."""
        return self._put_back(self._backup)

    def _put_back(self, copy: Path) -> bool:
        if not copy.exists():
            return False
        for name in (*DATABASE_FILES, "sharefs.db-shm"):
            (self.home.data_folder / name).unlink(missing_ok=True)
        self._copy(copy, self.home.data_folder)
        self.changes += 1
        return True

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.mkdir(exist_ok=True)
        for name in DATABASE_FILES:
            (target / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.copyfile(source / name, target / name)

    # --- the network ----------------------------------------------------------------------------

    def admits(self, peer: PublicKey) -> bool:
        """As the gate of the mesh asks."""
        return self.node is not None and hasattr(self.node, "state") and self.node._admits(peer)

    def linked(self, peer: PublicKey) -> None:
        self._tell(LinkUp(peer))

    def unlinked(self, peer: PublicKey) -> None:
        self._tell(LinkDown(peer))

    def arrived(self, peer: PublicKey, channel: int, frames: Frames) -> None:
        if self.node is not None and self._agenda.trace is not None:
            self._agenda.note(f"{self.name} hears {spell(frames)}")
        self._tell(event_of(peer, channel, frames))

    def _tell(self, event: MeshEvent) -> None:
        if self.node is not None and hasattr(self.node, "state"):
            mesh: Any = self.node.state.mesh
            mesh.happened(event)


# --- where a node takes its parts from ------------------------------------------------------------

_RUNNING: list[WholeDevice] = []
_KNOCKS: dict[PublicKey, list[bytes]] = {}
"""What was said to those who knock with a ticket's key."""


@contextmanager
def running(device: WholeDevice) -> Iterator[None]:
    """Within, it is this device whose code runs."""
    _RUNNING.append(device)
    try:
        yield
    finally:
        _RUNNING.pop()


class _Mesh(SimulatedMesh):
    """The simulated mesh, with doors for those who knock."""

    def __init__(self, secret: bytes, key: PublicKey, admits: object) -> None:
        device = _RUNNING[-1]
        node = device.node
        assert node is not None, "a mesh is a node's"
        loop: Any = node.loop
        super().__init__(device._network, key, loop.wake)

    def send(
        self, key: PublicKey, channel: Channel, frames: tuple[bytes | memoryview, ...]
    ) -> bool:
        if key in _KNOCKS:
            _KNOCKS[key].append(bytes(frames[0]))
            return True
        return super().send(key, channel, frames)


def _loop(batch: Any) -> TurnedLoop:
    process = _RUNNING[-1].process
    assert process is not None, "a loop is a process's"
    return TurnedLoop(batch, process)


def _pool(threads: int, thread_name_prefix: str) -> TurnedPool:
    process = _RUNNING[-1].process
    assert process is not None, "a pool is a process's"
    return TurnedPool(process)


class _NoMount:
    """Stands in for the kernel's mount."""

    def __init__(self, core: Any, *_: object) -> None:
        self._core = core

    def unmount(self) -> None:
        self._core.close()


@contextmanager
def _transaction(self: Writer) -> Iterator[None]:
    device = _RUNNING[-1]
    with TRANSACTION(self):
        yield
        writes = self.connection.total_changes != getattr(self, "_changes_before", 0)
        if writes:
            device.smoulder()
            error = device.disk_fails()
            if error is not None:
                raise error
    self._changes_before = self.connection.total_changes  # type: ignore[attr-defined]
    device.changes += writes


def _make_durable(self: Writer) -> None:
    device = _RUNNING[-1]
    device.smoulder()
    error = device.disk_fails()
    if error is not None:
        raise connection.explained(error, self._path)
    MAKE_DURABLE(self)
    device.synced()


class _RememberedKey:
    """A public key that verifies the same thing once: whatever is not so is asked every time."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @staticmethod
    @lru_cache(256)
    def from_public_bytes(key: bytes) -> "_RememberedKey":
        return _RememberedKey(key)

    @lru_cache(2048)  # noqa: B019, as a worker ends before long
    def verify(self, signature: bytes, data: bytes) -> None:
        Ed25519PublicKey.from_public_bytes(self._key).verify(signature, data)


def _checkpoint(self: Writer) -> None:
    """Nobody else has the connection now: there is no need to make another."""
    self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


TRANSACTION = Writer.transaction
MAKE_DURABLE = Writer.make_durable


def _add_head(self: Shelf, record: Record, data: bytes) -> None:
    if is_tombstone(record):
        _RUNNING[-1].tombstones.append(record)
    ADD_HEAD(self, record, data)


ADD_HEAD = Shelf.add_head


@contextmanager
def whole() -> Iterator[None]:
    """Within, nodes are made of simulated parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "check_system", lambda: None)
        patch.setattr(kernel, "prepare_mount_point", lambda path, is_default=False: path)
        patch.setattr(kernel, "mount", _NoMount)
        patch.setattr(node_module, "Mesh", _Mesh)
        patch.setattr(node_module, "Loop", _loop)
        patch.setattr(node_module, "ThreadPoolExecutor", _pool)
        patch.setattr(admission, "knock", lambda *_: b"")
        patch.setattr(identity, "Ed25519PublicKey", _RememberedKey)
        patch.setattr(commit, "Ed25519PublicKey", _RememberedKey)
        patch.setattr(reserve, "RESERVE_SIZE_BYTES", SMALL_RESERVE_SIZE_BYTES)
        # What nobody needs goes at once.
        patch.setattr(node_module, "COLLECT_INTERVAL_SECONDS", 1.0)
        patch.setattr(collection, "GRACE_SECONDS", 0.0)
        # Each history sets its own.
        patch.setattr(collection, "TOMBSTONE_GRACE_SECONDS", collection.TOMBSTONE_GRACE_SECONDS)
        patch.setattr(Writer, "transaction", _transaction)
        patch.setattr(Writer, "make_durable", _make_durable)
        patch.setattr(Writer, "checkpoint", _checkpoint)
        patch.setattr(Shelf, "add_head", _add_head)
        yield


def let_in(owner: WholeDevice, bearer: WholeDevice, role: str = "contributor") -> None:
    """The bearer joins with a ticket of the owner's."""
    node, other = owner.node, bearer.node
    assert node is not None, "the owner is there"
    assert other is not None, "the bearer is there"

    def knock(secret: bytes, door: PublicKey, address: Address, frame: bytes, _: float) -> bytes:
        key = curve_public_key(secret)
        _KNOCKS[key] = []
        owner._tell(Arrived(key, Channel.CONTROL, frame, None))
        owner.guarded(node.loop.turn)  # type: ignore[attr-defined]
        return _KNOCKS.pop(key)[0]

    def invite() -> None:
        replica = node.replica_named(SPACE_NAME)
        texts.append(node.loop.call(lambda: node.admission.invite(replica, role, TICKET_SECONDS)))

    texts: list[str] = []
    owner.guarded(invite)
    ticket = read_ticket(texts[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "knock", knock)
        bearer.guarded(lambda: _done(other.admission.join(ticket)))


def _done(_: object) -> None:
    """For what is called for its effects."""
