"""How does a program read what may not be here?

Implements `Contents` and `Reader` of `sharefs.mount.ports`, for the threads of the mount. What is
here is read from the content's file, with no word to the loop; what is not is wanted from the loop,
and waited for. What is read ahead `transfer.ahead` says.

Whoever begins to change a file waits until all of it that stays is here.

Rejected: to publish a version of which only the change is here. Nobody would have all of it: not
who changed it, and not who has the version before, for he does not know that most of this one is in
there, and lets it go after some days as superseded (`collection`). So the last copy of what nobody
changed could go, with every rule kept. Rejected, too: to fetch the rest when the program is done. A
program would be told that its file is saved while nobody, this device included, can show it whole;
and if who has the rest stays away, or goes on to other versions, it never can be.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import cast

from sharefs.errors import LocalDamage, NoHolderOnline, SharefsError
from sharefs.mount.askers import Arrival, check
from sharefs.mount.ports import EVERY_BYTE, Base, DraftBytes
from sharefs.node.carriage import Carriage
from sharefs.node.state import State
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown
from sharefs.store.drafts import DraftBase, DraftNote
from sharefs.store.local import LocalContent
from sharefs.store.written import COPY_SIZE_BYTES, Written
from sharefs.transfer.ahead import Ahead, Elsewhere, ReadAhead
from sharefs.transfer.events import Priority

READ_SECONDS_MAX = 120.0
READ_ATTEMPTS_MAX = 3


class ContentReader:
    """An open content. Several threads may read at once."""

    def __init__(self, state: State, carriage: Carriage, entry: Shown, content: ContentId) -> None:
        self._state = state
        self._carriage = carriage
        self._entry = entry
        self._choice = state.keeping.choice
        self._local = state.keeping.open(entry)
        self._local.attach()
        self._lock = threading.Lock()
        self._plan = ReadAhead(entry.size)
        self._ahead: dict[int, int] = {}
        """The waiter for what is wanted ahead of each run."""

    def has(self, offset: int, size: int) -> bool:
        """Whether these bytes are here."""
        return not self._local.missing(offset, size)

    def read(self, offset: int, size: int) -> bytes:
        """Raises NoHolderOnline, TransferInterrupted, DiskFull, LocalDamage."""
        size = min(size, self._entry.size - offset)
        for _ in range(READ_ATTEMPTS_MAX if size > 0 else 0):
            if self._choice != self._state.keeping.choice:
                self._look_again()
            with self._awaited(offset, size), suppress(LocalDamage):
                if not self._local.complete:
                    self._read_ahead(offset, offset + size)
                    if self._local.missing(offset, size):
                        self._wait(offset, offset + size)
                data = self._local.pread(offset, size)
                # Else it was freed meanwhile, and begun anew, with holes.
                if not self._local.missing(offset, size):
                    return data
            self._look_again()
        if size > 0:
            raise LocalDamage("The local bytes went away again and again while they were read.")
        return b""

    def _awaited(self, offset: int, size: int) -> AbstractContextManager[None]:
        local = self._local
        return nullcontext() if isinstance(local, LocalContent) else local.awaited(offset, size)

    @property
    def keeps(self) -> bool:
        """Whether what is read stays here."""
        return isinstance(self._local, LocalContent)

    def have(self, offset: int, size: int) -> None:
        """As `read`, for bytes that are to be here."""
        end = min(offset + size, self._entry.size)
        if self._local.missing(offset, end - offset):
            self._read_ahead(offset, end)
            self._wait(offset, end)

    def _look_again(self) -> None:
        """It may be kept elsewhere since a person chose so."""
        with self._lock:
            self._choice = self._state.keeping.choice
            before, self._local = self._local, self._state.keeping.open(self._entry)
            self._local.attach()
        before.detach()

    def _read_ahead(self, start: int, end: int) -> None:
        with self._lock:
            match self._plan.read(start, end, time.monotonic()):
                case Ahead(run, begin, until):
                    self._want_ahead(run, begin, until)
                case Elsewhere():
                    self._let_go()
                case None:
                    pass

    def _want_ahead(self, run: int, start: int, end: int) -> None:
        if not self._local.missing(start, end - start):
            return
        waiter, before = self._carriage.new_waiter(), self._ahead.get(run)
        self._ahead[run] = waiter

        def want() -> None:
            self._carriage.want(waiter, self._entry, start, end, Priority.READ_AHEAD, _ignored)
            if before is not None:
                self._carriage.unwant(before)

        self._state.loop.post(want, _ignored)

    def _let_go(self) -> None:
        waiters, self._ahead = list(self._ahead.values()), {}

        def unwant() -> None:
            for waiter in waiters:
                self._carriage.unwant(waiter)

        if waiters:
            self._state.loop.post(unwant)

    def _wait(self, start: int, end: int) -> None:
        come = Arrival()
        failure: list[SharefsError] = []

        def done(_: int, error: SharefsError | None) -> None:
            if error is not None:
                failure.append(error)
            come.set()

        def posted(_: None, error: SharefsError | None) -> None:
            if error is not None:
                done(waiter, error)

        waiter = self._carriage.new_waiter()
        self._state.loop.post(
            lambda: self._carriage.want(waiter, self._entry, start, end, Priority.READ, done),
            posted,
        )
        here = False
        try:
            here = come.wait(READ_SECONDS_MAX) and not failure
        finally:
            if not here:
                self._state.loop.post(lambda: self._carriage.unwant(waiter))
        if not here:
            raise failure[0] if failure else NoHolderOnline("The bytes did not come in time.")

    def close(self) -> None:
        self._local.detach()
        with self._lock:
            self._let_go()


class EmptyReader:
    """A file of no bytes."""

    def has(self, offset: int, size: int) -> bool:
        """All of none."""
        return True

    def read(self, offset: int, size: int) -> bytes:
        """Nothing."""
        return b""

    keeps = False

    def have(self, offset: int, size: int) -> None:
        """All of none."""

    def close(self) -> None:
        """Nothing to do."""


class Contents:
    """The bytes of files, for the mount. From any thread."""

    def __init__(self, state: State, carriage: Carriage) -> None:
        self._state = state
        self._carriage = carriage

    def open(self, entry: Shown) -> ContentReader | EmptyReader:
        if entry.content is None:
            return EmptyReader()
        self._state.uses.note(entry.content, time.time())
        return ContentReader(self._state, self._carriage, entry, entry.content)

    def new_draft(
        self,
        folder: int,
        name: str,
        base: Base | None,
        like: Shown | DraftBytes | None = None,
        size: int = EVERY_BYTE,
    ) -> Written:
        fill = self._filling(like, size)
        written = self._state.drafts.create(self._note(folder, name, base), fill)
        written.in_pool = self._state.in_pool
        return written

    def _filling(
        self, like: Shown | DraftBytes | None, size: int
    ) -> Callable[[Written], None] | None:
        if isinstance(like, Shown):
            content, end = like.content, min(size, like.size)
            return partial(self._fill, like, content, end) if content is not None else None
        return None if like is None else partial(_copy_draft, cast(Written, like))

    def _fill(self, entry: Shown, content: ContentId, end: int, written: Written) -> None:
        if self._state.contents.lay_over(written, content):
            return
        reader = self.open(entry)
        try:
            if end == entry.size and reader.keeps:
                for offset in range(0, end, COPY_SIZE_BYTES):
                    check()
                    reader.have(offset, COPY_SIZE_BYTES)
                if self._state.contents.lay_over(written, content):
                    return
            for offset in range(0, end, COPY_SIZE_BYTES):
                check()
                written.write(offset, reader.read(offset, min(COPY_SIZE_BYTES, end - offset)))
        finally:
            reader.close()

    def note_draft(self, path: Path, folder: int, name: str, base: Base | None) -> None:
        self._state.drafts.note(path, self._note(folder, name, base))

    def _note(self, folder: int, name: str, base: Base | None) -> DraftNote:
        row = self._state.view.entry(folder)
        assert row is not None, "a draft is in a folder"
        space = self._state.replica_numbered(row.space).id
        kept = None
        if base is not None:
            kept = DraftBase(base.item, base.context, base.stamp, base.created, base.loser)
        return DraftNote(1, space, row.item, name, kept)

    def free_bytes(self) -> tuple[int, int]:
        disk = os.statvfs(self._state.home.contents_folder)
        return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def _ignored(*_: object) -> None:
    """Nobody waits for what is read ahead."""


def _copy_draft(before: Written, written: Written) -> None:
    layer = before.layer
    if layer is not None:
        written.lie_over(layer.base)
    written.copy(before)
