"""What this device says that it holds is what it holds, whatever it goes through."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sharefs.records.entry import KIND_ENTRY
from sharefs.records.ids import ContentId, Coordinate, DeviceId
from sharefs.records.intervals import Intervals, contains, union
from sharefs.records.record import Record
from sharefs.store import holding
from sharefs.store.database import Store
from sharefs.store.holders import OURS
from sharefs.store.holding import Here, with_states
from sharefs.store.sums import Author
from tests.store.store_parties import ANNA, BOB, FAMILY, LIFE, encoded, item, open_store
from tests.store.store_parties import shown as row_of

SEQUENCE_MAX = 2**62
SIZE_BYTES = 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    yield store
    store.close()


def content(number: int) -> ContentId:
    return ContentId(number.to_bytes(32))


def head(
    store: Store, sequence: int, of: int | None = None, ino: int = 0, device: DeviceId = ANNA
) -> None:
    """A version is a head now, shown by a row, with a content or without. In a transaction."""
    ino = ino or 1000 + sequence
    shelf = store.shelf(1)
    before = shelf.row(ino)
    if before is not None:
        for old in shelf.heads(before.item):
            shelf.drop_head(old)
    made = Record(1, item(ino), KIND_ENTRY, device, LIFE, sequence, (), sequence, b"body")
    shelf.add_head(made, encoded(made))
    shelf.save(
        row_of(
            ino,
            version=Coordinate(device, LIFE, sequence),
            size=SIZE_BYTES if of is not None else 0,
            content=None if of is None else content(of),
        )
    )


def have(store: Store, number: int, local: int = SIZE_BYTES) -> None:
    """So many bytes of a content are here. In a transaction."""
    connection = store.connection
    connection.execute("DELETE FROM content WHERE id = ?", (content(number),))
    if local:
        bitmap = None if local == SIZE_BYTES else b"\0"
        connection.execute(
            "INSERT INTO content VALUES (?, ?, ?, 0, ?, NULL)",
            (content(number), SIZE_BYTES, local, bitmap),
        )
    store.holding.note_contents([content(number)])


def reach(store: Store, sequence: int, device: DeviceId = ANNA) -> None:
    store.ledger.merge_frontier(1, [(device, LIFE, sequence)])


def said(store: Store, author: Author = (ANNA, LIFE), *, partial: bool = False) -> Intervals:
    return store.holders.intervals(1, OURS, author, 0, SEQUENCE_MAX, 1_000_000, partial=partial)


def in_transaction(store: Store, *calls: Callable[[], object]) -> None:
    with store.transaction():
        for call in calls:
            call()


def check(store: Store) -> None:
    """Each version with a content is told to be held if it is, whole or in part, and only then;
    of what is held in part, nothing else is told."""
    rows = store.connection.execute(
        "SELECT entry.device, incarnation, sequence, local, content.size FROM entry"
        " LEFT JOIN content ON id = entry.content WHERE entry.content IS NOT NULL"
    ).fetchall()
    some: dict[Author, set[int]] = {(ANNA, LIFE): set(), (BOB, LIFE): set()}
    for device, incarnation, sequence, local, size in rows:
        author = (device, incarnation)
        told = contains(said(store, author), sequence)
        assert told == (local is not None and local == size), f"{device!r} {sequence}"
        if local and local < size:
            some[author].add(sequence)
    for author, sequences in some.items():
        assert said(store, author, partial=True) == union((at, at) for at in sequences)
        check_sums(store, author, partial=False)
        check_sums(store, author, partial=True)


def check_sums(store: Store, author: Author, *, partial: bool) -> None:
    """As if the account had been written anew."""
    number = store.holders._number(1, OURS, author, partial)
    if number is None:
        return
    row = "SELECT count, sum FROM holder WHERE number = ?"
    before = store.connection.execute(row, (number,)).fetchone()
    intervals = said(store, author, partial=partial)
    with suppress(ZeroDivisionError), store.transaction():
        store.holders.splice(1, OURS, author, 0, SEQUENCE_MAX, (), partial=partial)
        empty = store.connection.execute(row, (number,)).fetchone()
        assert empty == (0, bytes(16))
        store.holders.splice(1, OURS, author, 0, SEQUENCE_MAX, intervals, partial=partial)
        assert store.connection.execute(row, (number,)).fetchone() == before
        raise ZeroDivisionError


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_follows_every_change(store: Store, seed: int) -> None:
    """Edits, contents that come and go and are shared, rows that go, rollbacks; two authors."""
    chance = random.Random(seed)
    following = {ANNA: 1, BOB: 1}

    def step() -> None:
        device = chance.choice((ANNA, BOB))
        match chance.randrange(6):
            case 0 | 1 | 2:
                following[device] += chance.choice((1, 1, 1, 1, 40, 5000))
                of = chance.choice((None, chance.randrange(30), chance.randrange(30)))
                head(store, following[device], of, chance.randrange(2000, 2100), device)
            case 3:
                have(store, chance.randrange(30), chance.choice((0, 5, SIZE_BYTES, SIZE_BYTES)))
            case 4:
                reach(store, chance.randrange(following[device] + 1), device)
            case _:
                store.shelf(1).erase(chance.randrange(2000, 2100))

    for _ in range(60):
        before = dict(following)
        with suppress(ZeroDivisionError), store.transaction():
            for _ in range(chance.randrange(20)):
                step()
            if chance.random() < 0.2:
                following.update(before)
                raise ZeroDivisionError
        check(store)


def test_all_of_many_is_one_interval(store: Store) -> None:
    for start in range(1, 3001, 100):
        with store.transaction():
            for sequence in range(start, start + 100):
                # Every tenth is a folder.
                head(store, sequence, None if sequence % 10 == 0 else sequence)
                if sequence % 10:
                    have(store, sequence)
            reach(store, start + 99)
    assert said(store) == ((1, 3000),)


def test_contents_that_come_in_any_order_end_as_one_interval(store: Store) -> None:
    chance = random.Random(3)
    sequences = list(range(1, 3000, 3))
    with store.transaction():
        for sequence in sequences:
            head(store, sequence, sequence)
        reach(store, 3000)
    chance.shuffle(sequences)
    for start in range(0, len(sequences), 50):
        with store.transaction():
            for sequence in sequences[start : start + 50]:
                have(store, sequence)
        check(store)
    for _ in range(20):
        in_transaction(store)
    assert said(store) == ((1, 2998),), "what was never here was dominated"


def test_nothing_is_joined_beyond_the_frontier_and_all_when_it_has_moved(store: Store) -> None:
    """A pass is under way: what is between them may still arrive, with other contents."""
    with store.transaction():
        for sequence in range(10, 3000, 10):
            head(store, sequence, sequence)
            have(store, sequence)
        reach(store, 5)
    assert len(said(store)) == 299
    for _ in range(10):
        in_transaction(store, lambda: reach(store, 3000))
    assert said(store) == ((10, 2990),)
    check(store)


def test_what_is_lacked_between_two_keeps_them_apart_until_it_is_replaced(store: Store) -> None:
    with store.transaction():
        for sequence in (1, 5, 9):
            head(store, sequence, sequence)
        have(store, 1)
        have(store, 9)
        reach(store, 20)
    assert said(store) == ((1, 1), (9, 9))
    in_transaction(store, lambda: head(store, 20, 5, ino=1005))
    assert said(store) == ((1, 9),)
    in_transaction(store, lambda: have(store, 5))
    assert said(store) == ((1, 20),)


def test_what_an_audit_brings_late_into_an_interval_is_taken_out(store: Store) -> None:
    with store.transaction():
        for sequence in (1, 9):
            head(store, sequence, sequence)
            have(store, sequence)
        reach(store, 9)
    assert said(store) == ((1, 9),)
    in_transaction(store, lambda: head(store, 5, 5))
    assert said(store) == ((1, 4), (6, 9))


def test_what_changed_is_told_once_it_is_committed(store: Store) -> None:
    store.holding.take_changed()
    with suppress(ZeroDivisionError), store.transaction():
        head(store, 1, 1)
        have(store, 1)
        raise ZeroDivisionError
    assert store.holding.take_changed() == {}
    with store.transaction():
        head(store, 1, 1)
        have(store, 1)
        head(store, 2, 2, device=BOB)
    assert store.holding.take_changed() == {(1, (ANNA, LIFE)): ((1, 1),)}
    assert store.holding.take_changed() == {}


def test_what_comes_bit_by_bit_is_told_twice_of_and_no_more(store: Store) -> None:
    """When there is some of it, and when there is all; a content that comes at once, once."""
    in_transaction(store, lambda: head(store, 1, 1), lambda: head(store, 2, 2))
    told = []
    for local in (0, 1, 2, 5, 9, SIZE_BYTES):
        in_transaction(store, lambda size=local: have(store, 1, size))  # type: ignore[misc]
        told.append((said(store, partial=True), said(store), store.holding.take_changed()))
    nothing, some, every = (((), ()), (((1, 1),), ()), ((), ((1, 1),)))
    change = {(1, (ANNA, LIFE)): ((1, 1),)}
    assert told == [
        (*nothing, {}),
        (*some, change),
        *[(*some, {})] * 3,
        (*every, change),
    ]
    in_transaction(store, lambda: have(store, 2))
    assert store.holding.take_changed() == {(1, (ANNA, LIFE)): ((1, 2),)}


def test_what_was_held_in_part_and_was_replaced_is_told_of_no_more(store: Store) -> None:
    with store.transaction():
        head(store, 1, 1, ino=1001)
        head(store, 2, 2, ino=1002)
        have(store, 1, 5)
        have(store, 2, 5)
        reach(store, 9)
    assert said(store, partial=True) == ((1, 2),)
    in_transaction(store, lambda: head(store, 3, None, ino=1001))
    assert said(store, partial=True) == ((2, 2),)
    in_transaction(store, lambda: store.shelf(1).erase(1002))
    assert said(store, partial=True) == ()


def test_there_is_an_end_to_how_many_changes_are_remembered(store: Store) -> None:
    with store.transaction():
        for sequence in range(2, 2002, 2):
            head(store, sequence, sequence)
        reach(store, 3000)
    for sequence in range(4, 2000, 4):
        in_transaction(store, lambda at=sequence: have(store, at))  # type: ignore[misc]
    ((first, last), *more) = store.holding.take_changed()[1, (ANNA, LIFE)]
    assert len(more) < holding.CHANGES_MAX
    assert first == 4
    assert (more[-1] if more else (first, last))[1] == 1996


def test_neutral_versions_are_taken_in_only_where_they_touch() -> None:
    none, some, every = Here.NONE, Here.SOME, Here.ALL
    assert with_states(((1, 3),), {4: None, 5: None, 9: None}) == ((1, 5),)
    assert with_states(((1, 3),), {4: none, 5: None}) == ((1, 3),)
    assert with_states((), {4: every, 3: None, 2: some}) == ((3, 4),)
    assert with_states(((1, 9),), {1: none, 5: some, 9: every}) == ((2, 4), (6, 9))


def test_what_lies_between_is_looked_up_and_not_searched_for(store: Store) -> None:
    """Among all entries of a space, for each interval that may be joined."""
    rows = store.connection.execute(
        f"EXPLAIN QUERY PLAN {holding._BETWEEN}", (1, ANNA, LIFE, 1, 9, 33)
    ).fetchall()
    plan = [detail for *_, detail in rows if "entry" in detail]
    assert len(plan) == 2
    assert all("(space=? AND item=?)" in detail for detail in plan)
