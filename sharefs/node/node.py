"""How does a node start, run and stop?"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial

from sharefs.errors import (
    DiskFull,
    HomeNotUsable,
    NodeFailed,
    NoSuchSpace,
    RemoteProtocolError,
)
from sharefs.mesh.discovery import Discovery, key_hash
from sharefs.mesh.events import Arrived, Denied, LinkDown, LinkUp, MeshEvent
from sharefs.mesh.sockets import Mesh
from sharefs.mount import kernel
from sharefs.mount.core import Core
from sharefs.node import leftovers, listening, mounting
from sharefs.node.acquaintances import Acquaintances
from sharefs.node.admission import Admission
from sharefs.node.cache import Cache
from sharefs.node.carriage import Carriage
from sharefs.node.collection import Collection
from sharefs.node.desk import Desk
from sharefs.node.events import Events
from sharefs.node.exchange import Exchange
from sharefs.node.freeing import Freeing
from sharefs.node.holders import Holders
from sharefs.node.limiting import Limiting
from sharefs.node.loop import Loop
from sharefs.node.options import NodeOptions
from sharefs.node.peers import PING_INTERVAL_SECONDS, Peers
from sharefs.node.pins import Pins
from sharefs.node.readers import Contents
from sharefs.node.replica import Replica
from sharefs.node.replication import Replication
from sharefs.node.sending import Sending
from sharefs.node.settings import STREAM_ONLY, Settings
from sharefs.node.state import State
from sharefs.records.ids import DeviceId, PublicKey, SpaceId
from sharefs.spaces.identity import Identity, decode_identity
from sharefs.spaces.ticket import Address
from sharefs.store.contents import ContentStore
from sharefs.store.database import Store, open_database
from sharefs.store.drafts import Drafts
from sharefs.store.home import Home
from sharefs.store.ledger import Ledger
from sharefs.store.reserve import Reserve
from sharefs.store.shelf import Shelf
from sharefs.store.view import ReadView
from sharefs.wire.holdings import AskPromise, Promise
from sharefs.wire.message import (
    SessionMessage,
    SyncMessage,
    TransferMessage,
    decode_message,
)
from sharefs.wire.session import Redeem

log = logging.getLogger("sharefs.node")

POOL_THREADS = 3
DIAL_INTERVAL_SECONDS = 30.0
COLLECT_INTERVAL_SECONDS = 60.0
SETTLE_SECONDS_MAX = 20.0
FLUSH_SECONDS_MAX = 1.0


class Node:
    """A node of one home. `start`, then `wait`, then `close`; `stop` from any thread."""

    def __init__(self, home: Home, options: NodeOptions) -> None:
        self.home = home
        self.options = options
        self.mount_point = options.mount or home.mount_default
        self.events = Events()
        self._stopped = threading.Event()
        self._closing: list[Callable[[], None]] = []

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve, mount included. Raises UserErrors, and then leaves nothing behind."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        identity = self._read_identity()
        self.home.prepare()
        lock = self.home.lock()
        self._closing.append(lock.release)
        self.mount_point = mounting.prepare(self.home, self.mount_point)
        store = open_database(self.home.database_file, self.home.token_file)
        self._closing.append(store.close)
        self.loop = Loop(self)
        mesh = Mesh(identity.secrets.curve_secret, identity.certificate.curve_key, self._admits)
        self._closing.append(mesh.close)
        pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="sharefs-pool")
        address = listening.listen(mesh, store, self.options.listen)
        self._compose(store, mesh, pool, identity, address)
        self.loop.start()
        # From the last to the first, in the order in which nothing is lost: programs let go, drafts
        # are published, bits saved, the peers told.
        self._closing += [
            partial(mesh.flush, FLUSH_SECONDS_MAX),
            partial(pool.shutdown, wait=True),
            self.loop.stop,
            self._in_loop(self.peers.say_bye),
            self._await_reading,
            self._in_loop(self.exchange.settle),
            self._in_loop(self.carriage.sync_now),
            self._in_loop(self.acquaintances.save),
            partial(leftovers.settle, self.state),
            self._settle,
        ]
        self.loop.call(self._begin)
        if self.options.discovery:
            discovery = Discovery(identity.certificate.curve_key, self._discovered)
            discovery.start(self.state.address)
            self._closing.append(discovery.stop)
        self._mount()
        self.loop.call(self._collect_later)

    def _read_identity(self) -> Identity:
        try:
            return decode_identity(self.home.read_identity())
        except RemoteProtocolError as error:
            raise HomeNotUsable(
                f"The identity in {self.home.identity_file} is damaged: restore it from a backup."
            ) from error

    def _compose(
        self,
        store: Store,
        mesh: Mesh,
        pool: ThreadPoolExecutor,
        identity: Identity,
        address: Address,
    ) -> None:
        self.state = State(
            home=self.home,
            identity=identity,
            me=identity.device,
            store=store,
            ledger=Ledger(store),
            view=ReadView(store.readers),
            contents=ContentStore(self.home.contents_folder, store),
            drafts=Drafts(self.home.drafts_folder),
            mesh=mesh,
            sending=Sending(mesh),
            loop=self.loop,
            pool=pool,
            address=address,
            settings=Settings(store, self.loop.post),
            reserve=Reserve(self.home.reserve_file),
            announced=listening.announced(self.options.announce),
        )
        self.collection = Collection(
            self.state,
            lambda content: self.core.uses(content),
            lambda content: self.carriage.forget(content),
        )
        self.exchange = Exchange(self.state, self._roster_grew, self.collection.passed)
        self.peers = Peers(
            self.state,
            self._peer_up,
            self._peer_down,
            lambda device, seconds: self.carriage.peer_answered(device, seconds),
        )
        self.holders = Holders(self.state, self.peers)
        self.pins = Pins(self.state)
        self.freeing = Freeing(self.state, self.peers, self.holders, self.pins)
        self.carriage = Carriage(self.state, self.holders, self.freeing)
        self.freeing.serve(self.carriage.is_durable, self.carriage.forget)
        self.acquaintances = Acquaintances(
            self.state, self.peers, self.carriage.standing, self.carriage.serving.sent
        )
        self.limiting = Limiting(
            self.state, self.carriage.limit, self.carriage.serving.turns.change
        )
        self.replication = Replication(self.state, self.carriage, self.peers, self.pins)
        self.carriage.freed = self.replication.freed
        self.cache = Cache(
            self.state,
            self.carriage,
            self.freeing,
            self.pins,
            lambda content: self.core.uses(content),
        )
        self.state.settings.watch(self.carriage.let_fleeting_go, STREAM_ONLY)
        self.carriage.waiters.resumed = self.replication.resumed
        self.carriage.waiters.progress.events = self.events
        self.desk = Desk(self.state, self.holders, self.pins)
        self.admission = Admission(self.state, self.peers, self._open_space, self._roster_grew)

    def _begin(self) -> None:
        for row in self.state.ledger.spaces():
            self._add_replica(row.id)
        if self.state.store.restored:
            self.state.notice(
                "The database was restored, copied here, or is new: this device counts anew."
            )
            self.state.in_pool(self.carriage.recover)
        self.state.refresh_devices()
        self.desk.refresh_spaces()
        for replica in self.state.replicas.values():
            self.exchange.open_space(replica)
        self.carriage.start()
        self.limiting.start()
        self.replication.start()
        self.cache.start()
        if self.state.store.unclean:
            self.state.in_pool(self.state.contents.verify_suspects)
        for path in self.state.drafts.strays():
            self.state.notice(f"{path} was being written when the node ended: its name is lost.")
        self._ping_round()
        self._dial_round()

    def _mount(self) -> None:
        contents = Contents(self.state, self.carriage)
        left = self.loop.call(lambda: leftovers.leftovers(self.state, self.desk.new_ino))
        self.core = Core(self.desk, contents, self.desk)
        self.desk.publication.retry = self.core.retry
        for draft in left:
            self.core.restore(draft)
        self._mounted = kernel.mount(self.core, self.mount_point)
        self._closing.append(self._mounted.unmount)

    def _settle(self) -> None:
        if not self.loop.stopping:
            self.desk.publication.settle(SETTLE_SECONDS_MAX)

    def _await_reading(self) -> None:
        """What was saved last, others know of before we go, if they are here."""
        read = threading.Event()
        self._in_loop(lambda: self.peers.await_reading(read.set))()
        if not self.loop.stopping:
            read.wait(FLUSH_SECONDS_MAX)

    def _in_loop(self, call: Callable[[], None]) -> Callable[[], None]:
        """For `_closing`: if the loop still runs."""
        return lambda: None if self.loop.stopping else self.loop.call(call)

    def wait(self) -> None:
        """Until `stop`, or until the loop failed, or somebody unmounted us."""
        while not self._stopped.wait(0.5):
            if self.loop.failure is not None:
                raise NodeFailed(
                    f"The node stopped by a fault of its own; {self.home.log_file} tells more."
                    " Nothing that was saved is lost: start it again."
                )
            if self._mounted.ended.is_set():
                log.warning("going down: %s was unmounted by somebody else", self.mount_point)
                return
            if self.loop.stopping:
                log.warning("going down: the loop has ended")
                return
        log.info("going down: asked to")

    def stop(self) -> None:
        """Ask the node to go down; returns at once."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
        while self._closing:
            try:
                self._closing.pop()()
            except Exception:
                log.exception("going down")

    # --- the batch ------------------------------------------------------------------------------

    def arrive(self, timeout_s: float) -> list[Callable[[], None]]:
        """What the mesh brings, as calls to make in the batch."""
        return [self._handler(event) for event in self.state.mesh.wait(timeout_s)]

    def _handler(self, event: MeshEvent) -> Callable[[], None]:
        match event:
            case Arrived():
                return lambda: self._deliver(event)
            case LinkUp():
                return lambda: self.peers.link_up(event.key)
            case LinkDown():
                return lambda: self._link_down(event.key)
            case Denied():
                return lambda: self._denied(event.key)

    def _link_down(self, key: PublicKey) -> None:
        self.state.sending.gone(key)
        self.peers.link_down(key)

    def transaction(self) -> AbstractContextManager[None]:
        """What the loop wraps a batch in."""
        return self.state.store.transaction()

    def before_commit(self) -> None:
        """Sign what was made."""
        self.exchange.seal()

    def after_commit(self) -> None:
        """Let readers see it, and send."""
        touched = self.state.store.take_touched()
        self.state.view.forget(touched)
        self.replication.changed(touched)
        self.events.tell_of(self.state.replicas)
        self.holders.committed()
        self.exchange.committed()
        if self.state.relied_upon and not self.exchange.sync_now():
            self.state.sending.discard()
        self.state.relied_upon = False
        self.state.sending.flush()
        self.carriage.serving.flush()

    def after_rollback(self) -> None:
        """Begin again from what the disk has; nothing that the batch had to say is said."""
        self.state.sending.discard()
        self.state.relied_upon = False
        self.state.view.forget(self.state.store.take_touched())
        kept = {row.id for row in self.state.ledger.spaces()}
        for id in self.state.replicas.keys() - kept:
            del self.state.replicas[id]
        self.exchange.rolled_back()
        self.state.refresh_devices()
        self.desk.refresh_spaces()
        self.carriage.rolled_back()
        self.state.sending.flush()
        self.carriage.serving.flush()

    def ended(self) -> None:
        """The loop's last act."""
        self.carriage.waiters.abandon()

    def wake(self) -> None:
        """From any thread: there is something to do."""
        self.state.mesh.wake()

    # --- what arrives ---------------------------------------------------------------------------

    def _admits(self, key: PublicKey) -> bool:
        """Whether sockets that show this key may connect: members' devices, and tickets."""
        return key in self.state.devices or any(
            key in replica.roster.tickets for replica in self.state.replicas.values()
        )

    def _discovered(self, hash: bytes, address: Address) -> None:
        """From discovery's thread: a device that may be a member's is at an address."""

        def dial() -> None:
            for key in self.state.devices:
                if key_hash(key) == hash:
                    self.state.mesh.dial(key, address)

        self.loop.post(dial)

    def _denied(self, key: PublicKey) -> None:
        certificate = self.state.devices.get(key)
        if certificate is not None:
            log.info("%s does not know this device (yet)", certificate.person_name)

    def _deliver(self, arrived: Arrived) -> None:
        certificate = self.state.devices.get(arrived.key)
        try:
            if certificate is None:
                self._bearer_said(arrived)
            else:
                self._member_said(certificate.device, arrived)
        except RemoteProtocolError as error:
            log.warning("dropped what a peer sent: %s", error)
            if certificate is not None:
                self.peers.drop(certificate.device)

    def _bearer_said(self, arrived: Arrived) -> None:
        message = decode_message(arrived.header)
        if not isinstance(message, Redeem):
            raise RemoteProtocolError("a ticket's bearer may redeem it, and nothing else")
        self.admission.redeemed(arrived.key, message)

    def _member_said(self, device: DeviceId, arrived: Arrived) -> None:
        message = decode_message(arrived.header)
        self.peers.alive(device)
        if isinstance(message, SessionMessage):
            self.peers.heard(device, arrived.key, message)
            return
        if self.peers.is_new(device):
            self.peers.ask_hello(device)
        replica = self.state.replicas.get(message.space)
        if replica is None or self.state.key_of(device, message.space) != arrived.key:
            # Not even an error: one of us may not know yet, or not any more, who is in there.
            log.info("a device speaks of a space that it does not share with us")
        elif isinstance(message, SyncMessage):
            self.exchange.received(device, message)
        elif isinstance(message, TransferMessage):
            self.carriage.received(device, message, arrived.payload)
        elif isinstance(message, AskPromise | Promise):
            self.freeing.received(device, message)
        else:
            self.holders.received(device, message)

    # --- what follows ---------------------------------------------------------------------------

    def _peer_up(self, device: DeviceId, spaces: tuple[SpaceId, ...]) -> None:
        self.exchange.peer_up(device, spaces)
        self.holders.peer_up(device, spaces)
        self.carriage.peer_up(device, spaces, self.acquaintances.known(device))
        self.replication.peer_up(spaces)

    def _peer_down(self, device: DeviceId) -> None:
        self.exchange.peer_down(device)
        self.holders.peer_down(device)
        self.acquaintances.down(device)
        self.carriage.peer_down(device)
        self.freeing.peer_down(device)

    def _add_replica(self, id: SpaceId) -> Replica:
        row = next(row for row in self.state.ledger.spaces() if row.id == id)
        replica = Replica(
            row,
            self.state.ledger,
            Shelf(self.state.store, row.number),
            self.state.identity,
            self.state.store.new_ino,
        )
        self.state.replicas[id] = replica
        return replica

    def _open_space(self, id: SpaceId) -> Replica:
        replica = self._add_replica(id)
        self.exchange.open_space(replica)
        self._roster_grew(replica)
        self.replication.look()
        return replica

    def _roster_grew(self, replica: Replica) -> None:
        self.state.refresh_devices()
        self.desk.refresh_spaces()
        self.exchange.roster_grown(replica)
        self.limiting.look()
        self.peers.announce()

    def _ping_round(self) -> None:
        # First, as a full disk must not end the rounds.
        self.loop.at(time.monotonic() + PING_INTERVAL_SECONDS, self._ping_round)
        self.state.in_pool(self._tend)
        self.peers.ping_round()
        self.acquaintances.round()

    def _tend(self) -> None:
        """In the pool."""
        assert self.state.reserve is not None, "a node has a disk"
        with suppress(DiskFull, HomeNotUsable):
            self.state.reserve.fill()
        try:
            self.state.store.checkpoint()
        except Exception as error:
            # SQLite's own too, as when somebody else reads the database for long.
            log.warning("the database's log grows: %s", error)

    def _dial_round(self) -> None:
        self.loop.at(time.monotonic() + DIAL_INTERVAL_SECONDS, self._dial_round)
        self.peers.dial_all()

    def _collect_later(self) -> None:
        self.loop.at(time.monotonic() + COLLECT_INTERVAL_SECONDS, self._collect_round)

    def _collect_round(self) -> None:
        self._collect_later()
        self.collection.round(time.time())

    # --- for the parts that answer people -------------------------------------------------------

    def name_of(self, replica: Replica) -> str:
        """In the loop: how a space is called here."""
        return next(row.name for row in self.state.ledger.spaces() if row.id == replica.id)

    def replica_named(self, name: str) -> Replica:
        """In the loop. Raises NoSuchSpace, with the names there are."""
        rows = self.state.ledger.spaces()
        for row in rows:
            if name in (row.name, row.id.hex()):
                return self.state.replicas[row.id]
        names = ", ".join(row.name for row in rows) or "none yet"
        raise NoSuchSpace(f"There is no space named {name} here. Your spaces: {names}.")
