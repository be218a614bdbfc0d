"""A device of the data-model histories: what of a node decides which versions there are.

Shipped: Replica, Exchange with the machine of sync, Desk's edits with Tree and its operations,
Loop's batches, Sending, and State. Stood in for: the disk (`memory_store`), the mesh, the pool, the
clock, and Ed25519. Not here: contents and their transfer, sessions, admission, and the mount, which
are in the histories of whole nodes.
"""

import errno
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from blake3 import blake3

from sharefs.errors import RemoteProtocolError
from sharefs.mesh.events import Arrived, LinkDown, LinkUp, MeshEvent
from sharefs.node.collection import Collection
from sharefs.node.desk import Desk
from sharefs.node.exchange import Exchange
from sharefs.node.replica import Replica
from sharefs.node.sending import Sending
from sharefs.node.state import State
from sharefs.records.ids import Incarnation, PublicKey
from sharefs.records.shown import Shown
from sharefs.spaces.identity import Identity
from sharefs.spaces.roster import hash_operation
from sharefs.spaces.ticket import Address
from sharefs.wire.message import SyncMessage, decode_message
from sharefs.wire.session import Ping, Pong
from tests.sim.agenda import Agenda
from tests.sim.cast import Cast
from tests.sim.memory_store import Disk, MemoryLedger, MemoryStore, MemoryView, OpenShelf
from tests.sim.network import Frames, Network
from tests.sim.stand_ins import Process, SimulatedMesh, TurnedLoop, TurnedPool, event_of
from tests.sim.surroundings import TIME, Killed

TOP_INO = 1
COLLECT_INTERVAL_SECONDS = 2.0
PEER_COMES_BACK_SECONDS = 2.0
"""After it misbehaved: stands in for its next Hello."""


class NoContents:
    """The bytes of files are not simulated: a content is its name."""

    def hold(self, adopted: object) -> None:
        """There."""

    def register(self, *adopted: object) -> None:
        """Kept."""

    def give_back(self, adopted: object) -> None:
        """Not kept."""


class DataNode:
    """One process. The loop's `Batch`."""

    def __init__(
        self, device: "DataDevice", process: Process, network: Network, cast_of: Cast
    ) -> None:
        self._device = device
        self._process = process
        self.loop = TurnedLoop(self, process)
        key = device.key
        self.mesh = SimulatedMesh(network, key, self.loop.wake)
        self.store = MemoryStore(device.disk)
        everything: Any = None
        stand_ins: Any = {
            "store": self.store,
            "ledger": MemoryLedger(self.store, cast_of.space),
            "view": MemoryView(self.store),
            "contents": NoContents(),
            "mesh": self.mesh,
            "pool": TurnedPool(process),
        }
        self.state = State(
            home=everything,
            identity=device.identity,
            me=device.identity.device,
            drafts=everything,
            sending=Sending(cast(Any, self.mesh)),
            loop=self.loop,
            address=Address("10.0.0.1", 4747, 4748),
            settings=everything,
            **stand_ins,
        )
        self.collection = Collection(self.state, lambda _: False, lambda _: None)
        self.exchange = Exchange(self.state, self._roster_grew, self.collection.passed)
        self.desk = Desk(self.state, everything, everything)
        self.loop.post(lambda: self._begin(cast_of))

    def _begin(self, cast_of: Cast) -> None:
        (row,) = self.state.ledger.spaces()
        self.replica = Replica(
            row,
            self.state.ledger,
            cast(Any, OpenShelf(self.store)),
            self.state.identity,
            cast(Any, self.store.new_ino),
        )
        self.state.replicas[row.id] = self.replica
        self.state.refresh_devices()
        self.exchange.open_space(self.replica)
        self._collect_round()

    def _collect_round(self) -> None:
        self.loop.at(TIME.monotonic() + COLLECT_INTERVAL_SECONDS, self._collect_round)
        self.collection.round(TIME.time())

    def _roster_grew(self, replica: Replica) -> None:
        self.state.refresh_devices()
        self.exchange.roster_grown(replica)
        for key in self.state.devices:
            if self.mesh.linked(key):
                self._peer_up(key)

    # --- the batch, as in `Node` ----------------------------------------------------------------

    def arrive(self, timeout_s: float) -> list[Callable[[], None]]:
        return [lambda event=event: self._happened(event) for event in self.mesh.wait(timeout_s)]  # type: ignore[misc]

    def transaction(self) -> AbstractContextManager[None]:
        return self.store.transaction()

    def before_commit(self) -> None:
        self.exchange.seal()

    def after_commit(self) -> None:
        self.exchange.committed()
        if self.state.relied_upon and not self.exchange.sync_now():
            self.state.sending.discard()
        self.state.relied_upon = False
        self.state.sending.flush()

    def after_rollback(self) -> None:
        self.state.sending.discard()
        self.state.relied_upon = False
        self.exchange.rolled_back()
        self.state.refresh_devices()
        self.state.sending.flush()

    def ended(self) -> None:
        """Nobody waits for anything else."""

    def wake(self) -> None:
        self.loop.wake()

    def folder_of(self, row: Shown) -> int:
        """The inode of the folder that lists a row."""
        place = self.replica.shelf.winner(row.place)
        return place.ino if place is not None else TOP_INO

    # --- what arrives ---------------------------------------------------------------------------

    def _happened(self, event: MeshEvent) -> None:
        match event:
            case LinkUp():
                self._peer_up(event.key)
            case LinkDown():
                self.state.sending.gone(event.key)
                certificate = self.state.devices.get(event.key)
                if certificate is not None:
                    self.exchange.peer_down(certificate.device)
            case Arrived():
                self._said(event)
            case _:
                raise AssertionError("the simulated network denies nobody")

    def _peer_up(self, key: PublicKey) -> None:
        certificate = self.state.devices.get(key)
        if certificate is not None:
            self.exchange.peer_up(certificate.device, (self.replica.id,))

    def _said(self, arrived: Arrived) -> None:
        certificate = self.state.devices.get(arrived.key)
        if certificate is None:
            return
        try:
            message = decode_message(arrived.header)
            if isinstance(message, SyncMessage) and message.space in self.state.replicas:
                self.exchange.received(certificate.device, message)
            elif isinstance(message, Ping):
                self.state.sending.say(arrived.key, Pong(message.number))
            elif isinstance(message, Pong):
                self.state.sending.answered(arrived.key, message.number)
        except RemoteProtocolError:
            self.exchange.peer_down(certificate.device)
            self._process.later(PEER_COMES_BACK_SECONDS, lambda: self._comes_back(arrived.key))

    def _comes_back(self, key: PublicKey) -> None:
        if self.mesh.linked(key):
            self.loop.post(lambda: self._peer_up(key))


class DataDevice:
    """A device: what stays of it, and its process, if one runs. A `Port` of the network."""

    def __init__(
        self, number: int, agenda: Agenda, network: Network, chance: random.Random, cast_of: Cast
    ) -> None:
        self.number = number
        self.identity: Identity = cast_of.people[number]
        self.name = self.identity.certificate.person_name
        self.key = self.identity.certificate.curve_key
        self.skew_seconds = 0.0
        self.disk = Disk(
            chance, {hash_operation(data): data for data in cast_of.operations[number]}
        )
        self.disk.before_write, self.disk.before_sync = self._before_write, self._before_sync
        self.node: DataNode | None = None
        self.ended: Callable[[], None] = lambda: None
        """Told when the process is gone."""
        self.overheard: list[Frames] | None = None
        """Is given all that arrives."""
        self._agenda = agenda
        self._network = network
        self.cast = cast_of
        self._process: Process | None = None
        self._fuse: int | None = None
        """How many writes and messages it has before it is killed."""
        network.ports[self.key] = self

    # --- life -----------------------------------------------------------------------------------

    @property
    def awake(self) -> bool:
        return self.node is not None

    @property
    def incarnation(self) -> Incarnation:
        return self.disk.committed.incarnation

    def start(self) -> None:
        assert self.node is None, "a device runs one process"
        self._fuse = None
        self._process = Process(self._agenda, self.guarded)
        self.node = DataNode(self, self._process, self._network, self.cast)
        self.guarded(self.node.loop.turn)

    def guarded(self, call: Callable[[], None]) -> None:
        """Call under this device's clock. What ends a process ends here."""
        TIME.skew_seconds = self.skew_seconds
        try:
            call()
        except Killed as end:
            self._agenda.note(f"{self.name} stops here. {end}")
            self.kill()

    def kill(self) -> None:
        if self.node is None:
            return
        assert self._process is not None, "a node has a process"
        self._process.alive = False
        self.node = self._process = None
        self._network.gone(self.key)
        self.ended()

    def burn(self, effects: int) -> None:
        """Have it killed in the middle of what it does after so many writes and syncs."""
        self._fuse = effects

    def be_well(self) -> None:
        """Nothing that was to end it does."""
        self._fuse = None

    def _smoulder(self) -> None:
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise Killed

    def _before_write(self) -> None:
        self._smoulder()
        faults = self._network.faults
        if faults.io_error and self._agenda.chance.random() < faults.io_error:
            raise OSError(errno.EIO, "the simulated disk failed")
        self._fill()

    def _before_sync(self) -> None:
        self._smoulder()
        self._fill()

    def _fill(self) -> None:
        faults = self._network.faults
        if faults.disk_full and self._agenda.chance.random() < faults.disk_full:
            raise OSError(errno.ENOSPC, "the simulated disk is full")

    # --- the network ----------------------------------------------------------------------------

    def admits(self, peer: PublicKey) -> bool:
        return self.awake

    def linked(self, peer: PublicKey) -> None:
        self._tell(LinkUp(peer))

    def unlinked(self, peer: PublicKey) -> None:
        self._tell(LinkDown(peer))

    def arrived(self, peer: PublicKey, channel: int, frames: Frames) -> None:
        if self.overheard is not None:
            self.overheard.append(frames)
        if self.node is not None and self._agenda.trace is not None:
            self._agenda.note(f"{self.name} hears {spell(frames)}")
        self._tell(event_of(peer, channel, frames))

    def _tell(self, event: MeshEvent) -> None:
        if self.node is not None:
            self.node.mesh.happened(event)


def spell(frames: Frames) -> str:
    """A message, for the trace."""
    try:
        said = type(decode_message(frames[0])).__name__
    except RemoteProtocolError:
        said = "nonsense"
    digest = blake3(b"".join(frames)).hexdigest()[:8]
    return f"{said} of {sum(map(len, frames))} bytes, {digest}"
