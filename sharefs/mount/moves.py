"""What does a rename, or a removal, mean?

Editors save by writing another file and renaming it, and by setting the old file aside first.
Identity follows the name in these cases, and the moved file in all others:

- a draft renamed onto a published file becomes that item's next version;
- a draft renamed from a temporary to a real name is published, once it is closed;
- a published file renamed to a temporary name is *parked*: others still see it under its old name.
  If a new file takes the old name within PARKED_SECONDS, it becomes the item's next version, and
  the parked one stays readable here until it is removed: editors do so at once, and if not, it is
  made a private file of its own, so that it is still there after a restart. Else the rename is
  published.

Every operation resolves its names anew after it had to wait, since the world may have changed.
"""

import errno
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from msgspec.structs import replace

from sharefs import errors
from sharefs.mount.attributes import Found
from sharefs.mount.drafts import DraftFile, Overlay, Parked
from sharefs.mount.errnos import Refusal
from sharefs.mount.files import Files
from sharefs.mount.listing import Listing, type_of
from sharefs.mount.names import is_temporary
from sharefs.mount.ports import Base, Changes, SpaceFolder, View
from sharefs.records.entry import EntryType
from sharefs.records.shown import Shown

_log = logging.getLogger(__name__)

PARKED_SECONDS = 3.0
KEEP_AGAIN_SECONDS = 60.0
ATTEMPTS_MAX = 100
"""Of one operation, each after waiting for a publication that was in its way."""

Schedule = Callable[[float, Callable[[], None]], None]
"""Calls back after so many seconds, from another thread."""


class Moves:
    """Renames and removals. Thread-safe; holds no lock while the loop works."""

    def __init__(
        self,
        overlay: Overlay,
        listing: Listing,
        files: Files,
        view: View,
        changes: Changes,
        schedule: Schedule,
    ) -> None:
        self._overlay = overlay
        self._listing = listing
        self._files = files
        self._view = view
        self._changes = changes
        self._schedule = schedule

    # --- renaming -------------------------------------------------------------------------------

    def rename(self, folder: int, name: str, to: int, to_name: str, may_replace: bool) -> None:
        """Raises CrossSpaceMove, EntryExists, IsAFolder, NotAFolder, FolderNotEmpty, NotAllowed."""
        source = self._listing.find(folder, name)
        for attempt in range(ATTEMPTS_MAX):
            source = self._again(source, folder, name) if attempt else source
            target = self._listing.find_or_none(to, to_name)
            if target is not None and not may_replace:
                raise errors.EntryExists(to_name)
            if target is source or (target is not None and target.ino == source.ino):
                return
            self._check(source, target, to)
            parked = self._overlay.parked_from(to, to_name)
            if parked is not None and parked.settling:
                self._overlay.await_unparked(parked)
                continue
            quiet = self._settled(source) and (target is None or self._settled(target))
            if quiet and self._move(source, target, to, to_name):
                return
        raise Refusal(errno.EBUSY)

    def _check(self, source: Found, target: Found | None, to: int) -> None:
        if isinstance(source, SpaceFolder) or isinstance(target, SpaceFolder):
            raise errors.NotAllowed("A space is not renamed or replaced in the mount.")
        destination = self._listing.folder(to)
        self._listing.folder(self._folder_of(source))
        if self._listing.space_of(source).space != self._listing.space_of(destination).space:
            raise errors.CrossSpaceMove("A move between spaces is a copy and a delete.")
        if target is None:
            return
        from_folder = type_of(source) is EntryType.FOLDER
        to_folder = type_of(target) is EntryType.FOLDER
        if to_folder and not from_folder:
            raise errors.IsAFolder("A file can not replace a folder.")
        if from_folder and not to_folder:
            raise errors.NotAFolder("A folder can not replace a file.")
        if to_folder and self._overlay.listed(target.ino):
            raise errors.FolderNotEmpty("The folder is not empty.")

    def _folder_of(self, found: Found) -> int:
        match found:
            case DraftFile() | Parked():
                return found.folder
            case Shown():
                return self._view.folder(found)
            case SpaceFolder():
                return found.ino

    def _again(self, found: Found, folder: int, name: str) -> Found:
        """What was found under a name, as it is now, when that may lead to another member's file.

        By the name, if it is not what it was: a file that was set aside became a draft.
        """
        with suppress(errors.NoSuchEntry):
            again = self._listing.by_ino(found.ino)
            if not isinstance(again, DraftFile) or again.placed:
                return again
        return self._listing.find(folder, name)

    def _settled(self, found: Found) -> bool:
        """Whether nothing of it is on its way; else waits for that, and the caller looks again."""
        draft = self._overlay.draft(found.ino)
        if draft is None or not draft.busy:
            return True
        self._overlay.await_settled(draft)
        return False

    def _move(self, source: Found, target: Found | None, to: int, to_name: str) -> bool:
        """False if something came in between, and the names are to be looked up again."""
        if isinstance(target, Parked) and not self._clear(target):
            return False
        match source:
            case DraftFile():
                return self._move_draft(source, target, to, to_name)
            case Parked():
                return self._move_parked(source, target, to, to_name)
            case Shown():
                return self._move_entry(source, target, to, to_name)
            case SpaceFolder():
                raise AssertionError("checked before")
            case _:
                assert_never(source)

    # --- moving a draft ---------------------------------------------------------------------------

    def _move_draft(self, draft: DraftFile, target: Found | None, to: int, to_name: str) -> bool:
        # Nobody may publish it, nor publish or touch what it replaces, from here on.
        with self._files.publishing.editing(*_inos(draft, target)):
            if not self._overlay.shows(draft):
                # It was published since its name was looked up.
                return False
            left, taken = draft.replaces, self._take_over(target, to, to_name)
            if target is not None:
                self._files.orphan(target.ino)
            with self._overlay.lock:
                if taken is not None and taken.parked is not None:
                    if not self._overlay.can_take(taken.parked):
                        return False
                    taken.parked.taken = True
                self._overlay.move(draft, to, to_name)
                if taken is not None:
                    draft.seen, draft.base = taken.entry, taken.base
                    self._overlay.replace(draft, taken.entry)
                elif is_temporary(to_name):
                    # It is private now: the item is again what everybody else sees.
                    draft.seen = draft.base = None
                    self._overlay.replace(draft, None)
            if left is not None and taken is not None:
                self._changes.remove(left.ino)
            self._files.publishing.note(draft)
        return True

    def _take_over(self, target: Found | None, to: int, to_name: str) -> "_Taken | None":
        """The item whose next version a draft becomes under the new name, if there is one."""
        match target:
            case Shown(type=EntryType.FILE, loser=False):
                present = self._view.entry(target.ino) or target
                return _Taken(present, self._view.base(present))
            case Shown():
                self._changes.remove(target.ino)
            case DraftFile() if target.replaces is not None and target.base is not None:
                return _Taken(target.replaces, target.base)
            case None:
                parked = self._overlay.parked_from(to, to_name)
                if parked is not None and parked.base is not None:
                    return _Taken(parked.entry, parked.base, parked)
            case _:
                pass
        return None

    # --- parking ------------------------------------------------------------------------------

    def _park(self, entry: Shown, to: int, to_name: str) -> bool:
        with self._files.publishing.editing(entry.ino):
            present = self._view.entry(entry.ino)
            if present is None or self._overlay.draft(entry.ino) is not None:
                return False
            folder, base = self._view.folder(present), self._view.base(present)
            parked = Parked(present, to, to_name, folder, present.shown, base)
            with self._overlay.lock:
                self._overlay.park(parked)
        self._schedule(PARKED_SECONDS, partial(self.settle, parked))
        return True

    def settle(self, parked: Parked) -> None:
        """If nothing took its place, publish the rename after all; else keep it for good."""
        if parked.taken:
            if not self._keep(parked):
                self._schedule(KEEP_AGAIN_SECONDS, partial(self.settle, parked))
            return
        with self._overlay.lock:
            if parked.taken or self._overlay.parked(parked.ino) is not parked:
                return
            mine = not parked.settling
            parked.settling = True
        if not mine:
            self._overlay.await_unparked(parked)
            return
        try:
            self._changes.rename(parked.ino, parked.folder, parked.name)
        except errors.UserError as error:
            _log.warning("%s keeps its name %s: %s", parked.name, parked.old_name, error)
        finally:
            with self._overlay.lock:
                parked.settling = False
                self._overlay.unpark(parked)

    def _keep(self, parked: Parked) -> bool:
        """Make it a private file of its own; whether that is done. What is not here is fetched:
        others will not keep it for long."""
        gone = self._overlay.parked(parked.ino) is not parked
        if gone or parked.entry.type is not EntryType.FILE:
            return True
        try:
            self._files.copy_out(parked)
        except errors.UserError as error:
            _log.warning("%s is not kept apart yet: %s", parked.name, error)
            return False
        return True

    def settle_all(self) -> None:
        """Publish every rename, and every likely probe, that still waits."""
        for parked in self._overlay.all_parked():
            if not parked.taken:
                self.settle(parked)
            elif parked.entry.local == parked.entry.size:
                self._keep(parked)
        for draft in self._overlay.drafts():
            if draft.probe:
                self._outlived(draft)

    def watch_probe(self, draft: DraftFile) -> None:
        """Share it, if it outlives what a probe does."""
        draft.probe = True
        self._schedule(PARKED_SECONDS, partial(self._outlived, draft))

    def _outlived(self, draft: DraftFile) -> None:
        draft.probe = False
        self._files.publishing.publish_if_ready(draft)

    def make_real(self, parked: Parked) -> None:
        """Make of a parked file what can be changed: the published one, or a draft with its
        bytes."""
        if not parked.taken:
            self.settle(parked)
            return
        self._files.copy_out(parked)

    def _clear(self, parked: Parked) -> bool:
        """Its name is wanted for something else; False if it still has to be published under it."""
        if not parked.taken:
            self.settle(parked)
            return False
        with self._overlay.lock:
            return self._overlay.unpark(parked)

    def _move_parked(self, parked: Parked, target: Found | None, to: int, to_name: str) -> bool:
        if not parked.taken:
            return self._move_back(parked, target, to, to_name)
        if is_temporary(to_name):
            if isinstance(target, Shown | DraftFile) and not self._remove(target):
                return False
            with self._overlay.lock:
                if self._overlay.parked(parked.ino) is not parked:
                    # It was made a draft since its name was looked up.
                    return False
                self._overlay.move(parked, to, to_name)
            return True
        if parked.entry.type is not EntryType.SYMLINK:
            self._files.copy_out(parked)
            return False
        if isinstance(target, Shown | DraftFile) and not self._remove(target):
            return False
        self._changes.make_symlink(to, to_name, parked.entry.target)
        return self._clear(parked)

    def _move_back(self, parked: Parked, target: Found | None, to: int, to_name: str) -> bool:
        if target is not None or (to, to_name) != (parked.old_folder, parked.old_name):
            self.settle(parked)
            return False
        with self._overlay.lock:
            if parked.settling or parked.taken:
                return False
            return self._overlay.unpark(parked)

    # --- moving what is published -------------------------------------------------------------

    def _move_entry(self, entry: Shown, target: Found | None, to: int, to_name: str) -> bool:
        untouched = self._overlay.draft(entry.ino) is None and not self._files.is_written(entry.ino)
        set_aside = is_temporary(to_name) and not is_temporary(entry.shown)
        if entry.type is EntryType.FILE and set_aside and untouched and target is None:
            return self._park(entry, to, to_name)
        parked = self._overlay.parked_from(to, to_name)
        if parked is not None and (entry.type is not EntryType.FILE or not untouched):
            self.settle(parked)
            return False
        if isinstance(target, Shown | DraftFile | Parked) and not untouched:
            # Its writers go on to write this item: it can not give its bytes to another.
            if not self._remove(target):
                return False
            target = None
        with self._files.publishing.editing(*_inos(entry, target)):
            present = self._view.entry(entry.ino)
            if present is None:
                return False
            self._changes.rename(entry.ino, to, to_name)
            self._files.edited(present)
            if parked is not None:
                self._keep_copy(parked)
            if target is not None:
                self._files.orphan(target.ino)
        return True

    def _keep_copy(self, parked: Parked) -> None:
        """Its item, and its inode, went to the file that was moved to its old name."""
        ino = self._changes.new_ino()
        with self._overlay.lock:
            if self._overlay.unpark(parked):
                parked.taken = True
                parked.entry = replace(parked.entry, ino=ino)
                self._overlay.park(parked)

    # --- removing -----------------------------------------------------------------------------

    def remove(self, folder: int, name: str, want_folder: bool) -> None:
        """Raises NoSuchEntry, IsAFolder, NotAFolder, FolderNotEmpty, NotAllowed, ReadOnlySpace."""
        self._listing.folder(folder)
        found = self._listing.find(folder, name)
        for attempt in range(ATTEMPTS_MAX):
            found = self._again(found, folder, name) if attempt else found
            if isinstance(found, SpaceFolder):
                raise errors.NotAllowed("A space is left with a command, not removed.")
            is_folder = type_of(found) is EntryType.FOLDER
            if is_folder and not want_folder:
                raise errors.IsAFolder("A folder is removed with rmdir.")
            if want_folder and not is_folder:
                raise errors.NotAFolder("This is not a folder.")
            if is_folder and self._overlay.listed(found.ino):
                raise errors.FolderNotEmpty("The folder is not empty.")
            if self._settled(found) and self._remove(found):
                return
        raise Refusal(errno.EBUSY)

    def _remove(self, found: Shown | DraftFile | Parked) -> bool:
        """False if something came in between."""
        match found:
            case DraftFile():
                return self._remove_draft(found)
            case Parked():
                return self._remove_parked(found)
            case Shown():
                with self._files.publishing.editing(found.ino):
                    draft = self._overlay.draft(found.ino)
                    if draft is not None:
                        self._files.publishing.see_again(draft)
                    self._files.orphan(found.ino)
                    self._changes.remove(found.ino, draft.base if draft is not None else None)
                return True

    def _remove_draft(self, draft: DraftFile) -> bool:
        with self._files.publishing.editing(draft.ino):
            if not self._overlay.shows(draft):
                # It was published since its name was looked up.
                return False
            replaced = draft.replaces
            self._files.orphan(draft.ino)
            if replaced is not None:
                self._changes.remove(replaced.ino)
        return True

    def _remove_parked(self, parked: Parked) -> bool:
        if self._overlay.take(parked):
            try:
                self._changes.remove(parked.ino)
            except BaseException:
                self._overlay.give_back(parked)
                raise
        elif parked.settling:
            self._overlay.await_unparked(parked)
            return False
        with self._overlay.lock:
            if not self._overlay.unpark(parked):
                # It was made a draft since its name was looked up.
                return False
        self._files.orphan(parked.ino)
        return True


@dataclass(frozen=True, slots=True)
class _Taken:
    """An item that a draft takes over, and what its writer has seen of it."""

    entry: Shown
    base: Base
    parked: Parked | None = None


def _inos(*found: Found | None) -> list[int]:
    return [each.ino for each in found if each is not None]
