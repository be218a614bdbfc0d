"""The view that SQLite keeps is the one that a shelf in memory keeps."""

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from sharefs.records.record import encode_record
from sharefs.records.shown import Shown
from sharefs.store.database import Store
from sharefs.tree.tree import Tree
from tests.store.store_parties import FAMILY, open_store
from tests.tree.histories import World, label
from tests.tree.test_tree_scenes import run_random_history


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_both_shelves_keep_the_same_view(store: Store, seed: int) -> None:
    world: World = run_random_history(2000 + seed)
    records = list(world.records)
    random.Random(seed).shuffle(records)
    with store.transaction():
        number = store.ledger.add_space(FAMILY, "Family")
        shelf = store.shelf(number)
        inos = count(100)
        tree = Tree(shelf, number, lambda: next(inos), label)
        for record in records:
            tree.receive([(record, encode_record(record))])
        for row in world.replicas[0].rows():
            kept = [shelf.winner(row.item), *shelf.losers(row.item)]
            assert _known_alike(row) in [_known_alike(each) for each in kept if each is not None]


def _known_alike(row: Shown) -> Shown:
    """Less what is each node's own."""
    return replace(row, ino=0, space=0, local=0)
