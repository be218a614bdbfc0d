import pytest

from sharefs.records.content import KIB, MIB
from sharefs.transfer import events
from sharefs.transfer.events import Priority
from sharefs.transfer.yielding import RATE_BYTES_PER_S_MIN, Yielding
from tests.transfer.transfer_network import ANNA, Holder, Network, large_file, small_file

RATE = 8_000_000.0


def held(yielding: Yielding) -> float:
    rate = yielding.bytes_per_s
    assert rate is not None
    return rate


def test_a_round_trip_that_swells_by_less_than_a_tenth_of_a_second_is_no_queue() -> None:
    yielding = Yielding()
    for number, round_trip_s in enumerate((0.3, 0.02, 0.11, 0.05)):
        yielding.answered(round_trip_s, RATE, float(number))
    assert yielding.bytes_per_s is None
    assert yielding.open_at(5.0) == 5.0


def test_a_queue_halves_the_rate_and_halves_it_again_while_it_stays() -> None:
    yielding = Yielding()
    yielding.answered(0.02, RATE, 0.0)
    yielding.answered(0.13, RATE, 2.0)
    yielding.answered(0.13, RATE, 4.0)
    assert yielding.bytes_per_s == RATE / 2
    yielding.answered(0.5, RATE / 2, 6.0)
    assert yielding.bytes_per_s == RATE / 4
    yielding.take(2_200_000, 6.0)
    assert yielding.open_at(6.0) == pytest.approx(7.0), "what it saved up is worth a tenth"


def test_one_long_round_trip_is_a_chunk_that_went_by_and_no_queue() -> None:
    yielding = Yielding()
    for number in range(50):
        yielding.answered(0.02 if number % 2 else 0.3, RATE, 2.0 * number)
    assert yielding.bytes_per_s is None


def test_something_is_always_let_through() -> None:
    yielding = Yielding()
    yielding.answered(0.02, 0.0, 0.0)
    for number in range(50):
        yielding.answered(2.0, 0.0, float(number))
    assert yielding.bytes_per_s == RATE_BYTES_PER_S_MIN


def test_when_the_queue_is_gone_the_rate_grows_until_it_is_free() -> None:
    yielding = Yielding()
    yielding.answered(0.02, RATE, 0.0)
    yielding.answered(0.2, RATE, 1.0)
    yielding.answered(0.2, RATE, 2.0)
    rates = []
    for number in range(20):
        if yielding.bytes_per_s is not None:
            rates.append(held(yielding))
        yielding.answered(0.03, RATE, 4.0 + number)
    assert rates == sorted(rates)
    assert 3 <= len(rates) <= 6
    assert yielding.bytes_per_s is None


def test_a_way_that_is_longer_now_is_no_queue_for_ever() -> None:
    yielding = Yielding()
    yielding.answered(0.02, RATE, 0.0)
    for number in range(400):
        yielding.answered(0.25, RATE, 2.0 * number)
    assert yielding.bytes_per_s is None


def yielding_network() -> Network:
    """Where what comes of Anna in the background is held to 1 MB/s."""
    network = Network()
    network.up(Holder(ANNA))
    return network


def hold_back(network: Network, bytes_per_s: float) -> None:
    yielding = network.machine._books.peers[ANNA].yielding
    yielding.answered(0.01, 2 * bytes_per_s, network.now)
    for _ in range(2):
        yielding.answered(0.2, 2 * bytes_per_s, network.now)
    assert yielding.bytes_per_s == bytes_per_s


@pytest.mark.parametrize(
    ("priority", "seconds"),
    [(Priority.FETCH, 0.2), (Priority.REPLICATION, 5.0), (Priority.BACKGROUND, 5.0)],
)
def test_only_what_nobody_waits_for_makes_room(priority: Priority, seconds: float) -> None:
    network, file = yielding_network(), large_file(1, 40, 256 * KIB)
    network.holders[ANNA].hold(file)
    hold_back(network, 2 * MIB)
    began, waiter = network.now, network.want(file, priority=priority)
    network.run()
    assert network.satisfied[waiter] - began == pytest.approx(seconds, rel=0.1, abs=0.2)
    assert network.steps < 40 * 12


def test_small_contents_make_room_too() -> None:
    network = yielding_network()
    files = [small_file(number, 50_000) for number in range(100)]
    network.holders[ANNA].hold(*files)
    hold_back(network, 1_000_000)
    began = network.now
    waiters = [network.want(file, priority=Priority.REPLICATION) for file in files]
    network.run()
    assert max(network.satisfied[w] for w in waiters) - began == pytest.approx(5.0, rel=0.1)


def test_what_comes_by_itself_is_halved_when_the_round_trip_swells() -> None:
    network, file = Network(), large_file(1, 2000, 256 * KIB)
    network.up(Holder(ANNA, bytes_per_s=8 * MIB).hold(file))
    network.do(events.Answered(ANNA, 0.01))
    network.want(file, priority=Priority.REPLICATION)
    network.run(4.0)
    for _ in range(2):
        network.do(events.Answered(ANNA, 0.2))
    network.run(1.0)
    before = network.bytes_from[ANNA]
    network.run(5.0)
    assert network.bytes_from[ANNA] - before == pytest.approx(20 * MIB, rel=0.15)
    for _ in range(5):
        network.do(events.Answered(ANNA, 0.01))
    before = network.bytes_from[ANNA]
    network.run(5.0)
    assert network.bytes_from[ANNA] - before > 35 * MIB
