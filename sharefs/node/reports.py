"""What does a node tell about itself? The shapes of the local API, and of every `--json`."""

from enum import StrEnum

from msgspec import Struct

from sharefs.store.health.finding import Finding


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
    conflicts: int = 0
    """Entries with more than one version: `conflicts` lists them."""


class VersionReport(Struct, frozen=True):
    """One of the versions of an entry in conflict."""

    version: str
    """What `resolve` calls it."""
    kept: str
    """`winner` for the one that is shown under the entry's name, `loser` for the others."""
    writer: str
    written: float
    """Seconds since 1970."""
    size: int
    local_bytes: int
    deleted: bool
    """It is a delete, which won against an edit."""
    path: str
    """Where it can be read; empty for a delete."""


class ConflictReport(Struct, frozen=True):
    """An entry and its versions, the winner first."""

    space: str
    item: str
    path: str
    """Of the winner; where that is a delete, where it was."""
    mine: bool
    """Whether this person made the entry, or one of the versions."""
    versions: list[VersionReport]


class ResolveReport(Struct, frozen=True):
    """What a `resolve` did: where the versions are that were kept."""

    kept: list[str]


class ConflictEvent(Struct, frozen=True, tag="conflict"):
    """An entry is in conflict: its versions as they are now."""

    conflict: ConflictReport


class SettledEvent(Struct, frozen=True, tag="settled"):
    """An entry is in conflict no more."""

    space: str
    item: str


class TransferSource(Struct, frozen=True):
    """A device that bytes come from."""

    name: str
    bytes: int
    bytes_per_second: float


class TransferReport(Struct, frozen=True):
    """A content on its way, `direction` `in` or `out`; or what a person holds back."""

    path: str
    direction: str
    size: int
    done: int
    """Bytes that are here; or, of `out`, that went to one device lately."""
    bytes_per_second: float
    sources: list[TransferSource]
    """Where it comes from, or, of `out`, goes to."""
    state: str
    """`asking`, `fetching`, `streaming` (shown, and not kept), `waiting` (nobody online has it),
    `paused`, `rejected`, `all paused` or `all rejected` (what is in a folder), `sending`; and, of
    an event, `finished`, `failed`, `cancelled`, or `ended` (nobody waits for the rest)."""


class TransferVerb(StrEnum):
    """What a person can say of transfers."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    REJECT = "reject"


class OrderReport(Struct, frozen=True):
    """How many entries were paused, resumed or rejected, or transfers cancelled."""

    count: int
    rejected: int = 0
    """So many entries, named or in what was named, stay rejected nevertheless."""


class TransferEvent(Struct, frozen=True, tag="transfer"):
    """A transfer came on, or ended. Some of each a second are told of; `sentence` says why one
    failed."""

    transfer: TransferReport
    sentence: str = ""


class AstrayEvent(Struct, frozen=True, tag="astray"):
    """A member's device signed two versions under one number, as after its disk was copied;
    `status` says it in a sentence. `ours` if it is this node's."""

    space: str
    member: str
    device: str
    ours: bool


class LostEvent(Struct, frozen=True, tag="lost"):
    """The listener was too slow for so many events: look at the whole again."""

    events: int


Event = ConflictEvent | SettledEvent | AstrayEvent | TransferEvent | LostEvent


class MemberReport(Struct, frozen=True):
    """A person in a space. `last_seen` is seconds since 1970, None for never. `astray`: a device of
    theirs signed two versions under one number, as when its disk was copied."""

    name: str
    role: str
    online: bool
    me: bool
    last_seen: float | None
    id: str
    astray: bool = False


class PeerReport(Struct, frozen=True):
    """A member's device. What was not measured yet is None, or 0 for the rates."""

    member: str
    device: str
    id: str
    online: bool
    address: str
    """Where it was last seen, or is said to be; empty if that is not known."""
    near: str
    """`this machine`, `this network` or `elsewhere`, as its addresses look."""
    round_trip_s: float | None
    down_bytes_per_second: float
    """From it to us."""
    up_bytes_per_second: float
    online_share: float | None
    """Of the time in which this node was up; what is long past counts less, as for failures."""
    failures: int
    """How often it did not send what it should have, or sent something else."""
    last_seen: float | None
    """Seconds since 1970, None for never."""


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
    files_paused: int = 0
    """Those that wait for a `transfers resume`."""


class FreeReport(Struct, frozen=True):
    """What a `free` did. `refused` are (path, sentence) pairs."""

    files: int
    bytes: int
    refused: list[tuple[str, str]]


class SettingReport(Struct, frozen=True):
    """What is chosen for a setting: for everything, or for what is not empty here."""

    name: str
    value: str
    default: str
    space: str
    peer: str
    path: str
    hours: str
    help: str
    allowed: str
    """What a value may be."""


class PinReport(Struct, frozen=True):
    """What a `pin` or `unpin` is about. `refused` are (path, sentence) pairs."""

    files: int
    """All there; or, of `unpin`, those that were pinned."""
    bytes: int
    """Of those that are kept."""
    local_bytes: int
    """So much of that is here already."""
    refused: list[tuple[str, str]] = []
    """What does not come though it is pinned."""
    changed: bool = True
    """False where all was chosen so before."""


class DoctorReport(Struct, frozen=True):
    """What an examination of a home found."""

    home: str
    found: int
    mended: int
    findings: list[Finding]
    """The first of them."""
    remarks: list[str]
    """What is worth knowing, and is no damage."""

    @property
    def left(self) -> int:
        """Findings that still are as they were found."""
        return self.found - self.mended
