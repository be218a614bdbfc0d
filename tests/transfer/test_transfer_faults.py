"""Seeded histories of faults: whatever happens, every waiter is told once, and when all is well
again everything can be had."""

from random import Random

import pytest

from sharefs.errors import DiskFull
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.events import Priority
from sharefs.transfer.machine import Transfer
from sharefs.wire.transfer import Ask, Have, WantChunks
from tests.transfer.transfer_network import (
    ANNA,
    BOB,
    SPACE,
    File,
    Holder,
    Network,
    large_file,
    small_file,
)

CAROL = DeviceId(b"c" * 16)
DEVICES = (ANNA, BOB, CAROL)
SEEDS = range(40)


class Storm:
    """A network in which things go wrong for a while."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.network = Network()
        self.files = [small_file(number) for number in range(100)]
        self.files += [large_file(number, self.random.randint(1, 60)) for number in range(6)]
        self.waiters: dict[int, File] = {}
        for device in DEVICES:
            self.network.machine._books.name_of = lambda device: device.hex()[:4]
            self.network.up(self.holder(device))

    def holder(self, device: DeviceId) -> Holder:
        draw = self.random
        holder = Holder(device, latency_s=draw.choice([0.001, 0.05, 0.4]))
        holder.bytes_per_s = draw.choice([5, 50, 500]) * MIB
        holder.lies = device == CAROL and draw.random() < 0.3
        holder.loses = draw.choices([Ask, WantChunks], k=draw.randint(0, 6))
        for file in self.files:
            chance = draw.random()
            if chance < 0.5:
                holder.hold(file)
            elif chance < 0.8 and file.count > 1:
                holder.hold(file, chunks=draw.getrandbits(file.count))
        return holder

    def disturb(self) -> None:
        draw = self.random
        device = draw.choice(DEVICES)
        holder = self.network.holders.get(device)
        if holder is not None and draw.random() < 0.5:
            self.disturb_holder(holder)
            return
        match draw.randint(0, 6):
            case 0:
                self.network.up(self.holder(device))
            case 1 if self.waiters:
                waiter = draw.choice(list(self.waiters))
                self.network.do(events.Unwanted(waiter))
                if waiter not in self.network.satisfied and waiter not in self.network.failed:
                    del self.waiters[waiter]
            case 2:
                full = draw.random() < 0.2
                self.network.disk_error = DiskFull("No room.") if full else None
            case 3:
                self.network.do(events.Freed(draw.choice(self.files).id))
            case _:
                self.want()

    def disturb_holder(self, holder: Holder) -> None:
        draw = self.random
        match draw.randint(0, 5):
            case 0:
                self.network.down(holder.device)
            case 1:
                holder.mute = draw.random() < 0.5
            case 2:
                holder.withholds_chunks = draw.random() < 0.3
            case 3:
                self.free_some(holder)
            case 4:
                self.get_some(holder)
            case _:
                round_trip_s = draw.choice([0.001, 0.05, 2.0])
                self.network.do(events.Answered(holder.device, round_trip_s))

    def free_some(self, holder: Holder) -> None:
        """While it may be sending them."""
        file = self.random.choice(self.files)
        if file.id in holder.held:
            _, chunks = holder.held[file.id]
            holder.hold(file, chunks=chunks & self.random.getrandbits(file.count))

    def get_some(self, holder: Holder) -> None:
        """And tell of it, as who fetches the same does."""
        file = self.random.choice(self.files)
        got = self.random.getrandbits(file.count)
        _, chunks = holder.held.get(file.id, (file, 0))
        holder.hold(file, chunks=chunks | got)
        have = Have(SPACE, file.id, tuple(bitmap.indexes(got)))
        self.network.do(events.Received(holder.device, have))

    def want(self) -> None:
        file = self.random.choice(self.files)
        start = self.random.randrange(file.size)
        end = self.random.randint(start + 1, file.size)
        priority = self.random.choice(list(Priority))
        self.waiters[self.network.want(file, start, end, priority)] = file

    def heal(self) -> None:
        self.network.disk_error = None
        for device in list(self.network.holders):
            self.network.down(device)
        self.network.run(60)
        for device in (ANNA, BOB):
            self.network.up(Holder(device).hold(*self.files))


def sound(machine: Transfer) -> None:
    """What must always hold between the machine's books."""
    stages = [content.stage.name for content in machine._books.contents.values()]
    assert machine._stages._active == stages.count("ACTIVE")
    storing = sum(sum(content.storing.values()) for content in machine._books.contents.values())
    assert machine._books.schedule.storing_bytes == storing
    asks = [(d, a) for c in machine._books.contents.values() for d, a in c.asks.items()]
    for peer in machine._books.peers.values():
        assert peer.questions == sum(d == peer.device and not a.answered for d, a in asks)
        requests = peer.flow.requests.values()
        assert peer.flow.under_way_bytes == sum(request.size_bytes for request in requests)
    for content in machine._books.contents.values():
        busy = content.have
        assert content.seconds.keys() <= content.requested.keys()
        assert content.cancelled <= content.requested.keys()
        for index, device in content.seconds.items():
            assert content.requested[index] != device, "the second is another"
        for index in (*content.requested, *content.storing):
            assert not busy >> index & 1, "a chunk is in one state"
            busy |= 1 << index
        assert content.busy == busy
        assert not content.needed() & content.have


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_every_waiter_is_told_and_all_comes_when_all_is_well(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(200):
        storm.disturb()
        storm.network.run(storm.random.choice([0.0, 0.01, 0.3, 2.0]))
        sound(storm.network.machine)
    storm.heal()
    told = storm.network.satisfied.keys() | storm.network.failed.keys()
    assert storm.waiters.keys() <= told
    again = [storm.network.want(file) for file in storm.files]
    storm.network.run(60)
    sound(storm.network.machine)
    assert all(waiter in storm.network.satisfied for waiter in again)
    assert storm.network.machine.snapshot(storm.network.now) == []


def test_the_same_history_gives_the_same_effects() -> None:
    traces = []
    for _ in range(2):
        storm = Storm(7)
        for _ in range(100):
            storm.disturb()
            storm.network.run(0.3)
        traces.append((storm.network.asks, storm.network.wants, storm.network.satisfied))
    assert traces[0] == traces[1]
