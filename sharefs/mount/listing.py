"""What does a name lead to? The view, with what is only here laid over it."""

from sharefs import errors
from sharefs.mount.attributes import (
    ROOT_INO,
    Attributes,
    Found,
    attributes_of_draft,
    attributes_of_entry,
    attributes_of_root,
    attributes_of_space,
)
from sharefs.mount.drafts import DraftFile, Overlay, Parked
from sharefs.mount.ports import SpaceFolder, View
from sharefs.records.entry import EntryType
from sharefs.records.shown import Shown


class Listing:
    """Looks up and lists. Takes no lock, and never waits: the overlay first, then the view."""

    def __init__(self, overlay: Overlay, view: View) -> None:
        self._overlay = overlay
        self._view = view

    def find(self, folder: int, name: str) -> Found:
        """Raises NoSuchEntry."""
        found = self.find_or_none(folder, name)
        if found is None:
            raise errors.NoSuchEntry(name)
        return found

    def find_or_none(self, folder: int, name: str) -> Found | None:
        """What is under the name, or None."""
        if folder == ROOT_INO:
            return next((space for space in self._view.spaces() if space.name == name), None)
        local = self._overlay.placed(folder, name)
        if local is not None:
            return local
        entry = self._view.lookup(folder, name)
        return None if entry is None or self._overlay.hides(entry.ino) else entry

    def by_ino(self, ino: int) -> Found:
        """What has this inode; raises NoSuchEntry. A draft comes before the entry it will
        change."""
        draft = self._overlay.draft(ino)
        if draft is not None and draft.placed:
            return draft
        parked = self._overlay.parked(ino)
        if parked is not None:
            return parked
        entry = self._view.entry(ino)
        if entry is not None and entry.live:
            return self._space(entry.space) if not entry.name else entry
        if draft is not None:
            return draft
        for space in self._view.spaces():
            if space.ino == ino:
                return space
        raise errors.NoSuchEntry(str(ino))

    def children(self, folder: int) -> list[tuple[str, Attributes]]:
        """Every name in a folder, in no order."""
        if folder == ROOT_INO:
            return [(space.name, attributes_of_space(space)) for space in self._view.spaces()]
        local = self._overlay.listed(folder)
        rows = self._view.children(folder)
        if not rows and not local:
            return []
        found = {there.name: self.attributes(there) for there in local}
        writable = bool(rows) and self._space(rows[0].space).writable
        draft, hides = self._overlay.draft, self._overlay.hides
        for row in rows:
            if row.shown in found or hides(row.ino):
                continue
            changed = draft(row.ino)
            found[row.shown] = (
                attributes_of_entry(row, writable)
                if changed is None
                else attributes_of_draft(changed)
            )
        return list(found.items())

    def attributes(self, found: Found) -> Attributes:
        """What stat says of it."""
        match found:
            case Shown():
                draft = self._overlay.draft(found.ino)
                if draft is not None:
                    return attributes_of_draft(draft)
                return attributes_of_entry(found, self._space(found.space).writable)
            case DraftFile():
                return attributes_of_draft(found)
            case Parked():
                return attributes_of_entry(found.entry, True)
            case SpaceFolder():
                return attributes_of_space(found)

    def attributes_of_root(self) -> Attributes:
        """What stat says of the mount's root."""
        return attributes_of_root(self._view.spaces())

    def _space(self, number: int) -> SpaceFolder:
        for space in self._view.spaces():
            if space.space == number:
                return space
        raise errors.NoSuchSpace(str(number))

    def space_of(self, found: Found) -> SpaceFolder:
        """The space it is in; raises NoSuchSpace if it was left meanwhile."""
        match found:
            case SpaceFolder():
                return found
            case Parked():
                return self._space(found.entry.space)
            case Shown() | DraftFile():
                return self._space(found.space)

    def folder(self, ino: int) -> SpaceFolder | Shown:
        """The folder of this inode, to make or remove something in it.

        Raises NoSuchEntry, NotAFolder; NotAllowed for the mount's root; ReadOnlySpace.
        """
        if ino == ROOT_INO:
            raise errors.NotAllowed("Spaces are made with `sharefs create`, and kept in mind here.")
        found = self.by_ino(ino)
        if isinstance(found, SpaceFolder):
            space = found
        elif isinstance(found, Shown) and found.type is EntryType.FOLDER:
            space = self._space(found.space)
        else:
            raise errors.NotAFolder(str(ino))
        if not space.writable:
            raise errors.ReadOnlySpace(f"Your role in {space.name} is to read.")
        return found


def type_of(found: Found) -> EntryType:
    """Whether it is a file, a folder or a link."""
    match found:
        case SpaceFolder():
            return EntryType.FOLDER
        case Parked():
            return found.entry.type
        case DraftFile():
            return EntryType.FILE
        case Shown():
            return found.type
