"""The view for readers: what is cached is what was committed."""

import random
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sharefs.records.entry import EntryType
from sharefs.records.ids import ROOT, ContentId
from sharefs.records.shown import Shown
from sharefs.store.database import Store
from sharefs.store.view import MISSES_MAX, ReadView
from tests.store.store_parties import FAMILY, encoded, item, open_store, record, shown

TOP = 2
FOLDER = shown(10, "folder", type=EntryType.FOLDER)
CONTENT = ContentId(b"c" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.shelf(1).save(FOLDER)
    yield store
    store.close()


def save(store: Store, *rows: Shown) -> None:
    with store.transaction():
        for row in rows:
            store.shelf(1).save(row)
    store.view.forget(store.take_touched())


def names(view: ReadView, folder: int) -> list[str]:
    return [row.shown for row in view.children(folder)]


def queries(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions that are put to SQLite from now on."""
    asked: list[str] = []
    query = ReadView._query

    def note(self: ReadView, condition: str, *values: object) -> list[Shown]:
        asked.append(condition)
        return query(self, condition, *values)

    monkeypatch.setattr(ReadView, "_query", note)
    return asked


def test_a_folder_shows_what_has_a_name_there(store: Store) -> None:
    save(
        store,
        shown(20, "b", place=FOLDER.item),
        shown(21, "a", place=FOLDER.item),
        shown(22, "dead", place=FOLDER.item, live=False),
        shown(23, "nameless", place=FOLDER.item, shown=""),
        shown(24, "merged", place=FOLDER.item, merged=item(20)),
        shown(25, "c", shown="c (Bob)", place=FOLDER.item),
    )
    assert names(store.view, FOLDER.ino) == ["a", "b", "c (Bob)"]
    assert names(store.view, TOP) == ["folder"]
    assert names(store.view, 99) == []
    for name, ino in (("a", 21), ("c (Bob)", 25)):
        row = store.view.lookup(FOLDER.ino, name)
        assert row is not None
        assert row.ino == ino
    for name in ("dead", "nameless", "merged", "c", ""):
        assert store.view.lookup(FOLDER.ino, name) is None


def test_the_folder_of_an_entry(store: Store) -> None:
    inner = shown(20, place=FOLDER.item, parent=item(99))
    orphan = shown(21, place=item(98))
    save(store, inner, orphan)
    top = store.view.entry(TOP)
    assert top is not None
    assert store.view.folder(inner) == FOLDER.ino
    assert store.view.folder(FOLDER) == TOP
    assert store.view.folder(top) == 1
    assert store.view.folder(orphan) == 1


def test_a_merged_folder_shows_what_the_other_does(store: Store) -> None:
    merged = shown(11, "folder", type=EntryType.FOLDER, merged=FOLDER.item, shown="")
    save(store, merged, shown(20, "a", place=FOLDER.item))
    assert names(store.view, 11) == ["a"]
    assert store.view.lookup(11, "a") is not None


def test_what_was_read_once_is_not_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, *(shown(ino, place=FOLDER.item) for ino in range(20, 30)))
    store.view.children(FOLDER.ino)
    asked = queries(store, monkeypatch)
    assert len(store.view.children(FOLDER.ino)) == 10
    for ino in range(20, 30):
        assert store.view.lookup(FOLDER.ino, f"name {ino}") == store.view.entry(ino) != None  # noqa: E711
    assert store.view.lookup(FOLDER.ino, "nothing") is None
    assert asked == []


def test_a_name_alone_is_cached_with_its_absence(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, shown(20, "a", place=FOLDER.item))
    assert store.view.lookup(FOLDER.ino, "a") is not None
    assert store.view.lookup(FOLDER.ino, "b") is None
    asked = queries(store, monkeypatch)
    assert store.view.lookup(FOLDER.ino, "a") is not None
    assert store.view.lookup(FOLDER.ino, "b") is None
    assert asked == []


def test_after_a_commit_and_forget_readers_see_the_change(store: Store) -> None:
    first = shown(20, "a", place=FOLDER.item)
    save(store, first)
    assert names(store.view, FOLDER.ino) == ["a"]
    assert store.view.lookup(FOLDER.ino, "b") is None
    save(store, replace(first, name="b", shown="b", size=0))
    assert names(store.view, FOLDER.ino) == ["b"]
    assert store.view.lookup(FOLDER.ino, "a") is None
    renamed = store.view.entry(20)
    assert renamed is not None
    assert renamed.shown == "b"


def test_a_move_is_seen_in_both_folders_and_by_inode(store: Store) -> None:
    row = shown(20, "a", place=FOLDER.item)
    save(store, row)
    assert names(store.view, FOLDER.ino) == ["a"]
    assert names(store.view, TOP) == ["folder"]
    save(store, replace(row, place=ROOT))
    assert names(store.view, FOLDER.ino) == []
    assert names(store.view, TOP) == ["a", "folder"]
    moved = store.view.entry(20)
    assert moved is not None
    assert moved.place == ROOT


def test_other_folders_stay_cached(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store, shown(20, "a", place=FOLDER.item))
    store.view.children(FOLDER.ino)
    asked = queries(store, monkeypatch)
    save(store, shown(21, "b", place=item(77)))
    store.view.children(FOLDER.ino)
    assert asked == []


@pytest.mark.parametrize("read", ["children", "lookup", "entry"])
def test_a_read_that_a_commit_overtook_is_not_cached(
    store: Store, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    before = shown(20, "a", place=FOLDER.item, mtime_ns=1)
    save(store, before)
    assert store.view.entry(FOLDER.ino) is not None
    query = ReadView._query
    read_old, committed = threading.Event(), threading.Event()

    def slow(self: ReadView, condition: str, *values: object) -> list[Shown]:
        rows = query(self, condition, *values)
        read_old.set()
        assert committed.wait(10)
        return rows

    monkeypatch.setattr(ReadView, "_query", slow)
    calls: dict[str, Callable[[], list[Shown] | Shown | None]] = {
        "children": lambda: store.view.children(FOLDER.ino),
        "lookup": lambda: store.view.lookup(FOLDER.ino, "a"),
        "entry": lambda: store.view.entry(20),
    }
    thread = threading.Thread(target=calls[read])
    thread.start()
    assert read_old.wait(10)
    save(store, replace(before, mtime_ns=2))
    committed.set()
    thread.join()
    monkeypatch.undo()
    # The same question first, as another one would read anew what was wrongly kept.
    for question in (read, *calls):
        answer = calls[question]()
        rows = answer if isinstance(answer, list) else [answer]
        assert [row.mtime_ns for row in rows if row is not None] == [2]


def test_a_forget_elsewhere_does_not_keep_a_read_from_the_cache(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, shown(20, "a", place=FOLDER.item))
    assert store.view.entry(FOLDER.ino) is not None
    query = ReadView._query

    def busy(self: ReadView, condition: str, *values: object) -> list[Shown]:
        rows = query(self, condition, *values)
        self.forget({(1, item(77), 77, "elsewhere")})
        return rows

    monkeypatch.setattr(ReadView, "_query", busy)
    store.view.children(FOLDER.ino)
    monkeypatch.undo()
    asked = queries(store, monkeypatch)
    store.view.children(FOLDER.ino)
    assert asked == []


def test_a_folder_that_grows_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = queries(store, monkeypatch)
    for number in range(300):
        name = f"{number:03}"
        assert store.view.lookup(FOLDER.ino, name) is None
        save(store, shown(1000 + number, name, place=FOLDER.item))
    assert len(asked) < MISSES_MAX + 4, "who makes files there pays for none that was there"
    assert names(store.view, FOLDER.ino) == [f"{number:03}" for number in range(300)]
    before = len(asked)
    save(
        store,
        shown(1007, "007", place=FOLDER.item, mtime_ns=9),
        shown(2000, "0000", place=FOLDER.item),
    )
    assert names(store.view, FOLDER.ino)[:2] == ["000", "0000"]
    assert [row.mtime_ns for row in store.view.children(FOLDER.ino)].count(9) == 1
    assert len(asked) == before + 1, "a listing asks for what changed"


def test_what_is_cached_is_what_a_fresh_reader_sees(store: Store) -> None:
    chance = random.Random(7)
    places = [ROOT, FOLDER.item]
    inos = [TOP, FOLDER.ino]
    for _ in range(1500):
        number = chance.randrange(100, 130)
        match chance.randrange(6):
            case 0 | 1:
                name = str(chance.randrange(12))
                place = chance.choice(places)
                taken = store.view.lookup(inos[places.index(place)], name)
                row = shown(number, name, place=place, live=chance.random() < 0.8)
                if not row.live:
                    row = replace(row, shown="")
                if taken is None or taken.ino == number or not row.live:
                    save(store, row)
            case 2:
                with store.transaction():
                    store.shelf(1).erase(number)
                store.view.forget(store.take_touched())
            case 3:
                store.view.children(chance.choice(inos))
            case 4:
                store.view.lookup(chance.choice(inos), str(chance.randrange(12)))
            case _:
                store.view.entry(number)
        fresh = ReadView(store.readers)
        for ino in inos if chance.random() < 0.2 else ():
            assert store.view.children(ino) == fresh.children(ino)
            for name in map(str, range(12)):
                assert store.view.lookup(ino, name) == fresh.lookup(ino, name)
        assert store.view.entry(number) == fresh.entry(number)


def test_the_cache_is_bounded_and_keeps_what_is_used(store: Store) -> None:
    view = ReadView(store.readers, entries_max=50)
    folders = [shown(ino, type=EntryType.FOLDER) for ino in range(100, 120)]
    files = [
        shown(1000 + 10 * folder.ino + n, place=folder.item)
        for folder in folders
        for n in range(10)
    ]
    save(store, *folders, *files)
    for folder in folders:
        assert len(view.children(folder.ino)) == 10
        assert len(view.children(folders[0].ino)) == 10
        assert view._count <= 2 * 50 + 1
    assert view._count == sum(len(f.inos) + len(f.names) for f in view._folders.values())
    assert (1, folders[0].item) in view._folders
    assert (1, folders[1].item) not in view._folders
    assert set(view._entries) == {ino for f in view._folders.values() for ino in f.inos}


def test_a_folder_larger_than_the_cache_is_listed_all_the_same(store: Store) -> None:
    view = ReadView(store.readers, entries_max=5)
    save(store, *(shown(ino, place=FOLDER.item) for ino in range(100, 120)))
    assert len(view.children(FOLDER.ino)) == len(view.children(FOLDER.ino)) == 20


def test_local_bytes_come_with_the_row(store: Store) -> None:
    save(store, shown(20, "a", place=FOLDER.item, size=9, content=CONTENT))
    ghost = store.view.lookup(FOLDER.ino, "a")
    assert ghost is not None
    assert ghost.local == 0
    with store.transaction():
        store.connection.execute("INSERT INTO content VALUES (?, 9, 4, 0, x'01', NULL)", (CONTENT,))
    store.view.forget({(1, FOLDER.item, 20, "a")})
    assert [row.local for row in store.view.children(FOLDER.ino)] == [4]
    assert [row.ino for row in store.view.entries_of(CONTENT)] == [20]


def test_the_heads_of_a_row(store: Store) -> None:
    head = record(20, item(20))
    with store.transaction():
        store.ledger.add_head(1, head, encoded(head))
    assert store.view.heads_of(shown(20)) == [head]
    assert store.view.heads_of(shown(21)) == []


def test_readers_do_not_wait_for_the_writer(store: Store) -> None:
    with store.transaction():
        store.shelf(1).save(shown(20, "a"))
        assert names(store.view, TOP) == ["folder"]


class Meanwhile(dict[str, Shown | None]):
    """Does something as soon as a look has found nothing."""

    act: Callable[[], object] | None = None

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        found = super().get(key, default)
        act, self.act = self.act, None
        if act is not None and key not in self:
            act()
        return found


def test_a_name_is_found_while_somebody_else_lists_the_folder(store: Store) -> None:
    save(store, shown(20, "a", place=FOLDER.item))
    store.view.children(FOLDER.ino)
    save(store, shown(20, "a", place=FOLDER.item, mtime_ns=2))
    folder = store.view._folders[1, FOLDER.item]
    folder.names = names = Meanwhile(folder.names)
    names.act = lambda: store.view.children(FOLDER.ino)
    assert store.view.lookup(FOLDER.ino, "a") is not None
    assert names.act is None


def test_what_changes_stays_listed(store: Store) -> None:
    """While somebody lists a folder, and somebody else looks its names up."""
    save(store, *(shown(20 + n, str(n), place=FOLDER.item) for n in range(9)))
    missing: list[object] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            missing.extend(n for n in range(9) if not store.view.lookup(FOLDER.ino, str(n)))
            if len(names(store.view, FOLDER.ino)) != 9:
                missing.append("listed")

    threads = [threading.Thread(target=look) for _ in range(3)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for at in range(1, 300):
            save(store, *(shown(20 + n, str(n), place=FOLDER.item, mtime_ns=at) for n in range(9)))
    finally:
        sys.setswitchinterval(before)
        done.set()
        for thread in threads:
            thread.join()
    assert not missing


def test_many_threads_read_what_is_committed(store: Store) -> None:
    failures: list[object] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            row = store.view.lookup(FOLDER.ino, "a")
            at = row.mtime_ns if row is not None else 0
            if at < last:
                failures.append((last, at))
            last = at

    threads = [threading.Thread(target=read) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for number in range(1, 200):
            save(store, shown(20, "a", place=FOLDER.item, mtime_ns=number))
            row = store.view.lookup(FOLDER.ino, "a")
            assert row is not None
            assert row.mtime_ns == number
    except sqlite3.Error as error:
        failures.append(error)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
