"""What happens in a history of whole nodes, from its seed?

As in a history of the data model, less clones, and with the bytes of files. Everything is on a disk
in memory, in a folder that goes with the history.

A liar's device also runs the shipped node, so that its lies are among true words, and so that all
can agree when the lies have ended. What it says that it holds can not be checked by anybody: so
nothing is demanded of bytes of which a member lied that it keeps them.
"""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from sharefs.node import collection
from sharefs.records.ids import ROOT, ContentId, Coordinate, Frontier, ItemId
from sharefs.records.record import Record, decode_record
from sharefs.records.shown import Shown
from sharefs.store.connection import connect_reader
from sharefs.store.holders import OURS
from sharefs.store.rows import SELECT_ROWS, shown_of
from tests.sim import surroundings
from tests.sim.agenda import Agenda
from tests.sim.data_history import (
    CALM_SECONDS_MAX,
    CALM_STEP_SECONDS,
    DOWN_SECONDS_MAX,
    grace_seconds,
)
from tests.sim.faults import PEACE, Faults, draw_faults
from tests.sim.liar import FORGED_INCARNATION, Liar, Stage
from tests.sim.model import Held, in_order
from tests.sim.network import Network
from tests.sim.whole_node import NAMES, SPACE_NAME, WholeDevice, let_in
from tests.sim.whole_work import WholePrograms

MEMORY_DISK = Path("/dev/shm")
GAPS_SECONDS = (0.0, 0.0, 0.05, 0.5, 3.0)
SETTLE_SECONDS = 3.0
STEPS = (6, 10, 10, 16)


class WholeHistory:
    """One history. `run` raises AssertionError where something is not as it has to be."""

    def __init__(self, seed: int, faults: Faults | None = None, listened: bool = False) -> None:
        chance = self._chance = random.Random(seed)
        drawn = draw_faults(chance)
        self.faults = replace(drawn, clone=False) if faults is None else faults
        self.agenda = Agenda(chance)
        if listened:
            self.agenda.trace = [f"SEED={seed}: {self.faults}"]
        surroundings.begin(self.agenda, chance)
        self.network = Network(self.agenda, PEACE)
        self.devices: list[WholeDevice] = []
        self.programs = WholePrograms(self.agenda, chance)
        self._restored: set[str] = set()
        self._records: dict[Coordinate, tuple[Record, bytes]] = {}
        """All that were ever seen on a disk, less what a power cut took before it was told."""
        self._looked_at: dict[str, int] = {}
        self._held: dict[str, tuple[int, Held]] = {}
        """What was in each database when it was read last, and how often it had changed."""
        collection.TOMBSTONE_GRACE_SECONDS = grace_seconds(self.faults)
        self._steps = chance.choice(STEPS)
        self._count = chance.choice((2, 2, 3))
        if self.faults.equivocate:
            # It takes two to be told two things.
            self._count = 3
        self._liar: Liar | None = None
        self._mendacious = chance.randrange(self._count) if self.faults.liar else -1
        """Which of them is the liar."""
        self._lets_read = self._mendacious > 0 and chance.random() < 0.3
        """The liar may read only."""

    def run(self) -> None:
        """All of it."""
        memory = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="sharefs-sim-", dir=memory))
        self.agenda.folder = str(folder)
        try:
            self._run(folder)
        finally:
            self._end()
            shutil.rmtree(folder)

    def _run(self, folder: Path) -> None:
        for name in NAMES[: self._count]:
            self._arrive(WholeDevice(name, folder, self.agenda, self.network))
        self.network.heal()
        self.agenda.run_until(self.agenda.now + SETTLE_SECONDS)
        self.network.faults = self.faults
        if self.faults.liar:
            self._begin_lying()
        for device in self.devices:
            device.synced()
        for _ in range(self._steps):
            self._step()
            self.agenda.run_until(self.agenda.now + self._chance.choice(GAPS_SECONDS))
            self._look()
        self._calm()

    def _arrive(self, device: WholeDevice) -> None:
        device.skew_seconds = 0.0
        device.start()
        node = device.node
        assert node is not None, "nothing hinders it from starting"
        if not self.devices:
            device.guarded(lambda: _done(node.loop.call(lambda: node.admission.create(SPACE_NAME))))
        else:
            reads = self._lets_read and len(self.devices) == self._mendacious
            let_in(self.devices[0], device, "reader" if reads else "contributor")
        self.devices.append(device)
        device.ended = lambda: self._ended(device)

    def _begin_lying(self) -> None:
        owner, device = self.devices[0].node, self.devices[self._mendacious]
        assert owner is not None, "nothing has happened yet"
        replica = owner.replica_named(SPACE_NAME)
        devices = [each.identity.device for each in self.devices]
        writers = frozenset(devices) - ({device.identity.device} if self._lets_read else set())
        stage = Stage(replica.id, devices, writers, sorted(replica.roster.known))
        self._liar = Liar(self.agenda, self.network, device, stage, self._chance)
        self.network.rewrite = self._liar.rewrite

    def _end(self) -> None:
        for device in self.devices:
            device.ended = lambda: None
            device.kill()

    # --- under faults ---------------------------------------------------------------------------

    def _step(self) -> None:
        chance, faults = self._chance, self.faults
        one, other = chance.sample(self.devices, 2)
        if chance.random() < faults.crash:
            self._crash(one)
        if self._liar is not None:
            for device in self.devices:
                self._liar.lie(device, faults)
                # What it sends of files is false as well, now and then.
                self.programs.read(device)
        if chance.random() < faults.clock_jump:
            one.skew_seconds = chance.uniform(-1, 1) * faults.skew_seconds
        match chance.randrange(10):
            case 0 | 1:
                self.network.link(one.key, other.key)
            case 2:
                self.network.disturb(one.key, other.key)
            case 3 if faults.crash:
                one.stop()
            case _:
                for _ in range(chance.choice((1, 1, 2, 4))):
                    self.programs.act(one)

    def _crash(self, device: WholeDevice) -> None:
        if self._chance.random() < 0.5:
            device.kill()
        else:
            device.burn(self._chance.randrange(8))

    def _ended(self, device: WholeDevice) -> None:
        self.agenda.note(f"{device.name} is gone")
        self.agenda.later(0.0, lambda: self._age(device))
        self.agenda.later(self._chance.random() * DOWN_SECONDS_MAX, lambda: self._start(device))

    def _age(self, device: WholeDevice) -> None:
        """What became of its disk."""
        if device.awake:
            return
        chance, faults = self._chance, self.network.faults
        if chance.random() < faults.restore and device.restore():
            self.agenda.note(f"{device.name}'s database is one of before")
            self._restored.add(device.name)
        elif chance.random() < faults.power_cut:
            self._cut_power(device)
        elif faults.restore:
            device.back_up()

    def _cut_power(self, device: WholeDevice) -> None:
        """What it had told to nobody is gone, and may be another record next time."""
        self._look()
        if not device.lose_unsynced():
            return
        self.agenda.note(f"{device.name}'s database is as it was synced last")
        now, me = self._held_by(device), device.identity.device
        others = [self._held_by(other) for other in self.devices if other is not device]
        for at, (record, _) in list(self._records.items()):
            if at.device == me and not self._is_lie(record) and not now.covers(record):
                told = any(at in coordinates for coordinates in map(_coordinates, others))
                told = told and device.name not in self._restored
                assert not told, f"{at} was told before it was durable"
                if not any(other.covers(record) for other in others):
                    del self._records[at]

    def _look(self) -> None:
        """What must be so at any time, on disks that changed."""
        for device in self.devices:
            if self._looked_at.get(device.name) == device.changes:
                continue
            self._looked_at[device.name] = device.changes
            held = self._held_by(device)
            for data, head in held.data.items():
                _, known = self._records.setdefault(head.coordinate, (head, data))
                lied = self._is_lie(head)
                assert known == data or lied, f"two records at {head.coordinate}"
            # Who believes a liar has less than it thinks, until an audit finds that.
            trusting = self.network.faults is PEACE or not self.faults.withhold
            for record, _ in self._records.values() if trusting else ():
                claimed = held.frontier.get((record.device, record.incarnation), 0)
                there = held.covers(record) or self._was_deleted(held, record)
                assert record.sequence > claimed or there, (
                    f"{device.name}'s frontier claims {record.coordinate}, which is not there"
                )

    def _is_lie(self, record: Record) -> bool:
        """Whether it is of a liar's making. Only a liar who may write has any, under its own name;
        what a reader writes nobody keeps."""
        of_liar = self._mendacious >= 0 and (
            record.device == self.devices[self._mendacious].identity.device
        )
        assert not (of_liar and self._lets_read), "a version of a reader"
        lied = record.incarnation == FORGED_INCARNATION
        assert of_liar or not lied, "a version that somebody else made in a member's name"
        return lied

    def _was_deleted(self, held: Held, record: Record) -> bool:
        """Whether some tombstone dominates this, or is this, and nothing else that is there."""
        heads = held.heads.get(record.item, ())
        tombstones = [
            other
            for device in self.devices
            for other in device.tombstones
            if other.item == record.item
        ]
        return any(
            (other.dominates(record) or other == record) and not any(map(other.dominates, heads))
            for other in tombstones
        )

    def _held_by(self, device: WholeDevice) -> Held:
        known = self._held.get(device.name)
        if known is None or known[0] != device.changes:
            known = self._held[device.name] = (device.changes, held_by(device))
        return known[1]

    def _start(self, device: WholeDevice) -> None:
        if not device.awake:
            self.agenda.note(f"{device.name} is back")
            device.start()

    # --- and then -------------------------------------------------------------------------------

    def _calm(self) -> None:
        """No more faults. All has to come to an end, and to the same one."""
        self.agenda.note("from here on, all is well")
        self.network.faults = PEACE
        for device in self.devices:
            device.be_well()
        self.agenda.run_until(self.agenda.now + 2 * DOWN_SECONDS_MAX)
        self.network.heal()
        self.agenda.run_until(self.agenda.now + SETTLE_SECONDS)
        self._until(self._is_even)
        for device in self.devices:
            self.programs.read_everything(device, self._is_honestly_held)
        # What was read is saved a moment later.
        self.agenda.run_until(self.agenda.now + SETTLE_SECONDS)
        self._until(self._is_even)
        self._until(self._knows_holders)
        self._check()
        assert self._knows_holders(), "somebody knows other holders than there are"

    def _until(self, condition: Callable[[], bool]) -> None:
        end = self.agenda.now + CALM_SECONDS_MAX
        while self.agenda.now < end and not condition():
            self.network.heal()
            self.agenda.run_until(self.agenda.now + CALM_STEP_SECONDS)

    def _is_honestly_held(self, row: Shown) -> bool:
        """Whether somebody has all of it who did not lie: of who sent false bytes nobody asks for
        more."""
        return any(
            device.node is not None
            and row.content is not None
            and device.node.state.contents.local_bytes(row.content) == row.size
            for number, device in enumerate(self.devices)
            if number != self._mendacious
        )

    def _is_even(self) -> bool:
        """Whether nothing waits to be published, and all hold the same."""
        if not all(map(_is_idle, self.devices)):
            return False
        held = [self._held_by(device) for device in self.devices]
        return all((h.frontier, h.alive) == (held[0].frontier, held[0].alive) for h in held)

    def _knows_holders(self) -> bool:
        """Whether everybody knows what everybody holds, and that is what they do hold."""
        told = {device.identity.device: holdings_of(device) for device in self.devices}
        return all(
            known.get(other, ()) == theirs.get(OURS, ())
            for device, known in told.items()
            for other, theirs in told.items()
            if other != device
        )

    def _check(self) -> None:
        held = [self._held_by(device) for device in self.devices]
        first = held[0]
        for each in held:
            assert each.alive == first.alive, f"{each.name} and {first.name} have other heads"
            assert each.frontier == first.frontier, f"{each.name} and {first.name} know less"
            assert each.shown == first.shown, f"{each.name} and {first.name} show other things"
        self._check_bytes(first)
        self._check_astray(first)
        for device in self.devices:
            check_holdings(device)

    def _check_astray(self, held: Held) -> None:
        """Of whom two records are kept under one number, everybody knows that it went astray."""
        numbers = Counter(record.coordinate for record in held.data.values())
        twice = {(at.device, at.incarnation) for at, count in numbers.items() if count > 1}
        for device in self.devices:
            assert device.node is not None, "everybody is awake"
            closed = device.node.replica_named(SPACE_NAME).roster.closed
            assert twice <= closed.keys(), f"{device.name} does not know who went astray"

    def _check_bytes(self, held: Held) -> None:
        promises = self.programs.promises
        there = {row.content for row in held.view}
        for device in self.devices:
            there |= self._kept_aside(device) | device.set_aside
        for content, who in promises.saved.items():
            kept = content in there or content in promises.given_up or who in self._restored
            assert kept, f"{content.hex()[:8]}, which {who} saved, is lost"

    def _kept_aside(self, device: WholeDevice) -> set[ContentId]:
        """What is in files with the names of programs' own temporary files."""
        assert device.node is not None, "everybody is awake"
        drafts = [d for d in device.node.core._overlay.drafts() if d.temporary]
        bytes_there = [draft.bytes.path.read_bytes() for draft in drafts]
        known = self.programs.promises.bytes
        kept = {content for content, data in known.items() if data in bytes_there}
        # Of a ghost that was set aside, the bytes are fetched when somebody is there. Others keep
        # them for days; but nothing is kept for so long in here.
        parked = [p.entry for p in device.node.core._overlay.all_parked() if p.taken]
        return kept | {row.content for row in parked if row.content and row.local < row.size}


def _coordinates(held: Held) -> set[Coordinate]:
    return {record.coordinate for record in held.data.values()}


def _is_idle(device: WholeDevice) -> bool:
    """Whether all that was to be published is."""
    node = device.node
    if node is None or node.desk.publication._unfinished:
        return False
    return all(draft.temporary for draft in node.core._overlay.drafts())


def held_by(device: WholeDevice) -> Held:
    """What is in a device's database."""
    connection = connect_reader(device.home.database_file)
    try:
        records = [data for (data,) in connection.execute("SELECT data FROM record")]
        entries = connection.execute(
            "SELECT device, incarnation, sequence FROM frontier WHERE sequence > 0"
        )
        frontier: Frontier = {(d, i): s for d, i, s in entries}
        rows = [shown_of(row) for row in connection.execute(SELECT_ROWS)]
    finally:
        connection.close()
    heads: dict[ItemId, list[Record]] = {}
    data = {}
    for encoded in records:
        record = decode_record(encoded)
        heads.setdefault(record.item, []).append(record)
        data[encoded] = record
    view = [msgspec.structs.replace(row, ino=0, local=0) for row in rows if row.item != ROOT]
    return Held(
        device.name,
        device.identity.device,
        frontier,
        heads,
        data,
        in_order(view),
    )


def holdings_of(device: WholeDevice) -> dict[bytes, tuple[Any, ...]]:
    """What a device knows that each device holds; its own under no name."""
    with closing(connect_reader(device.home.database_file)) as connection:
        rows = connection.execute(
            "SELECT device, author, incarnation, partial, first, last FROM holder JOIN held"
            " ON holder = number ORDER BY device, author, incarnation, partial, first"
        ).fetchall()
    told: dict[bytes, list[Any]] = {}
    for holder, *interval in rows:
        told.setdefault(holder, []).append(tuple(interval))
    return {holder: tuple(intervals) for holder, intervals in told.items()}


def check_holdings(device: WholeDevice) -> None:
    """What a device says that it holds, whole or in part, is what is there, and is all of it."""
    told = (
        "EXISTS (SELECT 1 FROM holder JOIN held ON holder = number WHERE holder.device = x''"
        " AND author = entry.device AND holder.incarnation = entry.incarnation"
        " AND partial = {} AND sequence BETWEEN first AND last)"
    )
    with closing(connect_reader(device.home.database_file)) as connection:
        wrong = connection.execute(
            "SELECT * FROM (SELECT sequence, content.local AS here, content.size AS size,"
            f" {told.format(0)} AS whole, {told.format(1)} AS some FROM entry LEFT JOIN content"
            " ON id = entry.content WHERE entry.content IS NOT NULL)"
            " WHERE whole <> coalesce(here = size, 0)"
            " OR some <> coalesce(here BETWEEN 1 AND size - 1, 0)"
        ).fetchall()
    assert not wrong, f"{device.name} says other than that it holds: {wrong}"


def _done(_: object) -> None:
    """For what is called for its effects."""
