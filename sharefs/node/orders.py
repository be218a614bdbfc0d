"""What did a person say of the transfer of an entry's bytes?

An order stands for an entry, for all in a folder, or for everything; the nearest one counts. It is
kept as the setting `fetching`, and so survives restarts and new versions of the file. What is
cancelled is only over: it is asked for again when somebody wants it again.
"""

from collections.abc import Iterable, Iterator

from sharefs.errors import TransferPaused, TransferRejected
from sharefs.node.settings import DEFAULT, EVERYTHING, FETCHING, Scope
from sharefs.node.standing import Standing
from sharefs.node.state import State
from sharefs.records.ids import ItemId
from sharefs.records.shown import Shown
from sharefs.transfer.events import Priority


class Orders:
    """Read from any thread, given in the loop."""

    def __init__(self, state: State) -> None:
        self._state = state

    def holds(self, row: Shown, priority: Priority) -> bool:
        """Whether whoever wants bytes of an entry has to wait for a person's word. Raises
        TransferRejected, and TransferPaused where that is not a person."""
        if priority.urgent:
            return False
        match self.of(row):
            case Standing.ON:
                return False
            case Standing.REJECTED:
                raise TransferRejected(
                    "You rejected it: `sharefs transfers resume` with its path takes that back."
                )
            case Standing.PAUSED:
                if priority is not Priority.FETCH:
                    raise TransferPaused("You paused it: `sharefs transfers resume` goes on.")
                return True

    def of(self, row: Shown) -> Standing:
        """What holds for an entry."""
        chosen = self._state.settings.values(FETCHING)
        if not chosen:
            return Standing.ON
        for scope in self._scopes(row):
            if scope in chosen:
                return chosen[scope]
        return chosen.get(EVERYTHING, Standing.ON)

    def all(self) -> list[tuple[Shown | None, Standing]]:
        """Every order, with its entry; None for everything. Orders for what is gone are left
        out."""
        return [
            (row, standing)
            for scope, standing in self._state.settings.values(FETCHING).items()
            if standing is not Standing.ON
            and ((row := self._entry(scope)) is not None or scope == EVERYTHING)
        ]

    def give(self, rows: Iterable[Shown], standing: Standing) -> None:
        """From now on this holds for entries, and for what is in them."""
        for row in rows:
            self._forget_below(row)
            self._choose(self._scope(row), DEFAULT)
            if self._above(row) is not standing:
                self._choose(self._scope(row), standing)

    def give_for_all(self, standing: Standing) -> None:
        """From now on this holds for everything, but for what is rejected."""
        for scope, chosen in self._state.settings.values(FETCHING).items():
            if chosen is not Standing.REJECTED:
                self._choose(scope, DEFAULT)
        if standing is not Standing.ON:
            self._choose(EVERYTHING, standing)

    def _above(self, row: Shown) -> Standing:
        """What would hold for an entry without an order of its own."""
        chosen = self._state.settings.values(FETCHING)
        _, *above = self._scopes(row)
        return next(
            (chosen[scope] for scope in above if scope in chosen),
            chosen.get(EVERYTHING, Standing.ON),
        )

    def _forget_below(self, row: Shown) -> None:
        mine = self._scope(row)
        for scope in self._state.settings.values(FETCHING):
            entry = self._entry(scope) if scope != mine else None
            if entry is not None and mine in self._scopes(entry):
                self._choose(scope, DEFAULT)

    def _choose(self, scope: Scope, text: str) -> None:
        self._state.settings.choose(FETCHING, scope, text)

    def _scopes(self, row: Shown) -> Iterator[Scope]:
        """Of an entry and the folders it is in, the nearest first."""
        at: Shown | None = row
        while at is not None:
            yield self._scope(at)
            at = self._state.view.entry(self._state.view.folder(at)) if at.shown else None

    def _scope(self, row: Shown) -> Scope:
        return Scope(space=self._state.replica_numbered(row.space).id.hex(), item=row.item.hex())

    def _entry(self, scope: Scope) -> Shown | None:
        for id, replica in self._state.replicas.items():
            if scope.item and id.hex() == scope.space:
                row = replica.shelf.winner(ItemId(bytes.fromhex(scope.item)))
                return row if row is not None and row.live else None
        return None
