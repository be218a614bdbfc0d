"""Is more here than a person wants, and what goes then?

Theory of operation. From time to time, if a limit is set and passed, what was used longest ago goes
first, until enough is free. Never what is pinned, open, on its way here, or of no entry; and never
what nobody else promises to keep, as with any `free`: it is passed over, and looked at again the
next time. That is done by a thread of its own, as it waits for others. If all that may go does not
suffice, the person is told why.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sharefs.errors import NodeNotRunning, SharefsError
from sharefs.node.carriage import Carriage
from sharefs.node.freeing import Freeing
from sharefs.node.pins import Pins
from sharefs.node.settings import CACHE
from sharefs.node.state import State
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown

log = logging.getLogger("sharefs.node")

ROUND_SECONDS = 20.0
LOOKED_AT_ONCE = 256
ROOM_PART = 20
"""A twentieth of the limit is made free beyond need, so that not every file sets off a round."""
_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1))


@dataclass(slots=True)
class _Tally:
    """Bytes that could not go, and why."""

    pinned: int = 0
    used: int = 0
    only_here: int = 0


class Cache:
    """In the loop, but for what says otherwise. `is_open` asks the mount."""

    def __init__(
        self,
        state: State,
        carriage: Carriage,
        freeing: Freeing,
        pins: Pins,
        is_open: Callable[[ContentId], bool],
    ) -> None:
        self._state = state
        self._carriage = carriage
        self._freeing = freeing
        self._pins = pins
        self._is_open = is_open
        self._running: threading.Thread | None = None
        state.settings.watch(self._look, CACHE)

    def start(self) -> None:
        """Begin the rounds."""
        self._state.loop.at(time.monotonic() + ROUND_SECONDS, self._round)

    def _round(self) -> None:
        self.start()
        if self._state.uses.write():
            self._state.loop.post(self._write_on)
        self._look()

    def _write_on(self) -> None:
        if self._state.uses.write():
            self._state.loop.post(self._write_on)

    def _look(self) -> None:
        limit = self._state.settings.value(CACHE)
        if limit is None:
            self._state.notices.settle(self)
        elif self._running is None or not self._running.is_alive():
            self._running = threading.Thread(
                target=self._run, args=(limit,), name="sharefs-cache", daemon=True
            )
            self._running.start()

    # --- in a thread of its own -----------------------------------------------------------------

    def _run(self, limit: int | None) -> None:
        while limit is not None:
            try:
                self.make_room(limit)
            except NodeNotRunning:
                return
            except SharefsError as error:
                log.warning("no room could be made: %s", error)
            before, limit = limit, self._state.settings.value(CACHE)
            if limit == before:
                return

    def make_room(self, limit: int) -> None:
        """Free what was used longest ago, as far as it may go, until there is as much here as
        there may be."""
        over = self._state.uses.local_bytes() - limit
        if over <= 0:
            self._state.notices.settle(self)
            return
        wanted, freed = over + limit // ROOM_PART, 0
        tally = _Tally()
        at = (-1.0, ContentId(b""))
        while freed < wanted and (page := self._state.uses.longest_unused(at, LOOKED_AT_ONCE)):
            looked_at, gone = self._free_some(page, wanted - freed, tally)
            at = page[looked_at - 1][:2]
            freed += gone
        if freed >= over:
            self._state.notices.settle(self)
        else:
            self._tell(limit, over - freed, tally)
        log.info("freed %d bytes to keep to the limit of the cache", freed)

    def _free_some(
        self, page: list[tuple[float, ContentId, int]], wanted: int, tally: _Tally
    ) -> tuple[int, int]:
        """How many of these were looked at, and how many bytes went: some may have to stay."""
        coming = self._state.loop.call(self._coming)
        rows: list[Shown] = []
        chosen = looked_at = 0
        for _, content, local in page:
            if chosen >= wanted:
                break
            looked_at += 1
            row = self._may_go(content, local, coming, tally)
            if row is not None:
                rows.append(row)
                chosen += local
        freed = self._freeing.free(rows)
        tally.only_here += sum(
            self._state.contents.local_bytes(row.content)
            for row, _ in freed.refused
            if row.content is not None
        )
        return looked_at, freed.bytes

    def _coming(self) -> set[ContentId]:
        return {progress.content for progress in self._carriage.snapshot()}

    def _may_go(
        self, content: ContentId, local: int, coming: set[ContentId], tally: _Tally
    ) -> Shown | None:
        """An entry that has it, if nothing but the lack of another holder speaks against it."""
        rows = self._state.view.entries_of(content)
        if not rows or content in coming or self._is_used(content):
            tally.used += local
        elif any(row.live and self._pins.is_pinned(row) for row in rows):
            tally.pinned += local
        else:
            return rows[0]
        return None

    def _is_used(self, content: ContentId) -> bool:
        return self._is_open(content) or self._state.contents.is_used(content)

    def _tell(self, limit: int, over: int, tally: _Tally) -> None:
        unit, of = next((unit, of) for unit, of in _UNITS if limit + over >= of)
        reasons = [
            (tally.only_here, "nobody else who is online promises to keep"),
            (tally.pinned, "is pinned"),
            (tally.used, "is in use, or of earlier versions"),
        ]
        parts = [
            f"{said} {unit} {reason}"
            for size, reason in reasons
            if (said := _decimal(size / of)) != "0"
        ]
        self._state.notices.tell(
            f"{_decimal((limit + over) / of)} {unit} is here, and the limit of the cache is"
            f" {_decimal(limit / of)} {unit}: {', '.join(parts) or 'more comes than goes'}.",
            about=self,
        )


def _decimal(number: float) -> str:
    """With two digits behind the point, as far as they tell something."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
