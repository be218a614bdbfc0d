from collections import Counter

from sharefs.records.content import MIB
from sharefs.transfer.events import Priority
from sharefs.transfer.seconds import SECONDS_MAX
from tests.transfer.transfer_network import ANNA, BOB, Holder, Network, large_file


def test_the_last_chunks_of_a_slow_holder_are_asked_of_a_quick_one_too() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, bytes_per_s=MIB / 4).hold(file))
    waiter, began = network.want(file), network.now
    network.run()
    assert network.satisfied[waiter] - began < 3
    asked = Counter(index for *_, index in network.wants)
    assert set(asked) == set(range(100))
    assert max(asked.values()) == 2


def test_what_came_from_one_is_cancelled_at_the_other() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, bytes_per_s=MIB / 4).hold(file))
    network.want(file)
    network.run()
    twice = [i for i, n in Counter(index for *_, index in network.wants).items() if n > 1]
    assert twice
    assert sorted(index for *_, index in network.cancels) == sorted(twice)
    assert network.bytes_in_vain == 0


def test_two_chunks_of_a_content_at_the_most_are_asked_of_two_holders() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, withholds_chunks=True).hold(file))
    network.want(file)
    most = 0
    for _ in range(2000):
        network.run(0.005)
        contents = network.machine._books.contents.values()
        most = max([most, *(len(content.seconds) for content in contents)])
    assert most == SECONDS_MAX


def test_a_blocked_read_does_not_wait_for_a_holder_that_fell_silent() -> None:
    network, file = Network(), large_file(1, 400)
    anna = network.up(Holder(ANNA, bytes_per_s=200 * MIB).hold(file))
    network.up(Holder(BOB, bytes_per_s=20 * MIB).hold(file))
    network.want(file)
    network.run(0.5)
    anna.withholds_chunks = True
    # What was on its way by then has come.
    network.run(0.2)
    began = network.now
    content = network.machine._books.contents[file.id]
    stuck = [index for index, device in content.requested.items() if device == ANNA]
    waiter = network.want(file, stuck[0] * MIB, (stuck[0] + 1) * MIB, Priority.READ)
    network.run()
    assert network.satisfied[waiter] - began < 1.0


def test_a_chunk_that_its_second_holder_loses_is_still_awaited_from_the_first() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(BOB, bytes_per_s=MIB / 2).hold(file))
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)
    while not any(c.seconds for c in network.machine._books.contents.values()):
        network.run(0.01)
    network.down(ANNA)
    network.run()
    assert waiter in network.satisfied


def test_a_content_of_which_much_is_left_is_asked_of_one_holder_only() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA, bytes_per_s=10 * MIB).hold(file))
    network.up(Holder(BOB, withholds_chunks=True).hold(file))
    network.want(file)
    network.run(3.0)
    assert set(Counter(index for *_, index in network.wants).values()) == {1}
