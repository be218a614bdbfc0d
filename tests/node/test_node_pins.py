"""What is pinned comes here, follows every change, and stays."""

import pytest

from sharefs.errors import Pinned
from sharefs.node.cache import Cache
from sharefs.node.reports import TransferVerb
from sharefs.node.settings import CACHE, EVERYTHING
from sharefs.records.shown import Shown
from sharefs.transfer import telling
from tests.node.node_parties import Party, agree, until

KILO = b"k" * 1000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.02)


def at(party: Party, path: str) -> str:
    return str(party.node.mount_point / "Family" / path)


def pin(party: Party, path: str, on: bool = True) -> None:
    party.service.pin([at(party, path)], on)


def told(party: Party, path: str) -> dict[str, str]:
    return party.node.desk.describe(party.there(path))


def is_here(party: Party, path: str) -> bool:
    return told(party, path)["state"] in ("local", "last copy")


def comes(party: Party, *paths: str) -> None:
    for path in paths:
        until(lambda path=path: is_here(party, path), f"{path} is here")  # type: ignore[misc]


def shared(name: str, data: bytes, writer: Party, *others: Party) -> None:
    """A file that others see."""
    writer.write(name, data)
    agree(name, writer, *others)


def held_by_both(one: Party, other: Party, *names: str) -> None:
    """Wait until `one` knows that the other holds these."""
    for name in names:
        other.read(name)
    for name in names:
        until(
            lambda name=name: len(told(one, name)["holders"].split(", ")) == 2,  # type: ignore[misc]
            f"{name} is known to be held by both",
        )


# --- pins ---------------------------------------------------------------------------------------


def test_a_pinned_folder_comes_now_and_later_and_no_other(anna: Party, bob: Party) -> None:
    for name in ("photos/sea", "photos/deep/hill", "other"):
        shared(name, name.encode(), anna, bob)
    pin(bob, "photos")
    comes(bob, "photos/sea", "photos/deep/hill")
    shared("photos/new", b"new", anna, bob)
    comes(bob, "photos/new")
    shared("late", b"late", anna, bob)
    comes(bob, "photos/new")
    assert not is_here(bob, "other")
    assert not is_here(bob, "late")
    assert told(bob, "photos/deep/hill")["pinned"] == "yes"
    assert "pinned" not in told(bob, "other")


def test_a_pinned_file_follows_its_changes_and_its_renames(anna: Party, bob: Party) -> None:
    shared("a.txt", b"one", anna, bob)
    pin(bob, "a.txt")
    comes(bob, "a.txt")
    anna.edit("a.txt", b"two, and longer")
    until(lambda: bob.there("a.txt").size == 15)
    comes(bob, "a.txt")
    anna.move("a.txt", "b.txt")
    agree("b.txt", anna, bob)
    anna.edit("b.txt", b"three")
    until(lambda: bob.there("b.txt").size == 5)
    comes(bob, "b.txt")


def test_what_is_pinned_is_not_freed_until_it_is_unpinned(anna: Party, bob: Party) -> None:
    shared("photos/sea", b"sea", anna, bob)
    pin(bob, "photos")
    comes(bob, "photos/sea")
    (refused,) = bob.node.freeing.free([bob.there("photos/sea")]).refused
    assert isinstance(refused[1], Pinned)
    pin(bob, "photos/sea", on=False)
    assert bob.node.freeing.free([bob.there("photos/sea")]).files == 1
    shared("photos/hill", b"hill", anna, bob)
    comes(bob, "photos/hill")
    pin(bob, "photos", on=False)
    assert bob.node.freeing.free([bob.there("photos/hill")]).files == 1
    assert bob.node.pins.of_space(bob.replica().id) == {}, "nothing is left to say"


def test_a_folder_is_pinned_with_what_was_taken_out_before(anna: Party, bob: Party) -> None:
    shared("photos/deep/sea", b"sea", anna, bob)
    pin(bob, "photos")
    pin(bob, "photos/deep", on=False)
    pin(bob, "photos/deep/sea")
    pin(bob, "photos", on=False)
    pin(bob, "photos")
    assert list(bob.node.pins.of_space(bob.replica().id).values()) == [True]
    assert told(bob, "photos/deep/sea")["pinned"] == "yes"


def test_a_pin_tells_what_does_not_come_and_why(anna: Party, bob: Party) -> None:
    for name in ("d/plain", "d/rejected", "d/stream"):
        shared(name, kilo(name), anna, bob)
    bob.service.order(TransferVerb.REJECT, [at(bob, "d/rejected")])
    bob.service.set_setting("stream-only", "on", "", "", at(bob, "d/stream"), "")
    report = bob.service.pin([at(bob, "d")], True)
    assert (report.files, report.bytes) == (3, 1000)
    told_of = dict(report.refused)
    assert "rejected" in told_of[at(bob, "d/rejected")]
    assert "stream-only" in told_of[at(bob, "d/stream")]
    assert len(told_of) == 2


def test_an_unpin_tells_what_was_pinned(anna: Party, bob: Party) -> None:
    shared("d/a", b"a", anna, bob)
    shared("d/b", b"b", anna, bob)
    assert not bob.service.pin([at(bob, "d")], False).changed
    pin(bob, "d/a")
    report = bob.service.pin([at(bob, "d")], False)
    assert (report.files, report.changed) == (1, True)


def test_pins_of_what_was_deleted_are_not_told_of_and_go_with_its_last_trace(
    anna: Party, bob: Party
) -> None:
    shared("a", b"a", anna, bob)
    shared("b", b"b", anna, bob)
    item = bob.there("a").item
    pin(bob, "a")
    pin(bob, "b")
    anna.remove("a")
    until(lambda: bob.entry("a") is None)
    paths = [r.path for r in bob.service.settings() if r.name == "pinned" and r.path]
    assert paths == [at(bob, "b")]
    space = bob.replica().id
    assert len(bob.node.pins.of_space(space)) == 2, "it may come back"
    bob.node.loop.call(lambda: bob.node.state.replicas[space].shelf.forget_dead(item))
    bob.down()
    bob.up()
    assert len(bob.node.pins.of_space(space)) == 1


def test_what_is_pinned_again_comes_again_though_it_was_freed(anna: Party, bob: Party) -> None:
    shared("a.txt", b"one", anna, bob)
    bob.read("a.txt")
    until(lambda: bob.node.freeing.free([bob.there("a.txt")]).files == 1)
    pin(bob, "a.txt")
    comes(bob, "a.txt")


def test_pins_last_beyond_a_restart_and_are_made_up_for_then(anna: Party, bob: Party) -> None:
    shared("photos/sea", b"sea", anna, bob)
    pin(bob, "photos")
    comes(bob, "photos/sea")
    bob.down()
    anna.write("photos/hill", b"hill")
    bob.up()
    until(lambda: bob.entry("photos/hill") is not None)
    comes(bob, "photos/hill")


def test_a_whole_space_can_be_pinned(anna: Party, bob: Party) -> None:
    shared("photos/sea", b"sea", anna, bob)
    report = bob.service.pin([str(bob.node.mount_point / "Family")], True)
    assert (report.files, report.bytes) == (1, 3)
    comes(bob, "photos/sea")


def test_a_file_with_the_bytes_of_a_pinned_one_is_not_freed(anna: Party, bob: Party) -> None:
    shared("a.txt", b"same", anna, bob)
    shared("b.txt", b"same", anna, bob)
    pin(bob, "a.txt")
    comes(bob, "a.txt", "b.txt")
    assert len(bob.node.freeing.free([bob.there("b.txt")]).refused) == 1


# --- the limit of the cache ---------------------------------------------------------------------


def uses(party: Party, *names: str) -> None:
    """These were used one after the other, long ago."""
    rows: list[Shown] = [party.there(name) for name in names]

    def note() -> None:
        for number, row in enumerate(rows):
            assert row.content is not None
            party.node.state.uses.note(row.content, 1000.0 + number)
        party.node.state.uses.write()

    party.node.loop.call(note)


def limit(party: Party, text: str) -> None:
    party.node.loop.call(lambda: party.node.state.settings.choose(CACHE, EVERYTHING, text))


def about_cache(party: Party) -> list[str]:
    return [notice for notice in party.node.state.notices if "limit of the cache" in notice]


def kilo(name: str) -> bytes:
    return name.encode() + KILO[len(name) :]


def test_what_was_used_longest_ago_goes_first(anna: Party, bob: Party) -> None:
    names = [f"{number}" for number in range(6)]
    for name in names:
        shared(name, kilo(name), anna, bob)
        bob.read(name)
    until(lambda: bob.node.state.uses.local_bytes() == 6000, "all is saved")
    contents = [content for name in names if (content := bob.there(name).content)]
    uses(bob, "3", "1", "0", "2", "4", "5")
    until(lambda: not any(bob.node.cache._is_used(content) for content in contents), "all rest")
    limit(bob, "4K")
    until(lambda: bob.node.state.uses.local_bytes() <= 4000)
    until(lambda: [name for name in names if not is_here(bob, name)] == ["0", "1", "3"])
    assert about_cache(bob) == []


def test_what_has_to_stay_does_not_keep_what_was_used_later(anna: Party, bob: Party) -> None:
    bob.write("only", b"".join(kilo(name) for name in "abcd"))
    shared("theirs", kilo("theirs"), anna, bob)
    bob.read("theirs")
    until(lambda: bob.node.state.uses.local_bytes() == 5000, "all is saved")
    contents = [content for name in ("only", "theirs") if (content := bob.there(name).content)]
    uses(bob, "only", "theirs")
    until(lambda: not any(bob.node.cache._is_used(content) for content in contents), "all rest")
    bob.node.cache.make_room(4500)
    assert is_here(bob, "only")
    assert not is_here(bob, "theirs")
    assert about_cache(bob) == []


def test_never_what_nobody_else_has_nor_what_is_pinned_or_open(anna: Party, bob: Party) -> None:
    for name in ("mine", "pinned", "open", "plain"):
        shared(name, kilo(name), bob, anna)
    held_by_both(bob, anna, "pinned", "open", "plain")
    pin(bob, "pinned")
    uses(bob, "mine", "pinned", "open", "plain")
    core = bob.node.core
    handle = core.open(bob.there("open").ino, 0)
    limit(bob, "1K")
    until(lambda: about_cache(bob), "it is told that there is no room to be made")
    assert [n for n in ("mine", "pinned", "open", "plain") if not is_here(bob, n)] == ["plain"]
    (notice,) = about_cache(bob)
    assert notice == (
        "3 kB is here, and the limit of the cache is 1 kB: 1 kB nobody else who is online promises"
        " to keep, 1 kB is pinned, 1 kB is in use, or of earlier versions."
    )
    core.release(handle)
    limit(bob, "off")
    until(lambda: about_cache(bob) == [])


def test_a_notice_says_nothing_of_what_is_next_to_nothing(anna: Party) -> None:
    anna.write("mine", bytes(2_000_500))
    anna.write("pinned", b"few")
    pin(anna, "pinned")
    contents = [content for name in ("mine", "pinned") if (content := anna.there(name).content)]
    until(lambda: not any(anna.node.cache._is_used(content) for content in contents), "all rest")
    anna.node.cache.make_room(1_500_000)
    assert about_cache(anna) == [
        "2 MB is here, and the limit of the cache is 1.5 MB:"
        " 2 MB nobody else who is online promises to keep."
    ]


def test_with_room_nothing_goes(anna: Party, bob: Party) -> None:
    shared("a", kilo("a"), anna, bob)
    bob.read("a")
    limit(bob, "1M")
    cache: Cache = bob.node.cache
    cache.make_room(1_000_000)
    assert is_here(bob, "a")
    assert about_cache(bob) == []


def test_uses_are_written_for_many_at_once(anna: Party) -> None:
    anna.write("a", b"a")
    anna.write("b", b"b")
    anna.read("a")
    uses(anna, "b", "a")
    found = anna.node.state.uses.longest_unused((-1.0, anna.there("a").content or b""), 10)  # type: ignore[arg-type]
    assert [content for _, content, _ in found] == [
        anna.there("b").content,
        anna.there("a").content,
    ]
