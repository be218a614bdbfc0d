"""What does a node answer to people and programs, apart from the mount?

Implements `sharefs.web.ports.Node`. From any thread but the loop.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath

import sharefs
from sharefs.errors import NoConflict, NoSuchEntry, NotInASpace, SharefsError, UserError
from sharefs.node.choosing import Choosing
from sharefs.node.conflicts import LOSER, WINNER, version_name
from sharefs.node.events import ConflictChanged, Happening, Queue, WentAstray
from sharefs.node.node import Node
from sharefs.node.options import NodeOptions
from sharefs.node.replica import Replica
from sharefs.node.reports import (
    AstrayEvent,
    ConflictEvent,
    ConflictReport,
    Event,
    FetchProgress,
    FreeReport,
    LostEvent,
    MemberReport,
    OrderReport,
    PeerReport,
    PinReport,
    ResolveReport,
    SettingReport,
    SettledEvent,
    SpaceReport,
    StatusReport,
    TransferReport,
    TransferVerb,
    VersionReport,
)
from sharefs.node.travelling import Travelling
from sharefs.records.entry import EntryType
from sharefs.records.ids import ItemId, creator_of
from sharefs.records.shown import Shown
from sharefs.spaces.ticket import read_ticket
from sharefs.store.home import Home


class Service:
    """A node and what it tells."""

    def __init__(self, home: Home, options: NodeOptions) -> None:
        self._node = Node(home, options)
        self._travelling = Travelling(self._node, self.path, self.entries_at, self.files_at)
        self._choosing = Choosing(self._node, self.entries_at, self.path)

    def start(self) -> None:
        """Returns when the mount serves. Raises UserErrors."""
        self._node.start()
        self._choosing.forget_gone()

    def wait(self) -> None:
        """Returns when the node is to go down."""
        self._node.wait()

    def stop(self) -> None:
        """Ask it to; returns at once."""
        self._node.stop()

    def close(self) -> None:
        """Unmount and end."""
        self._node.close()

    # --- spaces ---------------------------------------------------------------------------------

    def status(self) -> StatusReport:
        node = self._node
        certificate = node.state.identity.certificate

        def ask() -> tuple[int, list[str], int]:
            transfers = len(node.carriage.snapshot())
            return len(node.peers.online()), [*node.state.notices, *self._of_conflicts()], transfers

        online, notices, transfers = node.loop.ask(ask)
        address = node.state.address
        return StatusReport(
            version=sharefs.__version__,
            person=certificate.person_name,
            device=certificate.device_name,
            home=str(node.home.directory),
            mount=str(node.mount_point),
            listening=f"{address.host}:{address.port}",
            pid=os.getpid(),
            spaces=self.spaces(),
            peers_online=online,
            transfers=transfers,
            notices=notices,
        )

    def _of_conflicts(self) -> list[str]:
        """Whom a conflict concerns, who made the entry or one of its versions, is told of it."""
        node = self._node
        counts = [r.shelf.count_contested(node.state.me) for r in node.state.replicas.values()]
        concerned = sum(count for _, count in counts)
        if concerned == 0:
            return []
        what = "1 conflict concerns" if concerned == 1 else f"{concerned} conflicts concern"
        return [f"{what} you: `sharefs conflicts` lists versions, `sharefs resolve` chooses."]

    def create_space(self, name: str) -> SpaceReport:
        replica = self._node.loop.call(lambda: self._node.admission.create(name))
        return self._node.loop.ask(lambda: self._space_report(replica))

    def join(self, text: str) -> SpaceReport:
        replica = self._node.admission.join(read_ticket(text))
        return self._node.loop.ask(lambda: self._space_report(replica))

    def invite(self, space: str, role: str, expires_s: float) -> str:
        node = self._node
        return node.loop.call(
            lambda: node.admission.invite(node.replica_named(space), role, expires_s)
        )

    def spaces(self) -> list[SpaceReport]:
        node = self._node
        return node.loop.ask(
            lambda: [
                self._space_report(node.state.replicas[row.id])
                for row in node.state.ledger.spaces()
            ]
        )

    def _space_report(self, replica: Replica) -> SpaceReport:
        node = self._node
        name = node.name_of(replica)
        members = replica.roster.members.values()
        count, size, local = replica.shelf.totals()
        me = replica.roster.member_of(node.state.me)
        return SpaceReport(
            id=replica.id.hex(),
            name=name,
            role=me.role.value if me else "none",
            members=len(members),
            online=sum(any(map(node.peers.is_online, m.devices)) for m in members),
            entries=count,
            bytes=size,
            local_bytes=local,
            path=str(node.mount_point / name),
            conflicts=replica.shelf.count_contested(node.state.me)[0],
        )

    def members(self, space: str) -> list[MemberReport]:
        return self._node.loop.ask(lambda: self._members(self._node.replica_named(space)))

    def _members(self, replica: Replica) -> list[MemberReport]:
        node = self._node
        reports = []
        for member in replica.roster.members.values():
            online = any(map(node.peers.is_online, member.devices))
            seen = [node.state.ledger.last_seen(device) for device in member.devices]
            reports.append(
                MemberReport(
                    name=member.label,
                    role=member.role.value,
                    online=online,
                    me=node.state.me in member.devices,
                    last_seen=time.time() if online else max(filter(None, seen), default=None),
                    id=member.person.hex(),
                    astray=any(device in member.devices for device, _ in replica.roster.closed),
                )
            )
        return reports

    def peers(self) -> list[PeerReport]:
        return self._node.loop.ask(self._node.acquaintances.report)

    def settings(self) -> list[SettingReport]:
        return self._choosing.all()

    def set_setting(
        self, name: str, value: str, space: str, peer: str, path: str, hours: str
    ) -> list[SettingReport]:
        return self._choosing.choose(name, value, space, peer, path, hours)

    # --- conflicts ------------------------------------------------------------------------------

    def conflicts(self, space: str | None) -> list[ConflictReport]:
        return self._node.loop.ask(lambda: self._conflicts(space))

    def _conflicts(self, space: str | None) -> list[ConflictReport]:
        node = self._node
        all_of_them = [node.state.replicas[row.id] for row in node.state.ledger.spaces()]
        replicas = all_of_them if space is None else [node.replica_named(space)]
        reports = [
            self._conflict(replica, item)
            for replica in replicas
            for item in replica.shelf.contested()
        ]
        return sorted(reports, key=lambda report: (report.space, report.path))

    def _conflict(self, replica: Replica, item: ItemId) -> ConflictReport:
        """In the loop."""
        winner = replica.shelf.winner(item)
        assert winner is not None, "a loser lost to a winner"
        rows = [
            winner,
            *sorted(
                replica.shelf.losers(item), key=lambda row: (row.stamp, row.version), reverse=True
            ),
        ]
        versions = [self._version(replica, row) for row in rows]
        me = self._node.state.me
        return ConflictReport(
            space=self._node.name_of(replica),
            item=item.hex(),
            path=str(self.path(winner)),
            mine=creator_of(item) == me or any(row.version.device == me for row in rows),
            versions=versions,
        )

    def _version(self, replica: Replica, row: Shown) -> VersionReport:
        local = self._node.state.contents.local_bytes(row.content) if row.content else 0
        return VersionReport(
            version=version_name(row.version),
            kept=LOSER if row.loser else WINNER,
            writer=replica.roster.label(row.version.device),
            written=row.stamp / 1000,
            size=row.size,
            local_bytes=local,
            deleted=row.deleted,
            path=str(self.path(row)) if row.live else "",
        )

    def resolve(self, path: str, keep: str) -> ResolveReport:
        rows: list[Shown] = []
        with suppress(NoSuchEntry):
            rows = self.entries_at(path)
        row = self._node.loop.call(lambda: self._in_conflict(rows, os.path.normpath(path)))
        replica = self._node.desk.replica(row.space)
        items = self._node.desk.resolve(row.ino, keep)
        kept = self._node.loop.call(lambda: replica.shelf.winners(items))
        return ResolveReport([str(self.path(kept[item])) for item in items if kept[item].live])

    def _in_conflict(self, rows: list[Shown], path: str) -> Shown:
        """In the loop: what is there, or the delete of what was, if that has other versions.
        Raises NoSuchEntry, NoConflict."""
        for replica in self._node.state.replicas.values():
            for row in rows:
                if row.space == replica.number and replica.shelf.losers(row.item):
                    return row
            for row in replica.shelf.winners(replica.shelf.contested()).values():
                if row.deleted and str(self.path(row)) == path:
                    return row
        if not rows:
            raise NoSuchEntry(
                f"There is nothing at {path}: `sharefs conflicts` lists what can be resolved."
            )
        raise NoConflict(f"{path} has one version: `sharefs conflicts` lists what has more.")

    def listen(self, wake: Callable[[], None]) -> "Listener":
        return Listener(self, self._node, self._node.events.listen(wake))

    def events(self, happened: list[Happening]) -> list[Event]:
        """In the loop: what is to be told of what happened."""
        told = (self._event(happening) for happening in happened)
        return [event for event in told if event is not None]

    def _event(self, happening: Happening) -> Event | None:
        if not isinstance(happening, ConflictChanged | WentAstray):
            return self._travelling.event(happening)
        replica = self._node.state.replicas.get(happening.space)
        if replica is None:
            return None
        if isinstance(happening, WentAstray):
            roster, device = replica.roster, happening.device
            name, ours = roster.devices[device].device_name, device == self._node.state.me
            return AstrayEvent(roster.name, roster.label(device), name, ours)
        if replica.shelf.losers(happening.item):
            return ConflictEvent(self._conflict(replica, happening.item))
        return SettledEvent(self._node.name_of(replica), happening.item.hex())

    # --- bytes ----------------------------------------------------------------------------------

    def transfers(self) -> list[TransferReport]:
        return self._travelling.all()

    def order(self, verb: TransferVerb, paths: list[str]) -> OrderReport:
        return self._travelling.order(verb, paths)

    def path(self, row: Shown) -> PurePath:
        """Where an entry is in the mount; of a deleted one, where it was."""
        desk, state = self._node.desk, self._node.state
        space = next((f.name for f in desk.spaces() if f.space == row.space), "")
        folder = state.view.entry(desk.folder(row)) if row.deleted and not row.shown else None
        where = state.path_of(row) if folder is None else state.path_of(folder) / row.name
        return PurePath(self._node.mount_point, space, where)

    def entries_at(self, path: str) -> list[Shown]:
        """The entry at a path of the mount, or all spaces' top entries at its root.

        Raises NotInASpace, NoSuchEntry.
        """
        desk = self._node.desk
        absolute = Path(os.path.normpath(path))
        if not absolute.is_relative_to(self._node.mount_point):
            raise NotInASpace(f"{path} is not in {self._node.mount_point}, where your spaces are.")
        parts = absolute.relative_to(self._node.mount_point).parts
        folders = [f for f in desk.spaces() if not parts or f.name == parts[0]]
        found = [row for f in folders if (row := desk.entry(f.ino)) is not None]
        for name in parts[1:]:
            found = [row for at in found if (row := desk.lookup(at.ino, name)) is not None]
        if not found and parts:
            raise NoSuchEntry(f"There is nothing at {path}.")
        return found

    def files_at(self, path: str) -> Iterator[Shown]:
        """Every file at or below a path. Raises as `entries_at`."""
        waiting = self.entries_at(path)
        while waiting:
            row = waiting.pop()
            if row.type is EntryType.FOLDER:
                waiting += self._node.desk.children(row.ino)
            elif row.type is EntryType.FILE:
                yield row

    def fetch(self, paths: list[str], ended: Callable[[], None]) -> "FetchJob":
        rows = [row for path in paths for row in self.files_at(path)]
        job = FetchJob(self, self._node, rows, ended)
        job.begin()
        return job

    def free(self, paths: list[str]) -> FreeReport:
        rows = [row for path in paths for row in self.files_at(path)]
        freed = self._node.freeing.free(rows)
        refused = [(str(self.path(row)), str(error)) for row, error in freed.refused]
        return FreeReport(freed.files, freed.bytes, refused)

    def pin(self, paths: list[str], on: bool) -> PinReport:
        rows = [row for path in paths for row in self.entries_at(path)]
        files = [row for path in paths for row in self.files_at(path)]
        pins = self._node.pins
        if not on:
            files = [row for row in files if pins.is_pinned(row)]
        changed = self._node.loop.call(lambda: pins.pin(rows, on=on))
        here = self._node.state.contents.local_bytes
        size = local = 0
        refused = []
        for row in files:
            held = row.size if row.content is None else here(row.content)
            hindrance = self._node.carriage.hindrance(row) if on and held < row.size else None
            if hindrance is not None:
                refused.append((str(self.path(row)), str(hindrance)))
            else:
                size, local = size + row.size, local + held
        return PinReport(len(files), size, local, refused, changed)


class Listener:
    """One who hears of what happens."""

    def __init__(self, service: Service, node: Node, queue: Queue) -> None:
        self._service = service
        self._node = node
        self._queue = queue

    def take(self) -> list[Event]:
        """What happened since the last time, as it is now."""
        happened, lost = self._queue.take()
        events: list[Event] = [LostEvent(lost)] if lost else []
        if happened:
            events += self._node.loop.call(lambda: self._service.events(happened))
        return events

    def close(self) -> None:
        """Hear no more."""
        self._node.events.leave(self._queue)


class FetchJob:
    """A fetch under way; what arrived stays when it is cancelled."""

    def __init__(
        self, service: Service, node: Node, rows: list[Shown], ended: Callable[[], None]
    ) -> None:
        self._service = service
        self._node = node
        self._lock = threading.Lock()
        self._rows = rows
        self._size = sum(row.size for row in rows)
        self._tell_ended = ended
        self._waiting: dict[int, Shown] = {}
        self._files_done = 0
        self._bytes_done = 0
        self._failures: list[tuple[str, str]] = []
        self._began = self._ended = time.monotonic()
        self._fetched = 0

    def begin(self) -> None:
        """Want all of it."""
        wanted = []
        contents = self._node.state.contents
        for row in self._rows:
            here = contents.local_bytes(row.content) if row.content else row.size
            if here >= row.size:
                self._files_done += 1
                self._bytes_done += row.size
            else:
                wanted.append(row)
        for row in wanted:
            if row.content is not None:
                # What an unclean stop left in doubt is verified here, and not in the loop.
                contents.open(row.content, row.size)
            waiter = self._node.carriage.new_waiter()
            self._waiting[waiter] = row
        self._node.loop.call(self._want_all)

    def _want_all(self) -> None:
        for waiter, row in list(self._waiting.items()):
            try:
                self._node.carriage.fetch(waiter, row, self._done)
            except UserError as error:
                self._done(waiter, error)

    def _done(self, waiter: int, error: SharefsError | None) -> None:
        with self._lock:
            row = self._waiting.pop(waiter, None)
            if row is None:
                return
            if error is None:
                self._files_done += 1
                self._bytes_done += row.size
                self._fetched += row.size
            else:
                self._failures.append((str(self._service.path(row)), str(error)))
            if self._waiting:
                return
            self._ended = time.monotonic()
        self._tell_ended()

    def progress(self) -> FetchProgress:
        """How far it is."""
        snapshot = {p.content: p for p in self._node.loop.call(self._node.carriage.snapshot)}
        with self._lock:
            under_way = sum(
                snapshot[row.content].done
                for row in self._waiting.values()
                if row.content in snapshot
            )
            finished = not self._waiting
            until = self._ended if finished else time.monotonic()
            return FetchProgress(
                files=len(self._rows),
                files_done=self._files_done,
                bytes=self._size,
                bytes_done=self._bytes_done + under_way,
                bytes_per_second=(self._fetched + under_way) / max(until - self._began, 0.001),
                finished=finished,
                failures=list(self._failures),
                files_paused=sum(
                    row.content in snapshot and snapshot[row.content].state == "paused"
                    for row in self._waiting.values()
                ),
            )

    def cancel(self) -> None:
        """Returns at once."""
        with self._lock:
            waiting, self._waiting = dict(self._waiting), {}
            self._ended = time.monotonic()
        for waiter in waiting:
            self._node.loop.post(partial(self._node.carriage.unwant, waiter))
