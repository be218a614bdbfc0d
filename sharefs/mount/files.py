"""What happens to the bytes of a file between open and close?

Reading goes to the content, or to the draft if there is one: all who have a file open share it.
Writing begins a draft at the first change, with a copy of what the writer had opened; its last
writer's close publishes it. No lock is held while anything waits for the loop. The locks that a
first change holds while it copies are known to writers only, never to the loop.
"""

import threading
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass

from sharefs import errors
from sharefs.mount.askers import held
from sharefs.mount.drafts import DraftFile, Overlay, Parked, State, discarded_on_error
from sharefs.mount.nodes import Node, Nodes
from sharefs.mount.ports import EVERY_BYTE, Base, Changes, Contents, Reader, View
from sharefs.mount.publishing import Publishing, same_bytes, written_name
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown

COPY_LOCKS = 64
PAST_CACHE_SIZE_BYTES_MIN = 1024 * 1024
AWAITED_SIZE_BYTES_MIN = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Handle:
    """A file as one program opened it. Invariant: `writing` handles are counted per inode."""

    ino: int
    writing: bool
    seen: Shown | None = None
    """What was opened, if that was published."""
    base: Base | None = None
    draft: DraftFile | None = None
    """The draft it reads and writes, once there is one."""
    reader: Reader | None = None
    orphaned: bool = False
    """Its name was removed here before it wrote: what it writes is nobody's."""
    node: Node | None = None
    """The kernel's, by which it was opened; None where no kernel is."""

    @property
    def is_local(self) -> bool:
        """Whether all its bytes are here to be read and written."""
        return self.draft is not None and self.draft.state is State.OPEN

    @property
    def past_cache(self) -> bool:
        """Whether the kernel should hand its reads on as they are. So a program that waits for
        bytes can be interrupted, and pages that it reads once need not be made."""
        seen = self.seen
        if self.writing or self.draft is not None or seen is None:
            return False
        return seen.local < seen.size and seen.size >= PAST_CACHE_SIZE_BYTES_MIN


class Files:
    """Open files, and the way of their drafts into the view. Thread-safe."""

    def __init__(
        self, overlay: Overlay, view: View, contents: Contents, changes: Changes, nodes: Nodes
    ) -> None:
        self._overlay = overlay
        self._view = view
        self._contents = contents
        self._changes = changes
        self._nodes = nodes
        self.publishing = Publishing(overlay, view, contents, changes, nodes, self.is_written)
        self._writers: dict[int, int] = {}
        self._handles: dict[int, list[Handle]] = {}
        self._copying = [threading.Lock() for _ in range(COPY_LOCKS)]

    # --- opening and closing ----------------------------------------------------------------------

    def open(self, ino: int, entry: Shown | None, writing: bool) -> Handle:
        """`entry` is what the view has (or had, for a parked file) under the inode.

        Raises NoSuchEntry if it is a draft that was removed meanwhile.
        """
        handle = Handle(ino, writing, entry)
        with self._overlay.lock:
            draft = self._overlay.draft(ino)
            if draft is not None:
                draft.attach()
                handle.draft = draft
            # Its name went to another file since it was looked up.
            handle.orphaned = writing and self._overlay.is_replaced(ino)
            self._count(handle)
        if draft is None:
            try:
                self._see(handle)
            except BaseException:
                self.close(handle)
                raise
        return handle

    def _see(self, handle: Handle) -> None:
        """Remember what the view has, as what a writer bases its version on."""
        if handle.seen is None:
            # It was a draft when it was looked up, and is published by now.
            handle.seen = self._view.entry(handle.ino)
        if handle.seen is None:
            raise errors.NoSuchEntry(str(handle.ino))
        if handle.writing:
            handle.base = self._view.base(handle.seen)

    def _count(self, handle: Handle) -> None:
        self._handles.setdefault(handle.ino, []).append(handle)
        if handle.writing:
            self._writers[handle.ino] = self._writers.get(handle.ino, 0) + 1

    def node_of(self, ino: int) -> int:
        """The node to tell the kernel of, which looked the file up."""
        if not self._nodes.in_use(ino):
            return ino
        draft = self._overlay.draft(ino)
        if draft is not None:
            return self._nodes.lead_to(ino, draft)
        parked = self._overlay.parked(ino)
        seen = self._view.entry(ino) if parked is None else parked.entry
        return self._nodes.lead_to(ino, None if seen is None else seen.content)

    def opened_by(self, handle: Handle, id: int | None) -> bool:
        """The kernel opened it by a node, or, for None, makes the file: whether it may keep its
        pages. Raises NoSuchEntry if names do not lead to that node any more."""
        ino, version = handle.ino, _version(handle)
        opened = self._nodes.open(self.node_of(ino) if id is None else id, ino, version)
        if opened is None:
            raise errors.NoSuchEntry(str(ino))
        handle.node, kept = opened
        if handle.draft is not None and handle.draft.node is None:
            handle.draft.node = handle.node
        return kept

    def create(
        self, folder: int, space: int, name: str, executable: bool, parked: Parked | None = None
    ) -> Handle:
        """A new, empty file, open for writing; or the next version of one that was set aside."""
        self._overlay.await_room()
        if parked is None:
            return self._create(folder, space, name, executable, None)
        if not self._overlay.take(parked):
            self._overlay.await_unparked(parked)
            return self._create(folder, space, name, executable, None)
        try:
            return self._create(folder, space, name, executable, parked)
        except BaseException:
            self._overlay.give_back(parked)
            raise

    def _create(
        self, folder: int, space: int, name: str, executable: bool, taken: Parked | None
    ) -> Handle:
        base, entry = (taken.base, taken.entry) if taken is not None else (None, None)
        bytes = self._contents.new_draft(folder, written_name(name, entry), base)
        with discarded_on_error(bytes):
            ino = self._changes.new_ino()
        now_ns = time.time_ns()
        draft = DraftFile(ino, space, folder, name, True, bytes, 0, now_ns, executable)
        draft.base, draft.seen = base, entry
        handle = Handle(ino, True, draft=draft)
        with self._overlay.lock:
            draft.attach()
            self._overlay.add(draft)
            self._overlay.replace(draft, entry)
            self._count(handle)
        return handle

    def close(self, handle: Handle) -> None:
        """The last writer's close publishes the draft, if there is one and its name is real."""
        ino = handle.ino
        send = None
        with self._overlay.lock:
            self._uncount(handle)
            draft = self._overlay.draft(ino)
            if handle.writing and draft is not None and self.publishing.ready(draft):
                send = draft
            # Only now, since a draft on its way keeps its descriptor.
            if handle.draft is not None:
                handle.draft.detach()
        if handle.reader is not None:
            handle.reader.close()
        if send is not None:
            self.publishing.send(send)

    def closed_in_kernel(self, handle: Handle) -> None:
        """The kernel's pages are not used by this handle any more."""
        if handle.node is not None:
            self._nodes.close(handle.node)
            handle.node = None

    def _uncount(self, handle: Handle) -> None:
        handles = self._handles[handle.ino]
        handles.remove(handle)
        if not handles:
            del self._handles[handle.ino]
        if handle.writing:
            self._writers[handle.ino] -= 1
            if not self._writers[handle.ino]:
                del self._writers[handle.ino]

    def is_written(self, ino: int) -> bool:
        """Whether a program has the file open for writing."""
        return ino in self._writers

    def uses(self, content: ContentId) -> bool:
        """Whether a program has a file open of which this is, or was, the content, or a file was
        set aside with it."""
        with self._overlay.lock:
            parked = self._overlay.all_parked()
            if any(each.entry.content == content for each in parked):
                return True
            return any(
                handle.seen is not None and handle.seen.content == content
                for handles in self._handles.values()
                for handle in handles
            )

    # --- reading and writing ------------------------------------------------------------------

    def has(self, handle: Handle, offset: int, size: int) -> bool:
        """Whether `read` would not wait."""
        seen = handle.seen
        if handle.draft is not None or seen is None or seen.content is None:
            return True
        return self._reader(handle, seen).has(offset, size)

    def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """As pread; waits for bytes that are not here."""
        draft = self._overlay.draft(handle.ino)
        # Who has an older version open, by a node of its own, goes on reading that.
        shared = draft is not None and draft.node is handle.node
        if shared and draft is not handle.draft and not handle.orphaned:
            self._follow(handle)
        draft = handle.draft
        if draft is not None:
            return draft.bytes.read(offset, size)
        seen = handle.seen
        assert seen is not None
        if seen.content is None:
            return b""
        return self._reader(handle, seen).read(offset, size)

    def _reader(self, handle: Handle, seen: Shown) -> Reader:
        if handle.reader is None:
            self._open_reader(handle, seen)
        assert handle.reader is not None
        return handle.reader

    def _open_reader(self, handle: Handle, seen: Shown) -> None:
        reader = self._contents.open(seen)
        with self._overlay.lock:
            if handle.reader is None:
                handle.reader = reader
                return
        reader.close()

    def _follow(self, handle: Handle) -> None:
        with self._overlay.lock:
            draft = self._overlay.draft(handle.ino)
            if draft is not None and draft is not handle.draft:
                self._attach(handle, draft)

    def _attach(self, handle: Handle, draft: DraftFile) -> None:
        """With the overlay's lock held."""
        draft.attach()
        if handle.draft is not None:
            handle.draft.detach()
        handle.draft = draft

    def write(self, handle: Handle, offset: int, data: bytes | memoryview) -> int:
        """As pwrite, but never less than everything."""
        draft = self._changed(handle)
        draft.resume()
        try:
            draft.bytes.write(offset, data)
        except OSError:
            # Some of it may be there.
            draft.size = draft.bytes.size
            raise
        draft.size = max(draft.size, offset + len(data))
        draft.mtime_ns = time.time_ns()
        return len(data)

    def truncate(self, handle: Handle, size: int) -> None:
        """As ftruncate."""
        draft = self._changed(handle, size)
        draft.resume()
        draft.bytes.truncate(size)
        draft.size = size
        draft.mtime_ns = time.time_ns()

    def sync(self, handle: Handle) -> None:
        """As fsync: a restarted node would find all that was written till now."""
        draft = handle.draft
        if draft is not None and draft.state is State.OPEN and not draft.orphaned:
            draft.bytes.sync()

    # --- the first change ---------------------------------------------------------------------

    def _changed(self, handle: Handle, keep: int = EVERY_BYTE) -> DraftFile:
        """The draft to write to, begun if need be, with as many of the old bytes."""
        draft = handle.draft
        if draft is not None and draft.state is State.OPEN:
            return draft
        with held(self._copying[handle.ino % COPY_LOCKS]):
            self._await_large(handle.ino)
            with self._overlay.lock:
                draft = None if handle.orphaned else self._overlay.draft(handle.ino)
                if draft is not None and draft is not handle.draft:
                    self._attach(handle, draft)
                if draft is not None and draft.reopen():
                    return draft
            return self._begin(handle, keep)

    def _await_large(self, ino: int) -> None:
        """A large file that is being published just now can be changed without a copy when that is
        done, which is sooner than the copy would be."""
        draft = self._overlay.draft(ino)
        on_its_way = draft is not None and draft.state is State.PUBLISHING
        if draft is not None and on_its_way and draft.size >= AWAITED_SIZE_BYTES_MIN:
            with suppress(TimeoutError):
                self._overlay.await_settled(draft)

    def _begin(self, handle: Handle, keep: int) -> DraftFile:
        """Make a draft of what the handle reads: a content, or a draft on its way or gone."""
        before = handle.draft
        draft = self._made_from(handle, before, keep)
        with discarded_on_error(draft.bytes):
            draft.size = draft.bytes.size
        return self._install(handle, before, draft)

    def _made_from(self, handle: Handle, before: DraftFile | None, keep: int) -> DraftFile:
        if before is not None:
            folder, name = before.folder, before.name
            space, executable = before.space, before.executable
            base, seen = before.base, before.seen
        else:
            assert handle.seen is not None
            base, seen = handle.base, handle.seen
            folder, name = self._view.folder(seen), seen.shown
            space, executable = seen.space, seen.executable
        like = handle.seen if before is None else before.published or before.bytes
        bytes = self._contents.new_draft(
            folder, written_name(name, seen), base, like if keep else None, keep
        )
        draft = DraftFile(
            handle.ino, space, folder, name, False, bytes, 0, time.time_ns(), executable
        )
        draft.base, draft.seen = base, seen
        return draft

    def _install(self, handle: Handle, before: DraftFile | None, draft: DraftFile) -> DraftFile:
        with self._overlay.lock:
            current = None if handle.orphaned else self._overlay.draft(handle.ino)
            if current is not None and current.reopen():
                # What it was copied from came back, because it could not be published.
                self._attach(handle, current)
                draft.bytes.close()
                draft.bytes.discard()
                return current
            self._base(handle, before, draft)
            self._attach(handle, draft)
            if handle.orphaned or (before is not None and before.orphaned):
                draft.orphaned = True
                draft.bytes.discard()
                return draft
            if before is not None and before.settling:
                self._succeed(before, draft)
            self._overlay.add(draft)
        if handle.node is not None:
            draft.node = handle.node
            self._nodes.written(handle.node, draft)
        return draft

    def _base(self, handle: Handle, before: DraftFile | None, draft: DraftFile) -> None:
        """What the writer has seen: what was opened, or what has the same bytes now.

        A rename or a new time since then takes nothing from those bytes, and is often our own.
        """
        draft.base, draft.seen = handle.base, handle.seen
        if before is not None:
            draft.base, draft.seen = before.base, before.seen
        if before is not None and before.settling:
            return
        present, seen = self._view.entry(handle.ino), draft.seen
        if present is not None and seen is not None and same_bytes(present, seen):
            draft.base, draft.seen = self._view.base(present), present
        elif draft.base is None and seen is not None:
            # Nobody had the draft open when it was published, so nobody asked.
            draft.base = self._view.base(seen)

    def _succeed(self, before: DraftFile, draft: DraftFile) -> None:
        before.successor, draft.predecessor = draft, before
        draft.folder, draft.name, draft.placed = before.folder, before.name, before.placed
        self._overlay.replace(draft, before.replaces)

    def copy_out(self, parked: Parked) -> None:
        """Make a draft of a parked file that lost its item, under its present name.

        Nothing, if it was removed meanwhile, or if somebody else made that draft.
        """
        entry, folder, name = parked.entry, parked.folder, parked.name
        bytes = self._contents.new_draft(folder, name, None, entry)
        with discarded_on_error(bytes):
            ino = self._changes.new_ino()
        draft = DraftFile(
            ino,
            entry.space,
            folder,
            name,
            True,
            bytes,
            entry.size,
            entry.mtime_ns,
            entry.executable,
        )
        with self._overlay.lock:
            moved = (folder, name) != (parked.folder, parked.name)
            wanted = self._overlay.unpark(parked)
            if wanted:
                draft.folder, draft.name = parked.folder, parked.name
                draft.finish()
                self._overlay.add(draft)
            draft.rest()
        if not wanted:
            bytes.discard()
        elif moved:
            self.publishing.note(draft)

    # --- what happens to names ----------------------------------------------------------------

    def edited(self, before: Shown) -> None:
        """An entry got another name or time here: its draft's writer has seen that version, too.

        Unless it came with other bytes: then somebody else's edit came between, and stays unseen.
        """
        after = self._view.entry(before.ino)
        if after is None or not same_bytes(after, before):
            return
        with self._overlay.lock:
            draft = self._overlay.draft(before.ino)
            if draft is None or draft.seen is None or draft.seen.version != before.version:
                return
            draft.base, draft.seen = self._view.base(after), after
        self.publishing.note(draft)

    def set_on_draft(self, ino: int, mtime_ns: int | None, executable: bool | None) -> bool:
        """Set what a draft will be published with; False if there is none, or it is on its way."""
        with self._overlay.lock:
            draft = self._overlay.draft(ino)
            if draft is None or draft.settling:
                return False
            if mtime_ns is not None:
                draft.mtime_ns = mtime_ns
            if executable is not None:
                draft.executable = executable
            return True

    def orphan(self, ino: int) -> bool:
        """Its name was removed here: who has it open keeps it, and nobody sees what they write.

        False, and nothing done, while its draft is on its way: wait, and try again.
        """
        with self._overlay.lock:
            draft = self._overlay.draft(ino)
            if draft is not None and draft.busy:
                return False
            for handle in self._handles.get(ino, []):
                handle.orphaned = True
            if draft is None:
                return True
            draft.orphaned = True
            self._overlay.drop(draft)
            draft.rest()
        for bytes in (draft.bytes, *draft.superseded):
            bytes.discard()
        return True


def _version(handle: Handle) -> Hashable:
    if handle.draft is not None:
        return handle.draft
    return None if handle.seen is None else handle.seen.content
