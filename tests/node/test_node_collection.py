"""What is of no use to anybody goes, and nothing else does."""

import os
import time
from collections.abc import Callable

import pytest

from sharefs.errors import DiskFull
from sharefs.node import collection
from sharefs.records.ids import ContentId
from sharefs.wire.sync import Pull
from tests.bench import bench_growth
from tests.node.node_parties import Party, agree, apart, meet, until

DAY_S = 24 * 3600.0
LATER_S = 30 * DAY_S


def collect(party: Party, later_s: float = LATER_S) -> None:
    """As a round does after some days."""
    node = party.node
    node.loop.call(lambda: node.collection.round(time.time() + later_s))


def commits(party: Party) -> int:
    """How many are kept."""
    replica = party.replica()
    return party.node.loop.call(
        lambda: len(party.node.state.ledger.commits_beyond(replica.number, {}, 0, 10_000))
    )


def edit_often(party: Party, path: str = "a.txt", times: int = 6) -> None:
    party.write(path, b"0")
    for number in range(1, times):
        party.edit(path, b"%d" % number)


def content(party: Party, path: str) -> ContentId:
    found = party.there(path).content
    assert found is not None
    return found


def has(party: Party, what: ContentId) -> bool:
    return party.node.state.contents.local_bytes(what) > 0


def collected(*parties: Party, count: int) -> None:
    """Rounds pass until so few commits are left."""

    def rounds() -> bool:
        for party in parties:
            collect(party)
        return all(commits(party) <= count for party in parties)

    until(rounds, "commits are dropped")


def rounds_pass(*parties: Party) -> None:
    """Enough for whatever may go to go: each has said how far it is, more than once."""
    said = {party.name: 0 for party in parties}
    for party in parties:
        passed = party.node.exchange._note_passed

        def counted(*arguments: object, name: str = party.name, call: object = passed) -> None:
            said[name] += 1
            call(*arguments)  # type: ignore[operator]

        party.node.exchange._note_passed = counted
    for seen in (1, 2, 3):
        until(lambda seen=seen: all(count >= seen for count in said.values()))  # type: ignore[misc]
        for party in parties:
            collect(party)


# --- commits ------------------------------------------------------------------------------------


def test_commits_of_dominated_records_go_when_all_have_passed_them(anna: Party, bob: Party) -> None:
    edit_often(anna)
    agree("a.txt", anna, bob)
    assert commits(anna) == commits(bob) == 6
    collected(anna, bob, count=1)
    anna.edit("a.txt", b"more")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"more"


def test_commits_stay_while_somebody_has_not_passed_them(anna: Party, bob: Party) -> None:
    rounds_pass(anna, bob)
    bob.down()
    edit_often(anna)
    for _ in range(4):
        collect(anna)
    assert commits(anna) == 6
    bob.up()
    meet(anna, bob)
    agree("a.txt", anna, bob)
    collected(anna, bob, count=1)


def test_a_commit_with_a_head_stays(anna: Party, bob: Party) -> None:
    anna.write("kept.txt", b"kept")
    edit_often(anna)
    anna.write("last.txt", b"last")
    agree("last.txt", anna, bob)
    collected(anna, bob, count=3)
    rounds_pass(anna, bob)
    assert commits(anna) == commits(bob) == 3


def test_who_joins_later_gets_what_is_left_and_is_as_far_as_all(
    anna: Party, bob: Party, party: Callable[[str], Party]
) -> None:
    edit_often(anna)
    edit_often(bob, "b.txt")
    anna.write("gone.txt", b"gone")
    anna.remove("gone.txt")
    agree("b.txt", anna, bob)
    collected(anna, bob, count=3)
    carol = party("Carol")
    anna.invite(carol)
    meet(anna, bob, carol)
    for path in ("a.txt", "b.txt"):
        agree(path, anna, bob, carol)

    def frontiers() -> list[list[int]]:
        replicas = [(party, party.replica()) for party in (anna, bob, carol)]
        found = [party.node.loop.call(replica.shown_frontier) for party, replica in replicas]
        return [sorted(frontier.values()) for frontier in found]

    until(lambda: frontiers() == [[6, 8]] * 3, "all are as far")
    assert carol.names() == anna.names() == ["a.txt", "b.txt"]
    assert carol.read("b.txt") == b"5"
    edit_often(carol, "c.txt")
    agree("c.txt", anna, bob, carol)
    collected(anna, bob, carol, count=4)


def test_an_own_commit_that_was_collected_and_comes_back_is_no_news(
    anna: Party, bob: Party
) -> None:
    """Else its author would take itself for a copy of itself."""
    edit_often(anna)
    agree("a.txt", anna, bob)
    theirs = bob.replica()
    page = bob.node.loop.call(lambda: theirs.page(Pull(theirs.id, (), 0, 1)))
    collected(anna, count=1)
    replica = anna.replica()
    before = replica.incarnation
    anna.node.loop.call(lambda: replica.apply(page.shipments, {}))
    assert replica.incarnation == before
    assert anna.read("a.txt") == b"5"


# --- tombstones ---------------------------------------------------------------------------------


def count(party: Party, what: str) -> int:
    connection = party.node.state.store.connection
    return party.node.loop.call(
        lambda: int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])
    )


def tombstones(party: Party) -> int:
    return count(party, "record WHERE dead = 1")


def rows(party: Party) -> int:
    return count(party, "entry")


AFTER_GRACE_S = LATER_S + 1.1 * collection.TOMBSTONE_GRACE_SECONDS


def test_tombstones_go_after_their_grace_at_different_times(anna: Party, bob: Party) -> None:
    for name in ("a.txt", "b.txt", "kept.txt"):
        anna.write(name, b"a")
    anna.node.core.symlink(anna.top(), "link", "a.txt")
    agree("kept.txt", anna, bob)
    for name in ("a.txt", "b.txt", "link"):
        anna.remove(name)
    until(lambda: bob.names() == ["kept.txt"])
    rounds_pass(anna, bob)
    assert tombstones(anna) == tombstones(bob) == 3
    before = rows(anna)
    collect(anna, AFTER_GRACE_S)
    assert (tombstones(anna), tombstones(bob), rows(anna)) == (0, 3, before - 3)
    rounds_pass(anna, bob)
    assert (tombstones(anna), tombstones(bob)) == (0, 3), "nobody sends them back"
    collect(bob, AFTER_GRACE_S)
    assert tombstones(bob) == 0
    collected(anna, bob, count=2)
    anna.write("a.txt", b"again")
    agree("a.txt", anna, bob)
    assert bob.names() == anna.names() == ["a.txt", "kept.txt"]


def test_tombstones_stay_while_somebody_has_not_passed_them(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"a")
    agree("a.txt", anna, bob)
    rounds_pass(anna, bob)
    bob.down()
    anna.remove("a.txt")
    for _ in range(4):
        collect(anna)
        collect(anna, AFTER_GRACE_S)
    assert tombstones(anna) == 1
    bob.up()
    meet(anna, bob)
    until(lambda: bob.names() == [])


# --- contents -----------------------------------------------------------------------------------


def test_superseded_contents_go_after_the_grace_time(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"old")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"old"
    old = content(anna, "a.txt")
    anna.edit("a.txt", b"new")
    agree("a.txt", anna, bob)
    rounds_pass(anna, bob)
    # The first round that sees it starts its time.
    for party in (anna, bob):
        assert has(party, old)
        collect(party, LATER_S + 1.1 * collection.GRACE_SECONDS)
        assert not has(party, old)
        assert party.read("a.txt") == b"new"
    files = [path.name for path in anna.home.contents_folder.glob("*/*")]
    assert files == [content(anna, "a.txt").hex()]


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "GRACE_SECONDS", 0.0)


def test_contents_of_deleted_files_go_too(anna: Party, bob: Party, no_grace: None) -> None:
    anna.write("a.txt", b"old")
    old = content(anna, "a.txt")
    anna.remove("a.txt")
    rounds_pass(anna, bob)
    assert not has(anna, old)


def test_contents_stay_while_somebody_may_rename_the_old_version(
    anna: Party, bob: Party, no_grace: None
) -> None:
    anna.write("a.txt", b"old")
    agree("a.txt", anna, bob)
    rounds_pass(anna, bob)
    old = content(anna, "a.txt")
    bob.down()
    anna.edit("a.txt", b"new")
    # Else it would stay for that, be the rule right or wrong.
    node = anna.node
    until(lambda: not (node.collection._is_open(old) or node.state.contents.is_used(old)))
    for _ in range(4):
        collect(anna)
    assert has(anna, old)
    anna.down()
    bob.up()
    bob.move("a.txt", "renamed.txt")
    anna.up()
    meet(anna, bob)
    until(lambda: len(anna.names()) == 2)
    rounds_pass(anna, bob)
    assert {bob.read(name) for name in bob.names()} == {b"old", b"new"}


def test_a_reader_keeps_what_it_reads(anna: Party, bob: Party, no_grace: None) -> None:
    anna.write("a.txt", b"old")
    row = anna.there("a.txt")
    handle = anna.node.core.open(row.ino, os.O_RDONLY)
    anna.edit("a.txt", b"new")
    agree("a.txt", anna, bob)
    rounds_pass(anna, bob)
    assert anna.node.core.read(handle, 0, 3) == b"old"
    assert row.content is not None
    assert has(anna, row.content)
    anna.node.core.release(handle)
    del handle
    rounds_pass(anna, bob)
    assert not has(anna, row.content)


def test_what_was_fetched_after_it_was_superseded_goes_as_well(
    anna: Party, bob: Party, no_grace: None
) -> None:
    anna.write("a.txt", b"old")
    agree("a.txt", anna, bob)
    row = bob.there("a.txt")
    assert row.content is not None
    handle = bob.node.core.open(row.ino, os.O_RDONLY)
    anna.edit("a.txt", b"new")
    agree("a.txt", anna, bob)
    assert not has(bob, row.content)
    assert bob.node.core.read(handle, 0, 3) == b"old"
    assert has(bob, row.content)
    bob.node.core.release(handle)
    del handle
    rounds_pass(anna, bob)
    assert not has(bob, row.content)


def test_versions_in_conflict_keep_their_bytes(anna: Party, bob: Party, no_grace: None) -> None:
    anna.write("a.txt", b"old")
    agree("a.txt", anna, bob)
    join = apart(anna, bob)
    anna.edit("a.txt", b"anna")
    bob.edit("a.txt", b"bob")
    join()
    until(lambda: len(anna.names()) == len(bob.names()) == 2)
    rounds_pass(anna, bob)
    assert {anna.read(name) for name in anna.names()} == {b"anna", b"bob"}


def test_bytes_that_are_back_are_not_freed(anna: Party, bob: Party, no_grace: None) -> None:
    anna.write("a.txt", b"old")
    anna.edit("a.txt", b"new")
    anna.edit("a.txt", b"old")
    anna.write("b.txt", b"other")
    anna.write("c.txt", b"new")
    agree("c.txt", anna, bob)
    rounds_pass(anna, bob)
    for path, data in (("a.txt", b"old"), ("b.txt", b"other"), ("c.txt", b"new")):
        assert has(anna, content(anna, path))
        assert anna.read(path) == data


def test_absence_is_never_a_delete(anna: Party, bob: Party, no_grace: None) -> None:
    """Rows that are gone, by whatever damage, have nothing freed."""
    anna.write("a.txt", b"only here")
    old = content(anna, "a.txt")
    store = anna.node.state.store

    def damage() -> None:
        store.connection.execute("DELETE FROM entry WHERE content IS NOT NULL")
        store.connection.execute("DELETE FROM record")

    anna.node.loop.call(damage)
    rounds_pass(anna, bob)
    assert has(anna, old)


def test_what_was_rolled_back_supersedes_nothing(
    anna: Party, bob: Party, no_grace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("a.txt", b"old")
    row = anna.there("a.txt")
    replica = anna.replica()

    def erase_and_fail() -> None:
        replica.shelf.erase(row.ino)
        raise DiskFull("full")

    with pytest.raises(DiskFull):
        anna.node.loop.call(erase_and_fail)
    agree("a.txt", anna, bob)
    rounds_pass(anna, bob)
    assert anna.read("a.txt") == b"old"


def test_what_a_peer_tells_counts_one_round_later(anna: Party, bob: Party) -> None:
    edit_often(anna)
    agree("a.txt", anna, bob)
    until(lambda: any(anna.node.collection._told.values()))
    ledger, number = anna.node.state.ledger, anna.replica().number
    collect(anna)
    assert not anna.node.loop.call(lambda: ledger.passed(number))
    collect(anna)
    assert anna.node.loop.call(lambda: ledger.passed(number)).keys() == {bob.device}


def test_a_planted_bug_is_noticed(
    anna: Party, bob: Party, no_grace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collecting what only we have passed frees what others may still name."""
    monkeypatch.setattr(
        collection.Collection, "stable", lambda _, replica: replica.shown_frontier()
    )
    with pytest.raises(AssertionError):
        test_contents_stay_while_somebody_may_rename_the_old_version(anna, bob, no_grace)


def test_a_space_that_is_edited_for_ever_does_not_grow_for_ever() -> None:
    (small, few, _), (large, many, _) = (
        bench_growth.measure(edits, collect_every=100) for edits in (200, 1000)
    )
    assert few == many == bench_growth.FILES
    assert large <= small * 1.1
    grown, _, _ = bench_growth.measure(1000, collect_every=None)
    assert grown > large * 1.5
