"""How does what a space is to keep here come here by itself?

Theory of operation. Two things find contents that are to be here, and are not: a *sweep* through a
space's entries, page by page, when it becomes eager, at start, and when somebody comes online after
something could not be had; and changes, each of which names its rows, so that no change costs more
than itself. Both are looked at by the pool, some rows at a time, and what is lacking is wanted at a
priority behind all that people wait for, with a bounded number under way. What is not wanted yet
is remembered nowhere but in the place that a sweep has come to: a restart sweeps again.

What was freed is let go: it does not come back before the next start, unless it changes.

When a file changes, its new version is wanted as any other: chunks that the old content has are
copied from there. In a space that is not eager the new version is a ghost, and finds them there,
too, when it is read, for as long as superseded contents stay (`collection`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from sharefs.errors import (
    DiskFull,
    NoHolderOnline,
    SharefsError,
    TransferPaused,
    TransferRejected,
    UserError,
)
from sharefs.node.carriage import Carriage
from sharefs.node.eagerness import Eagerness
from sharefs.node.peers import Peers
from sharefs.node.pins import Pins
from sharefs.node.replica import Replica
from sharefs.node.settings import PINNED, REPLICATION, STREAM_ONLY, Scope, of_space
from sharefs.node.state import State, now_ms
from sharefs.records.ids import ContentId, SpaceId
from sharefs.records.shown import Shown
from sharefs.store.connection import Touched
from sharefs.store.ghosts import ghosts
from sharefs.transfer.events import Priority

log = logging.getLogger("sharefs.node")

FLYING_CONTENTS_MAX = 32
EXAMINED_ROWS = 256
CHANGED_ROWS_MAX = 10_000
"""With more at once, the space is swept instead."""
LET_GO_CONTENTS_MAX = 100_000
RETRY_SECONDS = 60.0


class Replication:
    """In the loop, but for what says otherwise."""

    def __init__(self, state: State, carriage: Carriage, peers: Peers, pins: Pins) -> None:
        self._state = state
        self._carriage = carriage
        self._peers = peers
        self._pins = pins
        self._pinned: dict[int, dict[Scope, bool]] = {}
        """What was chosen of pins, of spaces in which something is pinned."""
        self._eager: dict[int, Eagerness] = {}
        """Of spaces, by their numbers, that keep something here by themselves."""
        self._changed: dict[int, None] = {}
        """Inodes of rows to be looked at."""
        self._sweeps: dict[int, int] = {}
        """The last inode that was looked at, of each space that is being swept."""
        self._examining = False
        self._ready: deque[Shown] = deque()
        self._flying: dict[ContentId, tuple[int, int]] = {}
        """The waiter and the space's number."""
        self._missed: set[int] = set()
        """Spaces in which something could not be had."""
        self._let_go: dict[ContentId, None] = {}
        state.settings.watch(self.look, REPLICATION, PINNED)
        state.settings.watch(self.resumed, STREAM_ONLY)

    def start(self) -> None:
        """Begin, and try again what was missed from time to time."""
        self.look()
        self._retry_round()

    def look(self) -> None:
        """Something else may be chosen, or there may be another space."""
        before, self._eager = self._eager, {}
        pinned, self._pinned = self._pinned, {}
        for id, replica in self._state.replicas.items():
            pins = self._pins.of_space(id)
            if any(pins.values()):
                self._pinned[replica.number] = pins
            chosen = self._state.settings.value(REPLICATION, of_space(id))
            if chosen.eager:
                self._eager[replica.number] = chosen
            if before.get(replica.number, Eagerness()) != chosen:
                self._stop(replica.number)
                if self._keeps(replica.number):
                    self._sweep(replica.number)
            elif self._pinned.get(replica.number) not in (None, pinned.get(replica.number)):
                self._sweep(replica.number)
        self._sweeps = {each: at for each, at in self._sweeps.items() if self._keeps(each)}

    def _keeps(self, number: int) -> bool:
        """Whether anything of a space is to be here by itself."""
        return number in self._eager or number in self._pinned

    def changed(self, touched: Iterable[Touched]) -> None:
        """After a commit: these rows are not what they were."""
        inos = [ino for space, _, ino, _ in touched if self._keeps(space)]
        if not inos:
            return
        if len(self._changed) + len(inos) > CHANGED_ROWS_MAX:
            self._changed.clear()
            for number in (*self._eager, *self._pinned):
                self._sweeps[number] = 0
        else:
            self._changed.update(dict.fromkeys(inos))
        self._state.loop.post(self._go_on)

    def freed(self, content: ContentId) -> None:
        """A person, or a limit, wants it not to be here."""
        self._let_go[content] = None
        if len(self._let_go) > LET_GO_CONTENTS_MAX:
            del self._let_go[next(iter(self._let_go))]

    def resumed(self) -> None:
        """What a person held back may come now."""
        for number in sorted(self._eager.keys() | self._pinned.keys()):
            self._sweep(number)

    def peer_up(self, spaces: Iterable[SpaceId]) -> None:
        """Somebody came online who may have what was missed."""
        for space in spaces:
            replica = self._state.replicas.get(space)
            if replica is not None and replica.number in self._missed:
                self._sweep(replica.number)

    def _retry_round(self) -> None:
        self._state.loop.at(time.monotonic() + RETRY_SECONDS, self._retry_round)
        for number in sorted(self._missed):
            self._sweep(number)

    # --- finding --------------------------------------------------------------------------------

    def _sweep(self, number: int) -> None:
        if not self._keeps(number):
            self._missed.discard(number)
        elif self._anybody_online(number):
            self._missed.discard(number)
            self._sweeps[number] = 0
            self._go_on()
        else:
            self._missed.add(number)

    def _stop(self, number: int) -> None:
        self._sweeps.pop(number, None)
        self._missed.discard(number)
        self._ready = deque(row for row in self._ready if row.space != number)
        for content, (waiter, space) in list(self._flying.items()):
            if space == number:
                del self._flying[content]
                self._carriage.unwant(waiter)

    def _go_on(self) -> None:
        """Want what is ready, and look for more when nothing is."""
        while self._ready and len(self._flying) < FLYING_CONTENTS_MAX:
            self._want(self._ready.popleft())
        if self._ready or self._examining:
            return
        if self._changed:
            inos = list(self._changed)[:EXAMINED_ROWS]
            for ino in inos:
                del self._changed[ino]
            self._examine(lambda: inos, None)
        elif self._sweeps:
            number, after = next(iter(self._sweeps.items()))
            # Of what is pinned, all is wanted.
            eagerness = Eagerness(True) if number in self._pinned else self._eager[number]
            self._examine(partial(self._page, number, after, eagerness), number)

    def _page(self, number: int, after: int, eagerness: Eagerness) -> list[int]:
        """In the pool."""
        return ghosts(
            self._state.store.readers,
            number,
            after,
            eagerness.size_bytes_max,
            eagerness.since_ms(now_ms()),
            EXAMINED_ROWS,
        )

    def _examine(self, find: Callable[[], list[int]], sweeping: int | None) -> None:
        self._examining = True

        def work() -> None:
            inos, rows = [], []
            try:
                inos = find()
                rows = [row for ino in inos if (row := self._lacking(ino)) is not None]
            except UserError as error:
                log.warning("what is to be kept here can not be looked for: %s", error)
            self._state.loop.post(lambda: self._examined(sweeping, inos, rows))

        self._state.in_pool(work)

    def _lacking(self, ino: int) -> Shown | None:
        """In the pool: the entry, if it is to be here, and is not."""
        row = self._state.view.entry(ino)
        if row is None or not row.live or row.content is None:
            return None
        if row.space in self._pinned and self._pins.is_pinned(row):
            self._let_go.pop(row.content, None)
        elif not self._eager.get(row.space, Eagerness()).wants(row.size, row.stamp, now_ms()):
            return None
        if self._state.contents.local_bytes(row.content) >= row.size:
            return None
        if self._state.keeping.is_stream_only(row):
            return None
        # What an unclean stop left in doubt is verified here, and not in the loop.
        return None if self._state.contents.open(row.content, row.size).complete else row

    def _examined(self, sweeping: int | None, inos: list[int], rows: list[Shown]) -> None:
        self._examining = False
        if sweeping in self._sweeps:
            if len(inos) < EXAMINED_ROWS:
                del self._sweeps[sweeping]
            else:
                self._sweeps[sweeping] = inos[-1]
        self._ready += rows
        self._go_on()

    # --- wanting --------------------------------------------------------------------------------

    def _want(self, row: Shown) -> None:
        content = row.content
        assert content is not None, "only a content is lacking"
        if not self._keeps(row.space) or content in self._flying or content in self._let_go:
            return
        if not self._anybody_online(row.space):
            self._missed.add(row.space)
            return
        waiter = self._carriage.new_waiter()
        self._flying[content] = (waiter, row.space)
        try:
            self._carriage.want(
                waiter, row, 0, row.size, Priority.REPLICATION, partial(self._came, row)
            )
        except UserError as error:
            self._came(row, waiter, error)

    def _came(self, row: Shown, waiter: int, error: SharefsError | None) -> None:
        assert row.content is not None, "only a content is wanted"
        if self._flying.get(row.content, (0, 0))[0] != waiter:
            return
        del self._flying[row.content]
        match error:
            case None | TransferPaused() | TransferRejected():
                # A sweep finds it when a person has changed their mind.
                pass
            case NoHolderOnline() | DiskFull():
                self._missed.add(row.space)
            case _:
                self.freed(row.content)
        if isinstance(error, DiskFull):
            # It does not help to try the rest; `_retry_round` begins again.
            self._sweeps.clear()
            self._changed.clear()
            self._ready.clear()
        self._state.loop.post(self._go_on)

    def _anybody_online(self, number: int) -> bool:
        replica = self._replica(number)
        return replica is not None and any(
            device in replica.roster.devices for device in self._peers.online()
        )

    def _replica(self, number: int) -> Replica | None:
        replicas = self._state.replicas.values()
        return next((replica for replica in replicas if replica.number == number), None)
