"""Who is online, and where are they reached?

Theory of operation. A device is *linked* while the mesh has a route to it, and *online* from its
first Hello until it says Bye, the link is lost, or it is silent for PEER_SILENT_SECONDS although it
is asked every PING_INTERVAL_SECONDS. Who is linked and not online is greeted that often, as a Hello
may be lost, unless it misbehaved. Every known address of every member's device is dialled; who is
told of a new address by a Hello dials it, too. So everybody is told at once of who comes online:
one of two devices may be able to dial the other, and not the other way round.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sharefs.mesh.discovery import reachable_at
from sharefs.node.state import State
from sharefs.records.ids import DeviceId, PublicKey, SpaceId
from sharefs.spaces.ticket import Address, Door
from sharefs.wire.message import SessionMessage
from sharefs.wire.session import (
    DOORS_MAX,
    Bye,
    Hello,
    Ping,
    Pong,
    Redeem,
    Redeemed,
    Refused,
)

PING_INTERVAL_SECONDS = 2.0
PEER_SILENT_SECONDS = 10.0


@dataclass(slots=True)
class Peer:
    """A device that is linked or was."""

    online: bool = False
    dropped: bool = False
    """It misbehaved, and has not said Hello since."""
    heard: float = 0.0
    """Monotonic."""
    spaces: tuple[SpaceId, ...] = ()
    addresses: tuple[Address, ...] = field(default_factory=tuple)


class Peers:
    """The session with every member's device. In the loop only."""

    def __init__(
        self,
        state: State,
        up: Callable[[DeviceId, tuple[SpaceId, ...]], None],
        down: Callable[[DeviceId], None],
        answered: Callable[[DeviceId, float], None],
    ) -> None:
        """`answered` is told how many seconds a short question and its answer took."""
        self._state = state
        self._up = up
        self._down = down
        self._answered = answered
        self.peers: dict[DeviceId, Peer] = {}

    def online(self) -> list[DeviceId]:
        """Who is here now. From any thread."""
        return [device for device, peer in list(self.peers.items()) if peer.online]

    def is_online(self, device: DeviceId) -> bool:
        """Whether a device is here now, our own included."""
        peer = self.peers.get(device)
        return device == self._state.me or (peer is not None and peer.online)

    def link_up(self, key: PublicKey) -> None:
        """The mesh has a route."""
        certificate = self._state.devices.get(key)
        if certificate is not None:
            self.peers.setdefault(certificate.device, Peer())
            self._say_hello(certificate.device, answer=False)

    def link_down(self, key: PublicKey) -> None:
        """The mesh has no route any more."""
        certificate = self._state.devices.get(key)
        if certificate is not None:
            self._offline(certificate.device)

    def heard(self, device: DeviceId, key: PublicKey, message: SessionMessage) -> None:
        """A member's device said something of the session."""
        match message:
            case Hello():
                self._greeted(device, message)
            case Ping():
                self._state.sending.say(key, Pong(message.number))
            case Bye():
                self._offline(device)
            case Pong():
                round_trip_s = self._state.sending.answered(key, message.number)
                if round_trip_s is not None:
                    self._answered(device, round_trip_s)
            case Redeem() | Redeemed() | Refused():
                pass

    def alive(self, device: DeviceId) -> None:
        """Anything at all arrived from a device."""
        peer = self.peers.setdefault(device, Peer())
        peer.heard = time.monotonic()

    def is_new(self, device: DeviceId) -> bool:
        """It speaks, but has not said Hello since it was last gone."""
        return not self.peers[device].online

    def ask_hello(self, device: DeviceId) -> None:
        """Say ours and ask for theirs."""
        self._say_hello(device, answer=True)

    def _greeted(self, device: DeviceId, hello: Hello) -> None:
        peer = self.peers.setdefault(device, Peer())
        moved, peer.addresses = peer.addresses != hello.addresses, hello.addresses
        now = time.time()
        for address in hello.addresses:
            self._state.ledger.save_address(device, address, now)
        self._learn(hello.doors)
        if hello.answer:
            self._say_hello(device, answer=False)
        shared = tuple(s for s in self._state.shared_with(device) if s in hello.spaces)
        if not peer.online or shared != peer.spaces:
            peer.online, peer.dropped, peer.spaces = True, False, shared
            self._up(device, shared)
            moved = True
        if moved:
            self._make_known(device)
        key = self._state.key_of(device)
        if key is not None:
            self._dial(key, device)
            self._state.sending.ping(key)

    def _learn(self, doors: tuple[Door, ...]) -> None:
        for door in doors:
            certificate = self._state.devices.get(door.curve_key)
            if certificate is None or certificate.device != door.device:
                continue
            known = {address for address, _ in self._state.ledger.addresses(door.device)}
            fresh = [address for address in door.addresses if address not in known]
            for address in fresh:
                self._state.ledger.save_address(door.device, address, 0.0)
                self._state.mesh.dial(door.curve_key, address)

    def drop(self, device: DeviceId) -> None:
        """It misbehaved: as if it were gone, until it says Hello again."""
        self.peers.setdefault(device, Peer()).dropped = True
        self._offline(device)

    def _offline(self, device: DeviceId) -> None:
        peer = self.peers.get(device)
        if peer is not None and peer.online:
            peer.online = False
            for address in peer.addresses:
                self._state.ledger.save_address(device, address, time.time())
            self._down(device)

    def _make_known(self, device: DeviceId) -> None:
        """Tell the others where a device is now: those whom it can not dial must dial it."""
        for other in self.online():
            if self._door(device, other) is not None:
                self._say_hello(other, answer=False, of=[device])

    def _say_hello(
        self, device: DeviceId, answer: bool, of: Iterable[DeviceId] | None = None
    ) -> None:
        """With the doors of others: of all who are online, if not said."""
        others = self.online() if of is None else of
        doors = [door for other in others if (door := self._door(other, device)) is not None]
        shared = self._state.shared_with(device)
        hello = Hello(self.addresses(), shared, tuple(doors[:DOORS_MAX]), answer)
        self._state.send(device, hello)

    def _door(self, of: DeviceId, to: DeviceId) -> Door | None:
        """Where a device is, if another may be told: both are in one of our spaces."""
        key, peer = self._state.key_of(of), self.peers[of]
        if of == to or key is None or not set(self._state.shared_with(to)) & set(peer.spaces):
            return None
        return Door(of, key, peer.addresses)

    def addresses(self) -> tuple[Address, ...]:
        """Where we can be reached."""
        announced = self._state.announced
        return reachable_at(self._state.address) if announced is None else (announced,)

    def announce(self) -> None:
        """Our spaces, their members or our addresses changed."""
        for device in self.online():
            self._say_hello(device, answer=True)

    def dial_all(self) -> None:
        """Every known address of every member's device."""
        for key, certificate in self._state.devices.items():
            self._dial(key, certificate.device)

    def _dial(self, key: PublicKey, device: DeviceId) -> None:
        for address, _ in self._state.ledger.addresses(device):
            self._state.mesh.dial(key, address)

    def ping_round(self) -> None:
        """Ask everybody, and see who has been silent."""
        now = time.monotonic()
        for device, peer in self.peers.items():
            if peer.online and now - peer.heard > PEER_SILENT_SECONDS:
                self._offline(device)
        for key in self._keys():
            self._state.sending.ping(key)
        self._greet_again()

    def _greet_again(self) -> None:
        for key, certificate in self._state.devices.items():
            peer = self.peers.get(certificate.device)
            absent = peer is None or not (peer.online or peer.dropped)
            if absent and self._state.mesh.linked(key):
                self._say_hello(certificate.device, answer=True)

    def _keys(self) -> list[PublicKey]:
        keys = map(self._state.key_of, self.online())
        return [key for key in keys if key is not None]

    def await_reading(self, done: Callable[[], None]) -> None:
        """`done` is called when all who are online have read what was sent so far."""
        self._state.sending.await_reading(self._keys(), done)

    def say_bye(self) -> None:
        """The node goes down."""
        for device in self.online():
            self._state.send(device, Bye())
