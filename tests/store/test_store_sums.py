"""The sums say at any time what the heads add up to."""

import random
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from sharefs.records.ids import DeviceId
from sharefs.records.record import Record
from sharefs.store.database import Store
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
            heads = stored(store, space, device)
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
                if head not in store.ledger.heads_of(space, [head.item]).get(head.item, []):
                    store.ledger.add_head(space, head, encoded(head))
                else:
                    store.ledger.drop_head(space, head)
            if chance.random() < 0.3:
                raise ZeroDivisionError
        if chance.random() < 0.3:
            store.close()
            store = open_store(tmp_path)
        check(store)
    assert stored(store, 1, ANNA)
    store.close()


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
