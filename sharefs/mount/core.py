"""What does the filesystem answer? By inode, and knowing nothing of the binding that asks.

The core lists what the view holds, with what is only on this device laid over it (`listing`,
`drafts`), lets files be read and written (`files`), and gives renames their meaning (`moves`). It
may be called from any thread, raises `errors` and `Refusal`, and leaves errnos to `errnos`.
"""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable

from sharefs import errors
from sharefs.mount import ports
from sharefs.mount.attributes import (
    ROOT_INO,
    Attributes,
    Found,
    attributes_of_draft,
    attributes_of_entry,
)
from sharefs.mount.drafts import DraftFile, Overlay, Parked
from sharefs.mount.errnos import Refusal
from sharefs.mount.files import Files, Handle
from sharefs.mount.listing import Listing, type_of
from sharefs.mount.moves import Moves, Schedule
from sharefs.mount.names import is_probe, is_temporary
from sharefs.mount.nodes import Nodes
from sharefs.mount.ports import Changes, Contents, SpaceFolder, View
from sharefs.records.entry import EntryType, check_name
from sharefs.records.ids import ROOT, Coordinate, DeviceId, Incarnation
from sharefs.records.shown import Shown

XATTR_PREFIX = "user.sharefs."
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
_NEVER_PUBLISHED = Coordinate(DeviceId(bytes(16)), Incarnation(bytes(8)), 0)


def _start_timer(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


class Core:
    """The filesystem. Thread-safe; `find`, `attributes` and `children` never wait."""

    def __init__(
        self, view: View, contents: Contents, changes: Changes, schedule: Schedule = _start_timer
    ) -> None:
        self._view = view
        self._contents = contents
        self._changes = changes
        self._overlay = Overlay()
        self._listing = Listing(self._overlay, view)
        self.nodes = Nodes()
        self._files = Files(self._overlay, view, contents, changes, self.nodes)
        self._moves = Moves(self._overlay, self._listing, self._files, view, changes, schedule)
        self.find = self._listing.find
        self.children = self._listing.children
        self.attributes = self._listing.attributes
        self.read = self._files.read
        self.has = self._files.has
        self.write = self._files.write
        self.sync = self._files.sync
        self.node_of = self._files.node_of
        self.opened_by = self._files.opened_by
        self.uses = self._files.uses

    # --- looking ----------------------------------------------------------------------------------

    def lookup(self, folder: int, name: str) -> Attributes:
        """What is under a name in a folder; raises NoSuchEntry."""
        return self.attributes(self.find(folder, name))

    def getattr(self, ino: int) -> Attributes:
        """What stat says of an inode; raises NoSuchEntry."""
        if ino == ROOT_INO:
            return self._listing.attributes_of_root()
        return self.attributes(self._listing.by_ino(ino))

    def getattr_open(self, handle: Handle) -> Attributes:
        """What fstat says: of the version that was opened, and maybe of a file whose name is
        gone."""
        draft = self._overlay.draft(handle.ino)
        if draft is None or handle.orphaned or draft.node is not handle.node:
            draft = handle.draft
        if draft is not None:
            return attributes_of_draft(draft)
        seen, entry = handle.seen, self._view.entry(handle.ino)
        assert seen is not None, "what is no draft was published"
        gone = handle.orphaned or entry is None or not entry.live
        if entry is None or gone or (entry.content, entry.size) != (seen.content, seen.size):
            attributes = attributes_of_entry(seen, True)
            return attributes._replace(nlink=0) if gone else attributes
        return self.getattr(handle.ino)

    def parent(self, ino: int) -> int:
        """The inode of the folder that a folder is in."""
        if ino == ROOT_INO:
            return ROOT_INO
        found = self._listing.by_ino(ino)
        return self._view.folder(found) if isinstance(found, Shown) else ROOT_INO

    def readlink(self, ino: int) -> str:
        """Where a symbolic link points."""
        found = self._listing.by_ino(ino)
        entry = found.entry if isinstance(found, Parked) else found
        if not isinstance(entry, Shown) or entry.type is not EntryType.SYMLINK:
            raise Refusal(errno.EINVAL)
        return entry.target

    def check_access(self, ino: int, mask: int) -> None:
        """As access(2): raises ReadOnlySpace or NotAllowed if what `mask` asks for is not
        allowed."""
        if ino == ROOT_INO:
            if mask & os.W_OK:
                raise errors.NotAllowed("Spaces are made with `sharefs create`.")
            return
        found = self._listing.by_ino(ino)
        if mask & os.W_OK:
            self._check_writable(found)
        mode = self.attributes(found).mode
        if mask & os.X_OK and stat.S_ISREG(mode) and not mode & 0o111:
            raise errors.NotAllowed("The file is not marked as a program.")

    def _check_writable(self, found: Found) -> None:
        space = self._listing.space_of(found)
        if not space.writable:
            raise errors.ReadOnlySpace(f"Your role in {space.name} is to read.")

    # --- files ------------------------------------------------------------------------------------

    def open(self, ino: int, flags: int) -> Handle:
        """Open a file. Raises IsAFolder, ReadOnlySpace, NotAllowed."""
        if ino == ROOT_INO:
            raise errors.IsAFolder("This is a folder.")
        return self._open(self._listing.by_ino(ino), flags)

    def open_at(self, folder: int, name: str, flags: int) -> Handle:
        """Open by name: unlike an inode, a name is never missing while its file is replaced."""
        return self._open(self._listing.find(folder, name), flags)

    def _open(self, found: Found, flags: int) -> Handle:
        if type_of(found) is EntryType.FOLDER:
            raise errors.IsAFolder("This is a folder.")
        if type_of(found) is EntryType.SYMLINK:
            raise Refusal(errno.ELOOP)
        writing = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        if writing:
            self._check_writable(found)
            found = self._changeable(found)
        handle = self._files.open(found.ino, _entry_of(found), writing)
        if flags & os.O_TRUNC:
            try:
                self._files.truncate(handle, 0)
            except BaseException:
                self._files.close(handle)
                raise
        return handle

    def _changeable(self, found: Found) -> Found:
        """A parked file is made a file of its own before it is changed."""
        if not isinstance(found, Parked):
            return found
        self._moves.make_real(found)
        return self._listing.find(found.folder, found.name)

    def create(self, folder: int, name: str, mode: int, flags: int = os.O_RDWR) -> Handle:
        """Make a file and open it, or open the one that is there. Raises EntryExists for O_EXCL."""
        check_name(name)
        there = self._listing.find_or_none(folder, name)
        if there is not None:
            if flags & os.O_EXCL:
                raise errors.EntryExists(name)
            return self._open(there, flags)
        space = self._listing.space_of(self._listing.folder(folder)).space
        parked = self._overlay.parked_from(folder, name)
        handle = self._files.create(folder, space, name, bool(mode & stat.S_IXUSR), parked)
        if is_probe(name) and parked is None and handle.draft is not None:
            self._moves.watch_probe(handle.draft)
        return handle

    def release(self, handle: Handle) -> None:
        """The program closed it for good: if it was the last to write, the file is published."""
        self._files.closed_in_kernel(handle)
        self._files.close(handle)

    def truncate(self, ino: int, size: int) -> None:
        """As truncate(2), by a program that does not have the file open."""
        handle = self.open(ino, os.O_WRONLY)
        try:
            self._files.truncate(handle, size)
        finally:
            self._files.close(handle)

    def truncate_open(self, handle: Handle, size: int) -> None:
        """As ftruncate(2)."""
        if not handle.writing:
            raise Refusal(errno.EBADF)
        self._files.truncate(handle, size)

    # --- folders and names --------------------------------------------------------------------

    def mkdir(self, folder: int, name: str) -> Attributes:
        """Make a folder. Raises EntryExists, ReadOnlySpace, NotAllowed."""
        self._check_free(folder, name)
        return self.attributes(self._changes.make_folder(folder, name))

    def mknod(self, folder: int, name: str, mode: int) -> None:
        """Make an empty file; devices, pipes and sockets are refused."""
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise Refusal(errno.EPERM)
        self._files.close(self.create(folder, name, mode, os.O_RDWR | os.O_EXCL))

    def symlink(self, folder: int, name: str, target: str) -> None:
        """Make a symbolic link; one with a temporary name (a lock of Emacs) stays here."""
        where = self._check_free(folder, name)
        if not is_temporary(name):
            self._changes.make_symlink(folder, name, target)
            return
        space = self._listing.space_of(where).space
        link = _private_link(self._changes.new_ino(), space, name, target)
        with self._overlay.lock:
            self._overlay.park(Parked(link, folder, name, folder, name, None, taken=True))

    def _check_free(self, folder: int, name: str) -> SpaceFolder | Shown:
        check_name(name)
        where = self._listing.folder(folder)
        if self._listing.find_or_none(folder, name) is not None:
            raise errors.EntryExists(name)
        parked = self._overlay.parked_from(folder, name)
        if parked is not None:
            self._moves.settle(parked)
        return where

    def unlink(self, folder: int, name: str) -> None:
        """Remove a file or a link."""
        self._moves.remove(folder, name, want_folder=False)

    def rmdir(self, folder: int, name: str) -> None:
        """Remove an empty folder."""
        self._moves.remove(folder, name, want_folder=True)

    def rename(
        self, folder: int, name: str, to: int, to_name: str, may_replace: bool = True
    ) -> None:
        """Move within a space; see `moves`."""
        check_name(to_name)
        self._moves.rename(folder, name, to, to_name, may_replace)

    # --- attributes ---------------------------------------------------------------------------

    def chmod(self, ino: int, mode: int) -> None:
        """Only the owner's execute bit of a file is kept; the rest is what the space says."""
        self._set(ino, None, bool(mode & stat.S_IXUSR))

    def utimens(self, ino: int, mtime: tuple[int, int] | None) -> None:
        """Set the modification time, as (seconds, nanoseconds or UTIME_NOW or UTIME_OMIT)."""
        if mtime is not None and mtime[1] == UTIME_OMIT:
            return
        now = mtime is None or mtime[1] == UTIME_NOW
        nanoseconds = time.time_ns() if now or mtime is None else mtime[0] * 10**9 + mtime[1]
        self._set(ino, nanoseconds, None)

    def _set(self, ino: int, mtime_ns: int | None, executable: bool | None) -> None:
        if ino == ROOT_INO:
            return
        found = self._changeable(self._listing.by_ino(ino))
        self._check_writable(found)
        ino = found.ino
        if self._files.set_on_draft(ino, mtime_ns, executable):
            return
        with self._files.publishing.editing(ino):
            # Nothing is on its way now, but a program may have begun to write, or to replace it.
            entry = self._view.entry(ino)
            done = self._files.set_on_draft(ino, mtime_ns, executable) or self._overlay.hides(ino)
            if not done and entry is not None and entry.name:
                self._set_on_entry(entry, mtime_ns, executable)

    def _set_on_entry(self, entry: Shown, mtime_ns: int | None, executable: bool | None) -> None:
        if entry.type is not EntryType.FILE:
            executable = None
        mtime_ns = None if mtime_ns == entry.mtime_ns else mtime_ns
        executable = None if executable == entry.executable else executable
        if mtime_ns is None and executable is None:
            return
        self._changes.set_attributes(entry.ino, mtime_ns, executable)
        self._files.edited(entry)

    def listxattr(self, ino: int) -> list[str]:
        """The names of what `describe` says."""
        return [XATTR_PREFIX + name for name in self._describe(ino)]

    def getxattr(self, ino: int, name: str) -> bytes:
        """One of them; ENODATA for what there is not, ENOTSUP for access lists."""
        if not name.startswith(XATTR_PREFIX):
            raise Refusal(errno.ENOTSUP if name.startswith("system.") else errno.ENODATA)
        value = self._describe(ino).get(name.removeprefix(XATTR_PREFIX))
        if value is None:
            raise Refusal(errno.ENODATA)
        return value.encode()

    def _describe(self, ino: int) -> dict[str, str]:
        if ino == ROOT_INO:
            return {}
        match self._listing.by_ino(ino):
            case Shown() as entry:
                described = self._view.describe(entry)
                return described if self._overlay.draft(ino) is None else described | _UNPUBLISHED
            case DraftFile():
                return dict(_UNPUBLISHED)
            case Parked():
                return dict(_PRIVATE)
            case SpaceFolder():
                return {}

    def room(self) -> tuple[int, int]:
        """(room, free room) for contents on this disk, in bytes."""
        return self._contents.free_bytes()

    # --- for the node -----------------------------------------------------------------------------

    def watch(self, changed: Callable[[Iterable[int]], None]) -> None:
        """See `View.watch`."""
        self._view.watch(changed)

    def retry(self) -> None:
        """Publish what could not be published before: the disk has room again."""
        self._files.publishing.retry()

    def restore(self, draft: ports.Draft) -> None:
        """Show what an earlier run left; publish it, unless its name is temporary."""
        self._files.publishing.restore(draft)

    def close(self) -> None:
        """Publish what an editor set aside and did not come back for."""
        self._moves.settle_all()


_UNPUBLISHED = {"state": "unpublished"}
_PRIVATE = {"state": "private"}


def _entry_of(found: Found) -> Shown | None:
    match found:
        case Shown():
            return found
        case Parked():
            return found.entry
        case DraftFile() | SpaceFolder():
            return None


def _private_link(ino: int, space: int, name: str, target: str) -> Shown:
    now_ns = time.time_ns()
    return Shown(
        ino=ino,
        space=space,
        item=ROOT,
        version=_NEVER_PUBLISHED,
        loser=False,
        type=EntryType.SYMLINK,
        deleted=False,
        live=True,
        parent=ROOT,
        anchor=ROOT,
        place=ROOT,
        merged=None,
        name=name,
        shown=name,
        created=now_ns // 1_000_000,
        stamp=now_ns // 1_000_000,
        mtime_ns=now_ns,
        executable=False,
        size=0,
        content=None,
        target=target,
        local=0,
    )
