"""What do those who listen hear of the transfers?

Some times a second while something is on its way: of each content that came on since the last
time, and of each that nobody waits for any more. The more there are, the less often.
"""

import time
from collections.abc import Callable

from sharefs.errors import SharefsError
from sharefs.node.events import Events, TransferEnded, TransferMoved
from sharefs.node.state import State
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown
from sharefs.transfer.events import Priority
from sharefs.transfer.snapshot import Progress

INTERVAL_SECONDS = 0.3
CONTENTS_PER_INTERVAL = 500
SETTLED_CONTENTS_MAX = 1024


class Progressing:
    """In the loop. `busy` says whether anybody waits for bytes."""

    def __init__(
        self,
        state: State,
        snapshot: Callable[[], list[Progress]],
        busy: Callable[[], bool],
    ) -> None:
        self._state = state
        self._snapshot = snapshot
        self._busy = busy
        self.events = Events()
        """Those who listen."""
        self._told: dict[ContentId, tuple[int, str]] = {}
        self._settled: dict[ContentId, SharefsError | None] = {}
        self._waits = False

    def wanted(self) -> None:
        """Something is on its way."""
        if not self._waits:
            self._look_in(INTERVAL_SECONDS)

    def _look_in(self, seconds: float) -> None:
        self._waits = True
        self._state.loop.at(time.monotonic() + seconds, self._look)

    def settled(self, row: Shown, priority: Priority, error: SharefsError | None) -> None:
        """Somebody waits no more, and would have heard nothing if it had been short."""
        assert row.content is not None, "only a content has bytes"
        if error is not None or not priority.urgent:
            self._settled[row.content] = error
            if len(self._settled) > SETTLED_CONTENTS_MAX:
                del self._settled[next(iter(self._settled))]
            self.wanted()

    def _look(self) -> None:
        self._waits = False
        present = self._snapshot() if self.events else []
        if self.events:
            self._tell_of({each.content: (each.done, each.state) for each in present})
        else:
            self._told.clear()
        self._settled.clear()
        if self._busy():
            self._look_in(INTERVAL_SECONDS * (1 + len(present) / CONTENTS_PER_INTERVAL))

    def _tell_of(self, moved: dict[ContentId, tuple[int, str]]) -> None:
        for content, done in moved.items():
            if self._told.get(content) != done:
                self.events.tell(TransferMoved(content))
        for content in (self._told | self._settled).keys() - moved.keys():
            self.events.tell(TransferEnded(content, self._settled.get(content)))
        self._told = moved
