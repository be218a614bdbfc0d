"""The ledger: spaces, rosters, frontiers, commits, heads, addresses."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from sharefs.errors import DatabaseDamaged
from sharefs.records.commit import encode_commit
from sharefs.records.ids import OperationHash, Signature
from sharefs.spaces.ticket import ADDRESSES_MAX, Address
from sharefs.store.database import Store
from tests.store.store_parties import (
    ANNA,
    BOB,
    FAMILY,
    LIFE,
    WORK,
    commit,
    encoded,
    item,
    open_store,
    record,
)


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.ledger.add_space(WORK, "Work")
        yield store
    store.close()


def test_sequences_are_given_out_once(store: Store) -> None:
    assert [store.ledger.take_sequences(1, count) for count in (1, 256, 3)] == [1, 2, 258]
    assert store.ledger.take_sequences(2, 1) == 1


def test_a_new_incarnation_counts_from_one(store: Store) -> None:
    store.ledger.take_sequences(1, 10)
    store.ledger.set_incarnation(1, LIFE)
    row = store.ledger.spaces()[0]
    assert (row.incarnation, row.next_sequence) == (LIFE, 1)


def test_every_space_begins_with_an_incarnation_of_its_own(store: Store) -> None:
    assert len({row.incarnation for row in store.ledger.spaces()}) == 2


def test_operations_are_kept_once_in_the_order_of_arrival(store: Store) -> None:
    for data, new in ((b"two", True), (b"one", True), (b"two", False)):
        hash = OperationHash(data.ljust(32))
        assert store.ledger.add_operation(1, hash, data) is new
    assert store.ledger.operations(1) == [b"two", b"one"]
    assert store.ledger.operations(2) == []


def test_the_frontier_never_falls(store: Store) -> None:
    store.ledger.advance(1, ANNA, LIFE, 7)
    store.ledger.advance(1, ANNA, LIFE, 3)
    store.ledger.merge_frontier(1, [(ANNA, LIFE, 6), (BOB, LIFE, 2)])
    assert store.ledger.frontier(1) == {(ANNA, LIFE): 7, (BOB, LIFE): 2}
    assert store.ledger.frontier(2) == {}


def test_the_author_of_a_commit_alone_is_not_on_the_frontier(store: Store) -> None:
    store.ledger.add_commit(1, commit(1, 3), b"commit")
    assert store.ledger.frontier(1) == {}


def test_a_commit_is_kept_once_and_who_contradicts_it_beside_it(store: Store) -> None:
    first, second = commit(1, 3), commit(1, 5)
    resigned = replace(first, signature=Signature(bytes([1] * 64)))
    store.ledger.add_commit(1, first, b"first")
    assert store.ledger.contradicting(1, resigned) is None
    store.ledger.add_commit(1, resigned, b"the same, signed otherwise")
    assert store.ledger.has_commit(1, resigned)
    assert not store.ledger.has_commit(1, second)
    assert store.ledger.contradicting(1, second) == b"first"
    assert store.ledger.contradicting(1, commit(3, 1)) == b"first"
    assert store.ledger.contradicting(1, commit(4, 1)) is None
    assert store.ledger.contradicting(1, commit(1, 1, BOB)) is None
    store.ledger.add_commit(1, second, b"second")
    beyond = store.ledger.commits_beyond(1, {}, 0, 10)
    assert [data for _, data in beyond] == [b"first", b"second"]
    assert store.ledger.commits_at(1, (ANNA, LIFE), 3) == [b"first", b"second"]
    assert store.ledger.commits_at(1, (ANNA, LIFE), 5) == [b"second"]
    assert store.ledger.last_of(1, (ANNA, LIFE)) == 5
    assert store.ledger.last_of(1, (BOB, LIFE)) == 0


def _add_commits(store: Store) -> dict[str, int]:
    numbers = {}
    for device, first, count in (
        (ANNA, 1, 2),
        (BOB, 1, 1),
        (ANNA, 6, 5),
        (ANNA, 3, 3),
        (BOB, 2, 1),
    ):
        made = commit(first, count, device)
        store.ledger.add_commit(1, made, encode_commit(made))
        name = "anna" if device == ANNA else "bob"
        numbers[f"{name}{first}"] = store.ledger.commits_beyond(1, {}, 0, 100)[-1][0]
    return numbers


@pytest.mark.parametrize(
    ("anna", "bob", "expected"),
    [
        (0, 0, ["anna1", "bob1", "anna6", "anna3", "bob2"]),
        (2, 1, ["anna6", "anna3", "bob2"]),
        (4, 2, ["anna6", "anna3"]),
        (5, 2, ["anna6"]),
        (9, 2, ["anna6"]),
        (10, 2, []),
        (10, 1, ["bob2"]),
    ],
)
def test_commits_beyond_a_frontier_come_in_the_order_of_arrival(
    store: Store, anna: int, bob: int, expected: list[str]
) -> None:
    numbers = _add_commits(store)
    frontier = {(ANNA, LIFE): anna, (BOB, LIFE): bob}
    found = [row for row, _ in store.ledger.commits_beyond(1, frontier, 0, 10)]
    assert found == [numbers[name] for name in expected]
    assert store.ledger.commits_beyond(2, {}, 0, 10) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_a_cursor_leads_through_all_commits_once(store: Store, limit: int) -> None:
    numbers = _add_commits(store)
    cursor, found = 0, []
    while page := store.ledger.commits_beyond(1, {(ANNA, LIFE): 2}, cursor, limit):
        found += [row for row, _ in page]
        cursor = page[-1][0]
    assert found == [numbers[name] for name in ("bob1", "anna6", "anna3", "bob2")]


def test_commits_are_found_by_index(store: Store) -> None:
    plans = []
    trace = store.connection
    statements: list[str] = []
    _add_commits(store)
    trace.set_trace_callback(statements.append)
    store.ledger.commits_beyond(1, {(ANNA, LIFE): 2}, 0, 10)
    trace.set_trace_callback(None)
    for statement in statements:
        plans += [row[3] for row in trace.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN")]


def test_heads_are_kept_by_item(store: Store) -> None:
    first, second, other = record(1, item(1)), record(2, item(1)), record(3, item(2))
    for each in (first, second, other):
        store.ledger.add_head(1, each, encoded(each))
    assert store.ledger.heads_of(1, [item(1)]) == {item(1): [first, second]}
    assert store.ledger.heads_of(1, [item(1), item(2), item(3)])[item(2)] == [other]
    assert store.ledger.heads_of(2, [item(1)]) == {}
    store.ledger.drop_head(1, first)
    assert store.ledger.heads_of(1, [item(1)]) == {item(1): [second]}
    assert store.ledger.records_in(1, ANNA, LIFE, 1, 2) == [(2, encoded(second))]
    assert store.ledger.records_in(1, BOB, LIFE, 1, 9) == []


def test_a_head_that_can_not_be_read_is_damage(store: Store) -> None:
    store.ledger.add_head(1, record(1, item(1)), b"\xff")
    with pytest.raises(DatabaseDamaged):
        store.ledger.heads_of(1, [item(1)])


def test_addresses_are_remembered_the_last_seen_first(store: Store) -> None:
    old, new, hearsay = (Address("10.0.0.1", port, 9) for port in (1, 2, 3))
    for address, seen in ((old, 50.0), (hearsay, 0.0), (new, 70.0), (old, 60.0), (new, 0.0)):
        store.ledger.save_address(ANNA, address, seen)
    assert store.ledger.addresses(ANNA) == [(new, 70.0), (old, 60.0), (hearsay, 0.0)]
    assert store.ledger.last_seen(ANNA) == 70.0
    store.ledger.save_address(BOB, hearsay, 0.0)
    assert store.ledger.last_seen(BOB) is None


def test_a_device_can_not_fill_the_table_of_addresses(store: Store) -> None:
    for port in range(1, 101):
        store.ledger.save_address(ANNA, Address("10.0.0.1", port, 9), float(port))
    kept = [address.port for address, _ in store.ledger.addresses(ANNA)]
    assert kept == list(range(100, 100 - ADDRESSES_MAX, -1))


def test_settings_are_kept(store: Store) -> None:
    assert store.ledger.setting("listen") is None
    store.ledger.set_setting("listen", "127.0.0.1 1 2")
    store.ledger.set_setting("listen", "127.0.0.1 3 4")
    assert store.ledger.setting("listen") == "127.0.0.1 3 4"
