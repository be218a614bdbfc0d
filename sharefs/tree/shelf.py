"""Where does a tree keep heads and rows?"""

from collections.abc import Iterable
from typing import Protocol

from sharefs.records.ids import ItemId
from sharefs.records.record import Record
from sharefs.records.shown import Shown


class Shelf(Protocol):
    """Where heads and rows of one space are kept; `store` implements it.

    Winners' rows and losers' rows are told apart by `loser`; the root's own row is in no answer
    but `winner`'s.
    """

    def heads_of(self, items: Iterable[ItemId]) -> dict[ItemId, list[Record]]:
        """Of those items that have any."""
        ...

    def add_head(self, record: Record, data: bytes) -> None: ...
    def drop_head(self, record: Record) -> None: ...

    def set_dead(self, item: ItemId, dead: bool) -> None:
        """Whether its heads `is_dead`, and nothing lives in it; told when that may have changed."""
        ...

    def winner(self, item: ItemId) -> Shown | None: ...

    def winners(self, items: Iterable[ItemId]) -> dict[ItemId, Shown]:
        """Of those items that have one."""
        ...

    def losers(self, item: ItemId) -> list[Shown]: ...

    def listed(self, place: ItemId) -> list[Shown]:
        """The live rows of that place, losers and merged folders among them."""
        ...

    def anchored(self, item: ItemId) -> list[Shown]:
        """The winners anchored there, dead ones among them."""
        ...

    def with_children(self, items: Iterable[ItemId]) -> set[ItemId]:
        """Those of the items at which any winner is anchored, be it a dead one."""
        ...

    def has_live_child(self, item: ItemId) -> bool:
        """Whether a live row is anchored there, a winner's or a loser's."""
        ...

    def odd(self, place: ItemId) -> bool:
        """Whether a live row of that place is merged, or a loser, or shown under a made name."""
        ...

    def named(self, place: ItemId, names: list[str]) -> list[Shown]:
        """The live rows of that place whose name, or shown name, is one of these."""
        ...

    def save(self, row: Shown) -> None:
        """Keep it, instead of the row of the same inode."""
        ...

    def erase(self, ino: int) -> None: ...
