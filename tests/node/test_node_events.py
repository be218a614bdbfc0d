"""Who listens hears of what happens, and is never waited for."""

import threading

import pytest

from sharefs.errors import NodeFailed, NoSuchSpace
from sharefs.node.events import EVENTS_WAITING_MAX, LISTENERS_MAX, ConflictChanged, Events
from sharefs.node.reports import ConflictEvent, LostEvent, SettledEvent
from sharefs.records.ids import ItemId, SpaceId
from tests.node.node_parties import Party, agree, apart, until

SPACE = SpaceId(bytes(32))


def changed(number: int) -> ConflictChanged:
    return ConflictChanged(SPACE, ItemId(number.to_bytes(24)))


def test_all_who_listen_hear_of_it_until_they_leave() -> None:
    events, woken = Events(), []
    one, other = (events.listen(lambda name=name: woken.append(name)) for name in "ab")  # type: ignore[misc]
    events.tell(changed(1))
    assert woken == ["a", "b"]
    events.leave(one)
    events.tell(changed(2))
    assert one.take() == ([changed(1)], 0)
    assert other.take() == ([changed(1), changed(2)], 0)
    assert other.take() == ([], 0)


def test_what_waits_already_is_not_told_twice() -> None:
    events = Events()
    queue = events.listen(lambda: None)
    for number in (1, 2, 1):
        events.tell(changed(number))
    assert queue.take() == ([changed(1), changed(2)], 0)
    events.tell(changed(1))
    assert queue.take() == ([changed(1)], 0)


def test_who_is_slow_loses_the_oldest_and_is_told_how_many() -> None:
    events = Events()
    queue = events.listen(lambda: None)
    for number in range(EVENTS_WAITING_MAX + 3):
        events.tell(changed(number))
    waiting, lost = queue.take()
    assert (waiting[0], len(waiting), lost) == (changed(3), EVENTS_WAITING_MAX, 3)
    assert queue.take() == ([], 0)


def test_only_so_many_listen() -> None:
    events = Events()
    queues = [events.listen(lambda: None) for _ in range(LISTENERS_MAX)]
    with pytest.raises(NodeFailed):
        events.listen(lambda: None)
    events.leave(queues[0])
    events.listen(lambda: None)


# --- of whole nodes -------------------------------------------------------------------------------


def fall_out(*parties: Party) -> None:
    """All write one file while apart."""
    parties[0].write("a.txt", b"first")
    agree("a.txt", *parties)
    join = apart(*parties)
    for party in parties:
        party.edit("a.txt", party.name.encode())
    join()
    until(lambda: all(len(party.names()) == len(parties) for party in parties))


def test_a_conflict_is_told_of_when_it_arises_and_when_it_is_settled(
    anna: Party, bob: Party
) -> None:
    woken = threading.Event()
    listener = anna.service.listen(woken.set)
    assert listener.take() == []
    fall_out(anna, bob)
    assert woken.wait(10)
    (arose,) = until(listener.take)
    assert isinstance(arose, ConflictEvent)
    assert [arose.conflict] == anna.service.conflicts("Family")
    bob.service.resolve(arose.conflict.path.replace("anna", "bob", 1), "winner")
    (settled,) = until(listener.take)
    assert settled == SettledEvent("Family", arose.conflict.item)
    listener.close()


def test_a_rolled_back_batch_tells_of_nothing(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    fall_out(anna, bob)
    listener = anna.service.listen(lambda: None)
    replica = anna.replica()
    rows = replica.tree.contested
    anna.node.loop.call(lambda: rows.update({ItemId(bytes(24)): None}) or replica.reload())  # type: ignore[func-returns-value]
    assert listener.take() == []


def test_a_slow_listener_is_told_what_it_missed(anna: Party) -> None:
    listener = anna.service.listen(lambda: None)
    for number in range(EVENTS_WAITING_MAX + 1):
        anna.node.events.tell(changed(number))
    assert listener.take() == [LostEvent(1)], "and of a space that is not here, nothing"


# --- reports --------------------------------------------------------------------------------------


def test_a_conflict_is_reported_with_who_when_and_how_much(anna: Party, bob: Party) -> None:
    fall_out(anna, bob)
    (report,) = anna.service.conflicts(None)
    winner, loser = report.versions
    assert (winner.writer, winner.kept, winner.size, winner.local_bytes) == ("Bob", "winner", 3, 0)
    assert (loser.writer, loser.kept, loser.size, loser.local_bytes) == ("Anna", "loser", 4, 4)
    assert winner.written >= loser.written > 1.7e9
    assert report.path == winner.path
    shown = {path.rsplit("/", 1)[1] for path in (winner.path, loser.path)}
    assert shown == set(anna.names())
    assert report.mine
    (theirs,) = bob.service.conflicts("Family")
    assert [v.version for v in theirs.versions] == [winner.version, loser.version]
    with pytest.raises(NoSuchSpace):
        anna.service.conflicts("Work")


def test_whom_a_conflict_concerns_is_told_by_status(anna: Party, bob: Party, carol: Party) -> None:
    """Carol made the file; Anna and Bob fell out over it; Dora only looks on."""
    carol.write("a.txt", b"by carol")
    agree("a.txt", anna, bob, carol)
    assert anna.service.status().notices == []
    join = apart(anna, bob)
    anna.edit("a.txt", b"by anna")
    bob.edit("a.txt", b"by bob")
    join()
    until(lambda: all(len(party.names()) == 2 for party in (anna, bob, carol)))
    for party in (anna, bob, carol):
        report = party.service.status()
        assert [space.conflicts for space in report.spaces] == [1]
        assert ["1 conflict concerns you" in notice for notice in report.notices] == [True]
        assert party.service.conflicts("Family")[0].mine


def test_others_see_a_conflict_that_does_not_concern_them(
    anna: Party, bob: Party, carol: Party
) -> None:
    fall_out(anna, bob)
    until(lambda: len(carol.names()) == 2)
    report = carol.service.status()
    assert [space.conflicts for space in report.spaces] == [1]
    assert report.notices == []
    assert not carol.service.conflicts("Family")[0].mine


def test_a_delete_that_won_is_reported_as_one(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    join = apart(anna, bob)
    anna.edit("a.txt", b"by anna")
    bob.remove("a.txt")
    join()
    until(lambda: anna.names()[0] != "a.txt" and anna.names() == bob.names())
    (report,) = bob.service.conflicts(None)
    winner, loser = report.versions
    assert (winner.deleted, winner.path, winner.size) == (True, "", 0)
    assert report.path == str(bob.node.mount_point / "Family" / "a.txt")
    assert bob.service.resolve(loser.path, "winner").kept == []
    until(lambda: anna.names() == [])
    assert bob.service.conflicts(None) == []
