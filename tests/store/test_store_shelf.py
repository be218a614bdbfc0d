"""The shelf: rows of the view as `tree` finds them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sharefs.records.entry import EntryType
from sharefs.records.ids import ROOT, ContentId, Coordinate, ItemId
from sharefs.store.database import Store
from sharefs.store.shelf import Shelf
from tests.store.store_parties import ANNA, FAMILY, LIFE, WORK, item, open_store, shown

FOLDER = item(100)
CONTENT = ContentId(b"c" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.ledger.add_space(WORK, "Work")
        store.take_touched()
        yield store
    store.close()


@pytest.fixture
def shelf(store: Store) -> Shelf:
    return store.shelf(1)


def test_a_row_comes_back_as_it_was_saved(shelf: Shelf) -> None:
    row = shown(
        10,
        "Überraschung 🎁",
        version=Coordinate(ANNA, LIFE, 2**62),
        loser=False,
        type=EntryType.SYMLINK,
        deleted=True,
        live=False,
        parent=item(1),
        anchor=item(2),
        place=item(3),
        merged=item(4),
        shown="another",
        created=2**61,
        mtime_ns=-5,
        executable=True,
        size=7,
        content=CONTENT,
        target="to/where",
    )
    shelf.save(row)
    assert shelf.row(10) == row
    assert shelf.winner(row.item) == row


def test_saving_again_replaces_the_row(shelf: Shelf) -> None:
    shelf.save(shown(10, "old"))
    shelf.save(shown(10, "new"))
    assert [row.name for row in shelf.listed(ROOT)] == ["new"]


def test_a_space_has_a_top_folder_that_no_folder_lists(shelf: Shelf) -> None:
    top = shelf.winner(ROOT)
    assert top is not None
    assert (top.type, top.live, top.name, top.item) == (EntryType.FOLDER, True, "", ROOT)
    assert shelf.listed(ROOT) == shelf.anchored(ROOT) == []
    assert shelf.listed(ItemId(b"")) == [top]


def test_winner_and_losers_of_an_item(shelf: Shelf) -> None:
    shelf.save(shown(10, item=item(1)))
    shelf.save(shown(11, item=item(1), loser=True))
    shelf.save(shown(12, item=item(1), loser=True))
    winner = shelf.winner(item(1))
    assert winner is not None
    assert winner.ino == 10
    assert [row.ino for row in shelf.losers(item(1))] == [11, 12]
    assert shelf.winner(item(2)) is None


def test_a_folder_lists_its_live_rows(shelf: Shelf) -> None:
    shelf.save(shown(10, place=FOLDER))
    shelf.save(shown(11, place=FOLDER, live=False))
    shelf.save(shown(12, place=FOLDER, loser=True))
    shelf.save(shown(13, place=FOLDER, merged=item(10), shown=""))
    shelf.save(shown(14))
    assert [row.ino for row in shelf.listed(FOLDER)] == [10, 12, 13]


def test_rows_of_another_space_are_not_seen(store: Store, shelf: Shelf) -> None:
    store.shelf(2).save(shown(10, "same", space=2, content=CONTENT))
    assert shelf.winner(item(10)) is None
    assert shelf.listed(ROOT) == shelf.named(ROOT, ["same"]) == shelf.entries_of(CONTENT) == []
    assert not shelf.has_live_child(ROOT)


def test_rows_are_found_by_either_name(shelf: Shelf) -> None:
    shelf.save(shown(10, "a"))
    shelf.save(shown(11, "a", shown="a (Bob)"))
    shelf.save(shown(12, "a", shown="", merged=item(10)))
    shelf.save(shown(13, "b", shown="a (Carol)"))
    shelf.save(shown(14, "a", live=False))
    shelf.save(shown(15, "a", place=FOLDER))
    assert [row.ino for row in shelf.named(ROOT, ["a"])] == [10, 11, 12]
    assert [row.ino for row in shelf.named(ROOT, ["a (Carol)"])] == [13]
    assert [row.ino for row in shelf.named(ROOT, ["b"])] == [13]
    assert [row.ino for row in shelf.named(ROOT, ["a (Bob)", "b"])] == [11, 13]
    assert shelf.named(ROOT, []) == []


@pytest.mark.parametrize("count", [1, 2, 33, 300])
def test_many_rows_are_saved_and_found_at_once(shelf: Shelf, count: int) -> None:
    rows = [shown(10 + number, str(number), item=item(number)) for number in range(count)]
    for row in rows:
        shelf.save(shown(row.ino, "before", item=row.item))
        shelf.save(row)
    assert shelf.winners(row.item for row in rows) == {row.item: row for row in rows}
    assert shelf.named(ROOT, [row.name for row in rows]) == rows


def test_what_was_put_off_goes_with_a_transaction_that_fails(store: Store, shelf: Shelf) -> None:
    store.connection.execute("COMMIT")
    with suppress(ZeroDivisionError), store.transaction():
        shelf.save(shown(10))
        raise ZeroDivisionError
    with store.transaction():
        assert shelf.row(10) is None
    with store.transaction():
        shelf.save(shown(10))
    assert shelf.row(10) == shown(10)
    store.connection.execute("BEGIN")


@pytest.mark.parametrize(
    ("fields", "odd"),
    [
        ({}, False),
        ({"shown": "other"}, True),
        ({"shown": ""}, True),
        ({"loser": True}, True),
        ({"merged": FOLDER}, True),
        ({"loser": True, "live": False}, False),
        ({"shown": "other", "place": FOLDER}, False),
    ],
)
def test_a_folder_is_odd_if_any_row_is(shelf: Shelf, fields: dict[str, object], odd: bool) -> None:
    shelf.save(shown(10))
    shelf.save(shown(11, "name 11", **fields))
    assert shelf.odd(ROOT) is odd


def test_anchored_rows_are_winners_live_or_not(shelf: Shelf) -> None:
    shelf.save(shown(10, anchor=FOLDER, live=False))
    assert not shelf.has_live_child(FOLDER)
    shelf.save(shown(11, anchor=FOLDER, loser=True))
    assert shelf.has_live_child(FOLDER)
    assert shelf.with_children([ROOT, FOLDER]) == {FOLDER}
    shelf.save(shown(12, anchor=FOLDER))
    assert [row.ino for row in shelf.anchored(FOLDER)] == [10, 12]


def test_merged_folders_and_entries_of_a_content(shelf: Shelf) -> None:
    shelf.save(shown(10, merged=FOLDER))
    shelf.save(shown(11, content=CONTENT, size=5))
    shelf.save(shown(12, content=CONTENT, size=5, live=False))
    assert [row.ino for row in shelf.merged_into(FOLDER)] == [10]
    assert [row.ino for row in shelf.entries_of(CONTENT)] == [11, 12]


def test_the_places_before_and_after_a_change_are_touched(store: Store, shelf: Shelf) -> None:
    shelf.save(shown(10))
    assert store.take_touched() == {(1, ROOT, 10, "name 10")}
    shelf.save(shown(10, place=FOLDER))
    assert shelf.take_touched() == {(1, ROOT, 10, "name 10"), (1, FOLDER, 10, "name 10")}
    shelf.erase(10)
    shelf.erase(11)
    assert store.take_touched() == {(1, FOLDER, 10, "name 10")}
    assert store.take_touched() == set()
    assert shelf.row(10) is None


def test_totals_count_what_is_shown(store: Store, shelf: Shelf) -> None:
    store.connection.execute("INSERT INTO content VALUES (?, 5, 3, 0, x'01', NULL)", (CONTENT,))
    shelf.save(shown(10, content=CONTENT, size=5))
    shelf.save(shown(11, content=CONTENT, size=5, live=False))
    shelf.save(shown(12, content=ContentId(b"d" * 32), size=7))
    shelf.save(shown(13, type=EntryType.FOLDER))
    assert shelf.totals() == (3, 12, 3)


def test_every_question_is_answered_by_index(store: Store, shelf: Shelf) -> None:
    statements: list[str] = []
    store.connection.set_trace_callback(statements.append)
    shelf.save(shown(10))
    shelf.row(10)
    shelf.winner(item(1))
    shelf.losers(item(1))
    shelf.listed(ROOT)
    shelf.named(ROOT, ["a"])
    shelf.heads_of([item(1)])
    shelf.winners([item(1), item(2)])
    shelf.with_children([ROOT])
    shelf.odd(ROOT)
    shelf.anchored(ROOT)
    shelf.has_live_child(ROOT)
    shelf.merged_into(FOLDER)
    shelf.entries_of(CONTENT)
    store.connection.set_trace_callback(None)
    questions = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(questions) == 14
    for question in questions:
        plan = [row[3] for row in store.connection.execute(f"EXPLAIN QUERY PLAN {question}")]
        assert not [step for step in plan if step.startswith("SCAN entry")], question
