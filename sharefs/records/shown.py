"""What does a folder show, and under which name?"""

from msgspec import Struct

from sharefs.records.entry import EntryType
from sharefs.records.ids import ContentId, Coordinate, ItemId


class Shown(Struct, frozen=True, gc=False):
    """A row of the view: one head of one item, placed and named by `tree`, kept by `store`.

    A winner has `loser` False; a conflict's kept loser stands beside it as a row of its own.
    """

    ino: int
    """The inode number, this node's own, for as long as the row lives."""
    space: int
    """The number of the space in the local database."""
    item: ItemId
    version: Coordinate
    loser: bool
    type: EntryType
    deleted: bool
    live: bool
    """Not deleted; or a deleted folder that holds something live, and so comes back."""
    parent: ItemId
    """The folder that its writer named."""
    anchor: ItemId
    """`parent`, but for the one folder at which a cycle is broken: the space's root."""
    place: ItemId
    """The folder in which it is listed: the anchor, or the folder the anchor is merged into."""
    merged: ItemId | None
    """For a folder that is shown as part of another of its name: that other."""
    name: str
    """The name that its writer gave it."""
    shown: str
    """The name it has in the listing of `place`; empty while it has none."""
    created: int
    stamp: int
    mtime_ns: int
    executable: bool
    size: int
    content: ContentId | None
    target: str
    local: int
    """Bytes of the content that are on this disk, as `store` last counted; `tree` ignores it."""
