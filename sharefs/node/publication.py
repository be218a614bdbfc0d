"""How does what programs wrote become versions?

Theory of operation. A draft is cut, synced and linked as a content by the pool, and gets its record
in the loop. Small drafts go in groups: whoever copies a folder writes thousands of them, and to
hand the interpreter from one thread to another, at every system call of each, costs more than all
the work on them. A draft that comes alone does not wait; one that comes while another is under way,
or on its heels, waits a moment for more. Large drafts take a lane of their own, so that no small
one waits for them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from sharefs.errors import DiskFull, NoSuchEntry, SharefsError
from sharefs.mount.ports import Base, Draft
from sharefs.node import conflicts
from sharefs.node.replica import Replica
from sharefs.node.state import State, now_ms
from sharefs.records.entry import EntryType
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.shown import Shown
from sharefs.store.adopted import Adopted
from sharefs.store.written import Written
from sharefs.tree import operations
from sharefs.tree.operations import Bytes, Change

log = logging.getLogger("sharefs.node")

DISK_FULL_RETRY_SECONDS = 5.0
SMALL_SIZE_BYTES_MAX = 256 * 1024
GROUP_DRAFTS_MAX = 128
GATHER_SECONDS = 0.05
"""So long drafts are gathered where one comes on the heels of another. Small files copied into the
mount: 790 a second without, 1 480 with 0.01, 1 890 with 0.1."""

HEELS_SECONDS = 0.005
"""A program that writes one file after the other closes the next one within this time. Who looks at
what he saved takes longer."""

Done = Callable[[Shown | None], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A draft, and whom to tell."""

    draft: Draft
    done: Done


@dataclass(frozen=True, slots=True)
class _Ready:
    """A draft that the pool is through with."""

    waiting: _Waiting
    adopted: Adopted


@dataclass(frozen=True, slots=True)
class _New:
    """The first version of a file."""

    replica: Replica
    change: Change
    ino: int


_Outcome = Shown | SharefsError


@dataclass(slots=True)
class _Lane:
    """Drafts that are published one group after the other."""

    group_drafts_max: int
    gather_seconds: float
    waiting: deque[_Waiting] = field(default_factory=deque)
    running: bool = False


class Publication:
    """Publishes drafts. From any thread, but for the methods that begin with `_publish`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._unfinished = 0
        self._came = -HEELS_SECONDS
        """When the last draft did."""
        self._idle = threading.Condition()
        """Guards the count of drafts under way, the lanes, and `_kept`."""
        self._small = _Lane(GROUP_DRAFTS_MAX, GATHER_SECONDS)
        self._large = _Lane(1, 0.0)
        self._retrying = False
        self._kept: set[Path] = set()
        """Drafts of which the person was told that they are not shared yet."""
        self._places: dict[tuple[int, int], tuple[Replica, Shown]] = {}
        """The folders of new files, by space and inode: for one group, in the loop."""
        self.retry: Callable[[], None] = lambda: None
        """Called, in the pool, when the disk was full: publish again what could not be."""

    def publish(self, draft: Draft, done: Done) -> None:
        """See `Changes.publish`."""

        def counted(shown: Shown | None) -> None:
            try:
                # It may publish the next version, which is to be waited for as well.
                done(shown)
            finally:
                with self._idle:
                    self._unfinished -= 1
                    self._idle.notify_all()

        lane = self._small if draft.size <= SMALL_SIZE_BYTES_MAX else self._large
        now = time.monotonic()
        with self._idle:
            alone = self._unfinished == 0 and now - self._came > HEELS_SECONDS
            self._came = now
            self._unfinished += 1
            lane.waiting.append(_Waiting(draft, counted))
            begins = not lane.running
            lane.running = True
        if begins:
            self._state.in_pool(lambda: self._run(lane, alone))

    def settle(self, seconds: float) -> None:
        """Wait until all that was to be published is, or could not be."""
        with self._idle:
            self._idle.wait_for(lambda: self._unfinished == 0, seconds)

    # --- in the pool ----------------------------------------------------------------------------

    def _run(self, lane: _Lane, alone: bool) -> None:
        while True:
            if not alone:
                time.sleep(lane.gather_seconds)
            with self._idle:
                count = min(len(lane.waiting), lane.group_drafts_max)
                group = [lane.waiting.popleft() for _ in range(count)]
            ready = self._adopt(group)
            if ready:
                self._hand_over(ready)
            with self._idle:
                if not lane.waiting:
                    # Whoever comes next is alone, unless these are still under way then.
                    lane.running = False
                    return
            alone = False

    def _adopt(self, group: list[_Waiting]) -> list[_Ready]:
        """Those that stand as contents; the others are told."""
        ready = []
        for waiting, result in zip(group, self._adopted(group), strict=True):
            if isinstance(result, Adopted):
                ready.append(_Ready(waiting, result))
                continue
            if isinstance(result, DiskFull):
                self._wait_for_room(waiting.draft, result)
            else:
                log.error("%s can not be published", waiting.draft.name, exc_info=result)
            waiting.done(None)
        return ready

    def _adopted(self, group: list[_Waiting]) -> list[Adopted | SharefsError]:
        try:
            return self._state.contents.adopt([cast(Written, each.draft.bytes) for each in group])
        except SharefsError as error:
            return [error] * len(group)

    def _hand_over(self, ready: list[_Ready]) -> None:
        def told(outcomes: list[_Outcome] | None, error: SharefsError | None) -> None:
            for number, one in enumerate(ready):
                outcome = error if error is not None else (outcomes or [])[number]
                self._finish(one, outcome)

        self._state.loop.post(lambda: self._publish(ready), told)

    def _finish(self, one: _Ready, outcome: _Outcome | None) -> None:
        draft = one.waiting.draft
        if isinstance(outcome, Shown):
            self._told_of(draft.bytes.path)
            one.waiting.done(outcome)
            return
        self._state.contents.give_back(one.adopted)
        log.warning("%s can not be published: %s", draft.name, outcome)
        if isinstance(outcome, DiskFull):
            self._wait_for_room(draft, outcome)
        one.waiting.done(None)

    def _wait_for_room(self, draft: Draft, error: DiskFull) -> None:
        """The draft stays with the mount, where it can be read, written and removed meanwhile."""
        sentence = f"{draft.name} is kept here, but not shared yet: {error}"
        self._state.notices.tell(
            f"{sentence} It goes on when there is room.", about=draft.bytes.path
        )
        with self._idle:
            self._kept.add(draft.bytes.path)
        self._state.loop.post(self._retry_later)

    def _retry_later(self) -> None:
        if not self._retrying:
            self._retrying = True
            self._state.loop.at(time.monotonic() + DISK_FULL_RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self._state.in_pool(self._retry_kept)

    def _retry_kept(self) -> None:
        with self._idle:
            kept = list(self._kept)
        for path in kept:
            if not path.exists():
                # Its program removed it, or another draft has its bytes.
                self._told_of(path)
        self.retry()

    def _told_of(self, path: Path) -> None:
        """There is nothing to be told of a draft any more."""
        with self._idle:
            kept = path in self._kept
            self._kept.discard(path)
        if kept:
            self._state.notices.settle(path)

    # --- in the loop ----------------------------------------------------------------------------

    def _publish(self, ready: list[_Ready]) -> list[_Outcome]:
        """A version, or the reason why there is none, for each; DiskFull is of them all."""
        self._places.clear()
        results = [self._begin(one) for one in ready]
        shown = self._make([result for result in results if isinstance(result, _New)])
        kept = [
            one.adopted
            for one, result in zip(ready, results, strict=True)
            if not isinstance(result, SharefsError)
        ]
        self._state.contents.register(*kept)
        for adopted in kept:
            if adopted.content is not None:
                self._state.uses.note(adopted.content, now_ms() / 1000)
        return [
            shown[result.change.item] if isinstance(result, _New) else result for result in results
        ]

    def _begin(self, one: _Ready) -> _New | _Outcome:
        try:
            self._state.contents.hold(one.adopted)
            base = one.waiting.draft.base
            if base is None:
                return self._begin_new(one.waiting.draft, one.adopted)
            if base.loser:
                return self._write_apart(one.waiting.draft, one.adopted, base)
            return self._write(one.waiting.draft, one.adopted)
        except DiskFull:
            raise
        except SharefsError as error:
            return error

    def _begin_new(self, draft: Draft, adopted: Adopted) -> _New | Shown:
        # Most of a group go into one folder.
        key = (draft.space, draft.folder)
        if key not in self._places:
            self._places[key] = self._folder(draft)
        replica, place = self._places[key]
        done = self._already_published(replica, place, draft, adopted) if draft.left else None
        if done is not None:
            self._state.relied_upon = True
            return replica.under_inode(done.item, draft.ino)
        item = self._state.new_item()
        held = _held(draft, adopted)
        change = operations.make_file(item, place.item, draft.name, held, now_ms())
        return _New(replica, change, draft.ino)

    def _make(self, new: list[_New]) -> dict[ItemId, Shown]:
        """Give new files their records, all of a space at once; their rows."""
        rows: dict[ItemId, Shown] = {}
        for replica in self._state.replicas.values():
            inos = {one.change.item: one.ino for one in new if one.replica is replica}
            if inos:
                changes = [one.change for one in new if one.replica is replica]
                replica.author(changes, now_ms(), inos)
                rows.update(replica.shelf.winners(inos))
        return rows

    def _write(self, draft: Draft, adopted: Adopted) -> Shown:
        """The next version of a file."""
        assert draft.base is not None, "the writer had seen something"
        replica, place = self._folder(draft)
        base = draft.base
        row = replica.shelf.winner(base.item)
        # In the place where it is shown it keeps its own parent, which may be merged there.
        stays = row is not None and row.place == place.item
        parent = row.parent if row is not None and stays else place.item
        change = operations.write_file(
            base.item,
            base.context,
            base.stamp,
            base.created,
            parent,
            draft.name,
            _held(draft, adopted),
        )
        # The item is there, even if its writer had seen nothing of it.
        replica.author([replace(change, derived=True)], now_ms(), {base.item: draft.ino})
        return replica.under_inode(base.item, draft.ino)

    def _write_apart(self, draft: Draft, adopted: Adopted, base: Base) -> _New | Shown:
        """Over a conflict's loser: an entry of its own, instead of that."""
        replica, place = self._folder(draft)
        loser = conflicts.loser_seen(replica, base.item, base.context)
        if loser is None:
            return self._write_where_it_is(replica, draft, adopted)

        def make(item: ItemId) -> Change:
            held = _held(draft, adopted)
            return replace(
                operations.make_file(item, place.item, draft.name, held, now_ms()), derived=True
            )

        return replica.under_inode(conflicts.take_out(replica, loser, make), draft.ino)

    def _write_where_it_is(self, replica: Replica, draft: Draft, adopted: Adopted) -> _New | Shown:
        """Over a loser that is none any more. If it was made an entry of its own, that has its
        inode, and this is the next version: by a writer that had not seen what may have been
        written there since, so that it is kept as well."""
        row = replica.shelf.row(draft.ino)
        if row is None or row.type is not EntryType.FILE:
            return self._begin_new(draft, adopted)
        base = Base(row.item, (), -1, row.created)
        return self._write(replace(draft, base=base), adopted)

    def _already_published(
        self, replica: Replica, place: Shown, draft: Draft, adopted: Adopted
    ) -> Shown | None:
        """A new file whose record was kept just before the node was killed, but whose draft was
        not removed any more, is there: a second one would stand beside it."""
        for row in replica.shelf.named(place.item, [draft.name]):
            same = row.type is EntryType.FILE and row.content == adopted.content
            mine = not row.loser and row.version.device == self._state.me
            if same and mine and row.shown == draft.name:
                return row
        return None

    def _folder(self, draft: Draft) -> tuple[Replica, Shown]:
        """Where it goes, deleted or not: a file that is written into a folder which others deleted
        brings the folder back."""
        for replica in self._state.replicas.values():
            if replica.number == draft.space:
                row = replica.shelf.row(draft.folder)
                if row is None or row.type is not EntryType.FOLDER:
                    # It was deleted so long ago that it is forgotten.
                    row = replica.shelf.winner(ROOT)
                assert row is not None, "a space has a row for its root"
                replica.check_writable()
                return replica, row
        raise NoSuchEntry("The space is not here any more.")


def _held(draft: Draft, adopted: Adopted) -> Bytes:
    return Bytes(adopted.size, adopted.content, draft.mtime_ns, draft.executable)
