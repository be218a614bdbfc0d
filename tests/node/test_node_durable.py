"""An own record is durable before any peer can see it.

The disk is what it was when the database's log was last synced: whatever a power cut would leave.
Everything that is said to a peer is held against that. Planted bugs show that this would notice.
"""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sharefs.node import node
from sharefs.node.exchange import Exchange
from sharefs.node.replica import Replica
from sharefs.records.ids import DeviceId, PublicKey
from sharefs.store.database import Store
from sharefs.wire.audit import AskRecords, AskSums, Records, Span, Sums, Wanted
from sharefs.wire.message import Message, decode_message
from sharefs.wire.sync import Idle, Page, Pull, Push, Shipment, Summary
from tests.node.node_parties import Party, Raw, until


class SyncedDisk:
    """What the disk of a party surely has, and what its node said although the disk had it not.

    Syncs by the pool wait for `go_on`.
    """

    def __init__(self, party: Party, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._party = party
        self._folder = folder
        self._lock = threading.Lock()
        self.go_on = threading.Event()
        self.early: list[str] = []
        self.said: set[type] = set()
        store, sync = party.node.state.store, os.fdatasync
        durable, send = store.make_durable, party.node.state.mesh.send

        def waiting() -> None:
            if threading.current_thread().name.startswith("sharefs-pool"):
                assert self.go_on.wait(10.0)
            durable()

        def synced(descriptor: int) -> None:
            sync(descriptor)
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".db-wal"):
                self._keep()

        def heard(key: PublicKey, channel: int, frames: Sequence[bytes]) -> bool:
            self._hear(decode_message(frames[0]))
            return send(key, channel, frames)  # type: ignore[arg-type]

        # A checkpoint's own syncs can not be watched from here.
        monkeypatch.setattr(store, "checkpoint", lambda: None)
        monkeypatch.setattr(store, "make_durable", waiting)
        monkeypatch.setattr(os, "fdatasync", synced)
        party.node.loop.call(durable)
        monkeypatch.setattr(party.node.state.mesh, "send", heard)

    def _keep(self) -> None:
        with self._lock:
            self._folder.mkdir(exist_ok=True)
            for left in self._folder.iterdir():
                left.unlink()
            for name in ("sharefs.db", "sharefs.db-wal"):
                shutil.copy(self._party.home.data_folder / name, self._folder / name)

    def has(self) -> int:
        """The last of our sequence that a power cut would leave."""
        with self._lock, closing(sqlite3.connect(self._folder / "sharefs.db")) as connection:
            (last,) = connection.execute('SELECT max(last) FROM "commit"').fetchone()
            (following,) = connection.execute("SELECT next_sequence FROM space").fetchone()
        assert following > (last or 0)
        return last or 0

    def _hear(self, message: Message) -> None:
        self.said.add(type(message))
        told = told_by(message, self._party.device)
        if told > self.has():
            self.early.append(f"{type(message).__name__} tells of {told}")


def told_by(message: Message, device: DeviceId) -> int:
    """The last of a device's sequence that a message tells of."""
    shipments: tuple[Shipment, ...] = ()
    entries: tuple[tuple[DeviceId, bytes, int], ...] = ()
    match message:
        case Push():
            shipments = (message.shipment,)
        case Page():
            shipments, entries = message.shipments, message.frontier
        case Records():
            shipments = message.shipments
        case Summary():
            entries = message.frontier
        case _:
            pass
    told = [s.commit.last for s in shipments if s.commit.device == device]
    return max([0, *told, *(sequence for d, _, sequence in entries if d == device)])


def edit_and_be_asked(anna: Party, mallory: Raw, disk: SyncedDisk) -> None:
    """Every way in which a peer may see what was just written."""
    space = anna.replica().id
    # Who has not told how they stand is pushed nothing.
    mallory.say(Summary(space, anna.replica().roster.digest, (), bytes(32)))
    mallory.settle()
    anna.write("a.txt", b"a")
    mallory.settle()
    # Something else is news meanwhile, and we are asked how we stand.
    replica = anna.replica()
    anna.node.loop.call(lambda: anna.node.exchange.roster_grown(replica))
    mallory.say(Idle(space, bytes(16)))
    mallory.hears(Summary)
    mallory.settle()
    anna.write("b.txt", b"b")
    mallory.say(Pull(space, (), 0, 7))
    until(lambda: Page in disk.said)
    anna.write("c.txt", b"c")
    author = (anna.device, anna.replica().incarnation)
    mallory.say(AskSums(space, 1, (Span(*author, 0, 1),)))
    sums = mallory.hears(Sums)
    anna.write("d.txt", b"d")
    (listed,) = sums.spans
    wanted = tuple(Wanted(*author, at, digest) for at, digest in listed.records)  # type: ignore[union-attr]
    mallory.say(AskRecords(space, 1, wanted))
    mallory.hears(Records)
    disk.go_on.set()
    until(lambda: disk.early or len(mallory.heard(Push)) >= 4)
    until(lambda: disk.early or Summary in disk.said)


@pytest.fixture(autouse=True)
def roomy_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs that wait for the test take none of the threads that publish."""
    monkeypatch.setattr(node, "POOL_THREADS", 8)


@pytest.fixture
def disk(anna: Party, mallory: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyncedDisk:
    return SyncedDisk(anna, tmp_path / "disk", monkeypatch)


def test_no_peer_sees_what_the_disk_may_lose(anna: Party, mallory: Raw, disk: SyncedDisk) -> None:
    edit_and_be_asked(anna, mallory, disk)
    assert anna.alive
    assert not disk.early
    assert {Push, Page, Records, Summary} <= disk.said


def _push_at_once(exchange: Exchange) -> None:
    committed, exchange._committed = exchange._committed, []
    exchange._flushed(committed, exchange._marks())


def _believe(exchange: Exchange) -> bool:
    _push_at_once(exchange)
    return True


PLANTED: dict[str, tuple[type, str, Callable[..., object]]] = {
    "pushed at the commit": (Exchange, "_flush", _push_at_once),
    "asked for, and not synced first": (Exchange, "sync_now", _believe),
    "a frontier that tells of all that is committed": (
        Replica,
        "shown_frontier",
        lambda replica: replica._members_frontier(),
    ),
    "a log that is not synced": (Store, "disk_sync", lambda _: None),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_noticed(
    anna: Party, mallory: Raw, disk: SyncedDisk, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    where, name, what = PLANTED[bug]
    if where is Store:
        monkeypatch.setattr(os, "fdatasync", what)
    else:
        monkeypatch.setattr(where, name, what)
    edit_and_be_asked(anna, mallory, disk)
    assert disk.early
