"""Two records at one coordinate: each is its own, and every replica shows the same (I8)."""

import itertools
from collections.abc import Iterator, Sequence

import pytest

from sharefs.records.entry import Entry, EntryType, encode_entry
from sharefs.records.ids import ROOT, ContentId, DeviceId, Incarnation, ItemId, item_id
from sharefs.records.record import ContextEntry, Record, encode_record
from sharefs.records.shown import Shown
from sharefs.tree import operations
from sharefs.tree.operations import Bytes
from sharefs.tree.tree import Tree, heads_behind
from tests.tree.memory_shelf import MemoryShelf

BOB, CAROL = (DeviceId(bytes([number] * 16)) for number in (1, 2))
LIFE = Incarnation(bytes(8))
FILE, OTHER = (item_id(BOB, bytes([number] * 8)) for number in (1, 2))


def version(
    content: bytes,
    sequence: int = 1,
    item: ItemId = FILE,
    context: Sequence[ContextEntry] = (),
    device: DeviceId = BOB,
    name: str = "a.txt",
    stamp: int = 10,
) -> Record:
    held = ContentId(content.ljust(32))
    body = Entry(1, EntryType.FILE, False, ROOT, name, 1, 1, False, 5, held, "")
    return Record(
        1, item, "entry", device, LIFE, sequence, tuple(context), stamp, encode_entry(body)
    )


class Replica:
    """A tree in memory."""

    def __init__(self) -> None:
        self.shelf = MemoryShelf()
        inos: Iterator[int] = itertools.count(100)
        self.tree = Tree(self.shelf, 1, lambda: next(inos), lambda device: f"Person {device[0]}")

    def receive(self, *records: Record) -> None:
        for record in records:
            self.tree.receive([(record, encode_record(record))])

    def view(self) -> list[tuple[str, bool, ContentId | None]]:
        rows = self.shelf.listed(ROOT)
        return sorted((row.shown, row.loser, row.content) for row in rows)

    def heads(self) -> set[Record]:
        return {head for item in (FILE, OTHER) for head in self.shelf.heads(item)}

    def winner(self) -> Shown:
        row = self.shelf.winner(FILE)
        assert row is not None
        return row


def shown_by_all(*records: Record) -> Replica:
    """What every order of arrival leads to."""
    replicas = []
    for order in itertools.permutations(records):
        replica = Replica()
        replica.receive(*order, *order)
        replicas.append(replica)
    for replica in replicas:
        assert replica.heads() == replicas[0].heads()
        assert replica.view() == replicas[0].view()
    return replicas[0]


def test_both_versions_of_a_file_are_shown() -> None:
    replica = shown_by_all(version(b"one"), version(b"two"), version(b"three"))
    assert [loser for _, loser, _ in replica.view()] == [True, True, False]
    assert len({content for _, _, content in replica.view()}) == 3


def test_both_records_of_two_items_are_shown() -> None:
    replica = shown_by_all(version(b"one"), version(b"two", item=OTHER, name="b.txt"))
    assert [name for name, _, _ in replica.view()] == ["a.txt", "b.txt"]


def test_who_has_seen_the_coordinate_supersedes_what_is_there() -> None:
    after = version(b"later", 1, context=[(BOB, LIFE, 1)], device=CAROL)
    replica = shown_by_all(version(b"one"), version(b"two"), after)
    assert replica.view() == [("a.txt", False, ContentId(b"later".ljust(32)))]


def test_two_that_claim_to_have_seen_each_other_are_in_conflict() -> None:
    one = version(b"one", 5, context=[(CAROL, LIFE, 7)])
    other = version(b"two", 7, context=[(BOB, LIFE, 5)], device=CAROL)
    assert len(shown_by_all(one, other).view()) == 2


def test_a_row_has_the_heads_of_its_own_bytes_behind_it() -> None:
    replica = shown_by_all(version(b"one"), version(b"two"))
    for row in (replica.winner(), *replica.shelf.losers(FILE)):
        (head,) = heads_behind(row, replica.shelf.heads(FILE))
        assert bytes(row.content or b"") in head.body


def test_an_edit_of_the_one_keeps_the_other_apart() -> None:
    """Whoever goes on from a coordinate supersedes both records there, and may have seen one."""
    replica = shown_by_all(
        version(b"one"), version(b"two"), version(b"old", 2, device=CAROL, stamp=1)
    )
    row = replica.winner()
    seen = heads_behind(row, replica.shelf.heads(FILE))
    change = operations.replace_bytes(row, seen, Bytes(3, ContentId(bytes(32)), 0, False))
    rows = [row, *replica.shelf.losers(FILE)]
    (apart,) = operations.unseen_losers(change, rows, change)
    assert apart.loser
    assert apart.version == row.version


@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("b.txt", "a.txt")])
def test_names_do_not_depend_on_who_came_first(names: tuple[str, str]) -> None:
    records = [
        version(b"one", name=names[0]),
        version(b"two", name=names[1]),
        version(b"one", item=OTHER),
        version(b"two", item=OTHER),
    ]
    assert len(shown_by_all(*records).view()) == 4
