"""How large does the database of a space become that is edited for ever?

`python -m tests.bench.bench_growth [EDITS]`: one device edits FILES files so often, through Replica
on SQLite, each edit a commit of its own; another one follows, and says how far it is. What is
kept is told before and after collection.
"""

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sharefs.node.collection import COMMITS_AT_ONCE, Collection
from sharefs.node.replica import Replica
from sharefs.records.ids import ItemId, item_id
from sharefs.spaces.identity import Identity, new_identity
from sharefs.spaces.roster import create_space, hash_operation
from sharefs.store.database import Store, open_database
from sharefs.tree import operations
from sharefs.tree.operations import Bytes

FILES = 10
EDITS = 20_000


class Editing:
    """A node's replica of a new space, and nothing else of a node."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = open_database(folder / "sharefs.db", folder / "token")
        self._file = folder / "sharefs.db"
        identity: Identity = new_identity(bytes(96), "Anna", "laptop", 1)
        self._me = identity.device
        id, operation = create_space(identity.device_key, identity.certificate, "F", bytes(16), 1)
        with self.store.transaction():
            number = self.store.ledger.add_space(id, "F")
            self.store.ledger.add_operation(number, hash_operation(operation), operation)
        (row,) = self.store.ledger.spaces()
        self.replica = Replica(
            row, self.store.ledger, self.store.shelf(number), identity, self.store.new_ino
        )
        state: Any = SimpleNamespace(
            store=self.store,
            ledger=self.store.ledger,
            replicas={id: self.replica},
            me=self._me,
        )
        self.collection = Collection(state, lambda _: False, lambda _: None)
        self.items = [item_id(self._me, number.to_bytes(8)) for number in range(FILES)]

    def edit(self, item: ItemId, now_ms: int) -> None:
        """One more version, in a batch of its own."""
        row = self.replica.shelf.winner(item)
        held = Bytes(0, None, now_ms, False)
        if row is None:
            change = operations.make_file(item, ItemId(bytes(24)), item.hex(), held, now_ms)
        else:
            heads = self.replica.shelf.heads(item)
            change = operations.replace_bytes(row, heads, held)
        with self.store.transaction():
            self.replica.author([change], now_ms)
            self.replica.seal()
        self.store.take_touched()

    def collect(self) -> None:
        """Rounds, until a walk through all commits is done."""
        self.store.make_durable()
        self.replica.made_durable(self.replica.mark)
        for _ in range(self.commits() // COMMITS_AT_ONCE + 2):
            with self.store.transaction():
                self.collection.round(time.time())

    def commits(self) -> int:
        """That are kept."""
        return len(self.store.ledger.commits_beyond(self.replica.number, {}, 0, 10**9))

    def size_bytes(self) -> int:
        """Of the file, when all is in it."""
        self.store.checkpoint()
        return self._file.stat().st_size


def measure(edits: int, collect_every: int | None) -> tuple[int, int, float]:
    """Bytes, commits, and seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        editing = Editing(Path(folder))
        for number in range(edits):
            editing.edit(editing.items[number % FILES], 1000 + number)
            if collect_every and number % collect_every == collect_every - 1:
                editing.collect()
        found = editing.size_bytes(), editing.commits()
        editing.store.close()
    return *found, time.perf_counter() - began


def main() -> None:
    """Print the figures."""
    edits = int(sys.argv[1]) if len(sys.argv) > 1 else EDITS
    for count in (edits // 4, edits):
        for name, every in (("kept for ever", None), ("collected", 1000)):
            size, commits, seconds = measure(count, every)
            print(
                f"{count:7} edits of {FILES} files, {name:13}: {size / 1e6:7.2f} MB,"
                f" {commits:6} commits, {seconds:5.1f} s"
            )


if __name__ == "__main__":
    main()
