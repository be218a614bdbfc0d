"""What does the local API need from the node?

`node` offers it, and `sharefs.web.fake` in memory. All of it may be called from any thread, may
wait for the node's loop, and raises the UserErrors of `sharefs.errors`.
"""

from typing import Protocol

from sharefs.node.reports import (
    FetchProgress,
    FreeReport,
    MemberReport,
    SpaceReport,
    StatusReport,
    TransferReport,
)


class FetchJob(Protocol):
    """A fetch under way."""

    def progress(self) -> FetchProgress: ...

    def cancel(self) -> None:
        """Returns at once, and does nothing to a fetch that has finished. What arrived stays."""
        ...


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

    def transfers(self) -> list[TransferReport]: ...

    def fetch(self, paths: list[str]) -> FetchJob:
        """Make the entries at these absolute paths local."""
        ...

    def free(self, paths: list[str]) -> FreeReport:
        """Make the entries at these absolute paths ghosts."""
        ...

    def stop(self) -> None:
        """Ask the node to go down. Returns at once."""
        ...
