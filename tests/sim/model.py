"""Which observations does some order of uploads and downloads explain, and what may never be lost?

Apart from the code under test: this knows what records are, and nothing of how they are ordered,
kept or carried. It is told what each program saw when it acted, and which records came of that, and
from these makes its own account of which version had seen which. In the manner of "Mysteries of
Dropbox" (Hughes, Pierce and others, 2016): what a device shows of an item, its heads, is explained
if a set of versions that only ever grows, by uploads of its own and downloads of others', leaves
just these as those that no other of the set had seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from sharefs.errors import RemoteProtocolError
from sharefs.records.entry import EntryType, decode_entry
from sharefs.records.ids import ROOT, ContentId, Coordinate, DeviceId, Frontier, ItemId
from sharefs.records.record import Record, decode_record
from sharefs.records.shown import Shown

Coordinates = frozenset[Coordinate]
NOTHING: Coordinates = frozenset()
_NO_CONTENT = ContentId(b"")


@dataclass(frozen=True)
class Version:
    """A record, with what its writer had seen of the item: `past` is all of it, itself included."""

    record: Record
    data: bytes
    content: ContentId | None
    gave_up: frozenset[ContentId]
    past: Coordinates


@dataclass(frozen=True)
class Held:
    """What is on one device's disk."""

    name: str
    device: DeviceId
    frontier: Frontier
    heads: dict[ItemId, list[Record]]
    data: dict[bytes, Record]
    view: list[Shown]
    """All rows, less what is each device's own business: inode numbers, and what bytes are here."""

    @property
    def alive(self) -> frozenset[bytes]:
        """The heads of all items but those that are nothing but deleted: of these, each device
        keeps what it likes."""
        return frozenset(data for data, head in self.data.items() if not self.is_dead(head.item))

    @property
    def shown(self) -> list[Shown]:
        """The rows of these."""
        return [row for row in self.view if not self.is_dead(row.item)]

    def is_dead(self, item: ItemId) -> bool:
        """Whether there is nothing of it, or but tombstones, and nothing lives in it."""
        return item not in self._living and all(map(is_tombstone, self.heads.get(item, ())))

    @cached_property
    def _living(self) -> frozenset[ItemId]:
        return frozenset(row.item for row in self.view if row.live)

    def covers(self, record: Record) -> bool:
        """Whether it is held, or something that dominates it."""
        heads = self.heads.get(record.item, ())
        return any(h.coordinate == record.coordinate or h.dominates(record) for h in heads)


@dataclass(frozen=True)
class Act:
    """What a program does: which versions it sees, and which contents it replaces or deletes."""

    who: str
    saw: Coordinates = NOTHING
    gives_up: frozenset[ContentId] = frozenset()
    stood: Coordinates = NOTHING
    """All versions that stood on the device just before."""


@dataclass
class Model:
    """All versions there ever were, less those that were lost as a crash may lose them."""

    writers: frozenset[DeviceId]
    versions: dict[Coordinate, Version] = field(default_factory=dict)
    promised: dict[ContentId, str] = field(default_factory=dict)
    """What programs were told is saved, and by whom."""
    trusting: bool = True
    """Whether frontiers claim nothing but what is there."""
    unequivocal: bool = True
    """Whether each coordinate has one record. If not, a version vector can not tell who has seen
    what, and only what all show in the end is looked at."""
    withheld: bool = False
    """Whether a liar may have kept back from somebody that what was deleted is deleted once more:
    nobody asks for that, as nothing is shown either way."""
    _of_item: dict[ItemId, list[Coordinate]] = field(default_factory=dict)
    _from_others: set[Coordinate] = field(default_factory=set)
    """Of devices whose disks were restored since: they may have got these from others again."""
    _maybe_gone: dict[Coordinate, Version] = field(default_factory=dict)
    """Nobody has them, but maybe a message that is on its way."""
    _shown: dict[tuple[str, ItemId], Coordinates] = field(default_factory=dict)
    """By device: what it must have had of an item, by what it showed."""

    # --- what happens ---------------------------------------------------------------------------

    def knows(self, at: Coordinate, data: bytes) -> bool:
        """Whether it was told of a record."""
        version = self.versions.get(at)
        return version is not None and (version.data == data or not self.unequivocal)

    def wrote(self, data: bytes, act: Act) -> None:
        """A record came of what a program did."""
        record = decode_record(data)
        at = record.coordinate
        assert at not in self.versions, f"{_brief(record)} is there a second time"
        known = self._of_item.setdefault(record.item, [])
        # A device's new version follows those of its own that stand.
        before = [k for k in known if k in act.saw or (k[:2] == at[:2] and k in act.stood)]
        seen = NOTHING.union(*(self.versions[k].past for k in before))
        past = frozenset({at}).union(k for k in known if _reaches(seen, k))
        self.versions[at] = Version(record, data, _content_of(record), act.gives_up, past)
        known.append(at)

    def saved(self, content: ContentId, act: Act) -> None:
        """A program was told that its bytes are safe."""
        if any(version.content == content for version in self.versions.values()):
            self.promised[content] = act.who

    def went_back(self, now: Held, before: Held, others: list[Held], by_restore: bool) -> None:
        """A disk is as it was at some earlier time. What was nowhere else is no more."""
        if not self.unequivocal:
            return
        for at, version in list(self.versions.items()):
            if now.covers(version.record) or not before.covers(version.record):
                continue
            if any(other.covers(version.record) for other in others):
                told = at.device == now.device and not by_restore and at not in self._from_others
                assert not told, f"{_brief(version.record)} was told before it was durable"
            else:
                self._forget(at, version)
                if by_restore:
                    self._maybe_gone[at] = version
        if by_restore:
            self._from_others |= {at for at in self.versions if at.device == now.device}
        self._shown = {key: seen for key, seen in self._shown.items() if key[0] != now.name}

    def _forget(self, at: Coordinate, version: Version) -> None:
        del self.versions[at]
        self._of_item[version.record.item].remove(at)
        if not any(self._stands(other, version.content) for other in self.versions.values()):
            self.promised.pop(version.content or _NO_CONTENT, None)

    def _stands(self, version: Version, content: ContentId | None) -> bool:
        """Whether bytes are those of a version that nobody wrote on who had seen it. A rename onto
        another name leaves but a tombstone where they were: with the target they are gone."""
        at = version.record.coordinate
        later = (self.versions[k] for k in self._of_item[version.record.item] if k != at)
        return version.content == content and not any(at in other.past for other in later)

    def _written_again(self, head: Record, data: bytes) -> Version | None:
        """Who met another copy of the own device, or was told so by a liar, counts anew, and writes
        again what nobody was told of."""
        for at in self._of_item.get(head.item, ()):
            first = self.versions[at]
            if at.incarnation != head.incarnation and _is_again(head, first.record):
                # What it saw of its own, nobody was told of: it no more says that it saw it.
                seen = [*map(Coordinate._make, head.context)]
                past = frozenset(k for k in first.past if _reaches(seen, k)) | {head.coordinate}
                again = Version(head, data, first.content, first.gave_up, past)
                self._came_again(at, again)
                return again
        return None

    def _came_again(self, first: Coordinate, again: Version) -> None:
        """Who has seen a version when it was there a second time has seen that, too."""
        at = again.record.coordinate
        known = self._of_item[again.record.item]
        for version in [self.versions[k] for k in known]:
            record = version.record
            if first in version.past and _reaches(map(Coordinate._make, record.context), at):
                past = version.past | again.past
                self.versions[record.coordinate] = replace(version, past=past)
        self.versions[at] = again
        known.append(at)

    def _arrived_after_all(self, at: Coordinate) -> None:
        version = self.versions[at] = self._maybe_gone.pop(at)
        self._of_item[version.record.item].append(at)

    # --- what must be so, always ----------------------------------------------------------------

    def check(self, held: Held) -> None:
        """Of one disk, at any time."""
        self._check_rights(held)
        if not self.unequivocal:
            return
        for version in self.versions.values() if self.trusting else ():
            record = version.record
            claimed = held.frontier.get((record.device, record.incarnation), 0)
            heads = held.heads.get(record.item, [])
            if self.withheld and all(map(is_tombstone, heads)):
                heads = []
            shown = frozenset(head.coordinate for head in heads)
            there = held.covers(record) or self._was_deleted(record.item, record.coordinate, shown)
            assert record.sequence > claimed or there, (
                f"{held.name}'s frontier claims {_brief(record)}, which is not there"
            )
        for item, heads in held.heads.items():
            self._observe(held, item, heads)

    def _check_rights(self, held: Held) -> None:
        for data, head in held.data.items():
            assert head.device in self.writers, f"{held.name} has a version of a reader"
            if not self.unequivocal:
                continue
            if head.coordinate in self._maybe_gone:
                self._arrived_after_all(head.coordinate)
            known = self.versions.get(head.coordinate) or self._written_again(head, data)
            assert known is not None, f"{held.name} has {_brief(head)}, which nobody wrote"
            assert data == known.data, "two records at one coordinate"

    def _observe(self, held: Held, item: ItemId, heads: list[Record]) -> None:
        shown = frozenset(head.coordinate for head in heads)
        pasts = [self.versions[at].past for at in shown]
        assert all(len(past & shown) == 1 for past in pasts), (
            f"{held.name} shows {_all(heads)}, some of which others of them had seen"
        )
        seen = NOTHING.union(*pasts)
        gone = (self._shown.get((held.name, item), NOTHING) & self.versions.keys()) - seen
        gone = frozenset(at for at in gone if not self._was_deleted(item, at, shown))
        assert not gone, (
            f"{held.name} had {_all(self.versions[at].record for at in gone)}, and shows"
            f" {_all(heads)}, whose writers had not seen that"
        )
        self._shown[held.name, item] = seen

    def _was_deleted(self, item: ItemId, at: Coordinate, shown: Coordinates) -> bool:
        """Whether somebody who had seen it deleted the item, and nothing is shown that they had
        seen: the tombstone may have been forgotten, and only then something else come."""
        pasts = [self.versions[k].past for k in self._of_item[item] if self._is_tombstone(k)]
        return any(at in past and not past & shown for past in pasts)

    def _is_tombstone(self, at: Coordinate) -> bool:
        return is_tombstone(self.versions[at].record)

    # --- what must be so in the end -------------------------------------------------------------

    def check_end(self, disks: list[Held]) -> None:
        """When all are connected, and nothing happens any more."""
        first = disks[0]
        for held in disks:
            self.check(held)
            assert held.alive == first.alive, f"{held.name} and {first.name} have other heads"
            assert held.frontier == first.frontier, f"{held.name} and {first.name} know less"
            assert held.shown == first.shown, f"{held.name} and {first.name} show other things"
        self._check_names(first)
        if self.unequivocal:
            self._check_winners(first)
            self._check_bytes(first)

    def _check_names(self, held: Held) -> None:
        """In no folder have two entries one name."""
        shown = [(row.place, row.shown) for row in held.view if row.live and row.merged is None]
        assert len(set(shown)) == len(shown), "two entries have one name"
        assert all(name and len(name.encode()) <= 255 for _, name in shown), "impossible names"
        self._check_places(held)

    def _check_places(self, held: Held) -> None:
        """What lives is in a folder that lives, unless all that was said of that went with a disk
        that was set back, before others had it."""
        folders = {row.item for row in held.view if row.type is EntryType.FOLDER and row.live}
        astray = [row for row in held.view if row.live and row.place not in {ROOT, *folders}]
        lost = [row for row in astray if self._of_item.get(row.place)]
        assert not lost, f"{[row.name for row in lost]} are in no folder"

    def _check_winners(self, held: Held) -> None:
        """The greatest version of an item is the one that is shown (I5), and no bytes hide."""
        shown = {row.item: row.version for row in held.view if not row.loser}
        for item, heads in held.heads.items():
            greatest = max(heads, key=lambda head: head.rank)
            assert shown.get(item) == greatest.coordinate, f"{_brief(greatest)} should have won"
            contents = {row.content for row in held.view if row.item == item}
            hidden = {_content_of(head) for head in heads} - contents - {None}
            assert not hidden, f"bytes of {_all(heads)} are not shown"

    def _check_bytes(self, held: Held) -> None:
        """Every byte sequence that was saved is there, or somebody who had seen it wrote on."""
        there = {_content_of(head) for heads in held.heads.values() for head in heads}
        given_up = frozenset().union(*(version.gave_up for version in self.versions.values()))
        for content, who in self.promised.items():
            assert content in there or content in given_up, f"what {who} saved is lost"


def _is_again(record: Record, first: Record) -> bool:
    """Whether its device wrote it a second time, as it stands, but for what it saw of its own."""
    own = (first.device, first.incarnation)
    others = [[entry for entry in r.context if entry[:2] != own] for r in (record, first)]
    return (record.device, record.body, others[0]) == (first.device, first.body, others[1])


def _reaches(seen: Iterable[Coordinate], at: Coordinate) -> bool:
    """Whoever has seen a device's fifth version of an item is taken to have seen its fourth: a
    version vector can not say otherwise."""
    return any(s[:2] == at[:2] and s.sequence >= at.sequence for s in seen)


def in_order(rows: Iterable[Shown]) -> list[Shown]:
    """Where a device went astray, an item may have two losers of one coordinate."""
    return sorted(rows, key=lambda row: (row.item, row.version, row.shown))


def is_tombstone(record: Record) -> bool:
    """Whether it deletes something."""
    try:
        return decode_entry(record.body).deleted
    except RemoteProtocolError:
        return False


def _content_of(record: Record) -> ContentId | None:
    try:
        return decode_entry(record.body).content
    except RemoteProtocolError:
        return None


def _brief(record: Record) -> str:
    return f"{record.device[:2].hex()}.{record.incarnation[:2].hex()}.{record.sequence}"


def _all(records: Iterable[Record]) -> str:
    return " and ".join(sorted(map(_brief, records)))
