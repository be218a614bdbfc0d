"""Those who have some of a content are used for that, and what nobody has is told of, and soon."""

from sharefs.errors import NoHolderOnline
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.asking import PATIENCE_S
from sharefs.transfer.events import Priority
from sharefs.wire.transfer import Have, Lack
from tests.transfer.swarm import Swarm
from tests.transfer.transfer_network import ANNA, BOB, SPACE, Holder, Network, large_file

CAROL = DeviceId(b"c" * 16)


def halves(lacking: int = 0) -> tuple[Network, int]:
    """Anna has the first half of a large file, Bob the second but for some chunks; who waits."""
    network, file = Network(), large_file(1, 40)
    network.up(Holder(ANNA).hold(file, chunks=bitmap.span(0, 20)))
    network.up(Holder(BOB).hold(file, chunks=bitmap.span(20, 40 - lacking)))
    return network, network.want(file, priority=Priority.READ, likely=(CAROL, ANNA, BOB))


def test_two_halves_make_a_whole() -> None:
    network, waiter = halves()
    network.run()
    assert waiter in network.satisfied
    assert network.bytes_from == {ANNA: 20 * MIB, BOB: 20 * MIB}


def test_what_all_who_are_online_lack_together_is_told_of_after_some_seconds() -> None:
    network, waiter = halves(lacking=1)
    began = network.now
    network.run()
    at, error = network.failed[waiter]
    assert isinstance(error, NoHolderOnline)
    assert PATIENCE_S <= at - began <= PATIENCE_S + 0.1
    assert "Anna and Bob hold other parts" in str(error)
    assert str(error).endswith("device 63636363 may have them."), "they do not"


def test_who_may_have_it_is_not_said_of_who_said_no() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA))
    waiter = network.want(file, priority=Priority.READ, likely=(ANNA, BOB))
    network.run()
    assert str(network.failed[waiter][1]).endswith("online. Bob may have them.")


def test_a_holder_who_gets_it_bit_by_bit_from_elsewhere_is_waited_for() -> None:
    """Slower than who waits has patience for all of it."""
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file, chunks=0b1))
    waiter = network.want(file)
    for index in range(1, 10):
        network.run(0.8 * PATIENCE_S)
        _gets(network, index)
    network.run()
    assert waiter in network.satisfied


def _gets(network: Network, index: int) -> None:
    holder = network.holders[ANNA]
    ((file, chunks),) = holder.held.values()
    holder.hold(file, chunks=chunks | 1 << index)
    network.do(events.Received(ANNA, Have(SPACE, file.id, (index,))))


def test_who_had_none_of_it_is_asked_for_the_list_of_its_chunks_when_it_has_some() -> None:
    network, file = Network(), large_file(1, 10)
    anna = network.up(Holder(ANNA))
    waiter = network.want(file, 0, MIB, Priority.READ)
    network.run(0.1)
    began = network.now
    anna.hold(file, chunks=0b1)
    network.do(events.Received(ANNA, Have(SPACE, file.id, (0,))))
    network.run()
    assert network.satisfied[waiter] - began < 0.1


def test_who_gets_and_loses_the_same_again_and_again_is_not_waited_for() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file, chunks=0b1))
    began, waiter = network.now, network.want(file, priority=Priority.READ)
    while waiter not in network.failed:
        network.run(1.0)
        network.do(events.Received(ANNA, Have(SPACE, file.id, (5,))))
        network.do(events.Received(ANNA, Lack(SPACE, file.id, (5,))))
        assert network.now - began < 10


def test_who_fetches_through_another_what_only_that_one_can_reach_gets_all_of_it() -> None:
    """A slow source that only one of them sees: the other stays one chunk behind, to the end."""
    file = large_file(1, 12)
    swarm = Swarm(file)
    between = swarm.join("b", 100 * MIB)
    far = swarm.join("c", 100 * MIB)
    source = swarm.join("s", MIB / 2, file)
    far.machine.handle(events.PeerDown(source.device), swarm.now)
    waiters = [swarm.fetch(between, file), swarm.fetch(far, file)]
    swarm.run()
    assert swarm.satisfied.keys() == set(waiters)
    assert swarm.satisfied[waiters[1]] - swarm.satisfied[waiters[0]] < 1.0
