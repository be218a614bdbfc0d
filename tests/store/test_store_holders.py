"""Who holds what is remembered as it was said last."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharefs.records.ids import Coordinate, DeviceId, Incarnation
from sharefs.records.intervals import Intervals, clipped, contains, spliced, union
from sharefs.store import holders
from sharefs.store.database import Store
from sharefs.store.holders import OURS, SEQUENCE_MAX, holders_at, partial_holders_at
from tests.store.store_parties import ANNA, BOB, FAMILY, LIFE, WORK, open_store

AUTHOR = (ANNA, LIFE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.ledger.add_space(WORK, "Work")
    yield store
    store.close()


def say(
    store: Store,
    device: DeviceId,
    first: int,
    last: int,
    *stated: tuple[int, int],
    partial: bool = False,
) -> None:
    with store.transaction():
        store.holders.splice(1, device, AUTHOR, first, last, tuple(stated), partial=partial)


def known(store: Store, device: DeviceId, first: int = 0, last: int = SEQUENCE_MAX) -> Intervals:
    return store.holders.intervals(1, device, AUTHOR, first, last, 1000)


def at(store: Store, sequence: int) -> list[DeviceId]:
    with store.readers.lent() as connection:
        return sorted(holders_at(connection, 1, Coordinate(ANNA, LIFE, sequence)))


def partly_at(store: Store, sequence: int) -> list[DeviceId]:
    with store.readers.lent() as connection:
        return sorted(partial_holders_at(connection, 1, Coordinate(ANNA, LIFE, sequence)))


def spoke(store: Store, device: DeviceId, incarnation: Incarnation, upto: int) -> None:
    with store.transaction():
        store.holders.set_spoken(1, device, incarnation, upto)


@pytest.mark.parametrize("rows", [3, 4096])
def test_statements_in_any_order_leave_what_was_said_last(
    store: Store, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "ROWS_AT_ONCE", rows)
    chance = random.Random(rows)
    model: Intervals = ()
    for _ in range(300):
        first, last = sorted((chance.randrange(100), chance.choice((chance.randrange(100), 2**62))))
        places = sorted(chance.sample(range(100), chance.randrange(12)))
        stated = clipped(union((place, place) for place in places), first, last)
        say(store, BOB, first, last, *stated)
        model = spliced(model, first, last, stated)
        assert known(store, BOB) == model
        assert known(store, BOB, first, last) == clipped(model, first, last)
        assert store.holders.size(1, BOB)[1] == len(model)


@pytest.mark.parametrize("seed", range(20))
def test_equal_holdings_have_equal_digests_however_they_came_about(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    parts = [(first, first + chance.randrange(5)) for first in chance.sample(range(50), 8)]
    for part in parts:
        say(store, ANNA, *part, part)
    whole = union(parts)
    say(store, BOB, 0, SEQUENCE_MAX, *whole)
    assert store.holders.digest(1, ANNA) == store.holders.digest(1, BOB)
    other = chance.randrange(60)
    changed = () if contains(whole, other) else ((other, other),)
    say(store, ANNA, other, other, *changed)
    assert store.holders.digest(1, ANNA) != store.holders.digest(1, BOB)


def test_the_writer_of_a_version_holds_it_until_it_says_otherwise(store: Store) -> None:
    assert at(store, 5) == [ANNA]
    spoke(store, ANNA, LIFE, 4)
    assert at(store, 4) == []
    assert at(store, 5) == [ANNA]
    spoke(store, ANNA, LIFE, 5)
    assert at(store, 5) == []
    say(store, ANNA, 1, 5, (5, 5))
    assert at(store, 5) == [ANNA]


def test_what_is_held_in_part_is_apart_from_what_is_held_whole(store: Store) -> None:
    spoke(store, ANNA, LIFE, 20)
    say(store, BOB, 1, 9, (2, 4), (6, 6))
    say(store, BOB, 1, 9, (5, 5), (8, 9), partial=True)
    assert [sequence for sequence in range(12) if at(store, sequence)] == [2, 3, 4, 6]
    assert [sequence for sequence in range(12) if partly_at(store, sequence)] == [5, 8, 9]
    assert store.holders.size(1, BOB) == (2, 4)
    before = store.holders.digest(1, BOB)
    say(store, BOB, 1, 9, partial=True)
    assert store.holders.digest(1, BOB) != before
    say(store, BOB, 1, 9, (5, 5), (8, 9))
    say(store, BOB, 1, 9, (2, 4), (6, 6), partial=True)
    assert store.holders.digest(1, BOB) != before, "the same numbers, the other way round"
    assert store.holders.authors(1, BOB) == [AUTHOR]


def test_what_was_said_of_a_space_an_author_or_a_life_is_of_no_other(store: Store) -> None:
    say(store, BOB, 1, 9, (1, 9))
    with store.readers.lent() as connection:
        for space, version in (
            (2, Coordinate(ANNA, LIFE, 5)),
            (1, Coordinate(BOB, LIFE, 5)),
            (1, Coordinate(ANNA, Incarnation(b"life0002"), 5)),
        ):
            assert holders_at(connection, space, version) == [version.device]


def test_who_holds_a_version_is_known_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    say(store, BOB, 1, 9, (2, 4), (6, 6))
    say(store, OURS, 1, 9, (4, 6))
    spoke(store, ANNA, LIFE, 20)
    store.close()
    store = open_store(tmp_path)
    assert [at(store, sequence) for sequence in (1, 2, 4, 5, 6, 7)] == [
        [],
        [BOB],
        [OURS, BOB],
        [OURS],
        [OURS, BOB],
        [],
    ]
    assert store.holders.authors(1, BOB) == [AUTHOR]
    store.close()
