"""What did programs leave unpublished when the node stopped, and what becomes of it?

What its program had closed is published. What was still being written is half of something: the
file stays as it was, for everybody, and what was written is beside it, under a name that is this
device's own, until a person renames or removes it.
"""

import logging
from collections.abc import Callable, Container
from dataclasses import replace

import msgspec

from sharefs.errors import LocalDamage, SharefsError
from sharefs.mount.names import is_temporary, unfinished_names
from sharefs.mount.ports import Base, Draft
from sharefs.node.replica import Replica
from sharefs.node.state import State
from sharefs.records.ids import ROOT
from sharefs.records.shown import Shown
from sharefs.store.drafts import DraftNote, Left

log = logging.getLogger("sharefs.node")


def leftovers(state: State, new_ino: Callable[[], int]) -> list[Draft]:
    """What the mount is to show, or to publish. In the loop, when the node starts."""
    drafts: list[Draft] = []
    found = state.drafts.left()
    names = {left.note.name for left in found}
    for left in found:
        path, note = left.path, left.note
        replica = state.replicas.get(note.space)
        if replica is None:
            state.notice(
                f"{note.name} was saved, and its space is not here any more: the file is {path}."
            )
            continue
        if _is_empty(left):
            state.drafts.remove(path)
            continue
        if not left.whole and not is_temporary(note.name):
            note = _set_apart(state, replica, left, names)
            names.add(note.name)
        folder = _folder(replica, note)
        try:
            drafts.append(_draft(state, replica, folder, left._replace(note=note), new_ino()))
        except LocalDamage as error:
            state.notice(
                f"{note.name} can not be shared: {error} What there is of it is in {path}."
            )
    return drafts


def _is_empty(left: Left) -> bool:
    return not (left.whole or is_temporary(left.note.name) or left.path.stat().st_size)


def _folder(replica: Replica, note: DraftNote) -> Shown:
    """Where it goes. What is published brings a folder back that others deleted; what is not would
    be out of sight there."""
    folder, top = replica.shelf.winner(note.parent), replica.shelf.winner(ROOT)
    assert top is not None, "a space has a top folder"
    # A folder may also be gone with what a power cut took.
    if folder is None or (is_temporary(note.name) and not folder.live):
        return top
    return folder


def _set_apart(state: State, replica: Replica, left: Left, taken: Container[str]) -> DraftNote:
    name, folder = left.note.name, _folder(replica, left.note)
    for apart in unfinished_names(name, left.path.stat().st_mtime):
        if apart not in taken and not replica.shelf.named(folder.item, [apart]):
            break
    state.notice(
        f"{name} was being written when the node stopped, and is as it was before. What was"
        f" written is beside it, on this device only, as {apart}: rename or remove it."
    )
    note = msgspec.structs.replace(left.note, name=apart, base=None)
    return note


def _draft(state: State, replica: Replica, folder: Shown, left: Left, ino: int) -> Draft:
    path, note, _ = left
    written, status = state.contents.written_at(path), path.stat()
    state.drafts.note(path, note)
    return Draft(
        ino,
        replica.number,
        folder.ino,
        note.name,
        _base_of(note, replica),
        written,
        status.st_mtime_ns,
        bool(status.st_mode & 0o100),
        status.st_size,
        left=True,
    )


def _base_of(note: DraftNote, replica: Replica) -> Base | None:
    if note.base is None:
        return None
    base = Base(*note.base)
    return replace(base, context=replica.still_counted(base.context))


def settle(state: State) -> None:
    """The node goes down: what is whole, and could not be published, is to be so after another
    start of the machine as well."""
    for path, note, whole in state.drafts.noted():
        if not whole:
            continue
        try:
            written = state.contents.written_at(path)
            written.open()
            try:
                written.sync()
            finally:
                written.close()
            state.drafts.note(path, note, synced=True)
        except (SharefsError, OSError) as error:
            log.warning("%s may not outlive a power cut: %s", path, error)
