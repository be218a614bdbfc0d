"""What a space is to keep here comes by itself, and nothing else does."""

import random
from collections.abc import Callable

import pytest

from sharefs.errors import BadArgument
from sharefs.node import replication
from sharefs.node.eagerness import Eagerness, parse_eagerness
from sharefs.records.content import MIB
from sharefs.records.shown import Shown
from sharefs.store.ghosts import ghosts
from tests.node.node_parties import Party, agree, apart, until

DAY_MS = 24 * 3600 * 1000


# --- what is wanted -----------------------------------------------------------------------------


def test_replication_is_chosen_in_words() -> None:
    assert parse_eagerness("on-demand") == Eagerness()
    assert parse_eagerness("Eager") == Eagerness(True)
    assert parse_eagerness("eager up to 20 MB") == Eagerness(True, 20_000_000)
    assert parse_eagerness("eager for new content of 1 day") == Eagerness(True, None, 1)


@pytest.mark.parametrize(
    "text", ["", "lazy", "eager up to", "eager up to x", "eager for new content of 0 days"]
)
def test_what_is_no_replication_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no (replication|quantity)"):
        parse_eagerness(text)


def test_size_and_age_bound_what_is_wanted() -> None:
    now = 100 * DAY_MS
    assert not Eagerness().wants(1, now, now)
    assert Eagerness(True).wants(2**60, 0, now)
    assert Eagerness(True, 100).wants(100, 0, now)
    assert not Eagerness(True, 100).wants(101, 0, now)
    assert Eagerness(True, None, 7).wants(1, 93 * DAY_MS, now)
    assert not Eagerness(True, None, 7).wants(1, 93 * DAY_MS - 1, now)


# --- what comes ---------------------------------------------------------------------------------


def eager(party: Party, how: str = "eager") -> None:
    party.service.set_setting("replication", how, "Family", "", "", "")


def is_local(party: Party, path: str) -> bool:
    row = party.entry(path)
    return row is not None and bool(row.content) and row.local == row.size


def data_of(number: int, size: int = 100_000) -> bytes:
    return random.Random(number).randbytes(size)


def test_an_eager_space_is_fetched_and_stays_so(anna: Party, bob: Party) -> None:
    for number in range(5):
        anna.write(f"old/{number}", data_of(number))
    agree("old/4", anna, bob)
    assert not is_local(bob, "old/0")
    eager(bob)
    until(lambda: all(is_local(bob, f"old/{number}") for number in range(5)))
    anna.write("new", data_of(5))
    until(lambda: is_local(bob, "new"))
    anna.edit("new", data_of(6))
    agree("new", anna, bob)
    until(lambda: is_local(bob, "new"))
    anna.down()
    assert bob.read("new") == data_of(6)
    anna.up()


def test_on_demand_nothing_comes_by_itself(anna: Party, bob: Party) -> None:
    eager(bob)
    anna.write("a", data_of(1))
    until(lambda: is_local(bob, "a"))
    eager(bob, "default")
    anna.write("b", data_of(2))
    anna.edit("a", data_of(3))
    agree("a", anna, bob)
    agree("b", anna, bob)
    eager(bob)
    until(lambda: is_local(bob, "b"), "what would have come before")
    assert is_local(bob, "a")


def test_only_what_is_small_enough_comes(anna: Party, bob: Party) -> None:
    anna.write("large", data_of(1, 300_000))
    anna.write("small", data_of(2))
    agree("small", anna, bob)
    eager(bob, "eager up to 200K")
    until(lambda: is_local(bob, "small"))
    anna.write("small too", data_of(3))
    until(lambda: is_local(bob, "small too"))
    assert not is_local(bob, "large")
    eager(bob, "eager up to 300K")
    until(lambda: is_local(bob, "large"))


def test_it_goes_on_after_a_restart_and_an_absence(anna: Party, bob: Party) -> None:
    eager(bob)
    bob.down()
    for number in range(3):
        anna.write(str(number), data_of(number))
    bob.up()
    until(lambda: bob.entry("2") is not None and is_local(bob, "2"))
    join = apart(anna, bob)
    bob.node.loop.call(lambda: bob.node.peers._offline(anna.device))
    anna.write("3", data_of(3))
    join()
    until(lambda: is_local(bob, "3"))
    anna.down()
    bob.down()
    bob.up()
    anna.up()
    anna.write("4", data_of(4))
    until(lambda: is_local(bob, "4"))


def test_what_nobody_had_comes_when_somebody_comes(anna: Party, bob: Party) -> None:
    anna.write("a", data_of(1))
    agree("a", anna, bob)
    anna.down()
    until(lambda: not bob.sees(anna))
    eager(bob)
    until(lambda: bob.node.replication._missed)
    anna.up()
    until(lambda: is_local(bob, "a"))


def test_what_was_freed_stays_away_until_it_changes(anna: Party, bob: Party) -> None:
    eager(bob)
    anna.write("a", data_of(1))
    until(lambda: is_local(bob, "a"))
    path = str(bob.service.path(bob.there("a")))
    until(lambda: bob.service.free([path]).files == 1)
    anna.write("b", data_of(2))
    until(lambda: is_local(bob, "b"))
    assert not is_local(bob, "a")
    anna.edit("a", data_of(3))
    until(lambda: is_local(bob, "a"))


def test_a_change_of_a_file_takes_what_is_the_same_from_the_old_content(
    anna: Party, bob: Party
) -> None:
    old = data_of(1, 8 * MIB)
    anna.write("film", old)
    agree("film", anna, bob)
    assert bob.read("film") == old
    until(lambda: not bob.node.state.contents.unsaved(), "its chunks are known")
    anna.edit("film", b"x" + old)
    agree("film", anna, bob)
    assert not is_local(bob, "film"), "on demand it is a ghost again"
    before = came(bob)
    assert bob.read("film") == b"x" + old
    assert came(bob) - before < 3 * MIB
    until(lambda: not bob.node.state.contents.unsaved(), "its chunks are known")
    eager(bob)
    before = came(bob)
    anna.edit("film", b"xy" + old)
    agree("film", anna, bob)
    until(lambda: is_local(bob, "film"))
    assert came(bob) - before < 3 * MIB


def came(party: Party) -> int:
    """How many bytes of chunks came from others, ever."""
    peers = party.node.carriage._machine._books.peers
    return sum(peer.flow.meter.total_bytes for peer in peers.values())


def test_no_more_is_under_way_at_a_time_than_the_limit(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "FLYING_CONTENTS_MAX", 3)
    monkeypatch.setattr(replication, "EXAMINED_ROWS", 5)
    most = watch_flying(bob)
    for number in range(23):
        anna.write(str(number), data_of(number, 70_000))
    agree("22", anna, bob)
    eager(bob)
    until(lambda: all(is_local(bob, str(number)) for number in range(23)))
    assert 1 <= max(most) <= 3


def watch_flying(party: Party) -> list[int]:
    """How many contents were under way when each was wanted."""
    carriage, seen = party.node.carriage, [0]
    want: Callable[..., None] = carriage.want

    def counted(*arguments: object) -> None:
        seen.append(len(party.node.replication._flying))
        want(*arguments)

    carriage.want = counted  # type: ignore[method-assign,assignment]
    return seen


def test_a_change_does_not_look_at_the_other_rows(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager(bob)
    for number in range(20):
        anna.write(str(number), data_of(number))
    until(lambda: all(is_local(bob, str(number)) for number in range(20)))
    eager_fetches = bob.node.replication
    until(
        lambda: bob.node.loop.call(lambda: not (eager_fetches._changed or eager_fetches._examining))
    )
    looked: list[int] = []
    lacking = eager_fetches._lacking

    def look(ino: int) -> Shown | None:
        looked.append(ino)
        return lacking(ino)

    monkeypatch.setattr(eager_fetches, "_lacking", look)
    anna.write("one more", data_of(20))
    until(lambda: is_local(bob, "one more"))
    assert set(looked) <= {bob.there("one more").ino, bob.top()}


def test_too_many_changes_at_once_are_swept(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "CHANGED_ROWS_MAX", 2)
    eager(bob)
    join = apart(anna, bob)
    for number in range(12):
        anna.write(str(number), data_of(number))
    join()
    until(lambda: all(is_local(bob, str(number)) for number in range(12)))


def test_pages_of_ghosts_follow_each_other(anna: Party, bob: Party) -> None:
    for number in range(7):
        anna.write(str(number), data_of(number, 1000 * (number + 1)))
    agree("6", anna, bob)
    readers, space = bob.node.state.store.readers, bob.replica().number

    def page(after: int, size: int | None = None, count: int = 3) -> list[int]:
        return ghosts(readers, space, after, size, 0, count)

    first = page(0)
    second = page(first[-1])
    assert len(first + second + page(second[-1])) == 7
    assert len(page(0, 4000, 100)) == 4
    bob.read("3")
    until(lambda: is_local(bob, "3"))
    until(lambda: len(page(0, None, 100)) == 6, "its bits are saved")
    assert ghosts(readers, space + 1, 0, None, 0, 100) == []
    assert ghosts(readers, space, 0, None, 2**60, 100) == []


def test_a_wrong_choice_says_what_is_allowed(bob: Party) -> None:
    with pytest.raises(BadArgument, match="eager up to SIZE"):
        eager(bob, "always")


def test_what_is_chosen_otherwise_while_a_space_is_swept_is_no_fault(
    anna: Party, bob: Party
) -> None:
    for name in ("a", "b"):
        anna.write(name, data_of(ord(name)))
    agree("b", anna, bob)
    replication, number = bob.node.replication, bob.replica().number

    def begin() -> None:
        replication._examining = True
        replication._sweeps[number] = 0

    bob.service.set_setting("pinned", "on", "Family", "", "", "")
    until(lambda: is_local(bob, "b"))
    bob.node.loop.call(begin)
    bob.service.set_setting("pinned", "default", "Family", "", "", "")
    until(lambda: not replication._pinned)
    bob.node.loop.call(lambda: replication._examined(None, [], []))
    assert bob.alive


def test_a_space_that_is_kept_again_is_swept(anna: Party, bob: Party) -> None:
    bob.service.set_setting("stream-only", "on", "Family", "", "", "")
    eager(bob)
    anna.write("a", data_of(1))
    agree("a", anna, bob)
    assert not is_local(bob, "a")
    bob.service.set_setting("stream-only", "off", "Family", "", "", "")
    until(lambda: is_local(bob, "a"))
