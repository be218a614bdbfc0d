"""Replicas whose heads differ although their frontiers do not are made equal, on real databases."""

import random
from pathlib import Path

import pytest

from sharefs.node import replica as replica_module
from sharefs.node.holdings import Holdings
from sharefs.records.ids import DeviceId, Incarnation, ItemId, RecordHash
from sharefs.records.record import Record, encode_record, hash_record
from sharefs.sync.audit import Auditing
from sharefs.sync.reconciliation import compare, tell
from sharefs.wire.audit import AskRecords, AskSums, Records, Span, Sums, Wanted
from tests.node.node_parties import Party, Raw, agree, until
from tests.node.test_node_replica import Make, Side, make, past  # noqa: F401
from tests.spaces.space_people import ANNA, BOB
from tests.store.store_parties import FAMILY, open_store
from tests.sync.sync_holdings import MemoryHoldings

DEVICES = tuple(DeviceId(bytes([number] * 16)) for number in range(1, 4))
LIVES = tuple(Incarnation(bytes([number] * 8)) for number in range(2))


def record(device: DeviceId, life: Incarnation, sequence: int, variant: int) -> Record:
    item = ItemId(device + sequence.to_bytes(8))
    return Record(1, item, "entry", device, life, sequence, (), 1, b"%d" % variant)


# --- the port, on SQLite ------------------------------------------------------------------------


def test_the_database_adds_up_to_the_same_as_memory(tmp_path: Path) -> None:
    """At every step of every descent; and of strangers it says nothing."""
    chance = random.Random(5)
    records = {
        record(
            chance.choice(DEVICES),
            chance.choice(LIVES),
            chance.choice((chance.randrange(1, 3000), chance.randrange(1, 2**62), 2**62)),
            chance.randrange(2),
        )
        for _ in range(3000)
    }
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        for each in sorted(records, key=encode_record):
            store.ledger.add_head(1, each, encode_record(each))
    members = DEVICES[:2]
    stored = Holdings(store.ledger, 1, members)
    kept = MemoryHoldings(
        (*each.coordinate, hash_record(encode_record(each)))
        for each in records
        if each.device in members
    )
    questions = [AskSums(FAMILY, 1, ())]
    for question in questions:
        told = tell(stored, question)
        assert told == tell(kept, question)
        spans = compare(MemoryHoldings(), question.spans, told).spans
        questions += [AskSums(FAMILY, 1, (span,)) for span in spans]
    assert len(questions) > 200
    store.close()


# --- replicas -----------------------------------------------------------------------------------


@pytest.fixture
def anna_side(make: Make) -> Side:  # noqa: F811
    return make(ANNA)


@pytest.fixture
def bob_side(make: Make) -> Side:  # noqa: F811
    return make(BOB)


def audit(asker: Side, teller: Side) -> list[AskSums | AskRecords]:
    """A whole audit; its questions."""
    auditing = Auditing()
    space, peer = asker.replica.id, teller.identity.device
    question: AskSums | AskRecords | None = auditing.begin(space, peer, (b"", b"-"), 1, 0.0)
    asked = []
    while question is not None:
        asked.append(question)
        if isinstance(question, AskSums):
            sums = tell(teller.replica.holdings, question)
            findings = compare(asker.replica.holdings, question.spans, sums)
            question = auditing.found(peer, sums.audit, findings)
        else:
            limit = replica_module.PAGE_SIZE_BYTES_MAX
            shipments = teller.replica.holdings.shipments(question.records, limit)
            asker.apply(list(shipments), {})
            question = auditing.fetched(Records(space, question.audit, shipments))
    return asked


def lose(side: Side, item: ItemId) -> None:
    """The database forgets a head, and what it shows."""
    row = side.row(item)
    with side.store.transaction():
        side.replica.shelf.drop_head(side.head(row))
        side.replica.shelf.erase(row.ino)


def fingerprints(*sides: Side) -> set[bytes]:
    return {side.replica.stands(None).fingerprint for side in sides}


def test_lost_records_come_back_on_both_sides(anna_side: Side, bob_side: Side) -> None:
    for number in range(1, 200):
        bob_side.apply(anna_side.file(number, f"{number:03}"))
    assert len(fingerprints(anna_side, bob_side)) == 1
    whole = anna_side.names()
    for number in (3, 77, 150):
        lose(bob_side, anna_side.item(number))
    lose(anna_side, anna_side.item(9))
    assert len(fingerprints(anna_side, bob_side)) == 2
    asked = audit(bob_side, anna_side)
    assert sum(len(q.records) for q in asked if isinstance(q, AskRecords)) == 3
    audit(anna_side, bob_side)
    assert len(fingerprints(anna_side, bob_side)) == 1
    assert anna_side.names() == bob_side.names() == whole


def test_what_was_dominated_meanwhile_does_not_come_back(anna_side: Side, bob_side: Side) -> None:
    item = anna_side.item(1)
    bob_side.apply(anna_side.file(1, "old name"))
    bob_side.apply(anna_side.file(2, "another"), {})
    bob_side.replica._advance(dict(anna_side.replica.frontier))
    anna_side.rename(item, "new name")
    audit(anna_side, bob_side)
    assert anna_side.names() == ["another", "new name"]
    audit(bob_side, anna_side)
    assert bob_side.names() == anna_side.names()
    assert len(fingerprints(anna_side, bob_side)) == 1


def forget_deletes(side: Side) -> int:
    """As after the grace; how many."""
    shelf = side.replica.shelf
    with side.store.transaction():
        due = shelf.dead.since((0.0, 0), 1.0, 1.0, 100)
        for *_, item in due:
            shelf.forget_dead(item)
    return len(due)


def test_nobody_misses_a_delete_that_another_has_forgotten(anna_side: Side, bob_side: Side) -> None:
    for number in (1, 2):
        bob_side.apply(anna_side.file(number, f"{number}"))
    bob_side.apply(anna_side.remove(anna_side.item(1)))
    assert len(fingerprints(anna_side, bob_side)) == 1
    assert forget_deletes(bob_side) == 1
    assert len(fingerprints(anna_side, bob_side)) == 1
    assert not audit(anna_side, bob_side)[1:]
    assert bob_side.names() == ["2"]
    assert forget_deletes(bob_side) == 0


def test_a_delete_that_was_withheld_is_sent_for_what_it_deleted(
    anna_side: Side, bob_side: Side
) -> None:
    bob_side.apply(anna_side.file(1, "a"))
    anna_side.remove(anna_side.item(1))
    bob_side.replica._advance(dict(anna_side.replica.frontier))
    assert len(fingerprints(anna_side, bob_side)) == 2
    assert audit(bob_side, anna_side)[1:] == [], "nothing that is told is lacking"
    assert bob_side.names() == ["a"]
    holdings = bob_side.replica.holdings
    author = (ANNA.device, anna_side.replica.incarnation)
    wanted = [Wanted(*author, at, hash[:16]) for at, hash in holdings.listed(Span(*author, 0, 16))]
    given = holdings.shipments(wanted, 10_000)
    over = anna_side.replica.holdings.tombstones_over(given)
    bob_side.apply(list(anna_side.replica.holdings.shipments(over, 10_000)), {})
    assert bob_side.names() == []
    assert len(fingerprints(anna_side, bob_side)) == 1
    assert anna_side.replica.holdings.tombstones_over(()) == ()


def test_an_answer_holds_as_much_as_a_message(
    anna_side: Side, bob_side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 30):
        anna_side.file(number, f"{number:02}")
    monkeypatch.setattr(replica_module, "PAGE_SIZE_BYTES_MAX", 2000)
    asked = audit(bob_side, anna_side)
    assert len([question for question in asked if isinstance(question, AskRecords)]) > 2
    assert bob_side.names() == anna_side.names()


def test_records_that_are_not_here_are_not_sent(anna_side: Side) -> None:
    anna_side.file(1, "a.txt")
    author = (ANNA.device, anna_side.replica.incarnation)
    (head,) = anna_side.replica.holdings.listed(Span(*author, 0, 16))
    here = Wanted(*author, 1, head[1][:16])
    for missing in (
        Wanted(*author, 1, bytes(16)),
        Wanted(*author, 2, head[1][:16]),
        Wanted(BOB.device, author[1], 1, head[1][:16]),
    ):
        assert anna_side.replica.holdings.shipments([missing], 2000) == ()
    (shipment,) = anna_side.replica.holdings.shipments([here, here], 2000)
    assert [hash_record(data) for _, data in shipment.records] == [RecordHash(head[1])]


# --- whole nodes --------------------------------------------------------------------------------


def forget(party: Party, name: str) -> None:
    row, replica = party.there(name), party.replica()
    (head,) = party.node.state.view.heads_of(row)

    def drop() -> None:
        replica.shelf.drop_head(head)
        replica.shelf.erase(row.ino)
        party.node.exchange.roster_grown(replica)

    party.node.loop.call(drop)
    assert party.entry(name) is None


def test_a_node_that_lost_a_record_gets_it_back(anna: Party, bob: Party) -> None:
    for name in ("a.txt", "b.txt"):
        anna.write(name, name.encode())
        agree(name, anna, bob)
    forget(bob, "a.txt")
    agree("a.txt", anna, bob)
    forget(anna, "b.txt")
    agree("b.txt", anna, bob)
    assert anna.read("b.txt") == b"b.txt"


def test_false_answers_and_foolish_questions_do_no_harm(anna: Party, mallory: Raw) -> None:
    anna.write("a.txt", b"a")
    space = anna.replica().id
    author = (anna.device, anna.replica().incarnation)
    mallory.say(
        Sums(space, 1, (), ()),
        Records(space, 1, ()),
        AskRecords(space, 2, (Wanted(*author, 1, bytes(16)),)),
    )
    assert mallory.hears(Records).shipments == ()
    mallory.say(AskSums(space, 3, (Span(*author, 0, 16),)))
    (listed,) = mallory.hears(Sums).spans
    assert len(listed.records) == 1  # type: ignore[union-attr]
    mallory.say(AskSums(space, 4, (Span(*author, 5, 16),)))
    until(lambda: mallory.device not in anna.node.peers.online(), "she is dropped")
    assert anna.alive
