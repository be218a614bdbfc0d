"""What does the local API need from the node?

`node` offers it, and `sharefs.web.fake` in memory. All of it may be called from any thread, may
wait for the node's loop, and raises the UserErrors of `sharefs.errors`.
"""

from collections.abc import Callable
from typing import Protocol

from sharefs.node.reports import (
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
    SpaceReport,
    StatusReport,
    TransferReport,
    TransferVerb,
)


class FetchJob(Protocol):
    """A fetch under way."""

    def progress(self) -> FetchProgress: ...

    def cancel(self) -> None:
        """Returns at once, and does nothing to a fetch that has finished. What arrived stays."""
        ...


class Listener(Protocol):
    """One who hears of what happens."""

    def take(self) -> list[Event]:
        """What happened since the last time; at most some hundreds, and a LostEvent first if there
        was more."""
        ...

    def close(self) -> None: ...


class Node(Protocol):
    """What programs may ask of the node."""

    def status(self) -> StatusReport: ...

    def create_space(self, name: str) -> SpaceReport: ...

    def invite(self, space: str, role: str, expires_s: float) -> str:
        """The text of a new ticket."""
        ...

    def join(self, text: str) -> SpaceReport:
        """Redeem a ticket's text. Waits for a member to answer."""
        ...

    def spaces(self) -> list[SpaceReport]: ...

    def members(self, space: str) -> list[MemberReport]: ...

    def peers(self) -> list[PeerReport]:
        """The devices of all members, but for this one."""
        ...

    def transfers(self) -> list[TransferReport]: ...

    def order(self, verb: TransferVerb, paths: list[str]) -> OrderReport:
        """Pause, resume, cancel or reject what is at these absolute paths; all, if there are
        none."""
        ...

    def conflicts(self, space: str | None) -> list[ConflictReport]:
        """Of one space, or of all."""
        ...

    def resolve(self, path: str, keep: str) -> ResolveReport:
        """Settle for everybody the conflict that the entry at this absolute path is part of."""
        ...

    def settings(self) -> list[SettingReport]:
        """All that can be chosen, and is."""
        ...

    def set_setting(
        self, name: str, value: str, space: str, peer: str, path: str, hours: str
    ) -> list[SettingReport]:
        """Choose, for everything or for what is not empty; what is chosen of that setting then."""
        ...

    def listen(self, wake: Callable[[], None]) -> Listener:
        """Hear of what happens from now on; `wake` is called, from another thread, when there is
        something to take."""
        ...

    def fetch(self, paths: list[str], ended: Callable[[], None]) -> FetchJob:
        """Make the entries at these absolute paths local. `ended` is called, from any thread, when
        the job has finished."""
        ...

    def free(self, paths: list[str]) -> FreeReport:
        """Make the entries at these absolute paths ghosts."""
        ...

    def pin(self, paths: list[str], on: bool) -> PinReport:
        """Have the entries at these absolute paths here always; or, with `on` False, no more."""
        ...

    def stop(self) -> None:
        """Ask the node to go down. Returns at once."""
        ...
