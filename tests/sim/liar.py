"""What does a member say who lies?

A liar has its own keys and a member's place on the network, and nothing else. It also does what
honest members do, so that its lies are among true words.
"""

import random

from msgspec.structs import replace

from sharefs.errors import RemoteProtocolError
from sharefs.records.commit import sign_commit
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, encode_entry
from sharefs.records.ids import ROOT, DeviceId, Incarnation, PublicKey, SpaceId, item_id
from sharefs.records.record import Record, encode_record, hash_record
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
from tests.sim.agenda import Agenda
from tests.sim.data_node import DataDevice
from tests.sim.faults import Faults
from tests.sim.network import Frames, Network

FORGED_INCARNATION = Incarnation(b"forged!!")


class Liar:
    """Speaks as one device, whether its honest process runs or not."""

    def __init__(
        self, agenda: Agenda, network: Network, device: DataDevice, chance: random.Random
    ) -> None:
        self._agenda = agenda
        self._network = network
        self._device = device
        self._chance = chance
        self._forged = 0

    def lie(self, victim: DataDevice, faults: Faults) -> None:
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
            self._say(victim, Push(self._device.cast.space, shipment, self._named()))
        if self._chance.random() < faults.replay and self._network.old:
            _, _, channel, frames = self._chance.choice(self._network.old)
            self._network.send(self._device.key, victim.key, channel, frames)

    @property
    def _is_writer(self) -> bool:
        return self._device.identity.device in self._device.cast.writers

    def rewrite(self, sender: PublicKey, frames: Frames) -> Frames:
        """Leave a record, or a whole commit, out of a page, whose frontier claims it."""
        faults, chance = self._network.faults, self._chance
        if sender != self._device.key or chance.random() >= faults.withhold:
            return frames
        try:
            message = decode_message(frames[0])
        except RemoteProtocolError:
            return frames
        if not isinstance(message, Page) or not message.shipments:
            return frames
        shipments = list(message.shipments)
        at = chance.randrange(len(shipments))
        commit, records = shipments[at].commit, list(shipments[at].records)
        if records and chance.random() < 0.7:
            del records[chance.randrange(len(records))]
            shipments[at] = Shipment(commit, tuple(records))
        else:
            del shipments[at]
        return (encode_message(replace(message, shipments=tuple(shipments))),)

    def _say(self, victim: DataDevice, message: Message) -> None:
        if self._agenda.trace is not None:
            self._agenda.note(
                f"{self._device.name} lies to {victim.name}: {type(message).__name__}"
            )
        self._network.send(self._device.key, victim.key, 0, (encode_message(message),))

    # --- lies -----------------------------------------------------------------------------------

    def _forgery(self, victim: DataDevice) -> Message:
        """A commit in the victim's name; or by somebody who may not write; or not as signed."""
        me = self._device.identity.device
        if self._chance.random() < 0.5:
            return Push(
                self._device.cast.space, self._shipment(victim.identity.device), self._named()
            )
        shipment = self._shipment(me)
        if self._is_writer:
            shipment = Shipment(shipment.commit, ((0, shipment.records[0][1] + b"\x00"),))
        return Push(self._device.cast.space, shipment, self._named())

    def _named(self) -> tuple[DeviceId, ...]:
        """Who is said to have been told: maybe everybody."""
        people = self._device.cast.people if self._chance.random() < 0.5 else ()
        return tuple(person.device for person in people)

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
        cast = self._device.cast
        commit = sign_commit(
            self._device.identity.device_key,
            cast.space,
            author,
            FORGED_INCARNATION,
            1,
            self._chance.choice(cast.known_operations),
            (hash_record(data),),
        )
        return ship(commit, [(1, data)])

    def _boast(self, victim: DataDevice) -> Message:
        """A frontier beyond anything there is, of anybody's."""
        incarnation = victim.disk.committed.incarnation
        author = self._chance.choice((victim.identity.device, self._device.identity.device))
        claimed = self._chance.choice((incarnation, FORGED_INCARNATION))
        digest = self._chance.randbytes(32)
        return Summary(victim.cast.space, digest, ((author, claimed, 1_000_000),), digest)

    def _too_much(self) -> Message:
        entries = tuple(
            (DeviceId(n.to_bytes(16)), FORGED_INCARNATION, 1)
            for n in range(FRONTIER_ENTRIES_MAX + 1)
        )
        space = self._device.cast.space
        return self._chance.choice(
            (
                Summary(space, bytes(32), entries, bytes(32)),
                Pull(space, entries, 0, 1),
                _page(space, entries),
            )
        )

    def _too_long(self) -> Message:
        return RosterOperations(self._device.cast.space, (bytes(9000),))


def _page(space: SpaceId, entries: FrontierEntries) -> Page:
    return Page(space, 0, 1, (), True, entries, 1)
