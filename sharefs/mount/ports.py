"""What does the mount need from the rest of the house?

`node` implements these over store and loop; the tests implement them in memory. All of it may be
called from any thread. `View` never waits for the network or for the loop; `Changes` wait for the
loop; a `Reader` may wait for the network. All raise the UserErrors of `sharefs.errors`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sharefs.records.ids import ItemId
from sharefs.records.record import ContextEntry
from sharefs.records.shown import Shown

EVERY_BYTE = 2**63


@dataclass(frozen=True, slots=True)
class SpaceFolder:
    """A space as a folder of the mount's root."""

    ino: int
    space: int
    name: str
    writable: bool
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Base:
    """What a writer had seen of an item when it opened it: becomes the new version's context."""

    item: ItemId
    context: tuple[ContextEntry, ...]
    stamp: int
    created: int
    loser: bool = False
    """It was a conflict's loser: what is written over it becomes an entry of its own."""


class DraftBytes(Protocol):
    """A file that is being written. Invariant: it is open whenever it is used.

    Reading and writing may raise LocalDamage, and OSError.
    """

    @property
    def path(self) -> Path: ...

    @property
    def size(self) -> int: ...

    def open(self) -> None:
        """Again, after `close`."""
        ...

    def close(self) -> None:
        """Spare a descriptor."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """As pread."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """As pwrite, of everything."""
        ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None: ...

    def finish(self, executable: bool) -> None:
        """Its last writer closed it: a restarted node would publish it."""
        ...

    def resume(self) -> None:
        """It is written again."""
        ...

    def discard(self) -> None:
        """Nobody wants it. Who has it open keeps it."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that a program wrote and closed, to be published whole."""

    ino: int
    space: int
    folder: int
    """The inode of the folder it is in."""
    name: str
    base: Base | None
    """None for a new item."""
    bytes: DraftBytes
    """Whoever publishes takes them over."""
    mtime_ns: int
    executable: bool
    size: int
    left: bool = False
    """An earlier run of the node left it."""


class View(Protocol):
    """What is in the spaces, from SQLite and memory."""

    def spaces(self) -> list[SpaceFolder]: ...

    def entry(self, ino: int) -> Shown | None: ...

    def lookup(self, folder: int, name: str) -> Shown | None: ...

    def children(self, folder: int) -> list[Shown]: ...

    def folder(self, entry: Shown) -> int:
        """The inode of the folder that the entry is listed in."""
        ...

    def base(self, entry: Shown) -> Base:
        """What somebody who opens the entry now has seen of it."""
        ...

    def describe(self, entry: Shown) -> dict[str, str]:
        """`state`, `contributor` and the like, as shown by getfattr under `user.sharefs.`."""
        ...

    def watch(self, changed: Callable[[Iterable[int]], None]) -> None:
        """Have it called, from any thread, with the inodes of entries that are other than they
        were. It never waits."""
        ...


class Reader(Protocol):
    """An open content; what is not here is fetched, and waited for by `askers.Arrival`, so that a
    signal to the program ends that."""

    def has(self, offset: int, size: int) -> bool:
        """Whether `read` would not wait."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """As pread: fewer bytes only at the end. Waits for bytes to be fetched and verified.

        Raises NoHolderOnline, TransferInterrupted, DiskFull, LocalDamage.
        """
        ...

    def close(self) -> None: ...


class Contents(Protocol):
    """The bytes of files."""

    def open(self, entry: Shown) -> Reader: ...

    def new_draft(
        self,
        folder: int,
        name: str,
        base: Base | None,
        like: "Shown | DraftBytes | None" = None,
        size: int = EVERY_BYTE,
    ) -> DraftBytes:
        """An open file that a restarted node would find, and publish if it was finished: empty, or
        with the bytes of an entry, which are fetched, or of another draft; at least the first
        `size` of them."""
        ...

    def note_draft(self, path: Path, folder: int, name: str, base: Base | None) -> None:
        """The draft was renamed, or took over an item: note it for a restarted node."""
        ...

    def free_bytes(self) -> tuple[int, int]:
        """(room, free room) of the disk that holds the contents, in bytes."""
        ...


class Changes(Protocol):
    """Edits, done and in the view when the call returns."""

    def new_ino(self) -> int: ...

    def make_folder(self, folder: int, name: str) -> Shown: ...

    def make_symlink(self, folder: int, name: str, target: str) -> Shown: ...

    def remove(self, ino: int, base: Base | None = None) -> None:
        """Unlink a file or link, let a conflict's loser go, or remove an empty folder (else
        FolderNotEmpty). `base` is what is removed of a file that was being written here: what came
        from others meanwhile nobody here has seen, and it stays."""
        ...

    def rename(self, ino: int, folder: int, name: str) -> None:
        """Move within a space. A file moved onto a file becomes a version of it; see DESIGN,
        section 5. A conflict's loser becomes an entry of its own."""
        ...

    def set_attributes(self, ino: int, mtime_ns: int | None, executable: bool | None) -> None: ...

    def publish(self, draft: Draft, done: Callable[[Shown | None], None]) -> None:
        """Returns at once. `done` is called from the loop when the version is in the view under the
        draft's inode, or with None when it can not be (the draft's file is then kept)."""
        ...
