import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sharefs.errors import DiskFull, LastCopy, LocalDamage, NodeNotRunning, NoHolderOnline
from sharefs.mount.ports import Reader
from sharefs.records.ids import DeviceId
from sharefs.store.local import LocalContent
from sharefs.wire.holdings import AskPromise, Promise
from sharefs.wire.transfer import Ask, Offer, WantChunks
from tests.node.node_parties import Party, Raw, agree, meet, until

BIG = random.Random(5).randbytes(3_000_000)


def shared(name: str, data: bytes, writer: Party, *others: Party) -> None:
    """A file that all others see, and have."""
    writer.write(name, data)
    agree(name, writer, *others)
    for other in others:
        assert other.read(name) == data
        until(lambda other=other: promises(other, name), "it is durable there")  # type: ignore[misc]


def promises(party: Party, name: str) -> bool:
    content = party.there(name).content
    assert content is not None
    return party.node.carriage.is_durable(content)


def local_bytes(party: Party, name: str) -> int:
    content = party.there(name).content
    return party.node.state.contents.local_bytes(content) if content else 0


def test_only_the_range_that_is_read_travels(anna: Party, bob: Party) -> None:
    anna.write("big", BIG)
    agree("big", anna, bob)
    row = bob.there("big")
    handle = bob.node.core.open(row.ino, os.O_RDONLY)
    assert bob.node.core.read(handle, 2_000_000, 10) == BIG[2_000_000:2_000_010]
    bob.node.core.release(handle)
    assert 0 < local_bytes(bob, "big") < len(BIG)
    assert bob.read("big") == BIG


def serve_only_when(ready: Callable[[], object], party: Party, asked: threading.Event) -> None:
    """The party tells that it was asked for chunks, and waits before it sends them."""
    serving, loop = party.node.carriage.serving, party.node.loop
    wanted = serving.wanted

    def wait(device: DeviceId, want: WantChunks) -> None:
        asked.set()
        if ready():
            wanted(device, want)
        else:
            loop.at(time.monotonic() + 0.005, lambda: wait(device, want))

    serving.wanted = wait  # type: ignore[method-assign]


def test_a_content_that_two_hold_comes_from_both(anna: Party, bob: Party, carol: Party) -> None:
    data = random.Random(6).randbytes(10_000_000)
    shared("big", data, anna, bob)
    agree("big", anna, carol)
    asked = {anna: threading.Event(), bob: threading.Event()}
    serve_only_when(asked[bob].is_set, anna, asked[anna])
    serve_only_when(asked[anna].is_set, bob, asked[bob])
    assert carol.read("big") == data


def test_what_nobody_online_has_fails_with_a_sentence(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    anna.down()
    until(lambda: not bob.sees(anna))
    error = bob.fails("a.txt")
    assert isinstance(error, NoHolderOnline)
    assert "Anna" in str(error)
    anna.up()
    meet(anna, bob)
    assert bob.read("a.txt") == b"hello"


# --- freeing ------------------------------------------------------------------------------------


def free(party: Party, name: str) -> int:
    """The bytes freed. Raises LastCopy."""
    freed = party.node.freeing.free([party.there(name)])
    for _, error in freed.refused:
        raise error
    return freed.bytes


def test_the_last_copy_is_not_freed(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    with pytest.raises(LastCopy):
        free(anna, "a.txt")
    assert bob.read("a.txt") == b"hello"


def test_what_another_has_is_freed_and_fetched_again(anna: Party, bob: Party) -> None:
    shared("a.txt", b"hello", anna, bob)
    assert free(anna, "a.txt") == 5
    assert local_bytes(anna, "a.txt") == 0
    with pytest.raises(LastCopy):
        free(bob, "a.txt")
    assert anna.read("a.txt") == b"hello"


def test_what_stands_in_two_spaces_is_freed_only_if_somebody_in_each_has_it(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    """Bob is not in Work: what he promises is nothing that its members could get."""
    shared("a.txt", b"hello", anna, bob)
    anna.create("Work")
    carol = party("Carol")
    anna.invite(carol, "Work")
    meet(anna, carol)
    anna.write("b.txt", b"hello", space="Work")
    agree("b.txt", anna, carol, space="Work")
    with pytest.raises(LastCopy, match="in Work, too"):
        free(anna, "a.txt")
    assert local_bytes(anna, "a.txt") == 5
    assert carol.read("b.txt", space="Work") == b"hello"
    content = carol.there("b.txt", space="Work").content
    assert content is not None
    until(lambda: carol.node.carriage.is_durable(content), "it is durable there")
    assert free(anna, "a.txt") == 5


@pytest.mark.parametrize("turn", range(6))
def test_of_two_who_free_at_once_one_keeps_it(anna: Party, bob: Party, turn: int) -> None:
    shared("a.txt", b"hello", anna, bob)
    start = threading.Barrier(2)
    freed: list[str] = []

    def run(party: Party) -> None:
        start.wait()
        for _ in range(1 + turn % 3):
            try:
                free(party, "a.txt")
                freed.append(party.name)
            except LastCopy:
                continue
            return

    threads = [threading.Thread(target=run, args=(party,)) for party in (anna, bob)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(freed) < 2
    assert local_bytes(anna, "a.txt") + local_bytes(bob, "a.txt") >= 5


def test_who_is_freeing_promises_nothing_of_it(anna: Party, mallory: Raw) -> None:
    anna.write("a.txt", b"hello")
    content = anna.there("a.txt").content
    assert content is not None
    failures: list[BaseException] = []

    def run() -> None:
        try:
            free(anna, "a.txt")
        except LastCopy as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    asked = mallory.hears(AskPromise)
    assert asked.contents == (content,)
    mallory.say(AskPromise(asked.space, 77, (content,)))
    assert mallory.hears(Promise, lambda promise: promise.number == 77).kept == b"\x00"
    mallory.say(Ask(asked.space, content, True, True))
    assert not mallory.hears(Offer).holds
    mallory.say(Promise(asked.space, asked.number, b"\x00"))
    mallory.say(Promise(asked.space, asked.number, b"\x01"))
    thread.join()
    assert failures, "the first answer counts: that one may lose it"
    assert anna.read("a.txt") == b"hello"
    mallory.say(AskPromise(asked.space, 78, (content,)))
    assert mallory.hears(Promise, lambda promise: promise.number == 78).kept == b"\x01"


def test_nobody_promises_what_is_of_another_space(anna: Party, mallory: Raw) -> None:
    anna.create("Diary")
    anna.write("a.txt", b"hello", space="Diary")
    content = anna.there("a.txt", space="Diary").content
    assert content is not None
    mallory.say(AskPromise(anna.replica().id, 5, (content,)))
    assert mallory.hears(Promise).kept == b"\x00"


def test_bytes_are_promised_only_when_a_power_cut_would_leave_them(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else others free theirs, and this copy is not known any more after the cut."""
    store = bob.node.state.store
    sync, go_on = store.make_durable, threading.Event()

    def slow() -> None:
        go_on.wait(10.0)
        sync()

    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    monkeypatch.setattr(store, "make_durable", slow)
    assert bob.read("a.txt") == b"hello"
    content = bob.there("a.txt").content
    assert content is not None
    until(lambda: bob.node.state.contents.is_saved(content), "its bits are saved")
    with pytest.raises(LastCopy):
        free(anna, "a.txt")
    go_on.set()
    until(lambda: promises(bob, "a.txt"))
    assert free(anna, "a.txt") == 5


def test_an_entry_that_is_freed_while_a_program_reads_is_read_right(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared("big", BIG, anna, bob)
    row = bob.there("big")
    reader: Reader = bob.node.core._contents.open(row)
    pread = LocalContent.pread
    freed: list[int] = []

    def freed_first(local: LocalContent, offset: int, size: int, again: bool = False) -> bytes:
        if not freed and threading.current_thread() is threading.main_thread():
            freed.append(free(bob, "big"))
            handle = bob.node.core.open(row.ino, os.O_RDONLY)
            bob.node.core.read(handle, len(BIG) - 10, 10)
            bob.node.core.release(handle)
        return pread(local, offset, size, again=again)

    monkeypatch.setattr(LocalContent, "pread", freed_first)
    assert reader.read(0, 100_000) == BIG[:100_000]
    assert freed
    reader.close()


def test_what_keeps_going_away_is_told_as_damage(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("a.txt", b"hello")

    def damaged(*_: object) -> bytes:
        raise LocalDamage("gone")

    monkeypatch.setattr(LocalContent, "pread", damaged)
    assert isinstance(anna.fails("a.txt"), LocalDamage)


# --- a full disk --------------------------------------------------------------------------------


def full_disk(*_: object, **__: object) -> None:
    raise DiskFull("The disk is full.")


def test_a_copy_onto_a_disk_that_is_getting_full_is_never_cut_short(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("big", BIG)
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data[:700_001]), at))
    copy = anna.node.core._contents.new_draft(anna.top(), "copy", None, anna.there("big"))
    assert copy.path.read_bytes() == BIG
    copy.close()


@pytest.mark.parametrize("data", [b"hello", BIG], ids=["small", "large"])
def test_a_full_disk_while_fetching_is_told_and_the_fetch_goes_on_later(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    anna.write("file", data)
    agree("file", anna, bob)
    with monkeypatch.context() as patch:
        patch.setattr(LocalContent, "write_chunk", full_disk)
        assert isinstance(bob.fails("file"), DiskFull)
    assert bob.alive
    assert bob.read("file") == data


@pytest.mark.parametrize("data", [b"hello", BIG], ids=["small", "large"])
def test_a_database_without_room_while_fetching(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """Where SQLite complains in the middle of a batch, which is then rolled back."""
    anna.write("file", data)
    agree("file", anna, bob)
    contents = bob.node.state.contents

    def no_room(*_: object) -> None:
        bob.node.state.store.connection.execute("PRAGMA max_page_count = 1")
        bob.node.state.store.connection.execute("CREATE TABLE large (x)")

    with monkeypatch.context() as patch:
        patch.setattr(contents, "keep_manifest", no_room)
        assert isinstance(bob.fails("file"), DiskFull)
    bob.node.state.store.connection.execute("PRAGMA max_page_count = 1073741823")
    assert bob.alive
    assert bob.read("file") == data
    bob.write("other", b"and writing goes on")
    agree("other", anna, bob)


def test_a_draft_waits_for_room_and_is_published_then(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharefs.node.publication.DISK_FULL_RETRY_SECONDS", 0.1)
    core = anna.node.core
    with monkeypatch.context() as patch:
        tried: list[int] = []

        def adopt(*_: object) -> None:
            tried.append(1)
            raise DiskFull("The disk is full.")

        patch.setattr(anna.node.state.contents, "adopt", adopt)
        handle = core.create(anna.top(), "a.txt", 0o644, os.O_RDWR)
        core.write(handle, 0, b"hello")
        core.release(handle)
        until(lambda: len(tried) >= 3, "it is tried again and again")
        assert anna.entry("a.txt") is None
        assert core.lookup(anna.top(), "a.txt").size == 5, "the program sees it"
        assert any("a.txt" in notice for notice in anna.node.state.notices)
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"hello"
    assert anna.names() == ["a.txt"]
    assert list(anna.node.state.notices) == [], "it is shared by now"


def test_what_is_removed_before_it_could_be_shared_is_not_told_of_any_more(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharefs.node.publication.DISK_FULL_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(anna.node.state.contents, "adopt", full_disk)
    core = anna.node.core
    core.release(core.create(anna.top(), "a.txt", 0o644, os.O_RDWR))
    until(lambda: list(anna.node.state.notices))
    core.unlink(anna.top(), "a.txt")
    until(lambda: not list(anna.node.state.notices))


def test_a_file_is_removed_on_a_full_disk_with_the_room_that_is_kept_for_it(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("a.txt", b"hello")
    anna.write("b.txt", b"hello")
    until(anna.home.reserve_file.exists)
    transaction = anna.node.state.store.transaction

    @contextmanager
    def while_there_is_room() -> Iterator[None]:
        with transaction():
            yield
            wrote = anna.node.state.store.connection.total_changes > before
            if wrote and (anna.home.reserve_file.exists() or gone):
                raise DiskFull("The disk is full.")

    before, gone = anna.node.state.store.connection.total_changes, []
    monkeypatch.setattr(anna.node.state.store, "transaction", while_there_is_room)
    anna.node.desk.remove(anna.there("a.txt").ino)
    assert anna.names() == ["b.txt"]
    gone.append(True)
    with pytest.raises(DiskFull):
        anna.node.desk.remove(anna.there("b.txt").ino)
    assert anna.names() == ["b.txt"]


def test_a_damaged_file_is_named_as_the_person_knows_it(anna: Party, bob: Party) -> None:
    data = random.Random(7).randbytes(3_000_000)
    shared("big", data, anna, bob)
    content = anna.there("big").content
    assert content is not None
    local = anna.node.state.contents.known(content)
    assert local is not None
    path = local._path
    stored = path.read_bytes()
    path.write_bytes(bytes([stored[0] ^ 1]) + stored[1:])
    agree("big", anna, bob)
    free(bob, "big")
    bob.fails("big")
    (notice,) = anna.node.state.notices
    assert notice.startswith("big: ")
    assert path.name not in notice


def test_a_read_ends_when_the_node_does(anna: Party, bob: Party) -> None:
    anna.write("big", BIG)
    agree("big", anna, bob)
    send = anna.node.carriage.serving.wanted
    asked = threading.Event()
    anna.node.carriage.serving.wanted = lambda *_: asked.set()  # type: ignore[method-assign]
    ends: list[BaseException] = []

    def read() -> None:
        try:
            bob.read("big")
        except NodeNotRunning as error:
            ends.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert asked.wait(10.0)
    bob.node.loop.stop()
    thread.join(10.0)
    assert ends
    anna.node.carriage.serving.wanted = send  # type: ignore[method-assign]
