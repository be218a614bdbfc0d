"""What does a node tell about itself? The shapes of the local API, and of every `--json`."""

from msgspec import Struct


class SpaceReport(Struct, frozen=True):
    """A space as its member sees it."""

    id: str
    name: str
    """As shown in the mount."""
    role: str
    members: int
    online: int
    """Members with a device online now, oneself included."""
    entries: int
    bytes: int
    local_bytes: int
    path: str


class MemberReport(Struct, frozen=True):
    """A person in a space. `last_seen` is seconds since 1970, None for never."""

    name: str
    role: str
    online: bool
    me: bool
    last_seen: float | None
    id: str


class TransferSource(Struct, frozen=True):
    """A device that bytes come from."""

    name: str
    bytes: int
    bytes_per_second: float


class TransferReport(Struct, frozen=True):
    """A content on its way, `direction` `in` or `out`."""

    path: str
    direction: str
    size: int
    done: int
    bytes_per_second: float
    sources: list[TransferSource]
    state: str
    """`asking`, `fetching`, `waiting` (nobody online has it) or `paused` (disk full)."""


class StatusReport(Struct, frozen=True):
    """The node at a glance. `notices` are sentences that the person should read."""

    version: str
    person: str
    device: str
    home: str
    mount: str
    listening: str
    pid: int
    spaces: list[SpaceReport]
    peers_online: int
    transfers: int
    notices: list[str]


class FetchProgress(Struct, frozen=True):
    """How far a `fetch` is. `failures` are (path, sentence) pairs."""

    files: int
    files_done: int
    bytes: int
    bytes_done: int
    bytes_per_second: float
    finished: bool
    failures: list[tuple[str, str]]


class FreeReport(Struct, frozen=True):
    """What a `free` did. `refused` are (path, sentence) pairs."""

    files: int
    bytes: int
    refused: list[tuple[str, str]]
