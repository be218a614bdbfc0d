"""What travels, what does a person say of it, and what do listeners hear?

From any thread but the loop, but for what says otherwise.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sharefs.errors import BadArgument, TransferCancelled
from sharefs.node.events import TransferEnded, TransferMoved
from sharefs.node.node import Node
from sharefs.node.reports import (
    OrderReport,
    TransferEvent,
    TransferReport,
    TransferSource,
    TransferVerb,
)
from sharefs.node.sent import Sending
from sharefs.node.standing import Standing
from sharefs.records.entry import EntryType
from sharefs.records.ids import ContentId
from sharefs.records.shown import Shown
from sharefs.transfer.snapshot import Progress

CANCELLED_ROWS_PER_CALL = 256

_STANDINGS = {
    TransferVerb.PAUSE: Standing.PAUSED,
    TransferVerb.RESUME: Standing.ON,
    TransferVerb.REJECT: Standing.REJECTED,
}


class Travelling:
    """`path` says where an entry is in the mount, `entries_at` what is at a path, `files_at` every
    file there and below."""

    def __init__(
        self,
        node: Node,
        path: Callable[[Shown], object],
        entries_at: Callable[[str], list[Shown]],
        files_at: Callable[[str], Iterable[Shown]],
    ) -> None:
        self._node = node
        self._path = path
        self._entries_at = entries_at
        self._files_at = files_at

    # --- what travels ---------------------------------------------------------------------------

    def all(self) -> list[TransferReport]:
        """What comes, what goes, and what is held back."""
        return self._node.loop.call(self._all)

    def _all(self) -> list[TransferReport]:
        coming = list(self._coming())
        paths = {report.path for report in coming}
        held = [report for report in self._ordered() if report.path not in paths]
        return [*coming, *self._going(), *sorted(held, key=lambda report: report.path)]

    def _coming(self) -> Iterator[TransferReport]:
        return map(self._report, self._node.carriage.snapshot())

    def _report(self, progress: Progress) -> TransferReport:
        """In the loop."""
        sources = [
            TransferSource(
                self._node.state.person_name(source.device), source.bytes, source.bytes_per_second
            )
            for source in progress.sources
        ]
        return TransferReport(
            path=self._path_of(progress.content),
            direction="in",
            size=progress.size,
            done=progress.done,
            bytes_per_second=progress.bytes_per_second,
            sources=sources,
            state=self._state_of(progress),
        )

    def _state_of(self, progress: Progress) -> str:
        shown = self._node.state.keeping.fleeting.known(progress.content)
        return "streaming" if shown and progress.state == "fetching" else progress.state

    def _going(self) -> Iterator[TransferReport]:
        return map(self._sent, self._node.carriage.serving.lately.all(time.monotonic()))

    def _sent(self, sending: Sending) -> TransferReport:
        name = self._node.state.person_name(sending.device)
        row = self._row_of(sending.content)
        return TransferReport(
            path=self._path_of(sending.content),
            direction="out",
            size=row.size if row is not None else sending.bytes,
            done=sending.bytes,
            bytes_per_second=sending.bytes_per_second,
            sources=[TransferSource(name, sending.bytes, sending.bytes_per_second)],
            state="sending",
        )

    def _ordered(self) -> Iterator[TransferReport]:
        """What a person holds back, whether somebody waits for it or not."""
        for row, standing in self._node.carriage.waiters.orders.all():
            path = str(self._node.mount_point if row is None else self._path(row))
            size = done = 0
            state = f"all {standing.value}"
            if row is not None and row.type is EntryType.FILE:
                size, state = row.size, standing.value
                done = self._node.state.contents.local_bytes(row.content) if row.content else 0
            yield TransferReport(path, "in", size, done, 0.0, [], state)

    def _row_of(self, content: ContentId) -> Shown | None:
        """In the loop: one of the entries in which a content stands."""
        for replica in self._node.state.replicas.values():
            for row in replica.shelf.entries_of(content):
                if row.live:
                    return row
        return None

    def _path_of(self, content: ContentId) -> str:
        row = self._row_of(content)
        return content.hex()[:16] if row is None else str(self._path(row))

    # --- what a person says ---------------------------------------------------------------------

    def order(self, verb: TransferVerb, paths: list[str]) -> OrderReport:
        """Do it to what is at these paths, or, if there are none, to all that travels. Raises
        BadArgument, NotInASpace, NoSuchEntry."""
        rows = [row for path in paths for row in self._entries_at(path)]
        if not paths and verb is TransferVerb.REJECT:
            raise BadArgument("Say what you reject: `sharefs transfers reject PATH`.")
        if verb is TransferVerb.CANCEL:
            return OrderReport(self._cancel(paths))
        orders, standing = self._node.carriage.waiters.orders, _STANDINGS[verb]
        named = rows if paths else [None]
        return self._node.loop.call(lambda: orders.give(named, standing))

    def _cancel(self, paths: list[str]) -> int:
        if not paths:
            return self._node.loop.call(lambda: self._node.carriage.waiters.cancel(None))
        rows = [row for path in paths for row in self._files_at(path)]
        return sum(
            self._node.loop.call(partial(self._cancel_some, group)) for group in _in_groups(rows)
        )

    def _cancel_some(self, rows: list[Shown]) -> int:
        """In the loop; what comes by itself is not begun either."""
        for row in rows:
            if row.content is not None and row.local < row.size:
                self._node.carriage.freed(row.content)
        return self._node.carriage.waiters.cancel({row.content for row in rows})

    # --- what listeners hear --------------------------------------------------------------------

    def event(self, happening: TransferMoved | TransferEnded) -> TransferEvent | None:
        """In the loop: what is to be told of it, if there is still something."""
        content = happening.content
        if isinstance(happening, TransferMoved):
            progress = self._node.carriage.progress_of(content)
            return None if progress is None else TransferEvent(self._report(progress))
        row = self._row_of(content)
        size = row.size if row is not None else 0
        here = self._node.state.contents.local_bytes(content)
        error = happening.error
        if error is not None:
            state = "cancelled" if isinstance(error, TransferCancelled) else "failed"
        else:
            state = "finished" if here >= size else "ended"
        report = TransferReport(self._path_of(content), "in", size, here, 0.0, [], state)
        return TransferEvent(report, "" if error is None else str(error))


def _in_groups(rows: list[Shown]) -> Iterator[list[Shown]]:
    for start in range(0, len(rows), CANCELLED_ROWS_PER_CALL):
        yield rows[start : start + CANCELLED_ROWS_PER_CALL]
