"""Which bytes may go from here, and who has promised to keep them?

Theory of operation. Bytes go only when somebody else, who is online, has just promised that he has
all of the content, and that a power cut would leave him all of it. While we ask, we promise
nothing of the kind about what we ask for, so that of two who free one content at the same time
neither relies on the other. What stands in several spaces is to be promised in each, as the members
of one can not get it from a holder in another. Whoever is known to hold a content is asked first,
and everybody else who is here only about what was not promised then, as what we know may be old.
Who promises is known to hold it from then on, be it that what he tells of it is still on its way.
Many contents are asked about at once.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sharefs.errors import DiskFull, LastCopy, LocalDamage, NotAllowed, Pinned, UserError
from sharefs.node.holders import Holders
from sharefs.node.peers import Peers
from sharefs.node.pins import Pins
from sharefs.node.state import State
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.records.shown import Shown
from sharefs.transfer import bitmap
from sharefs.wire.holdings import PROMISES_MAX, AskPromise, Promise

FREE_SECONDS_MAX = 3.0
FREED_AT_ONCE = 8
"""In one turn of the loop: to remove a file takes some milliseconds on some disks."""

Refused = tuple[Shown, UserError]


@dataclass(slots=True)
class Freed:
    """What was freed, and what was not, and why."""

    files: int = 0
    bytes: int = 0
    refused: list[Refused] = field(default_factory=list)

    def add(self, other: "Freed") -> None:
        """And what went, or did not, besides."""
        self.files += other.files
        self.bytes += other.bytes
        self.refused += other.refused


@dataclass(slots=True)
class _Files:
    """A content that is to go, and the files that have it."""

    content: ContentId
    rows: list[Shown] = field(default_factory=list)
    bytes: int = 0
    """So many were here."""


@dataclass(slots=True)
class _Round:
    """Questions under way in a space, each to one device, and what was promised."""

    space: SpaceId
    open: dict[int, tuple[DeviceId, tuple[ContentId, ...]]] = field(default_factory=dict)
    kept: set[ContentId] = field(default_factory=set)
    answered: threading.Event = field(default_factory=lambda: threading.Event())


class Freeing:
    """In the loop, but for what says otherwise."""

    def __init__(self, state: State, peers: Peers, holders: Holders, pins: Pins) -> None:
        self._state = state
        self._peers = peers
        self._holders = holders
        self._pins = pins
        self._numbers = itertools.count(1)
        self._freeing: set[ContentId] = set()
        self._rounds: dict[int, _Round] = {}
        """By the numbers of their questions."""
        self._is_durable: Callable[[ContentId], bool] = lambda _: False
        self._freed: Callable[[ContentId], None] = lambda _: None

    def serve(
        self, is_durable: Callable[[ContentId], bool], freed: Callable[[ContentId], None]
    ) -> None:
        """Whom to ask whether a content that is all here stays so, and to tell of what went."""
        self._is_durable, self._freed = is_durable, freed

    def is_freeing(self, content: ContentId) -> bool:
        """Whether it may go any moment."""
        return content in self._freeing

    # --- freeing: not in the loop, as it waits for others ---------------------------------------

    def free(self, rows: Iterable[Shown]) -> Freed:
        """Make files ghosts, as far as others promise to keep them."""
        freed = Freed()
        loose = []
        for row in rows:
            if self._is_kept(row):
                freed.refused.append((row, Pinned("It is pinned: `sharefs unpin` it first.")))
            else:
                loose.append(row)
        for part in _parts(loose):
            freed.add(self._free_part(part))
        return freed

    def _is_kept(self, row: Shown) -> bool:
        """Whether it is here, and pinned, or a file with the same bytes is."""
        if row.content is None or not self._state.contents.local_bytes(row.content):
            return False
        same = self._state.view.entries_of(row.content) if self._pins.any() else []
        return any(other.live and self._pins.is_pinned(other) for other in same)

    def _free_part(self, part: Sequence[_Files]) -> Freed:
        """Of one space."""
        freed = Freed()
        mine = self._state.loop.call(lambda: self._begin(part, freed))
        try:
            kept = self._promised_of(mine)
            elsewhere = self._lacking_elsewhere([f for f in mine if f.content in kept])
            kept.difference_update(elsewhere)
            for files in mine:
                with suppress(DiskFull, LocalDamage):
                    self._state.contents.let_stand_alone(files.content)
            for start in range(0, len(mine), FREED_AT_ONCE):
                few = mine[start : start + FREED_AT_ONCE]
                freed.add(self._state.make_room(partial(self._finish, few, kept, elsewhere)))
        finally:
            contents = {files.content for files in mine}
            self._state.loop.call(lambda: self._freeing.difference_update(contents))
        return freed

    def _begin(self, part: Sequence[_Files], freed: Freed) -> list[_Files]:
        mine = []
        for files in part:
            files.bytes = self._state.contents.local_bytes(files.content)
            if files.content in self._freeing:
                error = LastCopy("It is being freed already.")
                freed.refused += [(row, error) for row in files.rows]
            elif files.bytes:
                self._freeing.add(files.content)
                mine.append(files)
        return mine

    def _promised_of(self, files: list[_Files]) -> set[ContentId]:
        """What somebody in the space of these files promises to keep."""
        kept = self._ask(files, self._known_holders)
        return kept | self._ask([f for f in files if f.content not in kept], self._other_members)

    def _lacking_elsewhere(self, files: list[_Files]) -> dict[ContentId, Shown]:
        """What nobody promises in some other space where it stands, and an entry of it there."""
        spaces: dict[int, list[_Files]] = defaultdict(list)
        for each in files:
            rows = self._state.view.entries_of(each.content)
            others = {row.space: row for row in rows if row.live}
            others.pop(each.rows[0].space, None)
            for space, row in others.items():
                spaces[space].append(_Files(each.content, [row]))
        lacking: dict[ContentId, Shown] = {}
        for there in spaces.values():
            for start in range(0, len(there), PROMISES_MAX):
                few = there[start : start + PROMISES_MAX]
                kept = self._promised_of(few)
                lacking |= {f.content: f.rows[0] for f in few if f.content not in kept}
        return lacking

    def _ask(self, files: list[_Files], whom: Callable[[Shown], list[DeviceId]]) -> set[ContentId]:
        """What somebody promises to keep."""
        asked: dict[DeviceId, list[ContentId]] = defaultdict(list)
        for each in files:
            for device in whom(each.rows[0]):
                asked[device].append(each.content)
        if not asked:
            return set()
        space = self._state.replica_numbered(files[0].rows[0].space).id
        round = self._state.loop.call(lambda: self._send(space, asked))
        round.answered.wait(FREE_SECONDS_MAX)
        return self._state.loop.call(lambda: self._end(round))

    def _known_holders(self, row: Shown) -> list[DeviceId]:
        """One is enough."""
        return self._holders.online(row)[:1]

    def _other_members(self, row: Shown) -> list[DeviceId]:
        members = self._state.replica_numbered(row.space).roster.devices
        asked = self._known_holders(row)
        return [d for d in self._peers.online() if d in members and d not in asked]

    def _send(self, space: SpaceId, asked: dict[DeviceId, list[ContentId]]) -> _Round:
        round = _Round(space)
        for device, contents in asked.items():
            number = next(self._numbers)
            round.open[number] = (device, tuple(contents))
            self._rounds[number] = round
            self._state.send(device, AskPromise(space, number, tuple(contents)))
        return round

    def _end(self, round: _Round) -> set[ContentId]:
        for number in round.open:
            del self._rounds[number]
        round.open.clear()
        return round.kept

    def _finish(
        self, part: Sequence[_Files], kept: set[ContentId], elsewhere: dict[ContentId, Shown]
    ) -> Freed:
        freed = Freed()
        for files in part:
            if files.content not in kept:
                other = elsewhere.get(files.content)
                freed.refused += [(row, self._refusal(other or row, row)) for row in files.rows]
                continue
            try:
                self._state.contents.free(files.content)
            except NotAllowed as error:
                freed.refused += [(row, error) for row in files.rows]
                continue
            self._freed(files.content)
            freed.files += len(files.rows)
            freed.bytes += files.bytes
        return freed

    def _refusal(self, row: Shown, asked: Shown) -> LastCopy:
        """Why what was asked for stays: because of an entry, perhaps another one of these bytes."""
        if row.space != asked.space:
            name = self._state.replica_numbered(row.space).roster.name
            return LastCopy(
                f"It is in {name}, too, and no member of that who is online has all of it: free it"
                " when one of them has fetched it there."
            )
        away = [d for d in self._holders.of(row) if not self._peers.is_online(d)]
        if not away:
            return LastCopy(
                "Nobody else is known to have all of it: as the last copy it stays here. Free it"
                " when somebody else has fetched it."
            )
        names = list(dict.fromkeys(map(self._state.person_name, away)))
        one = len(names) == 1
        return LastCopy(
            f"Only {' and '.join(names)} {'has' if one else 'have'} all of it, too, and"
            f" {'is' if one else 'are'} not online to promise to keep it: free it when"
            f" {'they are' if one else 'one of them is'}."
        )

    # --- questions and answers ------------------------------------------------------------------

    def received(self, device: DeviceId, message: AskPromise | Promise) -> None:
        """A member asks for promises, or answers."""
        match message:
            case AskPromise():
                kept = 0
                for place, content in enumerate(message.contents):
                    kept |= self._promises(message.space, content) << place
                encoded = bitmap.to_bytes(kept, len(message.contents))
                self._state.send(device, Promise(message.space, message.number, encoded))
            case Promise(_, number, encoded):
                self._promised(device, number, bitmap.from_bytes(encoded))

    def _promises(self, space: SpaceId, content: ContentId) -> bool:
        """Whether a content is all here for good, and belongs to the space: no member learns of
        another space's."""
        if content in self._freeing:
            return False
        if not self._state.replicas[space].shelf.entries_of(content):
            return False
        local = self._state.contents.known_now(content)
        if local is None or not local.complete or local.synced != local.bitmap:
            return False
        return self._is_durable(content)

    def _promised(self, device: DeviceId, number: int, kept: int) -> None:
        round = self._rounds.get(number)
        if round is None or round.open[number][0] != device:
            return
        _, contents = round.open.pop(number)
        del self._rounds[number]
        promised = [content for place, content in enumerate(contents) if kept >> place & 1]
        round.kept.update(promised)
        self._holders.promised(device, round.space, promised)
        if not round.open:
            round.answered.set()

    def peer_down(self, device: DeviceId) -> None:
        """It promises nothing any more."""
        for number, round in list(self._rounds.items()):
            if round.open[number][0] == device:
                self._promised(device, number, 0)


def _parts(rows: Iterable[Shown]) -> Iterator[list[_Files]]:
    """As many contents as are asked about at once, of one space."""
    spaces: dict[int, dict[ContentId, _Files]] = {}
    for row in rows:
        if row.content is not None:
            of_space = spaces.setdefault(row.space, {})
            of_space.setdefault(row.content, _Files(row.content)).rows.append(row)
    for of_space in spaces.values():
        files = list(of_space.values())
        for start in range(0, len(files), PROMISES_MAX):
            yield files[start : start + PROMISES_MAX]
