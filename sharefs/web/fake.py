"""How does a node look to those above it? In memory, for their tests.

It follows the node's promises (one name is one space, a ticket works once, nobody frees a last
copy) and does what `fails_with` says where a test wants a failure.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sharefs.errors import LastCopy, NoConflict, NoSuchSpace, TicketNotValid
from sharefs.node import settings
from sharefs.node.reports import (
    ConflictEvent,
    ConflictReport,
    Event,
    FetchProgress,
    FreeReport,
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
    TransferSource,
    TransferVerb,
    VersionReport,
)

FILE_SIZE_BYTES = 1_000_000


@dataclass
class FakeFetchJob:
    """A fetch that is one file further each time it is asked, or never ends when `endless`."""

    files: int
    endless: bool
    failures: list[tuple[str, str]]
    ended: Callable[[], None]
    paused: int = 0
    done: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def progress(self) -> FetchProgress:
        if not self.endless:
            self.done = min(self.files, self.done + 1)
        return FetchProgress(
            self.files,
            self.done,
            self.files * FILE_SIZE_BYTES,
            self.done * FILE_SIZE_BYTES,
            2.5e6,
            self.done == self.files,
            self.failures,
            self.paused,
        )

    def finish(self) -> None:
        self.done = self.files
        self.ended()

    def cancel(self) -> None:
        self.cancelled.set()


@dataclass
class FakeListener:
    """Hears what a test puts into `waiting`."""

    wake: Callable[[], None]
    waiting: list[Event] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def put(self, event: Event) -> None:
        self.waiting.append(event)
        self.wake()

    def take(self) -> list[Event]:
        taken, self.waiting = self.waiting, []
        return taken

    def close(self) -> None:
        self.closed.set()


@dataclass
class FakeNode:
    """A node without files, peers or a mount."""

    mount: str = "/home/anna/My Shared Spaces"
    pid: int = 4711
    fails_with: Exception | None = None
    """Raised by every method but `stop`."""
    endless_fetches: bool = False
    names: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    jobs: list[FakeFetchJob] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    files_paused: int = 0
    fetch_failures: list[tuple[str, str]] = field(default_factory=list)
    last_copies: set[str] = field(default_factory=set)
    contested: list[ConflictReport] = field(default_factory=list)
    chosen: list[SettingReport] = field(default_factory=list)
    known_peers: list[PeerReport] = field(default_factory=list)
    listeners: list[FakeListener] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    """The arguments of each invitation, resolve, fetch and free."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._fail()

    def wait(self) -> None:
        self.stopped.wait()

    def close(self) -> None:
        self.stopped.set()

    def stop(self) -> None:
        self.stopped.set()

    def status(self) -> StatusReport:
        self._fail()
        return StatusReport(
            version="0.1.0",
            person="Anna",
            device="laptop",
            home="/home/anna/.sharefs",
            mount=self.mount,
            listening="127.0.0.1:4000",
            pid=self.pid,
            spaces=self.spaces(),
            peers_online=1,
            transfers=1,
            notices=self.notices,
        )

    def create_space(self, name: str) -> SpaceReport:
        self._fail()
        self.names.append(name)
        return self.spaces()[-1]

    def invite(self, space: str, role: str, expires_s: float) -> str:
        self._fail()
        self._check_space(space)
        self.asked.append((space, role, str(expires_s)))
        self.tickets.append(f"sharefs1ticket{len(self.tickets)}")
        return self.tickets[-1]

    def join(self, text: str) -> SpaceReport:
        self._fail()
        if text not in self.tickets:
            raise TicketNotValid("The ticket was used before: ask for a new one.")
        self.tickets.remove(text)
        self.names.append(f"Joined by {text}")
        return self.spaces()[-1]

    def spaces(self) -> list[SpaceReport]:
        self._fail()
        return [
            SpaceReport(
                id=f"{number:064x}",
                name=name,
                role="owner",
                members=2,
                online=1,
                entries=12,
                bytes=3 * FILE_SIZE_BYTES,
                local_bytes=FILE_SIZE_BYTES,
                path=f"{self.mount}/{name}",
            )
            for number, name in enumerate(self.names)
        ]

    def members(self, space: str) -> list[MemberReport]:
        self._fail()
        self._check_space(space)
        return [
            MemberReport("Anna", "owner", True, True, None, "00" * 16),
            MemberReport("Bob", "reader", False, False, 1_700_000_000.0, "01" * 16),
        ]

    def peers(self) -> list[PeerReport]:
        self._fail()
        return self.known_peers

    def transfers(self) -> list[TransferReport]:
        self._fail()
        sources = [TransferSource("Bob", 600_000, 1e6), TransferSource("Carol", 150_000, 5e5)]
        return [
            TransferReport(
                path=f"{self.mount}/Family/film.mkv",
                direction="in",
                size=FILE_SIZE_BYTES,
                done=750_000,
                bytes_per_second=1.5e6,
                sources=sources,
                state="fetching",
            )
        ]

    def order(self, verb: TransferVerb, paths: list[str]) -> OrderReport:
        self._fail()
        self.asked.append((verb, *paths))
        return OrderReport(len(paths))

    def conflicts(self, space: str | None) -> list[ConflictReport]:
        self._fail()
        if space is not None:
            self._check_space(space)
        return [report for report in self.contested if space in (None, report.space)]

    def resolve(self, path: str, keep: str) -> ResolveReport:
        self._fail()
        self.asked.append((path, keep))
        for report in self.contested:
            if path in [version.path for version in report.versions]:
                self.contested.remove(report)
                for listener in self.listeners:
                    listener.put(SettledEvent(report.space, report.item))
                return ResolveReport([report.path])
        raise NoConflict(f"{path} has one version.")

    def settings(self) -> list[SettingReport]:
        self._fail()
        plain = [
            SettingReport(s.name, s.default, s.default, "", "", "", "", s.help, s.allowed)
            for s in settings.ALL
        ]
        return plain + self.chosen

    def set_setting(
        self, name: str, value: str, space: str, peer: str, path: str, hours: str
    ) -> list[SettingReport]:
        self._fail()
        setting = settings.setting_named(name)
        settings.parse(setting, value)
        made = SettingReport(
            name, value, setting.default, space, peer, path, hours, setting.help, setting.allowed
        )
        self.chosen.append(made)
        return [made]

    def listen(self, wake: Callable[[], None]) -> FakeListener:
        self._fail()
        self.listeners.append(FakeListener(wake))
        return self.listeners[-1]

    def fetch(self, paths: list[str], ended: Callable[[], None]) -> FakeFetchJob:
        self._fail()
        self.asked.append(tuple(paths))
        job = FakeFetchJob(
            len(paths), self.endless_fetches, self.fetch_failures, ended, self.files_paused
        )
        self.jobs.append(job)
        return job

    def free(self, paths: list[str]) -> FreeReport:
        self._fail()
        self.asked.append(tuple(paths))
        freed = [path for path in paths if path not in self.last_copies]
        sentence = str(LastCopy("Nobody else is known to have all of it."))
        refused = [(path, sentence) for path in paths if path in self.last_copies]
        return FreeReport(len(freed), len(freed) * FILE_SIZE_BYTES, refused)

    def pin(self, paths: list[str], on: bool) -> PinReport:
        self._fail()
        self.asked.append((*paths, "pin" if on else "unpin"))
        return PinReport(len(paths), len(paths) * FILE_SIZE_BYTES, FILE_SIZE_BYTES)

    def fall_out(self, space: str) -> ConflictReport:
        """Two versions of one file come to be."""
        path = f"{self.mount}/{space}/plan.odt"
        other = f"{self.mount}/{space}/plan (conflict, Bob, 2026-11-20 14.03).odt"
        versions = [
            VersionReport("aaaaaaaaaaaa", "winner", "Anna", 1.7e9, 1200, 1200, False, path),
            VersionReport("bbbbbbbbbbbb", "loser", "Bob", 1.6e9, 1100, 0, False, other),
        ]
        report = ConflictReport(space, "07" * 24, path, True, versions)
        self.contested.append(report)
        for listener in self.listeners:
            listener.put(ConflictEvent(report))
        return report

    def _check_space(self, name: str) -> None:
        if name not in self.names:
            raise NoSuchSpace(f"There is no space called {name} here: `sharefs spaces` lists them.")

    def _fail(self) -> None:
        if self.fails_with is not None:
            raise self.fails_with
