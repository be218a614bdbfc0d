"""Which files does a person want to be here always?

A pin is a choice of this node for a file or folder, by its item, so that it survives renames. What
is pinned is fetched by `replication`, now and when it changes, and not freed.
"""

from collections.abc import Sequence

from sharefs.node.nested import Nested
from sharefs.node.settings import EVERYTHING, PINNED, Scope
from sharefs.node.state import State
from sharefs.records.ids import SpaceId
from sharefs.records.shown import Shown

ON, OFF = "on", "off"


class Pins:
    """Any thread, but for `pin`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pinned = Nested(state, PINNED)

    def of_space(self, space: SpaceId) -> dict[Scope, bool]:
        """What was chosen for what is in a space, for all of it, and for everything."""
        choices = self._state.settings.values(PINNED)
        return {
            scope: on
            for scope, on in choices.items()
            if scope == EVERYTHING or scope.space == space.hex()
        }

    def any(self) -> bool:
        """Whether anything is pinned."""
        return any(self._state.settings.values(PINNED).values())

    def is_pinned(self, row: Shown) -> bool:
        """Whether an entry is to stay here."""
        return self.any() and self._pinned.of(row)

    def pin(self, rows: Sequence[Shown], *, on: bool) -> bool:
        """These and all in them; False if all was so before. In the loop, in a transaction."""
        return self._pinned.choose(rows, ON if on else OFF).changed
