"""Which versions does an edit make?

Each function turns what a person did into `Change`s, which the node signs in order. A version's
context is what its writer had seen: the head it was made from, never a conflict's losers.

But a version vector can not tell a device's fifth record from its tenth: whoever goes on from the
tenth supersedes the fifth too. So each version follows its own device's heads (`chain`), and a
loser among these, which it would silently replace, becomes an entry of its own (`keep_apart`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
from blake3 import blake3

from sharefs.records.entry import (
    Entry,
    EntryType,
    check_name,
    check_target,
    encode_entry,
    time_kept,
)
from sharefs.records.ids import ContentId, DeviceId, Incarnation, ItemId, item_id
from sharefs.records.record import ContextEntry, Record, context_of, sees
from sharefs.records.shown import Shown


@dataclass(frozen=True, slots=True)
class Change:
    """A version to be: of which item, after which versions, and what it says."""

    item: ItemId
    context: tuple[ContextEntry, ...]
    after: int
    """The greatest stamp among the versions superseded, -1 for a new item."""
    body: bytes
    derived: bool = False
    """The item's id follows from something that others know, too."""

    @property
    def is_drawn(self) -> bool:
        """It makes an item whose id was drawn just now: nobody has anything of that yet."""
        return not self.context and not self.derived


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a file holds."""

    size: int
    content: ContentId | None
    mtime_ns: int
    executable: bool


def make_folder(item: ItemId, parent: ItemId, name: str, now_ms: int) -> Change:
    """Raises the errors of `check_name`."""
    return _make(item, EntryType.FOLDER, parent, name, now_ms, "")


def make_symlink(item: ItemId, parent: ItemId, name: str, target: str, now_ms: int) -> Change:
    """Raises the errors of `check_name`, also for a target that can not be kept."""
    check_target(target)
    return _make(item, EntryType.SYMLINK, parent, name, now_ms, target)


def _make(
    item: ItemId, type: EntryType, parent: ItemId, name: str, now_ms: int, target: str
) -> Change:
    check_name(name)
    entry = Entry(1, type, False, parent, name, now_ms, now_ms * 1_000_000, False, 0, None, target)
    return Change(item, (), -1, encode_entry(entry))


def make_file(item: ItemId, parent: ItemId, name: str, held: Bytes, now_ms: int) -> Change:
    """Raises the errors of `check_name`."""
    return write_file(item, (), -1, now_ms, parent, name, held)


def write_file(
    item: ItemId,
    context: tuple[ContextEntry, ...],
    after: int,
    created: int,
    parent: ItemId,
    name: str,
    held: Bytes,
) -> Change:
    """A new version of a file, by a writer that had seen `context`."""
    check_name(name)
    entry = Entry(
        1,
        EntryType.FILE,
        False,
        parent,
        name,
        created,
        time_kept(held.mtime_ns),
        held.executable,
        held.size,
        held.content,
        "",
    )
    return Change(item, context, after, encode_entry(entry))


def move(row: Shown, seen: Iterable[Record], parent: ItemId, name: str) -> Change:
    """Another folder or name; a folder that lived on by what it holds is no longer deleted.

    Raises the errors of `check_name`.
    """
    check_name(name)
    return _change(row, seen, deleted=False, parent=parent, name=name)


def remove(row: Shown, seen: Iterable[Record]) -> Change:
    """A tombstone, which keeps folder and name so that the entry could come back."""
    return _change(row, seen, deleted=True, size=0, content=None)


def remove_base(row: Shown, context: tuple[ContextEntry, ...], after: int) -> Change:
    """A tombstone of what a writer had seen, whatever the entry says by now."""
    entry = msgspec.structs.replace(entry_of(row), deleted=True, size=0, content=None)
    return Change(row.item, context, after, encode_entry(entry))


def touch(
    row: Shown, seen: Iterable[Record], mtime_ns: int | None, executable: bool | None
) -> Change:
    """Another modification time or execute bit; None leaves it."""
    return _change(
        row,
        seen,
        mtime_ns=row.mtime_ns if mtime_ns is None else time_kept(mtime_ns),
        executable=row.executable if executable is None else executable,
    )


def replace_bytes(row: Shown, seen: Iterable[Record], held: Bytes) -> Change:
    """A file was moved over this one: its next version."""
    return _change(
        row,
        seen,
        mtime_ns=time_kept(held.mtime_ns),
        executable=held.executable,
        size=held.size,
        content=held.content,
    )


def keep(row: Shown, seen: Iterable[Record]) -> Change:
    """The same again, having seen more: how a conflict's loser is let go."""
    return _change(row, seen)


def keep_loser(winner: Shown, loser: Shown, seen: Iterable[Record]) -> Change:
    """A conflict's loser is what counts: its bytes, under the winner's name and in its place.

    What was deleted meanwhile comes back with it.
    """
    return _change(
        winner,
        seen,
        type=loser.type,
        deleted=False,
        mtime_ns=loser.mtime_ns,
        executable=loser.executable,
        size=loser.size,
        content=loser.content,
        target=loser.target,
    )


def item_apart(loser: Shown) -> ItemId:
    """The item that a conflict's loser becomes when it is kept apart: the same one whoever does
    it, so that two who do it at once make one entry. Its contributor is who wrote the loser."""
    device, incarnation, sequence = loser.version
    nonce = blake3(loser.item + incarnation + sequence.to_bytes(8)).digest(8)
    return item_id(device, nonce)


def keep_apart(item: ItemId, loser: Shown, now_ms: int) -> Change:
    """A conflict's loser as a new entry, under the name and in the place it has now."""
    entry = msgspec.structs.replace(
        entry_of(loser), parent=loser.place, name=loser.shown, created=now_ms
    )
    return Change(item, (), -1, encode_entry(entry), derived=True)


def again(record: Record, told: int) -> Change:
    """A version that nobody was told of, to be written once more under another incarnation.

    Another copy of its device may have written other records under these numbers: whoever claims
    to have seen these, may have seen those. So it claims to have seen of its author's own only what
    others were told.
    """
    author = (record.device, record.incarnation)
    capped = [(d, i, min(s, told) if (d, i) == author else s) for d, i, s in record.context]
    context = tuple(entry for entry in capped if entry[2] > 0)
    return Change(record.item, context, record.stamp, record.body, derived=True)


def chain(
    change: Change, heads: Iterable[Record], device: DeviceId, incarnation: Incarnation
) -> Change:
    """The change, made to follow its author's own heads too. `heads` are the item's."""
    own = [head for head in heads if (head.device, head.incarnation) == (device, incarnation)]
    if not own:
        return change
    seen = {(d, i): s for d, i, s in change.context}
    for d, i, s in context_of(own):
        seen[d, i] = max(seen.get((d, i), 0), s)
    context = tuple((d, i, s) for (d, i), s in sorted(seen.items()))
    after = max(change.after, *(head.stamp for head in own))
    return replace(change, context=context, after=after)


def unseen_losers(change: Change, losers: Iterable[Shown], chained: Change) -> list[Shown]:
    """The rows of the item's losers that only the chain supersedes: to be kept apart first.

    So are those of a second record at one coordinate (I8): no version vector can tell whether the
    writer had seen it.
    """
    rows = list(losers)
    versions = Counter(row.version for row in rows)
    return [
        row
        for row in rows
        if sees(chained.context, row.version)
        and (not sees(change.context, row.version) or (row.loser and versions[row.version] > 1))
    ]


def _change(row: Shown, seen: Iterable[Record], **fields: object) -> Change:
    records = list(seen)
    entry = msgspec.structs.replace(entry_of(row), **fields)
    after = max(record.stamp for record in records)
    return Change(row.item, context_of(records), after, encode_entry(entry))


def entry_of(row: Shown) -> Entry:
    """What the version behind a row says."""
    return Entry(
        1,
        row.type,
        row.deleted,
        row.parent,
        row.name,
        row.created,
        row.mtime_ns,
        row.executable,
        row.size,
        row.content,
        row.target,
    )
