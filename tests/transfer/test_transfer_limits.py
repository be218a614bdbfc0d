from collections.abc import Callable

import pytest

from sharefs.records.content import KIB, MIB
from sharefs.records.ids import DeviceId, SpaceId
from sharefs.transfer import events
from sharefs.transfer.events import Priority
from sharefs.transfer.limits import DEPTH_S, Limit, Limits
from sharefs.wire.transfer import Lack, Later
from tests.transfer.transfer_network import (
    ANNA,
    BOB,
    SPACE,
    Holder,
    Network,
    large_file,
    small_file,
)

WORK = SpaceId(b"w" * 32)


def limits_of(*limits: Limit, now: float = 0.0) -> Limits:
    made = Limits()
    made.change(limits, now)
    return made


def passed(limits: Limits, seconds: float, space: SpaceId = SPACE, size: int = 1000) -> int:
    """How many bytes pass by somebody who always has something, and waits as he is told."""
    now = total = 0.0
    while now < seconds:
        open_at = limits.open_at(space, ANNA, now)
        if open_at > now:
            now = open_at
            continue
        limits.take(space, ANNA, size, now)
        total += size
    return int(total)


# --- the buckets --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [10_000, 1_000_000, 50_000_000])
def test_what_passes_is_the_rate_times_the_time(rate: int) -> None:
    size = rate // 100
    assert passed(limits_of(Limit(rate)), 5.0, size=size) == pytest.approx(5 * rate, rel=0.02)


def test_a_chunk_larger_than_a_seconds_worth_passes_and_is_paid_for() -> None:
    limits = limits_of(Limit(1000))
    limits.take(SPACE, ANNA, 5000, 0.0)
    assert limits.open_at(SPACE, ANNA, 4.0) == pytest.approx(5.0)
    assert limits.open_at(SPACE, ANNA, 5.0) == 5.0


def test_what_an_idle_limit_saves_up_is_bounded() -> None:
    limits = limits_of(Limit(1000))
    limits.take(SPACE, ANNA, 1100, 1000.0)
    assert limits.open_at(SPACE, ANNA, 1000.0) == pytest.approx(1001.1 - DEPTH_S)


def test_what_did_not_travel_is_given_back_but_not_saved_up() -> None:
    limits = limits_of(Limit(1000))
    limits.take(SPACE, ANNA, 5000, 0.0)
    limits.give_back(SPACE, ANNA, 5000, 1.0)
    assert limits.open_at(SPACE, ANNA, 1.0) == 1.0
    limits.take(SPACE, ANNA, 500, 1.0)
    assert limits.open_at(SPACE, ANNA, 1.0) == pytest.approx(1.5 - DEPTH_S), "as after any pause"


def test_each_limit_concerns_its_space_and_devices() -> None:
    limits = limits_of(Limit(10, SPACE), Limit(20, None, frozenset({ANNA})))

    def held_for(space: SpaceId, device: DeviceId) -> float:
        return limits.open_at(space, device, 0.0)

    limits.take(SPACE, BOB, 100, 0.0)
    assert held_for(WORK, ANNA) == held_for(WORK, BOB) == 0.0
    assert held_for(SPACE, ANNA) == held_for(SPACE, BOB) == pytest.approx(10.0)
    limits.take(WORK, ANNA, 400, 0.0)
    assert held_for(WORK, BOB) == 0.0
    assert held_for(WORK, ANNA) == pytest.approx(20.0)
    assert held_for(SPACE, BOB) == pytest.approx(10.0)


def test_a_limit_that_stays_keeps_its_debt() -> None:
    limits = limits_of(Limit(10))
    limits.take(SPACE, ANNA, 100, 0.0)
    limits.change([Limit(10), Limit(5, WORK)], 1.0)
    assert limits.open_at(SPACE, ANNA, 1.0) == pytest.approx(10.0)
    limits.change([], 1.0)
    assert not limits
    assert limits.open_at(SPACE, ANNA, 1.0) == 1.0


# --- the machine --------------------------------------------------------------------------------


def limited(*limits: Limit, ranks: dict[SpaceId, int] | None = None) -> Network:
    network = Network()
    network.do(events.LimitsChanged(limits, ranks or {}))
    return network


def time_to(network: Network, want: Callable[[], int], seconds: float = 120.0) -> float:
    began, waiter = network.now, want()
    network.run(seconds)
    return network.satisfied[waiter] - began


def test_a_fetch_takes_the_time_that_the_limit_says() -> None:
    network, file = limited(Limit(8 * MIB)), large_file(1, 160, 256 * KIB)
    network.up(Holder(ANNA).hold(file))
    assert time_to(network, lambda: network.want(file)) == pytest.approx(5.0, rel=0.05)


def test_the_machine_rests_while_it_waits_for_the_limit() -> None:
    network, file = limited(Limit(MIB)), large_file(1, 20)
    network.up(Holder(ANNA).hold(file))
    time_to(network, lambda: network.want(file))
    assert network.steps < 20 * 8


def test_two_holders_share_one_limit() -> None:
    network, file = limited(Limit(8 * MIB)), large_file(1, 160, 256 * KIB)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    assert time_to(network, lambda: network.want(file)) == pytest.approx(5.0, rel=0.05)


def test_a_limit_of_one_peer_leaves_the_others_alone() -> None:
    network, file = limited(Limit(MIB, devices=frozenset({ANNA}))), large_file(1, 200)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    assert time_to(network, lambda: network.want(file)) < 4.0
    assert network.bytes_from[ANNA] <= 5 * MIB


def test_small_contents_count_too() -> None:
    network = limited(Limit(1_000_000))
    files = [small_file(number, 50_000) for number in range(100)]
    network.up(Holder(ANNA).hold(*files))
    began = network.now
    waiters = [network.want(file) for file in files]
    network.run()
    last = max(network.satisfied[waiter] for waiter in waiters)
    assert last - began == pytest.approx(5.0, rel=0.05)


def test_a_blocked_read_goes_first_though_its_holder_is_another() -> None:
    network, fetched, read = limited(Limit(MIB)), large_file(1, 100), large_file(2, 4, 256 * KIB)
    network.up(Holder(ANNA).hold(fetched))
    network.up(Holder(BOB).hold(read))
    network.want(fetched)
    network.run(2.2)
    waited = time_to(network, lambda: network.want(read, priority=Priority.READ), 20.0)
    # What the chunk before it owes, and its own.
    assert waited < 2.1


def test_a_limit_of_one_space_leaves_the_others_alone() -> None:
    network, slow, fast = limited(Limit(MIB, SPACE)), large_file(1, 100), large_file(2, 100)
    network.up(Holder(ANNA).hold(slow, fast))
    network.do(events.PeerUp(ANNA, (SPACE, WORK)))
    network.want(slow)
    assert time_to(network, lambda: network.want(fast, space=WORK), 20.0) < 2.5


def test_what_is_cancelled_is_not_paid_for() -> None:
    """Who waits next does not wait for what never came."""
    network, film, other = Network(), large_file(1, 40), large_file(2, 1)
    network.up(Holder(ANNA, bytes_per_s=MIB / 4).hold(film))
    network.up(Holder(BOB).hold(other))
    network.do(events.LimitsChanged((Limit(MIB),), {}))
    fetch = network.want(film)
    network.run(2.1)
    network.do(events.Unwanted(fetch))
    network.run(0.1)
    began, read = network.now, network.want(other, likely=(BOB,))
    network.run()
    assert len(network.cancels) == 3
    assert network.satisfied[read] - began < 0.2


def test_what_is_lacked_after_all_is_not_paid_for() -> None:
    network, film, other = Network(), large_file(1, 8, 2 * MIB), large_file(2, 1)
    network.up(Holder(ANNA, withholds_chunks=True).hold(film))
    network.up(Holder(BOB).hold(other))
    network.do(events.LimitsChanged((Limit(MIB),), {}))
    network.want(film, 0, MIB, Priority.READ)
    network.run(0.1)
    assert [index for *_, index in network.wants] == [0]
    network.do(events.Received(ANNA, Lack(SPACE, film.id, (0,))))
    began, read = network.now, network.want(other, likely=(BOB,))
    network.run(1.0)
    assert network.satisfied[read] - began < 0.2


def test_a_space_that_goes_first_is_fetched_first() -> None:
    network = limited(ranks={WORK: -1})
    usual, first = large_file(1, 100), large_file(2, 100)
    network.up(Holder(ANNA).hold(usual, first))
    network.do(events.PeerUp(ANNA, (SPACE, WORK)))
    waiters = [network.want(usual), network.want(first, space=WORK)]
    network.run()
    assert network.satisfied[waiters[0]] - network.satisfied[waiters[1]] > 0.7


def test_of_many_small_contents_those_of_the_first_space_come_first() -> None:
    network = limited(ranks={SPACE: 1})
    files = [small_file(number) for number in range(600)]
    network.up(Holder(ANNA).hold(*files))
    network.do(events.PeerUp(ANNA, (SPACE, WORK)))
    last = [network.want(file) for file in files[:300]]
    first = [network.want(file, space=WORK) for file in files[300:]]
    network.run()
    firsts = sorted(network.satisfied[waiter] for waiter in first)
    # But for those that were being asked about.
    assert sum(network.satisfied[waiter] < firsts[-1] for waiter in last) <= 65


def test_lifting_a_limit_holds_at_once() -> None:
    network, file = limited(Limit(MIB)), large_file(1, 500)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)
    network.run(3.0)
    assert waiter not in network.satisfied
    network.do(events.LimitsChanged((), {}))
    network.run(7.0)
    assert waiter in network.satisfied


def test_who_says_later_is_waited_for() -> None:
    """As one whose own limit is a chunk in twenty seconds."""
    network, file = Network(), large_file(1, 3)
    holder = network.up(Holder(ANNA, bytes_per_s=MIB / 20).hold(file))

    def put_off() -> None:
        network.do(events.Received(holder.device, Later(SPACE, file.id)))
        network.at(1.0, put_off)

    put_off()
    waiter = network.want(file)
    network.run(100.0)
    assert waiter in network.satisfied
    assert len(network.wants) == 3


def test_who_says_later_for_ever_is_given_up() -> None:
    network, file = Network(), large_file(1, 3)
    network.up(Holder(ANNA, withholds_chunks=True).hold(file))

    def put_off() -> None:
        network.do(events.Received(ANNA, Later(SPACE, file.id)))
        network.at(1.0, put_off)

    put_off()
    waiter = network.want(file)
    network.run(500.0)
    assert waiter in network.failed
