"""Who waits here for bytes to come, and may they?

In the loop, but for what says otherwise. Whoever waits is told once how it ended, unless they gave
up.
"""

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sharefs.errors import NodeNotRunning, SharefsError, TransferCancelled, UserError
from sharefs.node.orders import Orders
from sharefs.node.progress import Progressing
from sharefs.node.settings import FETCHING
from sharefs.node.state import State
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown
from sharefs.transfer import events
from sharefs.transfer.events import Priority
from sharefs.transfer.snapshot import Progress

Done = Callable[[int, SharefsError | None], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody who waits for bytes of an entry."""

    row: Shown
    priority: Priority
    done: Done


class Waiters:
    """By numbers. `run` has the machine handle an event."""

    def __init__(
        self,
        state: State,
        run: Callable[[events.Event], None],
        snapshot: Callable[[], list[Progress]],
    ) -> None:
        self._run = run
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self.orders = Orders(state)
        self.progress = Progressing(state, snapshot, lambda: bool(self._waiting))
        self.resumed: Callable[[], None] = lambda: None
        """Told that what was held back may come now."""
        state.settings.watch(self._look_at_orders, FETCHING)

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self) -> int:
        """A number for a want. From any thread."""
        return next(self._numbers)

    def add(self, waiter: int, row: Shown, priority: Priority, done: Done) -> None:
        """Somebody waits."""
        self._waiting[waiter] = _Waiting(row, priority, done)
        self.progress.wanted()

    def drop(self, waiter: int) -> None:
        """Nobody waits any more."""
        if self._waiting.pop(waiter, None) is not None:
            self._run(events.Unwanted(waiter))

    def settled(self, waiter: int, error: SharefsError | None) -> None:
        """What they wanted is here, or does not come."""
        waiting = self._waiting.pop(waiter, None)
        if waiting is not None:
            self.progress.settled(waiting.row, waiting.priority, error)
            waiting.done(waiter, error)

    def cancel(self, contents: Collection[ContentId | None] | None) -> int:
        """A person wants nobody to wait for these contents, or for any; how many that ends."""
        awaited = {each.row.content for each in self._waiting.values()}
        ended = [
            content
            for content in awaited
            if content is not None and (contents is None or content in contents)
        ]
        for content in sorted(ended):
            self._run(events.Cancelled(content, TransferCancelled("It was cancelled here.")))
        return len(ended)

    def abandon(self) -> None:
        """Nothing will come any more: tell all who wait."""
        while self._waiting:
            waiter, waiting = self._waiting.popitem()
            waiting.done(waiter, NodeNotRunning("The node is going down."))

    def _look_at_orders(self) -> None:
        """A person said something else of what may come."""
        for waiter, waiting in list(self._waiting.items()):
            if waiting.priority.urgent:
                continue
            try:
                held = self.orders.holds(waiting.row, waiting.priority)
            except UserError as error:
                self._run(events.Unwanted(waiter))
                self.settled(waiter, error)
            else:
                self._run(events.Paused(waiter) if held else events.Resumed(waiter))
        self.progress.wanted()
        self.resumed()
