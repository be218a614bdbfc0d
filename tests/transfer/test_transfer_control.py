"""A person pauses, resumes and cancels."""

from sharefs.errors import NoHolderOnline, TransferCancelled
from sharefs.records.content import MIB
from sharefs.transfer import events
from sharefs.transfer.events import Priority
from sharefs.transfer.vain import REFUSED_S
from tests.transfer.transfer_network import ANNA, BOB, Holder, Network, large_file, small_file

CANCELLED = TransferCancelled("You cancelled it.")
SLOW = 20 * MIB


def test_what_is_paused_comes_no_further_and_goes_on_where_it_was() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    waiter = network.want(file)
    network.run(5)
    network.do(events.Paused(waiter))
    network.run(2)
    asked = len(network.wants)
    assert 0 < asked < 400
    assert [each.state for each in network.machine.snapshot(network.now)] == ["paused"]
    network.run(600)
    assert len(network.wants) == asked
    assert waiter not in network.failed
    network.do(events.Resumed(waiter))
    network.run()
    assert waiter in network.satisfied
    assert len(network.came) == 400


def test_what_is_wanted_while_it_is_paused_is_not_even_asked_about() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, held=True)
    network.run(600)
    assert not network.asks
    assert waiter not in network.failed
    network.do(events.Resumed(waiter))
    network.run()
    assert waiter in network.satisfied


def test_a_program_reads_what_is_paused_and_nothing_more_comes_for_it() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA).hold(file))
    fetch = network.want(file, held=True)
    read = network.want(file, 5 * MIB - 1, 5 * MIB + 1, Priority.READ)
    network.run(600)
    assert read in network.satisfied
    assert [index for *_, index in network.wants] == [4, 5]
    assert fetch not in network.failed
    assert [each.state for each in network.machine.snapshot(network.now)] == ["paused"]


def test_a_read_that_nobody_can_answer_fails_beside_a_fetch_that_is_paused() -> None:
    network, file = Network(), large_file(1, 400)
    fetch = network.want(file, held=True)
    read = network.want(file, 0, 1, Priority.READ)
    network.run()
    assert isinstance(network.failed[read][1], NoHolderOnline)
    assert fetch not in network.failed
    network.up(Holder(BOB).hold(file))
    network.run(60)
    assert not network.asks
    network.do(events.Resumed(fetch))
    network.run()
    assert fetch in network.satisfied


def test_a_paused_fetch_is_done_when_its_bytes_came_for_others() -> None:
    network, file = Network(), large_file(1, 40)
    network.up(Holder(ANNA).hold(file))
    fetch = network.want(file, held=True)
    network.want(file, 0, file.size, Priority.READ)
    network.run()
    assert fetch in network.satisfied


def test_a_cancel_fails_all_who_wait_and_what_they_ask_again_at_once() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    waiters = [network.want(file), network.want(file, 300 * MIB, 301 * MIB, Priority.READ)]
    network.run(0.001)
    network.do(events.Cancelled(file.id, CANCELLED))
    waiters.append(network.want(file, 301 * MIB, 302 * MIB, Priority.READ))
    assert {network.failed[waiter][1] for waiter in waiters} == {CANCELLED}
    assert network.machine.snapshot(network.now) == []
    network.run(REFUSED_S + 10)
    again = network.want(file, 301 * MIB, 302 * MIB, Priority.READ)
    network.run()
    assert again in network.satisfied


def test_a_cancel_of_what_nobody_waits_for_stops_no_later_read() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA).hold(file))
    network.do(events.Cancelled(file.id, CANCELLED))
    waiter = network.want(file, priority=Priority.READ)
    network.run()
    assert waiter in network.satisfied


def test_a_waiter_who_is_gone_can_be_paused_and_resumed() -> None:
    network = Network()
    network.do(events.Paused(7))
    network.do(events.Resumed(7))
    assert network.machine.snapshot(network.now) == []
