"""The sums say at any time what the heads add up to."""

import random
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from sharefs.records.ids import DeviceId
from sharefs.records.record import Record
from sharefs.store.database import Store
from sharefs.store.dead import Dead
from tests.store.store_parties import (
    ANNA,
    BOB,
    FAMILY,
    LIFE,
    WORK,
    encoded,
    item,
    open_store,
    record,
)

MODULUS = 2**256


def by(device: DeviceId, sequence: int) -> Record:
    return Record(1, item(sequence), "entry", device, LIFE, sequence, (), 1, b"body")


def stored(store: Store, space: int, device: DeviceId) -> list[tuple[int, bytes]]:
    return store.ledger.records_in(space, device, LIFE, 0, 2**62)


def check(store: Store) -> None:
    for space in (1, 2):
        sums = store.ledger.sums(space)
        for device in (ANNA, BOB):
            heads = store.ledger.counted_in(space, (device, LIFE), 0, 2**62)
            values = [(s // 256, int.from_bytes(blake3(data).digest())) for s, data in heads]
            assert sums.get((device, LIFE), 0) == sum(v for _, v in values) % MODULUS
            runs = store.sums.runs(space, (device, LIFE), 0, 2**62)
            assert [number for number, _, _ in runs] == sorted({n for n, _ in values})
            for number, count, total in runs:
                of_run = [value for n, value in values if n == number]
                assert (count, total) == (len(of_run), sum(of_run) % MODULUS)


def test_the_sums_follow_every_change(tmp_path: Path) -> None:
    """Through rollbacks and restarts, in two spaces, of two authors."""
    chance = random.Random(7)
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.ledger.add_space(WORK, "Work")
    for _ in range(60):
        with suppress(ZeroDivisionError), store.transaction():
            for _ in range(chance.randrange(40)):
                head = by(chance.choice((ANNA, BOB)), chance.randrange(1, 700))
                space = chance.choice((1, 2))
                if chance.random() < 0.2:
                    Dead(store, space).set_dead(head.item, chance.random() < 0.7)
                elif head not in store.ledger.heads_of(space, [head.item]).get(head.item, []):
                    store.ledger.add_head(space, head, encoded(head))
                else:
                    store.ledger.drop_head(space, head)
            if chance.random() < 0.3:
                raise ZeroDivisionError
        if chance.random() < 0.3:
            store.close()
            store = open_store(tmp_path)
        check(store)
    counted = store.ledger.counted_in(1, (ANNA, LIFE), 0, 2**62)
    assert 0 < len(counted) < len(stored(store, 1, ANNA))
    check_extents(store, [sequence for sequence, _ in counted])
    store.close()


def check_extents(store: Store, counted: list[int]) -> None:
    for first, last in ((0, 2**62), (0, 255), (256, 511), (512, 4095), (16, 31), (1024, 2047)):
        within = [sequence for sequence in counted if first <= sequence <= last]
        extent = (min(within), max(within)) if within else None
        assert store.ledger.extent(1, (ANNA, LIFE), first, last) == extent


def test_the_sums_of_a_transaction_are_known_in_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    head = record(1, item(1))
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        assert store.ledger.sums(1) == {}
        store.ledger.add_head(1, head, encoded(head))
        added = int.from_bytes(blake3(encoded(head)).digest())
        assert store.ledger.sums(1) == {(ANNA, LIFE): added}
        store.ledger.drop_head(1, record(1, item(2)))
        assert store.ledger.sums(1) == {(ANNA, LIFE): added}, "that was another one"
        store.ledger.drop_head(1, head)
        assert not any(store.ledger.sums(1).values())
    store.close()
