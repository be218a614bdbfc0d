"""What a person says of transfers holds, and nothing else does."""

import threading
from pathlib import Path

import pytest

from sharefs.errors import BadArgument, NoSuchEntry, TransferCancelled
from sharefs.node.reports import Event, OrderReport, TransferEvent, TransferReport, TransferVerb
from tests.node.node_parties import Party, agree, apart, meet, until
from tests.node.test_node_replication import data_of, eager, is_local

PAUSE, RESUME = TransferVerb.PAUSE, TransferVerb.RESUME
CANCEL, REJECT = TransferVerb.CANCEL, TransferVerb.REJECT


def place(party: Party, path: str) -> str:
    return str(Path(party.node.mount_point, "Family", path))


def order(party: Party, verb: TransferVerb, *paths: str) -> OrderReport:
    return party.service.order(verb, [place(party, path) for path in paths])


def shown(party: Party) -> list[tuple[str, str]]:
    """(path, state) of all transfers to a party."""
    root = Path(party.node.mount_point)
    return sorted(
        (str(Path(report.path).relative_to(root)), report.state)
        for report in party.service.transfers()
        if report.direction == "in"
    )


def share(anna: Party, bob: Party, *paths: str) -> None:
    for number, path in enumerate(paths):
        anna.write(path, data_of(number))
        agree(path, anna, bob)


# --- pause and resume ---------------------------------------------------------------------------


def test_what_is_paused_waits_through_a_restart_and_programs_read_it(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "d/one", "d/two")
    assert order(bob, PAUSE, "d").count == 1
    job = bob.service.fetch([place(bob, "d")], lambda: None)
    until(lambda: job.progress().files_paused == 2)
    assert bob.read("d/one") == data_of(0)
    until(lambda: job.progress().files_done == 1)
    assert not job.progress().finished
    job.cancel()
    bob.down()
    bob.up()
    meet(anna, bob)
    assert shown(bob) == [("Family/d", "all paused")]
    job = bob.service.fetch([place(bob, "d")], lambda: None)
    until(lambda: ("Family/d/two", "paused") in shown(bob))
    order(bob, RESUME, "d")
    until(lambda: job.progress().finished)
    assert job.progress().failures == []
    until(lambda: is_local(bob, "d/two"))
    until(lambda: shown(bob) == [])


def test_what_is_on_its_way_when_it_is_paused_goes_on_when_it_is_resumed(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "a")
    join = apart(anna)
    job = bob.service.fetch([place(bob, "a")], lambda: None)
    order(bob, PAUSE, "a")
    until(lambda: job.progress().files_paused == 1)
    join()
    order(bob, RESUME, "a")
    until(lambda: job.progress().finished)
    assert job.progress().failures == []


def test_the_nearest_order_counts(anna: Party, bob: Party) -> None:
    share(anna, bob, "d/one", "d/two", "three")
    order(bob, PAUSE, "d")
    order(bob, RESUME, "d/one")
    job = bob.service.fetch([place(bob, "d")], lambda: None)
    until(lambda: is_local(bob, "d/one"))
    until(lambda: job.progress().files_paused == 1)
    order(bob, REJECT, "d/two")
    until(lambda: job.progress().finished)
    assert shown(bob) == [("Family/d", "all paused"), ("Family/d/two", "rejected")]


def test_an_order_for_a_folder_leaves_what_is_rejected_in_it_until_that_is_resumed(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "d/e/one", "d/e/two", "d/three")
    order(bob, REJECT, "d/e")
    order(bob, RESUME, "d/e/one")
    order(bob, PAUSE, "d/three")
    rejected = [("Family/d/e", "all rejected")]
    assert order(bob, PAUSE, "d", "d/e/two") == OrderReport(1, rejected=2)
    paused = [("Family/d", "all paused"), *rejected, ("Family/d/e/one", "paused")]
    assert shown(bob) == paused, "what was resumed in it is paused, and the rest is rejected"
    assert order(bob, RESUME, "d") == OrderReport(1, rejected=1)
    assert shown(bob) == rejected
    job = bob.service.fetch([place(bob, "d/e/one"), place(bob, "d/three")], lambda: None)
    until(lambda: job.progress().finished)
    assert job.progress().failures == []
    order(bob, REJECT, "d/e/two")
    order(bob, REJECT, "d")
    assert order(bob, RESUME, "d") == OrderReport(1, rejected=2)
    assert order(bob, RESUME, "d/e", "d/e/two") == OrderReport(2)
    assert shown(bob) == []


def test_a_whole_space_is_paused_by_its_folder_and_resumed_with_all(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "a")
    bob.service.set_setting("fetching", "paused", "Family", "", "", "")
    assert shown(bob) == [("Family", "all paused")]
    order(bob, RESUME, "")
    assert shown(bob) == []
    order(bob, PAUSE, "")
    order(bob, RESUME)
    assert shown(bob) == []


def test_everything_is_paused_and_resumed_and_what_is_rejected_stays_so(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "a", "b")
    order(bob, REJECT, "a")
    order(bob, PAUSE, "b")
    order(bob, PAUSE)
    assert shown(bob) == [(".", "all paused"), ("Family/a", "rejected")]
    eager(bob)
    job = bob.service.fetch([place(bob, "b")], lambda: None)
    until(lambda: job.progress().files_paused == 1)
    assert not is_local(bob, "b")
    order(bob, RESUME)
    until(lambda: job.progress().finished)
    assert shown(bob) == [("Family/a", "rejected")]
    assert not is_local(bob, "a")


def test_what_is_pinned_and_paused_comes_when_it_is_resumed(anna: Party, bob: Party) -> None:
    share(anna, bob, "a", "b")
    order(bob, PAUSE, "a")
    bob.service.pin([place(bob, "a"), place(bob, "b")], True)
    until(lambda: is_local(bob, "b"))
    assert not is_local(bob, "a")
    order(bob, RESUME, "a")
    until(lambda: is_local(bob, "a"))


# --- reject -------------------------------------------------------------------------------------


def test_what_is_rejected_is_not_fetched_and_is_read_all_the_same(anna: Party, bob: Party) -> None:
    share(anna, bob, "a")
    order(bob, REJECT, "a")
    eager(bob)
    anna.write("b", data_of(5))
    until(lambda: bob.entry("b") is not None and is_local(bob, "b"), "what is not rejected")
    anna.edit("a", data_of(6))
    agree("a", anna, bob)
    (report,) = [r for r in bob.service.transfers() if r.direction == "in"]
    assert (report.state, report.done, report.size) == ("rejected", 0, len(data_of(6)))
    job = bob.service.fetch([place(bob, "a")], lambda: None)
    until(lambda: job.progress().finished)
    assert "rejected" in job.progress().failures[0][1]
    assert bob.read("a") == data_of(6)
    anna.edit("a", data_of(7))
    agree("a", anna, bob)
    order(bob, RESUME, "a")
    until(lambda: is_local(bob, "a"), "it comes by itself again")


def test_what_to_reject_has_to_be_said(bob: Party) -> None:
    with pytest.raises(BadArgument):
        order(bob, REJECT)
    with pytest.raises(NoSuchEntry):
        order(bob, REJECT, "no such file")


# --- cancel -------------------------------------------------------------------------------------


def test_a_cancel_ends_a_fetch_and_a_read_and_both_work_again(anna: Party, bob: Party) -> None:
    share(anna, bob, "d/a")
    join = apart(anna)
    job = bob.service.fetch([place(bob, "d/a")], lambda: None)
    failures = []
    reading = threading.Thread(target=lambda: failures.append(bob.fails("d/a")))
    reading.start()
    until(lambda: len(bob.node.carriage.waiters) >= 2)
    assert order(bob, CANCEL, "d").count == 1
    reading.join()
    assert [type(failure) for failure in failures] == [TransferCancelled]
    until(lambda: job.progress().finished)
    assert "cancelled" in job.progress().failures[0][1]
    assert shown(bob) == []
    join()
    again = until(lambda: None if bob.fails("d/a") else bob.read("d/a"))
    assert again == data_of(0)


def test_what_was_cancelled_does_not_come_by_itself_until_it_changes(
    anna: Party, bob: Party
) -> None:
    share(anna, bob, "a")
    join = apart(anna)
    eager(bob)
    until(lambda: ("Family/a", "asking") in shown(bob))
    assert order(bob, CANCEL).count == 1
    join()
    anna.write("b", data_of(5))
    until(lambda: bob.entry("b") is not None and is_local(bob, "b"))
    assert not is_local(bob, "a")
    anna.edit("a", data_of(6))
    agree("a", anna, bob)
    until(lambda: is_local(bob, "a"))


# --- what is shown and told ---------------------------------------------------------------------


def test_both_see_what_travels(anna: Party, bob: Party) -> None:
    share(anna, bob, "a")
    assert bob.read("a") == data_of(0)
    (report,) = anna.service.transfers()
    assert (report.direction, report.state) == ("out", "sending")
    assert (report.path, report.size) == (place(anna, "a"), len(data_of(0)))
    assert report.done == len(data_of(0))
    assert [source.name for source in report.sources] == ["Bob"]


class Heard:
    """What one who listens hears of transfers."""

    def __init__(self, party: Party) -> None:
        self._listener = party.service.listen(lambda: None)
        self._events: list[Event] = []

    def last(self, path: str) -> TransferEvent | None:
        self._events += self._listener.take()
        told = [e for e in self._events if isinstance(e, TransferEvent) and e.transfer.path == path]
        return told[-1] if told else None

    def transfer(self, path: str, state: str) -> TransferReport:
        event = until(lambda: self.last(path) if self._is(path, state) else None, state)
        assert event is not None
        return event.transfer

    def _is(self, path: str, state: str) -> bool:
        event = self.last(path)
        return event is not None and event.transfer.state == state


def test_listeners_hear_how_transfers_go_and_how_they_end(anna: Party, bob: Party) -> None:
    share(anna, bob, "a", "b", "c")
    heard = Heard(bob)
    join = apart(anna)
    bob.service.fetch([place(bob, "a")], lambda: None)
    assert heard.transfer(place(bob, "a"), "asking").done == 0
    order(bob, PAUSE, "a")
    heard.transfer(place(bob, "a"), "paused")
    order(bob, CANCEL, "a")
    heard.transfer(place(bob, "a"), "cancelled")
    join()
    bob.service.fetch([place(bob, "b")], lambda: None)
    report = heard.transfer(place(bob, "b"), "finished")
    assert report.done == report.size == len(data_of(1))
    anna.down()
    until(lambda: not bob.sees(anna))
    bob.service.fetch([place(bob, "c")], lambda: None)
    heard.transfer(place(bob, "c"), "failed")
    last = heard.last(place(bob, "c"))
    assert last is not None
    assert "Anna" in last.sentence
