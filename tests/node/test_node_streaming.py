"""What is stream-only is shown, and nothing of it stays, or goes to others."""

import random
from pathlib import Path

import pytest

from sharefs.errors import NoHolderOnline
from sharefs.records.content import MIB
from sharefs.store import fleeting
from tests.node.node_parties import Party, agree, until


def data_of(number: int, size: int = 3 * MIB) -> bytes:
    return random.Random(number).randbytes(size)


def stream_only(party: Party, value: str = "on", path: str = "") -> None:
    space = "" if path else "Family"
    place = str(party.service.path(party.there(path))) if path else ""
    party.service.set_setting("stream-only", value, space, "", place, "")


def kept(party: Party) -> list[Path]:
    """Files of contents on its disk."""
    return [path for path in party.home.contents_folder.glob("*/*") if path.is_file()]


def fetched(party: Party, path: str) -> list[tuple[str, str]]:
    job = party.service.fetch([str(party.service.path(party.there(path)))], lambda: None)
    until(lambda: job.progress().finished)
    return job.progress().failures


def test_what_is_read_is_right_and_nothing_is_kept(anna: Party, bob: Party) -> None:
    stream_only(bob)
    for number, size in enumerate((1000, 100_000, 9 * MIB)):
        anna.write(str(number), data_of(number, size))
        agree(str(number), anna, bob)
        assert bob.read(str(number)) == data_of(number, size)
        row = bob.there(str(number))
        assert row.local == 0
        assert bob.node.desk.describe(row)["state"] == "stream-only"
    assert kept(bob) == []
    state = bob.node.state
    (rows,) = state.loop.call(
        lambda: state.store.connection.execute("SELECT count(*) FROM content").fetchone()
    )
    assert rows == 0
    assert bob.service.spaces()[0].local_bytes == 0


def test_what_is_shown_is_not_served_on(anna: Party, bob: Party, carol: Party) -> None:
    stream_only(bob)
    anna.write("film", data_of(1))
    agree("film", anna, bob, carol)
    assert bob.read("film") == data_of(1)
    anna.down()
    until(lambda: not carol.sees(anna))
    assert isinstance(carol.fails("film"), NoHolderOnline)
    assert bob.read("film") == data_of(1), "it is in memory still"
    anna.up()


def test_memory_is_bounded_and_what_made_room_comes_again(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob.node.state.keeping.fleeting = fleeting.Fleeting(2 * MIB)
    stream_only(bob)
    film = data_of(1, 9 * MIB)
    anna.write("film", film)
    agree("film", anna, bob)
    core, row = bob.node.core, bob.there("film")
    handle = core.open(row.ino, 0)
    for _ in range(2):
        read = [core.read(handle, at, 128 * 1024) for at in range(0, len(film), 128 * 1024)]
        assert b"".join(read) == film
    assert row.content is not None
    shown = bob.node.state.keeping.fleeting.known(row.content)
    assert shown is not None
    assert 0 < shown.memory_bytes <= 2 * MIB
    core.release(handle)
    assert kept(bob) == []


def test_fetch_says_that_it_is_stream_only(anna: Party, bob: Party) -> None:
    stream_only(bob)
    anna.write("film", data_of(1))
    agree("film", anna, bob)
    ((_, sentence),) = fetched(bob, "film")
    assert "stream-only" in sentence
    assert kept(bob) == []


def test_an_eager_space_that_is_stream_only_fetches_nothing(anna: Party, bob: Party) -> None:
    stream_only(bob)
    bob.service.set_setting("replication", "eager", "Family", "", "", "")
    anna.write("kept", data_of(1))
    agree("kept", anna, bob)
    stream_only(bob, "off", "kept")
    anna.write("film", data_of(2))
    agree("film", anna, bob)
    anna.edit("kept", data_of(3))
    until(lambda: bob.there("kept").local == 3 * MIB)
    anna.edit("kept", data_of(4))
    agree("kept", anna, bob)
    until(lambda: bob.there("kept").local == 3 * MIB)
    film = bob.there("film").content
    assert film is not None
    assert bob.node.state.contents.local_bytes(film) == 0


def test_a_file_goes_before_its_folder_and_that_before_the_space(anna: Party, bob: Party) -> None:
    for number, path in enumerate(("a/b/one", "a/two", "three")):
        anna.write(path, data_of(number))
        agree(path, anna, bob)
    streams = bob.node.state.keeping.is_stream_only

    def all_three() -> list[bool]:
        return [streams(bob.there(path)) for path in ("a/b/one", "a/two", "three")]

    assert all_three() == [False, False, False]
    stream_only(bob, "on", "a")
    assert all_three() == [True, True, False]
    stream_only(bob, "off", "a/b/one")
    assert all_three() == [False, True, False]
    stream_only(bob)
    assert all_three() == [False, True, True]
    stream_only(bob, "default", "a/b/one")
    anna.move("a/two", "two")
    agree("two", anna, bob)
    assert [streams(bob.there(path)) for path in ("a/b/one", "two", "three")] == [True] * 3


def test_what_a_member_writes_stays(bob: Party, anna: Party) -> None:
    stream_only(bob)
    bob.write("mine", data_of(1))
    assert bob.there("mine").local == 3 * MIB
    agree("mine", anna, bob)
    assert anna.read("mine") == data_of(1), "and is served"


def test_what_was_here_stays_until_it_is_freed(anna: Party, bob: Party) -> None:
    anna.write("film", data_of(1))
    agree("film", anna, bob)
    bob.read("film")
    until(lambda: bob.there("film").local == 3 * MIB)
    stream_only(bob)
    assert bob.read("film") == data_of(1)
    path = str(bob.service.path(bob.there("film")))
    until(lambda: bob.service.free([path]).files == 1)
    assert bob.read("film") == data_of(1)
    assert kept(bob) == []


def test_bytes_of_another_file_that_is_kept_are_kept(anna: Party, bob: Party) -> None:
    anna.write("film", data_of(1))
    anna.write("same", data_of(1))
    agree("same", anna, bob)
    stream_only(bob, "on", "film")
    bob.read("film")
    until(lambda: bob.there("film").local == 3 * MIB)


def read_at(party: Party, path: str, *offsets: int) -> list[bytes]:
    core, row = party.node.core, party.there(path)
    handle = core.open(row.ino, 0)
    try:
        return [core.read(handle, at, 4096) for at in offsets]
    finally:
        core.release(handle)


def test_who_reads_while_it_is_chosen_goes_on_and_keeps_nothing_more(
    anna: Party, bob: Party
) -> None:
    film = data_of(1, 9 * MIB)
    anna.write("film", film)
    agree("film", anna, bob)
    core, row = bob.node.core, bob.there("film")
    contents = bob.node.state.contents
    assert row.content is not None
    handle = core.open(row.ino, 0)
    assert core.read(handle, 0, 4096) == film[:4096]
    before = contents.local_bytes(row.content)
    assert before > 0
    stream_only(bob)
    until(lambda: bob.node.state.keeping.choice)
    for at in (3 * MIB, 5 * MIB, 8 * MIB):
        assert core.read(handle, at, 4096) == film[at : at + 4096]
    assert contents.local_bytes(row.content) == before
    core.release(handle)


def test_what_is_to_be_kept_again_is_kept_from_then_on(anna: Party, bob: Party) -> None:
    film = data_of(1, 9 * MIB)
    anna.write("film", film)
    agree("film", anna, bob)
    stream_only(bob)
    assert read_at(bob, "film", 0, 5 * MIB) == [film[:4096], film[5 * MIB :][:4096]]
    assert bob.there("film").local == 0
    stream_only(bob, "off")
    until(lambda: bob.node.state.keeping.choice == 2)
    assert bob.read("film") == film
    until(lambda: bob.there("film").local == len(film))
