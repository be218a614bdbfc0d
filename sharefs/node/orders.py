"""What did a person say of the transfer of an entry's bytes?

An order stands for an entry, for all in a folder, or for everything, and the nearest one counts. It
is kept as the setting `fetching`, and so survives restarts and new versions of the file. What is
paused or resumed further down goes with an order for a folder; what is rejected stays so until its
own path is resumed. What is cancelled is only over: it is asked for again when somebody wants it
again.
"""

from collections.abc import Sequence

from sharefs.errors import TransferPaused, TransferRejected
from sharefs.node.nested import Nested
from sharefs.node.reports import OrderReport
from sharefs.node.settings import FETCHING
from sharefs.node.standing import Standing
from sharefs.node.state import State
from sharefs.records.shown import Shown
from sharefs.transfer.events import Priority


class Orders:
    """Read from any thread, given in the loop."""

    def __init__(self, state: State) -> None:
        self._given = Nested(state, FETCHING, sticky=Standing.REJECTED)

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
        return self._given.of(row)

    def all(self) -> list[tuple[Shown | None, Standing]]:
        """Every order, with its entry; None for everything. Orders for what is gone are left
        out."""
        return [
            (row, standing) for row, standing in self._given.chosen() if standing is not Standing.ON
        ]

    def give(self, rows: Sequence[Shown | None], standing: Standing) -> OrderReport:
        """From now on this holds for entries, and for what is in them; None for everything."""
        stayed = self._given.choose(rows, standing.value).stayed
        count = sum(self._given.around(row)[0] not in stayed for row in rows)
        return OrderReport(count, len(stayed))
