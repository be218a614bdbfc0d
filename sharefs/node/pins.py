"""Which files does a person want to be here always?

A pin is a choice of this node for a file or folder, by its item, so that it survives renames; one
for a file goes before one for the folder that it is in, and that before one further up. What is
pinned is fetched by `replication`, now and when it changes, and not freed.
"""

from sharefs.node.settings import EVERYTHING, PINNED, Scope, Settings
from sharefs.node.state import State
from sharefs.records.ids import ROOT, SpaceId
from sharefs.records.shown import Shown
from sharefs.store.view import ReadView

ON, OFF, NO_CHOICE = "on", "off", "default"


class Pins:
    """Any thread, but for `pin`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of_space(self, space: SpaceId) -> dict[str, bool]:
        """What was chosen for items of a space, by their ids in hex; for all of it, by none."""
        choices = self._state.settings.values(PINNED)
        of_all = {"": choices[EVERYTHING]} if EVERYTHING in choices else {}
        id = space.hex()
        return of_all | {scope.item: on for scope, on in choices.items() if scope.space == id}

    def any(self) -> bool:
        """Whether anything is pinned."""
        return any(self._state.settings.values(PINNED).values())

    def is_pinned(self, row: Shown) -> bool:
        """Whether an entry is to stay here."""
        choices = self.of_space(self._state.replica_numbered(row.space).id)
        return any(choices.values()) and _nearest(self._state.view, row, choices)

    def pin(self, rows: list[Shown], *, on: bool) -> None:
        """In the loop, in a transaction."""
        for row in rows:
            space = self._state.replica_numbered(row.space).id
            item = "" if row.item == ROOT else row.item.hex()
            scope = Scope(space=space.hex(), item=item)
            # Where a folder further up is pinned, it takes more than no choice.
            above = {key: each for key, each in self.of_space(space).items() if key != item}
            inherits = bool(above) and _nearest(self._state.view, row, above)
            text = ON if on else OFF if inherits else NO_CHOICE
            _choose(self._state.settings, scope, text)


def _choose(settings: Settings, scope: Scope, text: str) -> None:
    settings.choose(PINNED, scope, text)


def _nearest(view: ReadView, row: Shown, choices: dict[str, bool]) -> bool:
    at: Shown | None = row
    while at is not None and at.item != ROOT:
        chosen = choices.get(at.item.hex())
        if chosen is not None:
            return chosen
        at = view.entry(view.folder(at))
    return choices.get("", False)
