"""What happens in a history of the data model, from its seed?

First some dozen steps under faults, each a deed of a program or a misfortune; then all is well, and
within CALM_SECONDS_MAX every device has to show the same. What holds always is checked at every
step.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from sharefs.node import collection, replica
from sharefs.records import commit
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.record import Record
from sharefs.spaces import roster
from tests.sim import surroundings
from tests.sim.agenda import Agenda
from tests.sim.cast import fold_once, members, verify_either, verify_seal_quickly
from tests.sim.data_node import DataDevice
from tests.sim.faults import PEACE, Faults, draw_faults
from tests.sim.liar import Liar, Stage
from tests.sim.memory_store import Tables
from tests.sim.model import Held, Model, in_order
from tests.sim.network import Network
from tests.sim.work import Programs

PAGE_COMMITS = 2
DEEDS = (1, 1, 1, 2, 5)
GAPS_SECONDS = (0.0, 0.0, 0.05, 0.5, 4.0)
LONG_STEPS = 40
LONG_GAPS_SECONDS = (0.0, 0.0, 0.5, 4.0, 12.0)
"""So that what was deleted goes while there is work still."""
DOWN_SECONDS_MAX = 8.0
CALM_SECONDS_MAX = 120.0
CALM_STEP_SECONDS = 2.0
SHORT_SECONDS, LONG_SECONDS = 1.0, 1e12
"""For which a tombstone is kept."""


class DataHistory:
    """One history. `run` raises AssertionError where something is not as it has to be."""

    def __init__(self, seed: int, faults: Faults | None = None, listened: bool = False) -> None:
        chance = self._chance = random.Random(seed)
        self.faults = draw_faults(chance) if faults is None else faults
        self.agenda = Agenda(chance)
        if listened:
            self.agenda.trace = [f"SEED={seed}: {self.faults}"]
        surroundings.begin(self.agenda, chance)
        cast = members()
        self.model = Model(cast.writers)
        self.network = Network(self.agenda, self.faults)
        others = chance.sample(range(1, len(cast.people)), chance.choice((1, 2, 2, 3)))
        self.devices = [
            DataDevice(number, self.agenda, self.network, chance, cast)
            for number in (0, *sorted(others))
        ]
        here = [device.identity.device for device in self.devices]
        for device in self.devices:
            device.disk.absent = tuple(p.device for p in cast.people if p.device not in here)
        self.programs = Programs(self.agenda, chance, self.model)
        self._checked: dict[str, int] = {}
        devices = [person.device for person in cast.people]
        stage = Stage(cast.space, devices, cast.writers, cast.known_operations)
        self.liar = Liar(self.agenda, self.network, chance.choice(self.devices), stage, chance)
        self.network.rewrite = self.liar.rewrite
        # Who believes a liar has less than it thinks, until an audit finds that.
        self.model.trusting = not self.faults.withhold
        self.model.withheld = self.faults.withhold > 0
        self.model.unequivocal = not (self.faults.clone or self.faults.equivocate)
        collection.TOMBSTONE_GRACE_SECONDS = grace_seconds(self.faults)
        self.steps = chance.choice((6, 12, 12, 24, 40))
        self.gaps_seconds = GAPS_SECONDS
        if grace_seconds(self.faults) == SHORT_SECONDS and chance.random() < 0.3:
            self.steps, self.gaps_seconds = LONG_STEPS, LONG_GAPS_SECONDS
            self.programs.of_folders = True

    def run(self) -> None:
        """All of it."""
        for device in self.devices:
            device.skew_seconds = self._skew()
            device.ended = lambda device=device: self._ended(device)  # type: ignore[misc]
            device.start()
        for _ in range(self.steps):
            self._step()
            self.agenda.run_until(self.agenda.now + self._chance.choice(self.gaps_seconds))
            self._check()
        self._calm()

    def _skew(self) -> float:
        return self._chance.uniform(-1, 1) * self.faults.skew_seconds

    # --- under faults ---------------------------------------------------------------------------

    def _step(self) -> None:
        chance, faults = self._chance, self.faults
        one, other = chance.sample(self.devices, 2)
        if chance.random() < faults.crash:
            self._crash(one)
        if faults.liar:
            self.liar.lie(other, faults)
        if chance.random() < faults.clock_jump:
            one.skew_seconds = self._skew()
        match chance.randrange(10):
            case 0 | 1:
                self.network.link(one.key, other.key)
            case 2:
                self.network.disturb(one.key, other.key)
            case 3:
                one.disk.back_up()
            case _:
                for _ in range(chance.choice(DEEDS)):
                    self.programs.act(one)

    def _crash(self, device: DataDevice) -> None:
        """At once, or in the middle of something soon."""
        if self._chance.random() < 0.5:
            device.kill()
        else:
            device.burn(self._chance.randrange(6))

    def _ended(self, device: DataDevice) -> None:
        """What became of its disk, and when it is back."""
        self.agenda.note(f"{device.name} is killed")
        # Whoever wrote in the middle of it is heard first.
        self.agenda.later(0.0, lambda: self._age(device))
        self.agenda.later(self._chance.random() * DOWN_SECONDS_MAX, lambda: self._start(device))

    def _age(self, device: DataDevice) -> None:
        if device.awake:
            return
        chance, faults = self._chance, self.faults
        restored = chance.random() < faults.restore
        if not restored and chance.random() >= faults.power_cut:
            return
        # What was written again is known by what was written first, which may be no more then.
        self._check()
        before = held_by(device)
        others = [held_by(other) for other in self.devices if other is not device]
        if restored:
            device.disk.restore(with_token=faults.clone)
            self.agenda.note(f"{device.name}'s disk is one of before")
        else:
            device.disk.lose_unsynced()
        self.model.went_back(held_by(device), before, others, restored)

    def _start(self, device: DataDevice) -> None:
        if not device.awake:
            self.agenda.note(f"{device.name} is back")
            device.start()

    def _check(self) -> None:
        """Those whose disks are not as they were."""
        for device in self.devices:
            changes = device.disk.changes
            if self._checked.get(device.name) != changes:
                self._checked[device.name] = changes
                self.model.check(held_by(device))

    # --- and then -------------------------------------------------------------------------------

    def _calm(self) -> None:
        """No more faults. All has to come to an end, and to the same one."""
        self.agenda.note("from here on, all is well")
        self.network.faults = PEACE
        for device in self.devices:
            device.be_well()
        # Who is on the way down goes down, and is back; files that are open are saved.
        self.agenda.run_until(
            self.agenda.now + max(DOWN_SECONDS_MAX, self.programs.edit_seconds[-1])
        )
        self.network.heal()
        end = self.agenda.now + CALM_SECONDS_MAX
        while self.agenda.now < end and not self._is_even():
            self.agenda.run_until(self.agenda.now + CALM_STEP_SECONDS)
        self.model.trusting = True
        self.model.check_end([held_by(device) for device in self.devices])

    def _is_even(self) -> bool:
        tables = [device.disk.committed for device in self.devices]
        return all(
            other.frontier == tables[0].frontier
            and other.records.keys() - other.dead == tables[0].records.keys() - tables[0].dead
            and other.operations.keys() == tables[0].operations.keys()
            for other in tables
        )


def grace_seconds(faults: Faults) -> float:
    """Much shorter than a person is given. But what sets a disk back, or withholds something that
    only an audit brings, has to be over by then: else nothing is dropped."""
    slow = faults.restore or faults.power_cut or faults.withhold
    return LONG_SECONDS if slow else SHORT_SECONDS


def held_by(device: DataDevice) -> Held:
    """What is on a device's disk."""
    tables: Tables = device.disk.committed
    heads: dict[ItemId, list[Record]] = {}
    for record in tables.records.values():
        heads.setdefault(record.item, []).append(record)
    rows = (replace(row, ino=0, local=0) for row in tables.shelf.rows.values())
    return Held(
        device.name,
        device.identity.device,
        tables.frontier,
        heads,
        dict(tables.records),
        in_order(row for row in rows if row.item != ROOT),
    )


@contextmanager
def quickly() -> Iterator[None]:
    """Within, signatures are quick, rosters are folded once, and few commits fill a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "verify_seal", verify_seal_quickly)
        patch.setattr(roster, "verify_seal", verify_seal_quickly)
        patch.setattr(roster, "verify", verify_either)
        patch.setattr(replica, "fold", fold_once)
        patch.setattr(replica, "PAGE_COMMITS_MAX", PAGE_COMMITS)
        # Each history sets its own.
        patch.setattr(collection, "TOMBSTONE_GRACE_SECONDS", LONG_SECONDS)
        yield
