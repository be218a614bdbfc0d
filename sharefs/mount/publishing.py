"""How does a draft come into the view, and what if it is written again meanwhile?

A draft is sent when it is whole (nobody writes it) and has a real name. A draft that grew from one
which is still on its way waits for that one's answer, and takes what it became as its own base.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from sharefs.errors import NoSuchEntry, UserError
from sharefs.mount import ports
from sharefs.mount.drafts import DraftFile, Overlay, State
from sharefs.mount.nodes import Nodes
from sharefs.mount.ports import Base, Changes, Contents, View
from sharefs.records.shown import Shown

_log = logging.getLogger(__name__)


class Publishing:
    """Sends drafts. Thread-safe: the answers come from the loop, and nothing here waits for it."""

    def __init__(
        self,
        overlay: Overlay,
        view: View,
        contents: Contents,
        changes: Changes,
        nodes: Nodes,
        is_written: Callable[[int], bool],
    ) -> None:
        self._overlay = overlay
        self._view = view
        self._contents = contents
        self._changes = changes
        self._nodes = nodes
        self._is_written = is_written

    def ready(self, draft: DraftFile) -> bool:
        """Whether the draft is now to be sent; then it is PUBLISHING. With the overlay's lock
        held."""
        mine = self._overlay.draft(draft.ino) is draft and draft.state is State.OPEN
        if not mine or self._is_written(draft.ino):
            return False
        draft.finish()
        if draft.temporary:
            return False
        if self._overlay.is_edited(draft.ino):
            # Whoever edits the entry sends it afterwards.
            return False
        if draft.predecessor is not None:
            draft.state = State.WAITING
            return False
        self._overlay.begin(draft)
        return True

    def publish_if_ready(self, draft: DraftFile) -> None:
        """Send the draft, if it is whole and has a real name."""
        with self._overlay.lock:
            ready = self.ready(draft)
        if ready:
            self.send(draft)

    @contextmanager
    def editing(self, *inos: int) -> Iterator[None]:
        """Make another edit of these entries, whose drafts wait meanwhile."""
        try:
            with self._overlay.editing(*inos):
                yield
        finally:
            # Also if the edit failed: their writers may have closed them meanwhile.
            for ino in inos:
                draft = self._overlay.draft(ino)
                if draft is not None:
                    self.publish_if_ready(draft)

    def send(self, draft: DraftFile) -> None:
        """Publish a PUBLISHING draft; without any lock."""
        try:
            self.see_again(draft)
            folder, name = self.place(draft)
            whole = ports.Draft(
                draft.ino,
                draft.space,
                folder,
                name,
                draft.base,
                draft.bytes,
                draft.mtime_ns,
                draft.executable,
                draft.size,
                draft.left,
            )
            self._changes.publish(whole, partial(self._answered, draft))
        except Exception:
            _log.exception("a draft could not be handed over: it stays in %s", draft.bytes.path)
            self._answered(draft, None)

    def see_again(self, draft: DraftFile) -> None:
        """Another version of what its writer had seen may stand by now, as after a rename, or when
        a conflict was settled. If it has the same bytes, the writer has seen it."""
        seen = draft.seen
        present = self._view.entry((draft.replaces or seen).ino) if seen is not None else None
        if seen is None or present is None or present.version == seen.version or present.deleted:
            return
        if same_bytes(present, seen):
            with suppress(NoSuchEntry):
                draft.base, draft.seen = self._view.base(present), present

    def place(self, draft: DraftFile) -> tuple[int, str]:
        """Where the version goes: where its entry is now, unless this device says otherwise."""
        if draft.placed:
            return draft.folder, written_name(draft.name, draft.replaces)
        entry = self._view.entry(draft.ino)
        if entry is None or not entry.live:
            return draft.folder, written_name(draft.name, draft.seen)
        return self._view.folder(entry), written_name(entry.shown, entry)

    def _answered(self, draft: DraftFile, shown: Shown | None) -> None:
        """The loop says that the version is in the view, or can not be."""
        base = draft.base if shown is None else self._base(draft, shown)
        send = None
        with self._overlay.lock:
            successor = draft.successor
            if shown is None:
                self._stay(draft)
            else:
                self._leave(draft, shown, base)
            if successor is not None:
                draft.successor = successor.predecessor = None
                if successor.state is State.WAITING:
                    successor.state = State.OPEN
                    send = successor if self.ready(successor) else None
        if successor is not None and not successor.orphaned:
            try:
                self.note(successor)
            except UserError as error:
                # A full disk, for one: the note that it has is older, but leads to it as well.
                _log.warning("it is not noted where %s belongs: %s", successor.bytes.path, error)
        if send is not None:
            self.send(send)

    def _base(self, draft: DraftFile, shown: Shown) -> Base | None:
        if draft.users == 0 and draft.successor is None:
            return None
        try:
            return self._view.base(shown)
        except NoSuchEntry:
            # A newer version stands already, of which nobody here has seen anything.
            created = Base(shown.item, (shown.version,), shown.stamp, shown.created)
            return draft.base or created

    def _leave(self, draft: DraftFile, shown: Shown, base: Base | None) -> None:
        self._overlay.drop(draft)
        for bytes in draft.superseded:
            bytes.discard()
        draft.published = draft.seen = shown
        draft.base = base
        successor = draft.successor
        if successor is None:
            self._nodes.published(draft.ino, shown.content)
        else:
            successor.base, successor.seen = base, shown
            self._overlay.unplace(successor)
        self._overlay.end(draft, State.OVER)

    def _stay(self, draft: DraftFile) -> None:
        """It could not be published: it stays here, so that nothing is lost."""
        if draft.successor is None:
            self._overlay.end(draft, State.OPEN)
        else:
            draft.successor.superseded.append(draft.bytes)
            self._overlay.end(draft, State.OVER)

    def retry(self) -> None:
        """Send again what could not be published."""
        for draft in self._overlay.drafts():
            self.publish_if_ready(draft)

    def restore(self, left: ports.Draft) -> None:
        """List, or publish, what an earlier run left behind."""
        draft = DraftFile(
            left.ino,
            left.space,
            left.folder,
            left.name,
            True,
            left.bytes,
            left.size,
            left.mtime_ns,
            left.executable,
            left=True,
        )
        entry = self._view.lookup(left.folder, left.name)
        draft.base = left.base
        with self._overlay.lock:
            self._overlay.add(draft)
            if entry is not None and left.base is not None and entry.item == left.base.item:
                self._overlay.replace(draft, entry)
        self.publish_if_ready(draft)

    def note(self, draft: DraftFile) -> None:
        """Tell a restarted node where the draft belongs."""
        # Its publication may be so quick that the file has been moved: then the note is not needed.
        with suppress(FileNotFoundError):
            folder, name = self.place(draft)
            self._contents.note_draft(draft.bytes.path, folder, name, draft.base)


def same_bytes(one: Shown, other: Shown) -> bool:
    """Whether who has read the one has read the other."""
    return (one.content, one.size) == (other.content, other.size)


def written_name(name: str, entry: Shown | None) -> str:
    """The name for a version: what the entry's writer called it, if it is shown under `name`.

    A conflict's loser is to be an entry of its own, under the name that was made for it.
    """
    plain = entry is not None and entry.shown == name and not entry.loser
    return entry.name if entry is not None and plain else name
