"""What is shown here that other members do not see yet?

Files being written, the private files of applications, and files that an editor has just set aside.
They lie over the view. Readers look here first and in the view second, without the lock: a version
is in the view before its draft is taken out here, so that no name is ever missing in between.

Draft states: a draft is OPEN while programs write it, while its name is temporary, and when it
could not be published; PUBLISHING from its last writer's close to the answer; OVER when its version
is in the view, or when it was removed. A file that is written again while its draft is PUBLISHING
gets a successor, a draft of its own that stays WAITING after its last close until the version it
grew from is in the view: else this device would be in conflict with itself.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

from sharefs.mount.names import is_probe, is_temporary
from sharefs.mount.nodes import Node
from sharefs.mount.ports import Base, DraftBytes
from sharefs.records.shown import Shown

SETTLE_SECONDS_MAX = 60.0
"""A publication comes within milliseconds, but a large file is hashed first."""
PUBLISHING_MAX = 256
"""Drafts under way at once, each with an open file; who creates more waits."""


class State(Enum):
    """Where a draft stands; see the module."""

    OPEN = 0
    WAITING = 1
    PUBLISHING = 2
    OVER = 3


@dataclass(slots=True, eq=False)
class DraftFile:
    """A file as it is written. Invariant: `bytes` are open while it has users or is PUBLISHING."""

    ino: int
    space: int
    folder: int
    name: str
    placed: bool
    """Listed by this overlay; else a new content of an entry that the view lists."""
    bytes: DraftBytes
    size: int
    mtime_ns: int
    executable: bool
    base: Base | None = None
    seen: Shown | None = None
    """The version that `base` describes."""
    replaces: Shown | None = None
    """The entry of the view whose item a placed draft took over."""
    state: State = State.OPEN
    left: bool = False
    """An earlier run of the node left it."""
    orphaned: bool = False
    """Its name was removed here: it goes when its last user does."""
    whole: bool = False
    """A restarted node would publish it: it was closed since it was written."""
    probe: bool = False
    """It may be one, and is too young to tell; see `names`."""
    users: int = 0
    predecessor: "DraftFile | None" = None
    """The draft on its way that this one grew from."""
    successor: "DraftFile | None" = None
    published: Shown | None = None
    node: Node | None = None
    """The kernel's, through whose pages it is written; None where no kernel is."""
    superseded: list[DraftBytes] = field(default_factory=list)
    """Those of drafts that could not be published, and whose bytes went into this one."""

    @property
    def settling(self) -> bool:
        return self.state is State.PUBLISHING or self.state is State.WAITING

    @property
    def busy(self) -> bool:
        """A version under its present name is on its way: the name can not change just now."""
        return self.settling or self.predecessor is not None

    @property
    def temporary(self) -> bool:
        probe = self.probe and self.size == 0 and is_probe(self.name)
        return self.placed and (probe or is_temporary(self.name))

    def reopen(self) -> bool:
        """Whether it can be written (again), since nobody took it over yet; with the lock held."""
        if self.state is State.WAITING:
            self.state = State.OPEN
        return self.state is State.OPEN

    def finish(self) -> None:
        """Nobody writes it now; with the lock held. If that can not be noted, what a kill leaves
        counts as half of it."""
        if not self.whole:
            with suppress(OSError):
                self.bytes.finish(self.executable)
                self.whole = True

    def resume(self) -> None:
        """Somebody begins to write it. Raises OSError."""
        if self.whole:
            # Who has it open goes on writing it when it was removed.
            with suppress(FileNotFoundError):
                self.bytes.resume()
            self.whole = False

    def attach(self) -> None:
        """One more user; with the lock held."""
        self.wake()
        self.users += 1

    def wake(self) -> None:
        """Open the file again; with the lock held, and before it is handed over."""
        self.bytes.open()

    def detach(self) -> None:
        """One user less; with the lock held."""
        self.users -= 1
        assert self.users >= 0
        self.rest()

    def rest(self) -> None:
        """Close the file if nobody needs it; with the lock held."""
        if self.users == 0 and not self.settling:
            self.bytes.close()


@dataclass(slots=True, eq=False)
class Parked:
    """A published file that was renamed to a temporary name, or a link made under one.

    Others still see the file under its old name. If a new file takes the old name soon, it takes
    over the item (`taken`), and this is but a private copy; else the rename is published after all.
    """

    entry: Shown
    folder: int
    name: str
    old_folder: int
    old_name: str
    base: Base | None
    """What its writer-to-be has seen; None for what was never published."""
    taken: bool = False
    settling: bool = False

    @property
    def ino(self) -> int:
        return self.entry.ino


Local = DraftFile | Parked


class Overlay:
    """Drafts by inode, and names by folder. Reading needs no lock; changing holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._settled = threading.Condition(self.lock)
        self._drafts: dict[int, DraftFile] = {}
        self._folders: dict[int, dict[str, Local]] = {}
        self._hidden: dict[int, Local] = {}
        self._parked: dict[int, Parked] = {}
        self._edited: set[int] = set()
        self._publishing = 0

    # --- reading ------------------------------------------------------------------------------

    def draft(self, ino: int) -> DraftFile | None:
        """The draft that holds the newest bytes of an inode."""
        return self._drafts.get(ino)

    def shows(self, draft: DraftFile) -> bool:
        """Whether it is still the newest of its inode, and not in the view yet."""
        return self._drafts.get(draft.ino) is draft

    def placed(self, folder: int, name: str) -> Local | None:
        """What this overlay lists under a name."""
        names = self._folders.get(folder)
        return None if names is None else names.get(name)

    def listed(self, folder: int) -> list[Local]:
        """All that this overlay lists in a folder."""
        names = self._folders.get(folder)
        return [] if names is None else list(names.values())

    def hides(self, ino: int) -> bool:
        """Whether a row of the view is not to be seen at its place."""
        return ino in self._hidden

    def parked(self, ino: int) -> Parked | None:
        """The parked file of this inode, taken over or not."""
        return self._parked.get(ino)

    def parked_from(self, folder: int, name: str) -> Parked | None:
        """The file that was set aside from this name, if nothing has taken its item over yet."""
        for parked in list(self._parked.values()):
            from_here = (parked.old_folder, parked.old_name) == (folder, name)
            if from_here and not parked.taken:
                return parked
        return None

    def is_replaced(self, ino: int) -> bool:
        """Whether a draft has taken over the item of this row of the view."""
        return isinstance(self._hidden.get(ino), DraftFile)

    def drafts(self) -> list[DraftFile]:
        """Every draft that is shown."""
        return list(self._drafts.values())

    def all_parked(self) -> list[Parked]:
        """Every parked file, taken over or not."""
        return list(self._parked.values())

    # --- changing: with the lock held -----------------------------------------------------------

    def add(self, draft: DraftFile) -> None:
        """Show a draft, in the place of the one it succeeds."""
        self._drafts[draft.ino] = draft
        if draft.placed:
            self._list(draft)

    def drop(self, draft: DraftFile) -> None:
        """Take a draft out: the view has its bytes, or nobody wants them."""
        if self.shows(draft):
            del self._drafts[draft.ino]
        self._unlist(draft)
        self._unhide(draft)

    def move(self, local: Local, folder: int, name: str) -> None:
        """Show it under another name."""
        self._unlist(local)
        local.folder, local.name = folder, name
        self._list(local)

    def unplace(self, draft: DraftFile) -> None:
        """The view lists its entry from now on."""
        self._unlist(draft)
        self._unhide(draft)
        draft.placed = False

    def replace(self, draft: DraftFile, entry: Shown | None) -> None:
        """A placed draft takes over the item of an entry, which is not to be seen meanwhile."""
        self._unhide(draft)
        draft.replaces = entry
        if entry is not None:
            self._hidden[entry.ino] = draft

    def _unhide(self, draft: DraftFile) -> None:
        if draft.replaces is not None and self._hidden.get(draft.replaces.ino) is draft:
            del self._hidden[draft.replaces.ino]
        draft.replaces = None

    def park(self, parked: Parked) -> None:
        """Show a parked file, and hide its entry unless that was taken over."""
        self._list(parked)
        self._parked[parked.ino] = parked
        if not parked.taken:
            self._hidden[parked.ino] = parked

    def unpark(self, parked: Parked) -> bool:
        """Forget a parked file; False, and nothing done, if it was not parked any more."""
        if self._parked.get(parked.ino) is not parked:
            return False
        self._unlist(parked)
        del self._parked[parked.ino]
        if self._hidden.get(parked.ino) is parked:
            del self._hidden[parked.ino]
        self._settled.notify_all()
        return True

    def take(self, parked: Parked) -> bool:
        """Whether a new file may take over the item: only one does, and none that is renamed now.

        Takes the lock itself, as does `give_back`.
        """
        with self.lock:
            if not self.can_take(parked):
                return False
            parked.taken = True
            return True

    def can_take(self, parked: Parked) -> bool:
        """Whether the item is still to be had; with the lock held."""
        here = self._parked.get(parked.ino) is parked
        return here and not parked.taken and not parked.settling

    def give_back(self, parked: Parked) -> None:
        """The new file did not come to be."""
        with self.lock:
            parked.taken = False

    def _list(self, local: Local) -> None:
        self._folders.setdefault(local.folder, {})[local.name] = local

    def _unlist(self, local: Local) -> None:
        names = self._folders.get(local.folder)
        if names is not None and names.get(local.name) is local:
            del names[local.name]
            if not names:
                del self._folders[local.folder]

    # --- settling -----------------------------------------------------------------------------

    def begin(self, draft: DraftFile) -> None:
        """The draft is on its way into the view; with the lock held."""
        assert draft.state is not State.PUBLISHING
        draft.wake()
        draft.state = State.PUBLISHING
        self._publishing += 1

    def end(self, draft: DraftFile, state: State) -> None:
        """It arrived, or could not; with the lock held."""
        assert draft.state is State.PUBLISHING
        draft.state = state
        self._publishing -= 1
        draft.rest()
        self._settled.notify_all()

    def await_settled(self, draft: DraftFile) -> None:
        """Wait, without the lock, until nothing of the draft is on its way any more."""
        with self._settled:
            if not self._settled.wait_for(lambda: not draft.busy, SETTLE_SECONDS_MAX):
                raise TimeoutError("a publication did not end")

    @contextmanager
    def editing(self, *inos: int) -> Iterator[None]:
        """Keep drafts of these entries from being sent while another edit of them is made.

        Waits, without the lock, for those on their way, and for other edits.
        """
        with self._settled:
            if not self._settled.wait_for(lambda: self._is_quiet(inos), SETTLE_SECONDS_MAX):
                raise TimeoutError("a publication or an edit did not end")
            self._edited.update(inos)
        try:
            yield
        finally:
            with self._settled:
                self._edited.difference_update(inos)
                self._settled.notify_all()

    def _is_quiet(self, inos: tuple[int, ...]) -> bool:
        drafts = [self._drafts.get(ino) for ino in inos]
        busy = any(draft is not None and draft.busy for draft in drafts)
        return not busy and self._edited.isdisjoint(inos)

    def is_edited(self, ino: int) -> bool:
        """Whether its drafts have to wait; with the lock held."""
        return ino in self._edited

    def await_unparked(self, parked: Parked) -> None:
        """Wait, without the lock, until whoever publishes the rename is done."""
        with self._settled:
            if not self._settled.wait_for(lambda: not parked.settling, SETTLE_SECONDS_MAX):
                raise TimeoutError("a rename did not end")

    def await_room(self) -> None:
        """Wait, without the lock, until fewer than PUBLISHING_MAX drafts are on their way."""
        if self._publishing >= PUBLISHING_MAX:
            with self._settled:
                self._settled.wait_for(
                    lambda: self._publishing < PUBLISHING_MAX, SETTLE_SECONDS_MAX
                )


@contextmanager
def discarded_on_error(bytes: DraftBytes) -> Iterator[None]:
    """If nothing comes of a new draft, leave nothing of it."""
    try:
        yield
    except BaseException:
        bytes.close()
        bytes.discard()
        raise
