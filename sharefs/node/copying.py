"""Which chunks are taken from other contents here, and which of them first?

Theory of operation. When a content is wanted for the first time since the node started, it is
looked, in the pool, which of the chunks that it lacks stand in others (see `store.elsewhere`). The
machine is told, and asks nobody for these. They are taken run by run, first those that a program is
blocked on: whoever reads one place of a large file that was changed waits neither for the network
nor until all of it is copied. What can not be taken after all is fetched.

Nothing is remembered of it: after a kill it is looked again.
"""

import logging
from collections.abc import Callable
from functools import partial

from sharefs.errors import UserError
from sharefs.node.state import State
from sharefs.records.ids import ContentId
from sharefs.store.elsewhere import Run
from sharefs.transfer import bitmap, events

log = logging.getLogger("sharefs.node")

LOOKED_CONTENTS_MAX = 100_000


class Copying:
    """In the loop. `run` tells the machine, `blocked` asks it which chunks of a content a program
    waits for, `came` is told that more of a content is here."""

    def __init__(
        self,
        state: State,
        run: Callable[[events.Event], None],
        blocked: Callable[[ContentId], int],
        came: Callable[[ContentId], None],
    ) -> None:
        self._state = state
        self._run = run
        self._blocked = blocked
        self._came = came
        self._looked: dict[ContentId, None] = {}
        self._runs: dict[ContentId, list[Run]] = {}
        """What is still to be taken."""
        self._taking: tuple[ContentId, Run] | None = None

    def is_looked_at(self, content: ContentId) -> bool:
        """Whether it is known what can be taken."""
        return content in self._looked

    def coming(self, content: ContentId) -> int:
        """The chunks that are still to be taken."""
        runs = list(self._runs.get(content, ()))
        if self._taking is not None and self._taking[0] == content:
            runs.append(self._taking[1])
        return _chunks(runs)

    def look(self, content: ContentId) -> None:
        """Look what can be taken; ManifestKept is the answer."""
        self._looked[content] = None
        if len(self._looked) > LOOKED_CONTENTS_MAX:
            del self._looked[next(iter(self._looked))]

        def work() -> None:
            runs: list[Run] = []
            try:
                runs = self._state.contents.elsewhere(content)
            except UserError as error:
                log.warning("chunks that are here can not be looked for: %s", error)
            local = self._state.contents.known(content)
            have = local.bitmap if local else b""
            self._state.loop.post(lambda: self._found(content, have, runs))

        self._state.in_pool(work)

    def _found(self, content: ContentId, have: bytes, runs: list[Run]) -> None:
        if runs:
            self._runs[content] = runs
        coming = _chunks(runs)
        encoded = bitmap.to_bytes(coming, coming.bit_length())
        self._run(events.ManifestKept(content, have, encoded))
        self._came(content)
        self._go_on()

    def forget(self, content: ContentId) -> None:
        """It was freed."""
        self._runs.pop(content, None)
        self._looked.pop(content, None)

    def _go_on(self) -> None:
        if self._taking is not None or not self._runs:
            return
        content, run = self._taking = self._next()

        def work() -> None:
            taken: list[int] = []
            error: UserError | None = None
            try:
                taken = self._state.contents.take(content, run)
            except UserError as failure:
                error = failure
            self._state.loop.post(lambda: self._taken(content, run, taken, error))

        self._state.in_pool(work)

    def _next(self) -> tuple[ContentId, Run]:
        """Takes it out of what is to be taken."""
        for content, runs in self._runs.items():
            urgent = self._blocked(content)
            if urgent:
                for run in runs:
                    if urgent & bitmap.span(run.indexes.start, run.indexes.stop):
                        return self._take_out(content, run)
        content, runs = next(iter(self._runs.items()))
        return self._take_out(content, runs[0])

    def _take_out(self, content: ContentId, run: Run) -> tuple[ContentId, Run]:
        runs = self._runs[content]
        runs.remove(run)
        if not runs:
            del self._runs[content]
        return content, run

    def _taken(
        self, content: ContentId, run: Run, taken: list[int], error: UserError | None
    ) -> None:
        self._taking = None
        if error is not None:
            # Nothing else can be written, either: who waits is told, and may try again.
            self.forget(content)
            self._run(events.StoreFailed(content, error))
        else:
            stored = partial(events.ChunkStored, self._state.me, content)
            bad = partial(events.ChunkBad, self._state.me, content)
            for index in run.indexes:
                self._run(stored(index) if index in taken else bad(index))
            self._came(content)
        self._go_on()


def _chunks(runs: list[Run]) -> int:
    chunks = bitmap.NONE
    for run in runs:
        chunks |= bitmap.span(run.indexes.start, run.indexes.stop)
    return chunks
