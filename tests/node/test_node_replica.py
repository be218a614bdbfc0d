from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sharefs.errors import NotAllowed, RemoteProtocolError
from sharefs.node.replica import AuthorUnknown, Replica
from sharefs.records.commit import decode_commit, encode_commit, sign_commit
from sharefs.records.entry import KIND_ENTRY
from sharefs.records.ids import (
    ROOT,
    ContentId,
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    RecordHash,
    item_id,
)
from sharefs.records.record import CONTEXT_ENTRIES_MAX, Record, encode_record, hash_record
from sharefs.records.shown import Shown
from sharefs.spaces.identity import Identity
from sharefs.spaces.rights import Role
from sharefs.spaces.roster import hash_operation
from sharefs.store.database import open_database
from sharefs.store.shelf import Shelf
from sharefs.sync.shipment import advanced_by, entries_of, frontier_of, open_shipment, ship
from sharefs.tree import operations
from sharefs.tree.operations import Bytes
from sharefs.wire.sync import Page, Pull, Shipment
from tests.spaces.space_people import ANNA, BOB, CAROL, DAVE, Past, family, person, usurpation

ERIN = person("Erin")
NOW = 1_000_000


class Side:
    """A replica of the family's space on a disk of its own."""

    def __init__(self, folder: Path, identity: Identity, past: Past, space: str = "Family") -> None:
        folder.mkdir()
        self.identity = identity
        self.store = open_database(folder / "sharefs.db", folder / "token")
        self.ledger = self.store.ledger
        with self.store.transaction():
            number = self.ledger.add_space(past.space, space)
            for operation in past.operations:
                self.ledger.add_operation(number, hash_operation(operation), operation)
        self.replica = self.open()

    def open(self) -> Replica:
        (row,) = self.ledger.spaces()
        shelf = Shelf(self.store, row.number)
        return Replica(row, self.ledger, shelf, self.identity, self.store.new_ino)

    def author(self, *changes: operations.Change) -> list[Shipment]:
        with self.store.transaction():
            self.replica.author(changes, NOW)
            shipments = self.replica.seal()
            self.replica.tell()
            return shipments

    def file(self, number: int, name: str, content: bytes = b"") -> list[Shipment]:
        held = Bytes(len(content), ContentId(content.ljust(32)) if content else None, 0, False)
        return self.author(operations.make_file(self.item(number), ROOT, name, held, NOW))

    def item(self, number: int) -> ItemId:
        return item_id(self.identity.device, number.to_bytes(8, "big"))

    def apply(self, shipments: list[Shipment], merged: Frontier | None = None) -> None:
        reached = advanced_by(shipments, self.replica.frontier) if merged is None else merged
        with self.store.transaction():
            self.replica.apply(shipments, reached)

    def page(self, frontier: Frontier, cursor: int = 0) -> Page:
        self.store.make_durable()
        self.replica.made_durable(self.replica.mark)
        return self.replica.page(Pull(self.replica.id, entries_of(frontier), cursor, 1))

    def pull_from(self, other: "Side") -> None:
        """A whole pass."""
        frontier, cursor, complete = dict(self.replica.frontier), 0, False
        while not complete:
            page = other.page(frontier, cursor)
            cursor, complete = page.cursor, page.complete
            self.apply(list(page.shipments), frontier_of(page.frontier) if complete else None)

    def names(self) -> list[str]:
        return sorted(row.shown for row in self.replica.shelf.listed(ROOT))

    def row(self, item: ItemId) -> Shown:
        row = self.replica.shelf.winner(item)
        assert row is not None
        return row

    def head(self, row: Shown) -> Record:
        heads = self.replica.shelf.heads(row.item)
        return next(head for head in heads if head.coordinate == row.version)

    def rename(self, item: ItemId, name: str) -> list[Shipment]:
        row = self.row(item)
        return self.author(operations.move(row, [self.head(row)], ROOT, name))

    def remove(self, item: ItemId) -> list[Shipment]:
        row = self.row(item)
        return self.author(operations.remove(row, [self.head(row)]))


Make = Callable[[Identity], Side]


@pytest.fixture
def past() -> Past:
    past = family()
    past.invite(ANNA, 7, Role.READER)
    past.admit(ANNA, CAROL, 7)
    return past


@pytest.fixture
def make(tmp_path: Path, past: Past) -> Iterator[Make]:
    made: list[Side] = []

    def make(identity: Identity) -> Side:
        made.append(Side(tmp_path / f"side {len(made)}", identity, past))
        return made[-1]

    yield make
    for side in made:
        side.store.close()


@pytest.fixture
def anna(make: Make) -> Side:
    return make(ANNA)


@pytest.fixture
def bob(make: Make) -> Side:
    return make(BOB)


def test_a_push_brings_the_record_and_its_author_forward(anna: Side, bob: Side) -> None:
    bob.apply(anna.file(1, "a.txt"))
    assert bob.names() == ["a.txt"]
    assert bob.replica.frontier == anna.replica.frontier
    assert bob.row(anna.item(1)).version == anna.row(anna.item(1)).version


def test_many_changes_of_one_batch_are_several_commits(anna: Side, bob: Side) -> None:
    held = Bytes(0, None, 0, False)
    changes = [
        operations.make_file(anna.item(n), ROOT, f"{n:03}", held, NOW) for n in range(1, 300)
    ]
    shipments = anna.author(*changes)
    assert [(s.commit.first, s.commit.last) for s in shipments] == [(1, 256), (257, 299)]
    bob.apply(shipments)
    assert len(bob.names()) == 299


def test_a_pass_makes_replicas_equal(anna: Side, bob: Side, make: Make) -> None:
    carol = make(CAROL)
    for number in range(1, 5):
        anna.file(number, f"from anna {number}")
        bob.file(number, f"from bob {number}")
    bob.pull_from(anna)
    anna.rename(anna.item(1), "renamed by anna")
    bob.rename(anna.item(2), "renamed by bob")
    anna.pull_from(bob)
    bob.pull_from(anna)
    carol.pull_from(bob)
    assert anna.names() == bob.names() == carol.names()
    assert "renamed by anna" in carol.names()
    assert "renamed by bob" in carol.names()
    assert anna.replica.frontier == bob.replica.frontier == carol.replica.frontier


def test_a_dominated_record_travels_as_its_hash(anna: Side, bob: Side) -> None:
    anna.file(1, "a.txt")
    anna.rename(anna.item(1), "b.txt")
    page = anna.page({})
    assert [len(shipment.records) for shipment in page.shipments] == [0, 1]
    bob.pull_from(anna)
    assert bob.names() == ["b.txt"]


def test_a_page_has_a_limit_and_the_next_goes_on(
    anna: Side, bob: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharefs.node.replica.PAGE_COMMITS_MAX", 3)
    for number in range(1, 9):
        anna.file(number, f"{number}.txt")
    page = anna.page({})
    assert len(page.shipments) == 3
    assert not page.complete
    assert page.frontier == (), "what is claimed, is claimed at the end"
    bob.pull_from(anna)
    assert len(bob.names()) == 8


def test_a_page_of_what_may_be_lost_is_never_made(anna: Side) -> None:
    anna.file(1, "a.txt")
    with pytest.raises(AssertionError):
        anna.replica.page(Pull(anna.replica.id, (), 0, 1))
    assert anna.replica.shown_frontier() == {(ANNA.device, anna.replica.incarnation): 0}


def test_a_commit_by_a_stranger_waits_for_the_roster(anna: Side, past: Past, make: Make) -> None:
    stranger = make(DAVE)
    shipments = stranger.file(1, "a.txt")
    with pytest.raises(AuthorUnknown):
        anna.apply(shipments)
    assert anna.names() == []
    with anna.store.transaction():
        anna.replica.add_operations([past.invite(ANNA, 9), past.admit(ANNA, DAVE, 9)])
    anna.apply(shipments)
    assert anna.names() == ["a.txt"]


def test_a_commit_upon_a_roster_that_is_not_here_waits_for_it(
    anna: Side, bob: Side, past: Past
) -> None:
    with bob.store.transaction():
        bob.replica.add_operations([past.invite(ANNA, 9)])
    with pytest.raises(AuthorUnknown):
        anna.apply(bob.file(1, "a.txt"))


def test_a_readers_commit_is_refused(anna: Side, make: Make) -> None:
    carol = make(CAROL)
    with pytest.raises(RemoteProtocolError, match="may not contribute"):
        anna.apply(carol.file(1, "a.txt"))
    assert anna.names() == []


def test_a_commit_of_another_space_is_refused(anna: Side, bob: Side) -> None:
    (shipment,) = bob.file(1, "a.txt")
    commit = shipment.commit
    foreign = sign_commit(
        BOB.device_key,
        type(commit.space)(bytes(32)),
        commit.device,
        commit.incarnation,
        commit.first,
        commit.roster,
        commit.hashes,
    )
    with pytest.raises(RemoteProtocolError, match="another space"):
        anna.apply([Shipment(foreign, shipment.records)])


def test_of_several_shipments_a_false_one_keeps_all_out(anna: Side, bob: Side) -> None:
    (good,), (other,) = bob.file(1, "a.txt"), bob.file(2, "b.txt")
    false = Shipment(other.commit, good.records)
    with pytest.raises(RemoteProtocolError):
        anna.apply([good, false])
    assert anna.names() == []
    assert anna.replica.frontier == {}


def test_a_frontier_of_strangers_is_not_merged(anna: Side, bob: Side) -> None:
    shipments = bob.file(1, "a.txt")
    claimed = {**bob.replica.frontier, (DAVE.device, Incarnation(bytes(8))): 9}
    with pytest.raises(AuthorUnknown):
        anna.apply(shipments, claimed)
    assert anna.replica.frontier == {}


def test_who_was_admitted_by_a_ticket_used_twice_blocks_nobody(
    anna: Side, bob: Side, make: Make, past: Past
) -> None:
    """Anna and Bob let two bearers of one ticket in while apart: one of these is none in the end,
    and what it wrote must not keep others from all that came by the same way."""
    then = Past(past.space, [*past.operations])
    invite = then.invite(ANNA, 9)
    before = then.roster
    dave, erin = make(DAVE), make(ERIN)
    once = then.admit(ANNA, DAVE, 9, upon=before)
    again = then.admit(BOB, ERIN, 9, upon=before)
    for side, bearer, operation in ((anna, dave, once), (bob, erin, again)):
        for each in (side, bearer):
            with each.store.transaction():
                each.replica.add_operations([invite, operation])
        side.apply(bearer.file(1, f"by {bearer.identity.certificate.person_name}"))
    for side in (anna, bob):
        with side.store.transaction():
            side.replica.add_operations([invite, once, again])
    anna.file(1, "by Anna")
    bob.file(1, "by Bob")
    anna.pull_from(bob)
    bob.pull_from(anna)
    assert {"by Anna", "by Bob"} <= set(anna.names()) & set(bob.names())
    carol = make(CAROL)
    with carol.store.transaction():
        carol.replica.add_operations([invite, once, again])
    carol.pull_from(anna)
    assert {"by Anna", "by Bob"} <= set(carol.names())


def test_a_commit_with_a_record_that_was_missing_goes_to_the_end(anna: Side, bob: Side) -> None:
    """As a pass that has gone by it must come by it again."""
    (shipment,) = anna.author(
        *[
            operations.make_file(anna.item(n), ROOT, f"{n}.txt", Bytes(0, None, 0, False), NOW)
            for n in (1, 2)
        ]
    )
    bob.apply([Shipment(shipment.commit, shipment.records[:1])], {})
    bob.file(1, "between")
    cursor, _ = bob.ledger.commits_beyond(bob.replica.number, {}, 0, 2)[-1]
    bob.apply([shipment])
    page = bob.page({(BOB.device, bob.replica.incarnation): 1}, cursor)
    assert [s.commit for s in page.shipments] == [shipment.commit]
    numbers = bob.ledger.commits_beyond(bob.replica.number, {}, 0, 10)
    bob.apply([shipment])
    assert bob.ledger.commits_beyond(bob.replica.number, {}, 0, 10) == numbers, "none was missing"


def test_what_a_sender_gets_during_a_pass_is_not_passed_by(
    anna: Side, bob: Side, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dora pulls from Carol, who has a commit but not its record; then Carol gets the record."""
    monkeypatch.setattr("sharefs.node.replica.PAGE_COMMITS_MAX", 2)
    carol, dora = make(CAROL), make(DAVE)
    for number in range(1, 5):
        anna.file(number, f"{number}.txt")
    bob.pull_from(anna)
    bob.rename(anna.item(1), "renamed.txt")
    half = bob.page({})
    carol.apply(list(half.shipments))
    first = carol.page({})
    dora.apply(list(first.shipments), {})
    carol.pull_from(anna)
    assert "1.txt" in carol.names()
    page = carol.page({}, first.cursor)
    dora.apply(list(page.shipments))
    while not page.complete:
        page = carol.page({}, page.cursor)
        dora.apply(list(page.shipments), frontier_of(page.frontier) if page.complete else None)
    assert dora.names() == carol.names()


def test_of_two_commits_at_one_number_each_travels_with_its_own_records(
    anna: Side, bob: Side, make: Make
) -> None:
    twin = make(BOB)
    with twin.store.transaction():
        twin.ledger.set_incarnation(twin.replica.number, bob.replica.incarnation)
    twin.replica.reload()
    anna.apply(bob.file(1, "a.txt"))
    anna.apply(twin.file(2, "b.txt"))
    shipments = anna.page({}).shipments
    opened = [open_shipment(each, BOB.certificate.device_key) for each in shipments]
    assert [len(records) for records in opened] == [1, 1]


def test_own_unseen_versions_are_kept_apart(anna: Side, bob: Side) -> None:
    """Two programs of Anna's saved what both had opened: neither save is lost, here or there."""
    bob.apply(anna.file(1, "a.txt", b"first"))
    item = anna.item(1)
    opened = anna.row(item)
    seen = [anna.head(opened)]
    for content in (b"one", b"two"):
        held = Bytes(3, ContentId(content.ljust(32)), 0, False)
        bob.apply(anna.author(operations.replace_bytes(opened, seen, held)))
    for side in (anna, bob):
        held_contents = {row.content for row in side.replica.shelf.listed(ROOT)}
        assert held_contents == {ContentId(c.ljust(32)) for c in (b"one", b"two")}
    assert anna.names() == bob.names()


def test_a_conflict_of_two_people_keeps_both(anna: Side, bob: Side) -> None:
    bob.apply(anna.file(1, "a.txt", b"first"))
    item = anna.item(1)
    for side, content in ((anna, b"anna's"), (bob, b"bob's")):
        row = side.row(item)
        held = Bytes(5, ContentId(content.ljust(32)), 0, False)
        side.author(operations.replace_bytes(row, [side.head(row)], held))
    anna.pull_from(bob)
    bob.pull_from(anna)
    assert anna.names() == bob.names()
    assert len(anna.names()) == 2
    assert len(anna.replica.shelf.losers(item)) == 1


def test_a_rollback_takes_everything_back(anna: Side, bob: Side) -> None:
    anna.file(1, "a.txt")
    before = anna.replica.frontier.copy()
    change = operations.make_file(anna.item(2), ROOT, "b.txt", Bytes(0, None, 0, False), NOW)
    with suppress(NotImplementedError), anna.store.transaction():
        anna.replica.author([change], NOW)
        anna.replica.seal()
        anna.replica.renew_incarnation(Incarnation(b"another!"))
        raise NotImplementedError
    anna.replica.reload()
    assert anna.replica.frontier == before
    assert anna.replica.incarnation == anna.ledger.spaces()[0].incarnation
    (shipment,) = anna.file(3, "c.txt")
    assert (shipment.commit.first, shipment.commit.last) == (2, 2)
    bob.pull_from(anna)
    assert bob.names() == ["a.txt", "c.txt"]


def test_what_a_disk_has_of_an_old_incarnation_says_nothing_of_the_new(anna: Side) -> None:
    anna.file(1, "a.txt")
    synced, (author,) = anna.replica.mark, anna.replica.frontier
    new = Incarnation(b"another!")
    with anna.store.transaction():
        anna.replica.renew_incarnation(new)
    anna.file(2, "b.txt")
    assert anna.replica.shown_frontier()[author] == 0, "it waits for the disk as before"
    assert anna.replica.made_durable(synced), "and is told when the disk has it"
    assert anna.replica.shown_frontier()[author] == 1
    assert anna.replica.shown_frontier()[author[0], new] == 0
    assert not anna.replica.made_durable(synced)
    anna.page({})


def test_what_a_power_cut_took_of_our_sequence_was_not_seen(anna: Side, make: Make) -> None:
    """The same numbers are given out again, to versions that a writer of before had not seen."""
    anna.file(1, "a.txt")
    mine = (ANNA.device, anna.replica.incarnation)
    others = ((ANNA.device, Incarnation(bytes(8)), 9), (BOB.device, anna.replica.incarnation, 9))
    assert anna.replica.still_counted([(*mine, 5), *others]) == ((*mine, 1), *others)
    fresh = make(DAVE).replica
    assert fresh.still_counted([(DAVE.device, fresh.incarnation, 5), *others]) == others


def test_a_new_incarnation_hides_nothing_of_the_old(anna: Side, bob: Side) -> None:
    anna.file(1, "a.txt")
    with anna.store.transaction():
        anna.replica.renew_incarnation(Incarnation(b"another!"))
    anna.file(2, "b.txt")
    anna.rename(anna.item(1), "c.txt")
    bob.pull_from(anna)
    assert bob.names() == anna.names() == ["b.txt", "c.txt"]
    assert len(bob.replica.frontier) == 2


def test_a_version_that_others_could_not_accept_is_not_written(anna: Side, bob: Side) -> None:
    """Somebody made a history so long that one more device does not fit: our own commits, and all
    that come after, must not be spoilt by it."""
    anna.apply(bob.file(1, "a.txt"))
    item = bob.item(1)
    context = tuple(
        (DeviceId(BOB.device), Incarnation(number.to_bytes(8, "big")), 1)
        for number in range(CONTEXT_ENTRIES_MAX)
    )
    body = bob.head(bob.row(item)).body
    record = Record(
        1, item, KIND_ENTRY, BOB.device, bob.replica.incarnation, 2, context, NOW + 9, body
    )
    data = encode_record(record)
    commit = sign_commit(
        BOB.device_key,
        bob.replica.id,
        BOB.device,
        bob.replica.incarnation,
        2,
        bob.replica.roster.heads[0],
        (RecordHash(hash_record(data)),),
    )
    anna.apply([ship(commit, [(2, data)])])
    with pytest.raises(NotAllowed):
        anna.rename(item, "b.txt")
    (shipment,) = anna.file(2, "c.txt")
    bob.apply([shipment])
    assert "c.txt" in bob.names()


def test_operations_of_another_space_are_refused_whole(anna: Side, past: Past) -> None:
    known = anna.replica.roster.known
    with pytest.raises(RemoteProtocolError), anna.store.transaction():
        anna.replica.add_operations([past.invite(ANNA, 9), usurpation(past.space, DAVE)])
    assert anna.replica.roster.known == known


def test_what_is_stored_can_be_read_again(anna: Side, bob: Side) -> None:
    anna.apply(bob.file(1, "a.txt"))
    again = anna.open()
    assert again.frontier == anna.replica.frontier
    assert again.roster.digest == anna.replica.roster.digest
    assert again.durable == again.mark == {again.incarnation: 0}
    rows = anna.ledger.commits_beyond(again.number, {}, 0, 9)
    assert [encode_commit(decode_commit(data)) for _, data in rows] == [data for _, data in rows]
