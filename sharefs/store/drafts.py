"""What did programs write that is not published yet?

A file for each, and a note with it, so that a restarted node finds where it belongs: an extended
attribute, or, where the disk has none or the note is too long for one, a file beside it. A draft
goes only when the record that publishes it is durable.

A draft is whole when its last writer has closed it: a bit of its mode says so, until it is written
again. What a program wrote when the node was killed is half of something, and is never published
under its name. After a power cut what was closed may be half of something, too, unless it was
synced: so the note says in which start of the machine it was written, or none if it was synced.
"""

import errno
import itertools
import os
import secrets
import stat
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from sharefs.records.entry import NAME_SIZE_BYTES_MAX
from sharefs.records.ids import ItemId, SpaceId
from sharefs.records.record import ContextEntry
from sharefs.store.connection import explained, translated
from sharefs.store.layer import MARKS_SUFFIX, marks_of, this_boot
from sharefs.store.whole import write_file
from sharefs.store.written import Written, is_finished

NOTE_ATTRIBUTE = "user.sharefs.draft"
_NOTE_SUFFIX = ".note"
_NEW_SUFFIX = ".new"
_SYNCED = b""
_NO_ROOM_IN_ATTRIBUTE = {errno.ENOTSUP, errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT}


class DraftBase(NamedTuple):
    """What the writer had seen of the item that the draft is a version of."""

    item: ItemId
    context: tuple[ContextEntry, ...]
    stamp: int
    created: int
    loser: bool = False
    """It was a conflict's loser."""


class DraftNote(msgspec.Struct, frozen=True, array_like=True):
    """Where a draft belongs."""

    version: Literal[1]
    space: SpaceId
    parent: ItemId
    name: str
    base: DraftBase | None
    """None for a new item."""


class Left(NamedTuple):
    """A draft that an earlier node left."""

    path: Path
    note: DraftNote
    whole: bool
    """Its last writer had closed it, and all its bytes are there."""


class _Note(msgspec.Struct, frozen=True, array_like=True):
    draft: DraftNote
    boot: bytes
    """The start of the machine since which it was written; empty if it was synced."""


class Drafts:
    """The folder of drafts. Any thread, one for a draft at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = this_boot()
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count()

    def create(self, note: DraftNote, fill: Callable[[Written], None] | None = None) -> Written:
        """An empty draft, open for reading and writing. Raises DiskFull, HomeNotUsable.

        If it is to be filled first, no draft comes of it until it is.
        """
        path = self._folder / f"{self._run}{next(self._numbers):016x}"
        made = path if fill is None else path.with_suffix(_NEW_SUFFIX)
        with translated(path):
            written = Written(made, os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            if fill is not None:
                fill(written)
                with translated(path):
                    written.rename(path)
            self._write_note(path, note, self._boot)
        except BaseException:
            written.close()
            written.discard()
            raise
        return written

    def note(self, path: Path, note: DraftNote, synced: bool = False) -> None:
        """Say anew where a draft belongs; and that all of it is on the disk, if that is so.

        Raises FileNotFoundError if it is there no more, DiskFull, HomeNotUsable.
        """
        if self._write_note(path, note, _SYNCED if synced else self._boot):
            beside = _beside(path)
            with translated(beside):
                beside.unlink(missing_ok=True)

    def _write_note(self, path: Path, note: DraftNote, boot: bytes) -> bool:
        """Whether it is in the attribute. A file beside the draft counts more than that."""
        assert len(note.name) <= NAME_SIZE_BYTES_MAX, "the mount checks names"
        data = msgspec.msgpack.encode(_Note(note, boot))
        try:
            os.setxattr(path, NOTE_ATTRIBUTE, data)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno not in _NO_ROOM_IN_ATTRIBUTE:
                raise explained(error, path) from error
            beside = _beside(path)
            with translated(beside):
                write_file(beside, data)
            return False
        return True

    def left(self) -> list[Left]:
        """The drafts that an earlier node left, the oldest first."""
        self._sweep()
        left = self.noted()
        for path, _, whole in left:
            if not whole:
                # Else it would be, once its note is written anew.
                with translated(path):
                    Written(path).resume()
        return left

    def noted(self) -> list[Left]:
        """The drafts whose notes can be read, the oldest first."""
        found = []
        for path in self._files():
            note = _read_note(path)
            # It may be published just now.
            with suppress(FileNotFoundError):
                if note is not None:
                    whole = is_finished(path) and note.boot in (_SYNCED, self._boot)
                    found.append(Left(path, note.draft, whole))
        return found

    def strays(self) -> list[Path]:
        """Drafts whose notes can not be read: they stay, for a person to look at."""
        return [path for path in self._files() if _read_note(path) is None]

    def remove(self, path: Path) -> None:
        """The draft is published, or was discarded by the program that made it."""
        remove_draft(path)

    def _sweep(self) -> None:
        """Notes of drafts that are gone, and notes half written, say nothing."""
        with translated(self._folder):
            for path in self._folder.glob(f"*{_NEW_SUFFIX}"):
                path.unlink(missing_ok=True)
            for suffix in (_NOTE_SUFFIX, MARKS_SUFFIX):
                for path in self._folder.glob(f"*{suffix}"):
                    if not path.with_name(path.name.removesuffix(suffix)).exists():
                        path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        with translated(self._folder):
            files = []
            for path in self._folder.iterdir():
                if not path.name.endswith((_NOTE_SUFFIX, MARKS_SUFFIX, _NEW_SUFFIX)):
                    with suppress(FileNotFoundError):
                        status = path.stat()
                        files.append((status.st_mtime_ns, path.name, path, status.st_mode))
            return [path for *_, path, mode in sorted(files) if stat.S_ISREG(mode)]


def remove_draft(path: Path, names: Container[str] | None = None) -> None:
    """Forget a draft and its note, if they are there. Raises HomeNotUsable.

    Few have files beside them: who knows the names in the folder spares looking for them.
    """
    with translated(path):
        path.unlink(missing_ok=True)
        # Later, as a draft without its note could not be published any more.
        for companion in (marks_of(path), _beside(path)):
            if names is None or companion.name in names:
                companion.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _NOTE_SUFFIX)


def _read_note(path: Path) -> _Note | None:
    try:
        data = _beside(path).read_bytes()
    except FileNotFoundError:
        try:
            data = os.getxattr(path, NOTE_ATTRIBUTE)
        except OSError:
            return None
    try:
        return msgspec.msgpack.decode(data, type=_Note)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
