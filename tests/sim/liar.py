"""What does a member say who lies?

A liar has its own keys and a member's place on the network, and nothing else. It also does what
honest members do, so that its lies are among true words.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from sharefs.errors import RemoteProtocolError
from sharefs.records.commit import sign_commit
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, encode_entry
from sharefs.records.ids import (
    ROOT,
    DeviceId,
    Incarnation,
    OperationHash,
    PublicKey,
    SpaceId,
    item_id,
)
from sharefs.records.record import Record, encode_record, hash_record
from sharefs.spaces.identity import Identity
from sharefs.sync.shipment import ship
from sharefs.wire.message import Message, decode_message, encode_message
from sharefs.wire.sync import (
    FRONTIER_ENTRIES_MAX,
    FrontierEntries,
    Page,
    Pull,
    Push,
    RosterOperations,
    Shipment,
    Summary,
)
from sharefs.wire.transfer import Chunk, Offer
from tests.sim.agenda import Agenda
from tests.sim.faults import Faults
from tests.sim.network import Frames, Network

FORGED_INCARNATION = Incarnation(b"forged!!")


class Speaker(Protocol):
    """A device, of either kind of history."""

    name: str
    key: PublicKey
    identity: Identity

    @property
    def incarnation(self) -> Incarnation:
        """In which it counts, as it last said."""
        ...


@dataclass(frozen=True)
class Stage:
    """The space that the liar is a member of."""

    space: SpaceId
    devices: Sequence[DeviceId]
    writers: frozenset[DeviceId]
    known_operations: Sequence[OperationHash]


class Liar:
    """Speaks as one device, whether its honest process runs or not."""

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        device: Speaker,
        stage: Stage,
        chance: random.Random,
    ) -> None:
        self._agenda = agenda
        self._network = network
        self._device = device
        self._stage = stage
        self._chance = chance
        self._forged = 0

    def lie(self, victim: Speaker, faults: Faults) -> None:
        """Say something, or not."""
        if victim is self._device or not self._network.is_up(self._device.key, victim.key):
            return
        if self._chance.random() < faults.forge:
            self._say(victim, self._chance.choice((self._forgery, self._boast))(victim))
        if self._chance.random() < faults.oversize:
            self._say(victim, self._chance.choice((self._too_much, self._too_long))())
        if self._chance.random() < faults.equivocate and self._is_writer:
            # Always the first of its incarnation, and another each time.
            shipment = self._shipment(self._device.identity.device)
            self._say(victim, Push(self._stage.space, shipment, self._named()))
        if self._chance.random() < faults.replay and self._network.old:
            _, _, channel, frames = self._chance.choice(self._network.old)
            self._network.send(self._device.key, victim.key, channel, frames)

    @property
    def _is_writer(self) -> bool:
        return self._device.identity.device in self._stage.writers

    def rewrite(self, sender: PublicKey, frames: Frames) -> Frames:
        """Leave a record, or a whole commit, out of a page, whose frontier claims it; or send other
        bytes than were asked for."""
        faults, chance = self._network.faults, self._chance
        if sender != self._device.key or chance.random() >= faults.withhold:
            return frames
        try:
            message = decode_message(frames[0])
        except RemoteProtocolError:
            return frames
        match message:
            case Page() if message.shipments:
                told: Frames = (encode_message(self._withhold(message)),)
            case Chunk():
                told = (frames[0], bytes(len(frames[1])))
            case Offer() if message.data:
                told = (encode_message(replace(message, data=bytes(len(message.data)))),)
            case Offer() if message.manifest:
                told = (encode_message(replace(message, manifest=message.manifest[:-1])),)
            case _:
                return frames
        if self._agenda.trace is not None:
            self._agenda.note(f"{self._device.name} falsifies a {type(message).__name__}")
        return told

    def _withhold(self, message: Page) -> Page:
        chance = self._chance
        shipments = list(message.shipments)
        at = chance.randrange(len(shipments))
        commit, records = shipments[at].commit, list(shipments[at].records)
        if records and chance.random() < 0.7:
            del records[chance.randrange(len(records))]
            shipments[at] = Shipment(commit, tuple(records))
        else:
            del shipments[at]
        return replace(message, shipments=tuple(shipments))

    def _say(self, victim: Speaker, message: Message) -> None:
        if self._agenda.trace is not None:
            self._agenda.note(
                f"{self._device.name} lies to {victim.name}: {type(message).__name__}"
            )
        self._network.send(self._device.key, victim.key, 0, (encode_message(message),))

    # --- lies -----------------------------------------------------------------------------------

    def _forgery(self, victim: Speaker) -> Message:
        """A commit in the victim's name; or by somebody who may not write; or not as signed."""
        me = self._device.identity.device
        if self._chance.random() < 0.5:
            return Push(self._stage.space, self._shipment(victim.identity.device), self._named())
        shipment = self._shipment(me)
        if self._is_writer:
            shipment = Shipment(shipment.commit, ((0, shipment.records[0][1] + b"\x00"),))
        return Push(self._stage.space, shipment, self._named())

    def _named(self) -> tuple[DeviceId, ...]:
        """Who is said to have been told: maybe everybody."""
        return tuple(self._stage.devices) if self._chance.random() < 0.5 else ()

    def _shipment(self, author: DeviceId) -> Shipment:
        self._forged += 1
        entry = Entry(
            1, EntryType.FILE, False, ROOT, f"forged {self._forged}", 0, 0, False, 0, None, ""
        )
        record = Record(
            1,
            item_id(author, self._chance.randbytes(8)),
            KIND_ENTRY,
            author,
            FORGED_INCARNATION,
            1,
            (),
            0,
            encode_entry(entry),
        )
        data = encode_record(record)
        commit = sign_commit(
            self._device.identity.device_key,
            self._stage.space,
            author,
            FORGED_INCARNATION,
            1,
            self._chance.choice(self._stage.known_operations),
            (hash_record(data),),
        )
        return ship(commit, [(1, data)])

    def _boast(self, victim: Speaker) -> Message:
        """A frontier beyond anything there is, of anybody's."""
        incarnation = victim.incarnation
        author = self._chance.choice((victim.identity.device, self._device.identity.device))
        claimed = self._chance.choice((incarnation, FORGED_INCARNATION))
        digest = self._chance.randbytes(32)
        return Summary(self._stage.space, digest, ((author, claimed, 1_000_000),), digest)

    def _too_much(self) -> Message:
        entries = tuple(
            (DeviceId(n.to_bytes(16)), FORGED_INCARNATION, 1)
            for n in range(FRONTIER_ENTRIES_MAX + 1)
        )
        space = self._stage.space
        return self._chance.choice(
            (
                Summary(space, bytes(32), entries, bytes(32)),
                Pull(space, entries, 0, 1),
                _page(space, entries),
            )
        )

    def _too_long(self) -> Message:
        return RosterOperations(self._stage.space, (bytes(9000),))


def _page(space: SpaceId, entries: FrontierEntries) -> Page:
    return Page(space, 0, 1, (), True, entries, 1)
