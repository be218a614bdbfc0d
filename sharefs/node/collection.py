"""What is of no use to anybody any more, and may go?

Theory of operation. Every other device of a space tells, in its Summary, how far it is; what it
told is kept, and what all of them have passed, we too, is *stable*: each of them holds it, or
something that dominates it. A device counts from when its roster was ours, so that nobody whom it
let in before is unknown here; and only if everything is here that it had made itself by then. So
whatever may still arrive was made by somebody who had seen all that is stable. What a peer tells
counts one round later, when its own disk has it, too.

- *Dominated records* are deleted when what dominates them is kept: see `tree`.
- *Commits* whose records are all dominated are deleted when they are stable. Who joins later gets
  the heads, with their commits, and at the end of its pass the frontier: of what was in the gaps it
  then holds something that dominates it (I6). An author's last commit stays, for it says how far
  the author is.
- *Superseded contents* are freed when everything that was here when they were replaced is stable,
  and has been for GRACE_SECONDS, and nobody uses them. Before that, a device that has not seen the
  new version may rename the old one, whose bytes would then be a conflict's other version.
  What other contents lie over stays until they are freed, or have taken what they need of it.
- *Tombstones* are deleted, each item's together, when they are stable, the item has been dead here
  for TOMBSTONE_GRACE_SECONDS, and nothing here names it as the folder that it is in.

Replicas need not drop a tombstone at one time, as nobody can tell whether another has it: the heads
of *dead* items, which have nothing but tombstones, and in which nothing lives, are in no
fingerprint, no sum and no list of an audit, and make nothing that is shown. Where it matters the
item is not dead, and the tombstone counts: beside an edit that did not know of the delete, both are
listed, and who lacks one asks for it; so is that of a folder that lives on by what it holds. What
lives follows from the heads of what is not dead, whichever of the others somebody has dropped. A
delete that was withheld from somebody leaves them what it deleted; that counts, so an audit brings
it to who has the tombstone, and this back (`Correct`). So all become equal whenever anybody drops
what. The rule is there so that a delete stays one:

- nobody who is here lacks the tombstone, as it is stable, so nobody has what it deleted;
- a disk that is set back to a time before the delete, by less than the grace, finds it with others.
  An older one brings the file back, for all, as one that was lost and is found;
- an edit that was begun before the delete, and is saved after the grace, makes it a file again;
  until then, the two are in conflict.

A tombstone of a *folder* says under which name and where it lives on, if something in it does. When
it goes, nothing that has not arrived can name it, but together with a version of the folder that
brings it back:

- whoever makes that has seen the tombstone, as it is stable, and who puts something into a folder
  that is deleted makes it anew first, with those above it (see `tree.revival`);
- it may be put deeper, into a folder in this one which lived for its writer: deleted here, but not
  stably so. That has its row here as long, which names this one. So trees go from the leaves up;
- no row that is here already names it, be it a conflict's loser; and no version that has lost to
  another wins later.

Should it happen nonetheless, the folder lives on where it is known, so its tombstone counts there,
and an audit brings it back. What is saved into a folder that is forgotten here, by a program that
had the file open all the time, is put at the top of the space. Deleted folders that are in each
other, and those that somebody renamed without knowing of the delete, which won, stay.

Rejected: folders that count as dead by their own heads alone, as files do. That a folder's own
tombstone is stable is not enough: who had seen it still saw the folder, while something in it
lived, and may have put more there that has not arrived. Who has dropped it would not miss it.

A device that never comes back holds up commits and contents for ever, until it is removed: bytes
are not to be lost for the sake of room.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

from sharefs.errors import DiskFull, NotAllowed, UserError
from sharefs.node.replica import Replica
from sharefs.node.state import State
from sharefs.records.ids import ContentId, DeviceId, Frontier, Incarnation, SpaceId

log = logging.getLogger("sharefs.node")

COMMITS_AT_ONCE = 2000
CONTENTS_AT_ONCE = 64
GRACE_SECONDS = 7 * 24 * 3600.0
DEAD_AT_ONCE = 1000
TOMBSTONE_GRACE_SECONDS = 180 * 24 * 3600.0
_NUMBER_MAX = 2**62

_Author = tuple[DeviceId, Incarnation]


class Collection:
    """In the loop only. `is_open` asks the mount; `freed` is told of contents that went."""

    def __init__(
        self,
        state: State,
        is_open: Callable[[ContentId], bool],
        freed: Callable[[ContentId], None],
    ) -> None:
        self._state = state
        self._is_open = is_open
        self._freed = freed
        self._told: dict[tuple[SpaceId, DeviceId], Frontier] = {}
        """Since the last round."""
        self._aged: dict[tuple[SpaceId, DeviceId], Frontier] = {}
        """In the round before."""
        self._looked: dict[tuple[SpaceId, _Author], int] = {}
        """Up to where this walk through an author's commits has come."""
        self._looked_at_dead: dict[SpaceId, tuple[float, int]] = {}
        """As well, of dead items, by time and number."""
        self._standing: set[ContentId] = set()
        """Those for which the pool is at work."""

    def passed(self, device: DeviceId, space: SpaceId, frontier: Frontier) -> None:
        """A device, whose roster is ours, said that it has all this."""
        self._told[space, device] = frontier

    def round(self, now: float) -> None:
        """In a transaction: collect some. `now` is in seconds since 1970."""
        self._save_told()
        for replica in self._state.replicas.values():
            stable = self.stable(replica)
            if stable:
                self._drop_tombstones(replica, stable, now)
                self._drop_commits(replica, stable)
                self._free_contents(replica, stable, now)

    def _save_told(self) -> None:
        for (space, device), frontier in self._aged.items():
            replica = self._state.replicas.get(space)
            if replica is not None:
                self._state.ledger.set_passed(replica.number, device, frontier)
        self._aged, self._told = self._told, {}

    def stable(self, replica: Replica) -> Frontier:
        """What every device of a space has passed; empty if that is not known of one."""
        passed = self._state.ledger.passed(replica.number)
        stable = replica.shown_frontier()
        for device in replica.roster.devices:
            if device == self._state.me:
                continue
            theirs = passed.get(device, {})
            if any(
                author == device and sequence > replica.frontier.get((author, incarnation), 0)
                for (author, incarnation), sequence in theirs.items()
            ):
                return {}
            stable = {
                author: min(sequence, theirs[author])
                for author, sequence in stable.items()
                if author in theirs
            }
        return stable

    def _drop_tombstones(self, replica: Replica, stable: Frontier, now: float) -> None:
        shelf, begun = replica.shelf, self._looked_at_dead.get(replica.id, (0.0, 0))
        due = shelf.dead.since(begun, now - TOMBSTONE_GRACE_SECONDS, now, DEAD_AT_ONCE)
        ended = len(due) < DEAD_AT_ONCE
        self._looked_at_dead[replica.id] = (0.0, 0) if ended else due[-1][:2]
        for item, heads in shelf.heads_of(dict.fromkeys(item for *_, item in due)).items():
            passed = all(h.sequence <= stable.get((h.device, h.incarnation), 0) for h in heads)
            if passed and not shelf.is_parent(item):
                shelf.forget_dead(item)

    def _drop_commits(self, replica: Replica, stable: Frontier) -> None:
        at_once = COMMITS_AT_ONCE // len(stable) + 1
        for author, sequence in sorted(stable.items()):
            place = (replica.id, author)
            self._looked[place] = self._state.ledger.drop_commits(
                replica.number, author, self._looked.get(place, 0), sequence, at_once
            )

    def _free_contents(self, replica: Replica, stable: Frontier, now: float) -> None:
        store = self._state.store
        beyond = self._state.ledger.commits_beyond(replica.number, stable, 0, 1)
        number = beyond[0][0] if beyond else _NUMBER_MAX
        due = store.superseded.due(
            replica.number, number, now - GRACE_SECONDS, now, CONTENTS_AT_ONCE
        )
        if not due:
            return
        try:
            store.make_durable()
        except DiskFull:
            return
        for content in due:
            if self._state.contents.is_leaned_on(content):
                self._let_stand_alone(content)
                continue
            if self._is_open(content) or self._state.contents.is_used(content):
                continue
            if store.superseded.settle(content, replica.number):
                freed = 0
                # A program may just have begun to change it.
                with suppress(NotAllowed):
                    freed = self._state.contents.free(content)
                if freed:
                    log.info("freed %d superseded bytes", freed)
                    self._freed(content)

    def _let_stand_alone(self, content: ContentId) -> None:
        """What lies over it, and is needed, takes what it needs; a later round frees it."""

        def work() -> None:
            try:
                self._state.contents.let_stand_alone(content)
            except UserError as error:
                log.warning("what is superseded can not be freed yet: %s", error)
            self._state.loop.post(lambda: self._standing.discard(content))

        if content not in self._standing:
            self._standing.add(content)
            self._state.in_pool(work)
