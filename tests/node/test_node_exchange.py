import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from sharefs.errors import DiskFull, UserError
from sharefs.node import exchange as exchange_module
from sharefs.records.commit import sign_commit
from sharefs.records.ids import Incarnation, OperationHash, RecordHash
from sharefs.records.record import encode_record, hash_record
from sharefs.sync.shipment import ship
from sharefs.wire.sync import Page, Pull, Push, RosterOperations, Summary
from tests.node.node_parties import Party, Raw, agree, until


@contextmanager
def slow_disk(party: Party, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until the event is set, the pool's syncs of the database do not end."""
    store, go_on = party.node.state.store, threading.Event()
    sync = store.make_durable

    def wait() -> None:
        if threading.current_thread().name.startswith("sharefs-pool"):
            assert go_on.wait(10.0)
        sync()

    with monkeypatch.context() as patch:
        patch.setattr(store, "make_durable", wait)
        yield go_on
        go_on.set()


def test_nothing_is_told_before_the_disk_has_it(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_disk(anna, monkeypatch) as go_on:
        anna.write("a.txt", b"a")
        known.settle()
        assert not known.heard(Push)
        replica = anna.replica()
        assert not any(replica.shown_frontier().values())
        go_on.set()
        known.hears(Push)
    until(lambda: any(anna.node.loop.call(replica.shown_frontier).values()))


def test_a_page_has_the_disk_sync_first(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_disk(anna, monkeypatch):
        anna.write("a.txt", b"a")
        mallory.say(Pull(anna.replica().id, (), 0, 7))
        page = mallory.hears(Page, lambda page: page.pass_number == 7)
    assert len(page.shipments) == 1
    assert page.complete


def test_a_new_incarnation_while_the_disk_syncs_the_old_one(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = anna.replica()
    before = replica.incarnation
    with slow_disk(anna, monkeypatch) as go_on:
        anna.write("a.txt", b"a")
        known.say(Summary(replica.id, bytes(32), ((anna.device, before, 99),), bytes(32)))
        until(lambda: replica.incarnation != before)
        go_on.set()
        known.hears(Push)
    known.say(Pull(replica.id, (), 0, 7))
    assert len(known.hears(Page, lambda page: page.pass_number == 7).shipments) == 1
    anna.write("b.txt", b"b")
    known.hears(Push, lambda push: push.shipment.commit.incarnation == replica.incarnation)
    assert anna.alive


def test_a_full_disk_delays_telling(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exchange_module, "FLUSH_AGAIN_SECONDS", 0.05)
    store, failures = anna.node.state.store, [DiskFull("full")] * 3
    sync = store.make_durable

    def fail_at_first() -> None:
        if failures:
            raise failures.pop()
        sync()

    monkeypatch.setattr(store, "make_durable", fail_at_first)
    anna.write("a.txt", b"a")
    agree("a.txt", anna, bob)
    assert not failures
    assert anna.alive
    assert "not told yet" in caplog.text


def roll_back(party: Party) -> None:
    def fail() -> None:
        raise DiskFull("full")

    with pytest.raises(DiskFull):
        party.node.loop.call(fail)


def test_a_rollback_forgets_nothing_of_the_batches_before(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_disk(anna, monkeypatch) as go_on:
        anna.write("a.txt", b"a")
        until(lambda: anna.node.exchange._flushing, "the sync of the first has begun")
        anna.write("b.txt", b"b")
        roll_back(anna)
        go_on.set()
        until(lambda: len(known.heard(Push)) >= 2)
    assert anna.alive


def test_what_a_rolled_back_batch_had_to_say_is_not_said(anna: Party, mallory: Raw) -> None:
    replica = anna.replica()

    def say_and_fail() -> None:
        anna.node.admission.invite(replica, "contributor", 60.0)
        state = anna.node.state
        operations = tuple(state.ledger.operations(replica.number))
        state.send(mallory.device, RosterOperations(replica.id, operations))
        raise DiskFull("full")

    known = replica.roster.known
    with pytest.raises(DiskFull):
        anna.node.loop.call(say_and_fail)
    assert anna.replica().roster.known == known
    mallory.settle()
    assert not mallory.heard(RosterOperations)


def test_work_in_the_pool_that_fails_unforeseen_stops_the_node(
    anna: Party, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    anna.node.state.in_pool(fail)
    until(lambda: anna.node.loop.failure)
    assert "the loop failed" in caplog.text


def test_two_records_at_one_coordinate_leave_the_node_alive(anna: Party, bob: Party) -> None:
    """A device that signs two different records as its first: both travel in one page."""
    bob.write("a.txt", b"a")
    agree("a.txt", anna, bob)
    replica, row = anna.replica(), anna.there("a.txt")
    (head,) = anna.node.state.view.heads_of(row)
    other = anna.node.state.new_item()
    double = encode_record(type(head)(1, other, *[getattr(head, n) for n in _AFTER_ITEM]))
    commit = sign_commit(
        bob.identity.device_key,
        replica.id,
        bob.device,
        head.incarnation,
        head.sequence,
        OperationHash(replica.roster.heads[0]),
        (RecordHash(hash_record(double)),),
    )
    shipment = ship(commit, [(head.sequence, double)])
    anna.node.loop.call(lambda: replica.apply([shipment], {}))
    for name in anna.names():
        ino = anna.there(name).ino
        with suppress(UserError):
            anna.node.desk.set_attributes(ino, 5, None)
        with suppress(UserError):
            anna.node.desk.remove(ino)
    assert anna.alive


_AFTER_ITEM = ("kind", "device", "incarnation", "sequence", "context", "stamp", "body")


def test_an_incarnation_is_renewed_only_for_more_than_was_told(anna: Party, known: Raw) -> None:
    anna.write("a.txt", b"a")
    replica = anna.replica()
    before = replica.incarnation
    known.say(
        Summary(replica.id, bytes(32), ((anna.device, before, 1),), bytes(32)),
        Summary(replica.id, bytes(32), ((anna.device, Incarnation(bytes(8)), 5),), bytes(32)),
    )
    known.settle()
    assert replica.incarnation == before


def test_a_claim_to_have_what_nobody_was_told_renews_the_incarnation(
    anna: Party, mallory: Raw
) -> None:
    anna.write("a.txt", b"a")
    replica = anna.replica()
    before = replica.incarnation
    mallory.say(Summary(replica.id, bytes(32), ((anna.device, before, 1),), bytes(32)))
    until(lambda: replica.incarnation != before)
    assert anna.names() == ["a.txt"]
    assert anna.read("a.txt") == b"a"


def test_what_was_made_before_a_peer_told_how_it_stands_is_not_pushed(
    anna: Party, mallory: Raw
) -> None:
    """It may turn out that it has met another copy of this device."""
    anna.write("a.txt", b"a")
    mallory.settle()
    assert not mallory.heard(Push)
    replica = anna.replica()
    assert replica.told == 0
    mallory.say(Pull(replica.id, (), 0, 7))
    assert len(mallory.hears(Page, lambda page: page.pass_number == 7).shipments) == 1
    assert replica.told == 1
