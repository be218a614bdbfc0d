"""Which versions edits make, and that no bytes are lost by them."""

from collections.abc import Callable
from itertools import count

import msgspec
import pytest

from sharefs.errors import NameNotPossible, NameNotText, NameTooLong
from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, decode_entry, encode_entry
from sharefs.records.ids import (
    ROOT,
    ContentId,
    Coordinate,
    DeviceId,
    Incarnation,
    ItemId,
    creator_of,
    item_id,
)
from sharefs.records.record import ContextEntry, Record, context_of
from sharefs.records.shown import Shown
from sharefs.tree import operations
from sharefs.tree.dead import is_dead
from sharefs.tree.operations import Bytes, Change
from sharefs.tree.tree import heads_behind
from tests.tree.histories import DEVICES, Replica
from tests.tree.rows import row

ANNA, BOB, _ = DEVICES
FIRST = Incarnation(bytes(8))
FOLDER = item_id(ANNA, b"a folder")
_sequences = count(1)


def held(number: int) -> Bytes:
    return Bytes(number, ContentId(bytes([number] * 32)), number * 1000, False)


def record_of(change: Change, device: DeviceId, now: int) -> Record:
    stamp = max(now, change.after + 1)
    return Record(
        1,
        change.item,
        KIND_ENTRY,
        device,
        FIRST,
        next(_sequences),
        change.context,
        stamp,
        change.body,
    )


class Member:
    """A replica that writes as a node does."""

    def __init__(self, device: DeviceId) -> None:
        self.device = device
        self.replica = Replica(device)
        self.written: list[Record] = []

    def author(self, change: Change, now: int) -> Record:
        shelf = self.replica.memory
        chained = operations.chain(change, shelf.heads(change.item), self.device, FIRST)
        for loser in operations.unseen_losers(change, shelf.losers(change.item), chained):
            self._keep(operations.keep_apart(new_item(self.device), loser, now), now)
        return self._keep(chained, now)

    def _keep(self, change: Change, now: int) -> Record:
        record = record_of(change, self.device, now)
        self.written.append(record)
        self.replica.receive(record)
        self.replica.check()
        return record

    def winner(self, item: ItemId) -> tuple[Shown, list[Record]]:
        shelf = self.replica.memory
        found = shelf.winner(item)
        assert found is not None
        return found, [head for head in shelf.heads(item) if head.coordinate == found.version]

    def hear(self, other: "Member") -> None:
        self.replica.receive(*other.written)
        self.replica.check()

    def contents(self) -> dict[str, ContentId | None]:
        return {row.shown: row.content for row in self.replica.rows() if row.live}


def new_item(device: DeviceId) -> ItemId:
    return item_id(device, next(_sequences).to_bytes(8))


def body_of(change: Change) -> Entry:
    return decode_entry(change.body)


def entry(deleted: bool = False, type: EntryType = EntryType.FILE) -> bytes:
    target = "b" if type is EntryType.SYMLINK else ""
    return encode_entry(Entry(1, type, deleted, ROOT, "a", 0, 0, False, 0, None, target))


def seen_by(*heads: Record) -> tuple[ContextEntry, ...]:
    return context_of(heads)


def test_new_entries_supersede_nothing() -> None:
    item = new_item(ANNA)
    for change, type in (
        (operations.make_folder(item, ROOT, "docs", 7), EntryType.FOLDER),
        (operations.make_symlink(item, ROOT, "docs", "../x", 7), EntryType.SYMLINK),
        (operations.make_file(item, ROOT, "docs", held(3), 7), EntryType.FILE),
    ):
        assert (change.item, change.context, change.after) == (item, (), -1)
        entry = body_of(change)
        assert (entry.type, entry.parent, entry.name, entry.created) == (type, ROOT, "docs", 7)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", NameNotPossible),
        ("..", NameNotPossible),
        ("a/b", NameNotPossible),
        ("n" * 256, NameTooLong),
        ("\udc80", NameNotText),
    ],
)
def test_no_operation_gives_an_impossible_name(name: str, error: type[Exception]) -> None:
    item = new_item(ANNA)
    head = record_of(operations.make_folder(item, ROOT, "docs", 7), ANNA, 7)
    attempts: list[Callable[[], Change]] = [
        lambda: operations.make_folder(item, ROOT, name, 7),
        lambda: operations.make_symlink(item, ROOT, name, "x", 7),
        lambda: operations.make_file(item, ROOT, name, held(1), 7),
        lambda: operations.move(row("docs"), [head], ROOT, name),
    ]
    for attempt in attempts:
        with pytest.raises(error):
            attempt()


def test_each_edit_changes_what_it_says_and_nothing_else() -> None:
    anna = Member(ANNA)
    made = anna.author(operations.make_file(new_item(ANNA), ROOT, "a", held(1), 5), 5)
    shown, seen = anna.winner(made.item)
    before = body_of(Change(made.item, (), 0, made.body))
    expected: list[tuple[Change, dict[str, object]]] = [
        (operations.move(shown, seen, FOLDER, "b"), {"parent": FOLDER, "name": "b"}),
        (operations.remove(shown, seen), {"deleted": True, "size": 0, "content": None}),
        (operations.touch(shown, seen, 9, None), {"mtime_ns": 9}),
        (operations.touch(shown, seen, None, True), {"executable": True}),
        (
            operations.replace_bytes(shown, seen, held(2)),
            {"size": 2, "content": held(2).content, "mtime_ns": 2000},
        ),
        (operations.keep(shown, seen), {}),
    ]
    for change, fields in expected:
        assert body_of(change) == msgspec.structs.replace(before, **fields)
        assert (change.context, change.after) == (seen_by(made), made.stamp)


def test_a_removed_link_is_still_well_formed() -> None:
    anna = Member(ANNA)
    made = anna.author(operations.make_symlink(new_item(ANNA), ROOT, "a", "x", 5), 5)
    anna.author(operations.remove(*anna.winner(made.item)), 6)
    assert anna.contents() == {}


def test_a_moved_folder_that_lived_on_is_deleted_no_more() -> None:
    anna, bob = Member(ANNA), Member(BOB)
    folder = anna.author(operations.make_folder(new_item(ANNA), ROOT, "docs", 1), 1).item
    bob.hear(anna)
    anna.author(operations.remove(*anna.winner(folder)), 2)
    bob.author(operations.make_file(new_item(BOB), folder, "a", held(1), 2), 2)
    anna.hear(bob)
    anna.author(operations.move(*anna.winner(folder), ROOT, "papers"), 3)
    shown, _ = anna.winner(folder)
    assert (shown.live, shown.deleted, shown.shown) == (True, False, "papers")


def test_letting_a_loser_go_leaves_the_winner() -> None:
    anna, bob, item = _conflict()
    shown, _ = anna.winner(item)
    anna.author(operations.keep(shown, anna.replica.memory.heads(item)), 9)
    bob.hear(anna)
    assert anna.contents() == bob.contents() == {"a": held(2).content}


def test_a_loser_outlives_its_own_writers_next_edit_and_everybody_elses() -> None:
    anna, bob, item = _conflict()
    bob.hear(anna)
    bob.author(operations.replace_bytes(*bob.winner(item), held(4)), 20)
    anna.hear(bob)
    anna.author(operations.replace_bytes(*anna.winner(item), held(5)), 30)
    bob.hear(anna)
    assert anna.contents() == bob.contents()
    assert sorted(bob.contents().values(), key=str) == [held(3).content, held(5).content]


def test_a_kept_loser_has_the_name_and_the_place_it_had() -> None:
    _, bob, item = _conflict()
    before = bob.contents()
    assert len(before) == 2
    bob.author(operations.replace_bytes(*bob.winner(item), held(4)), 20)
    assert bob.contents() == {**before, "a": held(4).content}


def test_the_last_of_two_writers_on_one_device_wins_as_on_a_disk() -> None:
    anna = Member(ANNA)
    made = anna.author(operations.make_file(new_item(ANNA), ROOT, "a", held(1), 1), 1)
    _, opened = anna.winner(made.item)
    for number in (2, 3):
        anna.author(
            operations.write_file(
                made.item, seen_by(*opened), made.stamp, 1, ROOT, "a", held(number)
            ),
            number,
        )
    assert anna.contents() == {"a": held(3).content}
    assert len(anna.replica.memory.heads(made.item)) == 1


def test_what_makes_an_item_is_told_from_what_goes_on_with_one() -> None:
    anna, _, item = _conflict()
    loser = anna.replica.memory.losers(item)[0]
    assert operations.make_folder(new_item(ANNA), ROOT, "docs", 1).is_drawn
    assert not operations.keep(*anna.winner(item)).is_drawn
    apart = operations.keep_apart(operations.item_apart(loser), loser, 9)
    assert not apart.is_drawn, "others may make the same item"


def test_what_nobody_was_told_of_is_written_again_and_claims_no_more_than_others_know() -> None:
    anna, bob, item = _conflict()
    (head,) = (h for h in anna.replica.memory.heads(item) if h.device == ANNA)
    own = [sequence for device, _, sequence in head.context if device == ANNA]
    assert own
    written = operations.again(head, own[0] - 1)
    assert (written.item, written.body, written.after) == (head.item, head.body, head.stamp)
    assert [s for device, _, s in written.context if device == ANNA] == [own[0] - 1]
    assert not any(device == ANNA for device, _, _ in operations.again(head, 0).context)
    assert operations.again(head, own[0]).context == head.context
    others = anna.author(operations.replace_bytes(*anna.winner(item), held(9)), 40)
    bob.hear(anna)
    theirs = bob.author(operations.replace_bytes(*bob.winner(item), held(8)), 50)
    assert (others.device, others.incarnation, others.sequence) in theirs.context
    assert (ANNA, FIRST, others.sequence) in operations.again(theirs, 0).context


def test_a_kept_loser_has_one_id_whoever_keeps_it_and_another_for_each_loser() -> None:
    anna, bob, item = _conflict()
    (here,), (there,) = (member.replica.memory.losers(item) for member in (anna, bob))
    assert operations.item_apart(here) == operations.item_apart(there)
    assert creator_of(operations.item_apart(here)) == BOB, "whose version it is"
    device, incarnation, sequence = here.version
    versions = [
        Coordinate(device, incarnation, sequence + 1),
        Coordinate(device, Incarnation(b"x" * 8), sequence),
        Coordinate(ANNA, incarnation, sequence),
    ]
    others = [
        msgspec.structs.replace(here, item=new_item(BOB)),
        *(msgspec.structs.replace(here, version=version) for version in versions),
    ]
    assert len({operations.item_apart(row) for row in (here, *others)}) == 5


def test_who_sees_the_winner_has_seen_no_loser_and_the_other_way_round() -> None:
    anna, _, item = _conflict()
    heads = anna.replica.memory.heads(item)
    winner, _ = anna.winner(item)
    (loser,) = anna.replica.memory.losers(item)
    assert [head.coordinate for head in heads_behind(winner, heads)] == [winner.version]
    assert [head.coordinate for head in heads_behind(loser, heads)] == [loser.version]
    gone = msgspec.structs.replace(winner, version=winner.version._replace(sequence=10**6))
    assert heads_behind(gone, heads) == []


def test_keeping_the_loser_leaves_name_place_and_identity() -> None:
    anna, bob, item = _conflict()
    winner, _ = anna.winner(item)
    (loser,) = anna.replica.memory.losers(item)
    heads = anna.replica.memory.heads(item)
    anna.author(operations.keep_loser(winner, loser, heads), 9)
    bob.hear(anna)
    assert anna.contents() == bob.contents() == {"a": held(3).content}
    assert anna.winner(item)[0].mtime_ns == held(3).mtime_ns


def test_keeping_the_loser_undoes_a_delete() -> None:
    anna, bob, item = _conflict()
    anna.author(operations.remove(*anna.winner(item)), 20)
    bob.hear(anna)
    (loser,) = bob.replica.memory.losers(item)
    bob.author(operations.keep_loser(*_whole(bob, item, loser)), 30)
    anna.hear(bob)
    assert anna.contents() == bob.contents() == {"a": held(3).content}


def _whole(member: Member, item: ItemId, loser: Shown) -> tuple[Shown, Shown, list[Record]]:
    return member.winner(item)[0], loser, member.replica.memory.heads(item)


def _conflict() -> tuple[Member, Member, ItemId]:
    """Anna wrote 2 and Bob wrote 3 over one version; Anna's wins, and both know all."""
    anna, bob = Member(ANNA), Member(BOB)
    item = anna.author(operations.make_file(new_item(ANNA), ROOT, "a", held(1), 1), 1).item
    bob.hear(anna)
    anna.author(operations.replace_bytes(*anna.winner(item), held(2)), 8)
    bob.author(operations.replace_bytes(*bob.winner(item), held(3)), 7)
    anna.hear(bob)
    bob.hear(anna)
    return anna, bob, item


def test_who_removes_what_they_had_opened_removes_nothing_that_came_meanwhile() -> None:
    anna, bob = Member(ANNA), Member(BOB)
    opened = anna.author(operations.make_file(new_item(ANNA), ROOT, "a", held(1), 5), 5)
    bob.hear(anna)
    saved = bob.author(operations.replace_bytes(*bob.winner(opened.item), held(2)), 9)
    anna.hear(bob)
    shown, _ = anna.winner(opened.item)
    tombstone = anna.author(operations.remove_base(shown, seen_by(opened), opened.stamp), 6)
    assert decode_entry(tombstone.body).deleted
    assert tombstone.dominates(opened)
    assert not tombstone.dominates(saved)
    assert anna.contents() == {"a": held(2).content}


@pytest.mark.parametrize(
    ("bodies", "dead"),
    [
        ([], False),
        ([entry(deleted=True)], True),
        ([entry(deleted=True, type=EntryType.SYMLINK)], True),
        ([entry(deleted=True), entry(deleted=True)], True),
        ([entry()], False),
        ([entry(deleted=True), entry()], False),
        ([entry(deleted=True, type=EntryType.FOLDER)], True),
        ([b"of a later version"], False),
    ],
)
def test_an_item_is_dead_if_nothing_is_left_but_that_it_was_deleted(
    bodies: list[bytes], dead: bool
) -> None:
    changes = [Change(new_item(ANNA), (), 0, body) for body in bodies]
    assert is_dead([record_of(change, ANNA, 1) for change in changes]) == dead


def test_what_is_no_entry_is_not_dead() -> None:
    message = Record(1, new_item(ANNA), "message", ANNA, FIRST, 1, (), 1, entry(deleted=True))
    assert not is_dead([message])
