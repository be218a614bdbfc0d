"""What does a node know and own, that all parts of its loop share?"""

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath

from sharefs.errors import DiskFull, LocalProtocolError, NoSuchEntry
from sharefs.mesh.sockets import Mesh
from sharefs.node.keeping import Keeping
from sharefs.node.loop import Loop, Result
from sharefs.node.notices import Notices
from sharefs.node.replica import Replica
from sharefs.node.sending import Sending
from sharefs.node.settings import Settings
from sharefs.records.ids import ContentId, DeviceId, ItemId, PublicKey, SpaceId, item_id
from sharefs.records.shown import Shown
from sharefs.spaces.identity import Certificate, Identity
from sharefs.spaces.ticket import Address
from sharefs.store.contents import ContentStore
from sharefs.store.database import Store
from sharefs.store.drafts import Drafts
from sharefs.store.home import Home
from sharefs.store.ledger import Ledger
from sharefs.store.reserve import Reserve
from sharefs.store.uses import Uses
from sharefs.store.view import ReadView
from sharefs.wire.message import Message, SessionMessage

log = logging.getLogger("sharefs.node")


@dataclass
class State:
    """Owned by the loop, but for what says otherwise."""

    home: Home
    identity: Identity
    me: DeviceId
    store: Store
    ledger: Ledger
    view: ReadView
    """Any thread."""
    contents: ContentStore
    """Any thread."""
    drafts: Drafts
    """Any thread."""
    mesh: Mesh
    sending: Sending
    loop: Loop
    """`post` and `call` from any thread."""
    pool: ThreadPoolExecutor
    """Hashing, chunking, verifying, syncing."""
    address: Address
    """Where we listen."""
    settings: Settings
    """Any thread."""
    announced: Address | None = None
    """Where others find us, if elsewhere."""
    replicas: dict[SpaceId, Replica] = field(default_factory=dict)
    devices: dict[PublicKey, Certificate] = field(default_factory=dict)
    """Every device that some roster knows, by the key its sockets show."""
    relied_upon: bool = False
    """This batch made what somebody will rely on who is told of it: the disk has to have it first.
    Own records need not say so."""
    reserve: Reserve | None = None
    """Any thread. None on a disk that keeps none."""
    notices: Notices = field(default_factory=Notices)
    """Any thread."""
    keeping: Keeping = field(init=False)
    """Any thread."""
    uses: Uses = field(init=False)
    """Any thread."""

    def __post_init__(self) -> None:
        self.keeping = Keeping(
            self.contents, self.view, self.settings, lambda n: self.replica_numbered(n).id
        )
        self.uses = Uses(self.store)

    def send(self, device: DeviceId, message: Message) -> None:
        """To a member's device, after the batch is committed."""
        space = None if isinstance(message, SessionMessage) else message.space
        key = self.key_of(device, space)
        if key is not None:
            self.sending.say(key, message)

    def key_of(self, device: DeviceId, space: SpaceId | None = None) -> PublicKey | None:
        """The Curve25519 key of a member's device.

        Whatever is said of a space goes to the key that is in its own roster: nobody asks the
        device whose certificate another space's members believe.
        """
        replicas = self.replicas.values() if space is None else [self.replicas[space]]
        for replica in replicas:
            certificate = replica.roster.devices.get(device)
            if certificate is not None:
                return certificate.curve_key
        return None

    def replica_numbered(self, number: int) -> Replica:
        """Of a space, by its number in the database. From any thread. Raises NoSuchEntry."""
        for replica in list(self.replicas.values()):
            if replica.number == number:
                return replica
        raise NoSuchEntry("The space is not here any more.")

    def shared_with(self, device: DeviceId) -> tuple[SpaceId, ...]:
        """The spaces that a device is in, too."""
        return tuple(
            id for id, replica in sorted(self.replicas.items()) if device in replica.roster.devices
        )

    def refresh_devices(self) -> None:
        """After any roster changed. Who came first keeps a key that another claims, too."""
        self.devices = {}
        for replica in self.replicas.values():
            for certificate in replica.roster.devices.values():
                if certificate.device != self.me:
                    self.devices.setdefault(certificate.curve_key, certificate)

    def person_name(self, device: DeviceId) -> str:
        """What to call whoever uses a device."""
        for replica in self.replicas.values():
            if device in replica.roster.devices:
                return replica.roster.label(device)
        return "somebody"

    def new_item(self) -> ItemId:
        """An item of ours."""
        return item_id(self.me, secrets.token_bytes(8))

    def in_pool(self, work: Callable[[], None]) -> None:
        """Have the pool do it. What it raises is a bug of ours, and stops the node: somebody would
        wait for its outcome for ever."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self.loop.post(partial(_fail, error))

        self.pool.submit(guarded)

    def make_room(self, run: Callable[[], Result]) -> Result:
        """As `Loop.call`, for what makes room: on a full disk, with the room that is kept for
        it."""
        try:
            return self.loop.call(run)
        except DiskFull:
            if self.reserve is None or not self.reserve.give_up():
                raise
        return self.loop.call(run)

    def notice(self, sentence: str) -> None:
        """Tell the person, in `status`; the same sentence once. From any thread."""
        self.notices.tell(sentence)

    def path_of(self, row: Shown) -> PurePath:
        """Where an entry is, from its space's top folder. From any thread."""
        parts: list[str] = []
        at: Shown | None = row
        while at is not None and at.shown:
            parts.append(at.shown)
            at = self.view.entry(self.view.folder(at))
        return PurePath(*reversed(parts))

    def files_with(self, content: ContentId) -> str:
        """What to call a content in a sentence: by the files that have it."""
        rows = [row for row in self.view.entries_of(content) if row.live]
        paths = sorted(str(self.path_of(row)) for row in rows)
        if not paths:
            return "A file that is shown no more"
        more = len(paths) - 1
        return f"{paths[0]} (and {more} more with the same bytes)" if more else paths[0]


def _fail(error: Exception) -> None:
    raise LocalProtocolError("some work failed in a way that nobody foresaw") from error


def now_ms() -> int:
    """The wall clock, as stamps count."""
    return int(time.time() * 1000)
