"""What a program is blocked on is asked for as urgent, and overtakes what was asked for before."""

from sharefs.records.content import MIB
from sharefs.records.ids import ContentId
from sharefs.transfer.credit import OVERTAKEN_CHUNKS_MAX, SILENCE_S_MAX, Flow
from sharefs.transfer.events import Priority
from tests.transfer.transfer_network import ANNA, Holder, Network, large_file

SLOW = 2 * MIB
CONTENT = ContentId(b"c" * 32)


def test_only_what_a_program_is_blocked_on_is_asked_for_as_urgent() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    network.want(file)
    network.want(file, 20 * MIB, 40 * MIB, Priority.READ_AHEAD)
    network.run(1.0)
    assert not network.urgent
    network.want(file, 390 * MIB, 391 * MIB, Priority.READ)
    network.run(10.0)
    assert network.urgent == [(ANNA, 390)]
    assert not network.hurries


def test_what_was_asked_for_and_a_program_is_blocked_on_by_now_is_hurried_once() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    network.want(file, priority=Priority.READ_AHEAD)
    network.run(0.1)
    last = network.wants[-1][-1]
    for _ in range(2):
        network.want(file, last * MIB, (last + 1) * MIB, Priority.READ)
    network.run(0.1)
    assert network.hurries == [(ANNA, last)]
    assert not network.urgent
    network.run(20.0)
    assert [index for *_, index in network.wants].count(last) == 1


def test_what_comes_next_anyway_is_not_hurried() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    network.want(file, priority=Priority.READ_AHEAD)
    network.run(0.1)
    network.want(file, 0, MIB, Priority.READ)
    network.run(0.1)
    assert not network.hurries


def test_what_is_overtaken_by_what_is_urgent_is_not_lost() -> None:
    flow = Flow(0.0)
    flow.ask((CONTENT, 0), MIB, 0.0, urgent=False)
    now = SILENCE_S_MAX + 1
    for index in range(1, OVERTAKEN_CHUNKS_MAX + 2):
        flow.ask((CONTENT, index), 1000, now, urgent=True)
        flow.arrived((CONTENT, index), 1000, now)
    assert not flow.give_up(now)
    for index in range(101, OVERTAKEN_CHUNKS_MAX + 102):
        flow.ask((CONTENT, index), 1000, now, urgent=False)
        flow.arrived((CONTENT, index), 1000, now)
    assert flow.give_up(now) == [(CONTENT, 0)]


def test_what_is_urgent_is_awaited_only_behind_what_is_so_too() -> None:
    flow = Flow(0.0, bytes_per_s=MIB)
    for index, urgent in enumerate((False, False, True, True)):
        flow.ask((CONTENT, index), MIB, 0.0, urgent=urgent)
    assert [round(flow.awaited_s((CONTENT, index), 0.0)) for index in range(4)] == [3, 4, 1, 2]
    assert flow.hurry((CONTENT, 1))
    assert round(flow.awaited_s((CONTENT, 1), 0.0)) == 1
