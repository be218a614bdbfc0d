"""Which contents does this device hold itself?

Theory of operation. A version is *held* if its content is complete here, *lacked* if it is not, and
*neutral* if it has no content, or is no head any more. Every transaction notes the rows and the
contents that it changes, and brings our accounts up to date before it commits: each lacked version
is in no interval, each held one is in one. Whether neutral ones are makes no difference, so that
they are taken in where this joins two intervals. There may be versions between two intervals that
were never here, as what dominates them came first; they are neutral, too, but only up to the
frontier (I6): what is beyond it may still arrive.

Joining needs not be perfect. It is tried around what changed, and, where the frontier forbade it,
once more when that has moved.

What is here in part is lacked, and in the other account. That has just those: few files are in part
for long, so that nothing is joined, and what is neutral would stay in it for ever.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum

from sharefs.records.ids import ContentId, Coordinate, DeviceId, Incarnation
from sharefs.records.intervals import Interval, Intervals, clipped, contains, union, without
from sharefs.store.groups import among, in_groups
from sharefs.store.holders import OURS, Holders
from sharefs.store.sums import Author

CLUSTER_SEQUENCES_MAX = 4096
JOINS_AT_ONCE = 64
HEADS_BETWEEN_MAX = 32
"""With more heads between two intervals it is not looked whether they can be joined."""
CHANGES_MAX = 256

_Account = tuple[int, Author]


class Here(IntEnum):
    """How much of a content is."""

    NONE = 0
    SOME = 1
    ALL = 2


States = Mapping[int, Here | None]
"""Of versions, by their sequences; None for those that are neutral."""

SHARE_HERE = (
    "coalesce((SELECT (content.local > 0) + (content.local = content.size) FROM content"
    " WHERE content.id = entry.content), 0)"
)
"""Of a row of `entry` with a content: as `Here` counts."""
_COLUMNS = (
    "space, device, incarnation, sequence,"
    f" CASE WHEN entry.content IS NULL THEN NULL ELSE {SHARE_HERE} END"
)
_SHOWN = (
    "EXISTS (SELECT 1 FROM entry WHERE entry.space = ?1 AND entry.item = head.item"
    " AND entry.loser = {loser} AND entry.sequence = head.sequence AND entry.device = ?2"
    " AND entry.incarnation = ?3 AND entry.content IS NOT NULL)"
)
_BETWEEN = (
    # There is an index of items for winners, and one for losers, and none for both.
    f"SELECT count(*), total({_SHOWN.format(loser=0)} OR {_SHOWN.format(loser=1)})"
    " FROM (SELECT item, sequence FROM record WHERE space = ?1 AND device = ?2"
    " AND incarnation = ?3 AND sequence BETWEEN ?4 AND ?5 ORDER BY sequence LIMIT ?6) AS head"
)


class Holding:
    """Our own accounts. On the writing connection, in the loop."""

    def __init__(self, connection: sqlite3.Connection, holders: Holders) -> None:
        self._connection = connection
        self._holders = holders
        self._rows: dict[int, None] = {}
        """Inodes that were saved."""
        self._contents: dict[ContentId, None] = {}
        self._gone: dict[tuple[int, Coordinate], None] = {}
        """Versions that a row had."""
        self._unjoined: dict[_Account, int] = {}
        """From where on intervals are to be joined that were not: they were too many at once, or
        beyond the frontier."""
        self._changing: dict[_Account, Intervals] = {}
        self._changed: dict[_Account, Intervals] = {}

    # --- what a transaction changes -------------------------------------------------------------

    def note_rows(self, inos: Iterable[int]) -> None:
        """These were saved."""
        self._rows.update(dict.fromkeys(inos))

    def note_gone(self, space: int, version: Coordinate) -> None:
        """A row had this version, and has another one, or is gone."""
        self._gone[space, version] = None

    def note_contents(self, contents: Iterable[ContentId]) -> None:
        """Other bytes of these are here than before."""
        self._contents.update(dict.fromkeys(contents))

    def flush(self) -> None:
        """Bring the accounts up to date: before COMMIT, when all else is written."""
        for (space, author), states in self._states().items():
            for sequences in _clusters(sorted(states)):
                cluster = {at: states[at] for at in sequences}
                self._settle(space, author, cluster)
                self._settle_partial(space, author, cluster)
        for account in list(self._unjoined):
            self._go_on(account)

    def committed(self) -> None:
        """What changed may be told."""
        for account, ranges in self._changing.items():
            known = union(self._changed.get(account, ()), ranges)
            if len(known) > CHANGES_MAX:
                known = ((known[0][0], known[-1][1]),)
            self._changed[account] = known
        self._changing = {}

    def forget(self) -> None:
        """After a rollback."""
        self._rows, self._contents, self._gone, self._changing = {}, {}, {}, {}

    def take_changed(self) -> dict[_Account, Intervals]:
        """In which sequences the accounts changed since the last call: of each space and author."""
        changed, self._changed = self._changed, {}
        return changed

    # --- how the versions are -------------------------------------------------------------------

    def _states(self) -> dict[_Account, dict[int, Here | None]]:
        """Of the versions that are concerned."""
        states: dict[_Account, dict[int, Here | None]] = {}
        for space, (device, incarnation, sequence) in self._gone:
            states.setdefault((space, (device, incarnation)), {})[sequence] = None
        for space, device, incarnation, sequence, share in self._changed_rows():
            state = None if share is None else Here(share)
            states.setdefault((space, (device, incarnation)), {})[sequence] = state
        self._rows, self._contents, self._gone = {}, {}, {}
        return states

    def _changed_rows(self) -> Iterator[tuple[int, DeviceId, Incarnation, int, int | None]]:
        for group in in_groups(self._rows):
            query = f"SELECT {_COLUMNS} FROM entry WHERE ino {among(group)}"
            yield from self._connection.execute(query, group)
        for contents in in_groups(self._contents):
            query = (
                f"SELECT {_COLUMNS} FROM entry WHERE content {among(contents)}"
                " AND content IS NOT NULL"
            )
            yield from self._connection.execute(query, contents)

    # --- the accounts ---------------------------------------------------------------------------

    def _settle(self, space: int, author: Author, states: States) -> None:
        before = self._around(space, author, states, partial=False)
        if not before and Here.ALL not in states.values():
            return
        after = self._joined(space, author, with_states(before, states), sorted(states))
        self._keep(space, author, before, after)

    def _settle_partial(self, space: int, author: Author, states: States) -> None:
        before = self._around(space, author, states, partial=True)
        some = union((at, at) for at, share in states.items() if share is Here.SOME)
        others = union((at, at) for at, share in states.items() if share is not Here.SOME)
        after = union(without(before, others), some)
        self._keep(space, author, before, after, partial=True)

    def _around(self, space: int, author: Author, states: States, *, partial: bool) -> Intervals:
        first, last = min(states), max(states)
        return self._holders.around(
            space, OURS, author, first, last, CLUSTER_SEQUENCES_MAX, partial=partial
        )

    def _keep(
        self,
        space: int,
        author: Author,
        before: Intervals,
        after: Intervals,
        *,
        partial: bool = False,
    ) -> None:
        other = sorted(set(before) ^ set(after))
        if not other:
            return
        first, last = other[0][0], max(last for _, last in other)
        stated = clipped(after, first, last)
        self._holders.splice(space, OURS, author, first, last, stated, partial=partial)
        account = (space, author)
        self._changing[account] = union(self._changing.get(account, ()), ((first, last),))

    def _joined(
        self, space: int, author: Author, intervals: Intervals, around: Sequence[int]
    ) -> Intervals:
        """With those joined that can be, next to these sequences, which are in order."""
        frontier = self._frontier(space, author)
        joined: list[Interval] = list(intervals[:1])
        tried = 0
        for first, last in intervals[1:]:
            begin = joined[-1][1]
            place = bisect_left(around, begin)
            joins = place < len(around) and around[place] <= first
            if joins and (tried == JOINS_AT_ONCE or first > frontier):
                self._go_on_from((space, author), begin)
                joins = False
            elif joins:
                tried += 1
                joins = self._nothing_between(space, author, begin, first)
            if joins:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        return tuple(joined)

    def _go_on_from(self, account: _Account, at: int) -> None:
        self._unjoined[account] = min(at, self._unjoined.get(account, at))

    def _go_on(self, account: _Account) -> None:
        """Join some more, if the frontier allows it by now."""
        space, author = account
        frontier, at = self._frontier(space, author), self._unjoined[account]
        if frontier <= at:
            return
        before = self._holders.around(space, OURS, author, at, frontier, JOINS_AT_ONCE + 1)
        del self._unjoined[account]
        after = self._joined(space, author, before, [last for _, last in before[:-1]])
        self._keep(space, author, before, after)
        if len(before) == JOINS_AT_ONCE + 1:
            self._go_on_from(account, before[-1][1])

    def _frontier(self, space: int, author: Author) -> int:
        row = self._connection.execute(
            "SELECT sequence FROM frontier WHERE space = ? AND device = ? AND incarnation = ?",
            (space, *author),
        ).fetchone()
        return row[0] if row else 0

    def _nothing_between(self, space: int, author: Author, begin: int, end: int) -> bool:
        """Whether all heads between two sequences are without content."""
        heads, with_content = self._connection.execute(
            _BETWEEN, (space, *author, begin + 1, end - 1, HEADS_BETWEEN_MAX + 1)
        ).fetchone()
        return heads <= HEADS_BETWEEN_MAX and not with_content


def with_states(intervals: Intervals, states: States) -> Intervals:
    """With what is held, without what is lacked; with what is neutral where that touches."""

    def those(*shares: Here | None) -> Intervals:
        return union((at, at) for at, share in states.items() if share in shares)

    held = without(union(intervals, those(Here.ALL)), those(Here.NONE, Here.SOME))
    touching = (run for run in those(None) if _touches(held, *run))
    return union(held, touching)


def _touches(held: Intervals, first: int, last: int) -> bool:
    return contains(held, first - 1) or contains(held, last + 1)


def _clusters(sequences: Sequence[int]) -> Iterator[list[int]]:
    cluster: list[int] = []
    for at in sequences:
        if cluster and at - cluster[0] > CLUSTER_SEQUENCES_MAX:
            yield cluster
            cluster = []
        cluster.append(at)
    if cluster:
        yield cluster
