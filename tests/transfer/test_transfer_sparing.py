"""What was asked for and nobody wants any more is cancelled, and nothing comes twice for that."""

from collections import Counter

from sharefs.errors import DiskFull, TransferCancelled
from sharefs.records.content import MIB
from sharefs.transfer import events
from sharefs.transfer.events import Priority
from sharefs.transfer.sparing import LINGER_S
from sharefs.transfer.stages import IDLE_CONTENTS_MAX
from sharefs.wire.transfer import Dropped
from tests.transfer.transfer_network import ANNA, BOB, File, Holder, Network, large_file

SLOW = 2 * MIB
LONG_S = 60.0


def fetching(
    bytes_per_s: float = SLOW, priority: Priority = Priority.FETCH
) -> tuple[Network, File, int]:
    """Several chunks are under way, of which one at least has begun."""
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=bytes_per_s).hold(file))
    waiter = network.want(file, priority=priority)
    network.run(0.1)
    assert len(network.wants) > 2
    return network, file, waiter


def asked_of(network: Network) -> Counter[int]:
    return Counter(index for *_, index in network.wants)


def came(network: Network) -> Counter[int]:
    return Counter(index for _, index in network.came)


def cancelled(network: Network) -> set[int]:
    return {index for *_, index in network.cancels}


def under_way(network: Network) -> int:
    (peer,) = network.machine._books.peers.values()
    return peer.flow.under_way_bytes


def test_what_a_fetch_that_is_let_go_had_asked_for_comes_no_more() -> None:
    network, _, waiter = fetching()
    network.do(events.Unwanted(waiter))
    network.run(LONG_S)
    assert cancelled(network) == set(asked_of(network))
    # What had begun came, and was kept.
    assert len(network.came) == 1
    assert network.bytes_in_vain == 0
    assert under_way(network) == 0


def test_what_is_paused_or_cancelled_by_a_person_comes_no_more() -> None:
    for stop in (
        lambda waiter, file: events.Paused(waiter),
        lambda waiter, file: events.Cancelled(file.id, TransferCancelled("You did.")),
    ):
        network, file, waiter = fetching()
        network.do(stop(waiter, file))
        # Sooner than what was asked for is given up.
        network.run(2.0)
        assert len(network.came) == 1
        assert under_way(network) == 0


def test_a_reader_who_goes_elsewhere_waits_behind_nothing_that_was_read_ahead() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(file))
    ahead = network.want(file, 0, 20 * MIB, Priority.READ_AHEAD)
    network.run(0.1)
    began = set(asked_of(network))
    network.do(events.Unwanted(ahead))
    network.want(file, 300 * MIB, 301 * MIB, Priority.READ)
    network.run(LONG_S)
    assert cancelled(network) == began
    assert set(came(network)) == {300, min(began)}


def test_what_others_want_still_is_not_cancelled() -> None:
    network, file, fetch = fetching()
    begun, wanted, *others = [index for *_, index in network.wants]
    network.want(file, wanted * MIB, (wanted + 1) * MIB, Priority.REPLICATION)
    network.do(events.Unwanted(fetch))
    network.run(LONG_S)
    assert cancelled(network) == {begun, *others}
    assert set(came(network)) == {begun, wanted}


def test_what_is_wanted_again_at_once_is_not_cancelled() -> None:
    network, file, fetch = fetching()
    network.do(events.Unwanted(fetch))
    network.run(LINGER_S / 2)
    again = network.want(file)
    network.run(400)
    assert again in network.satisfied
    assert not network.cancels
    assert set(came(network).values()) == {1}


def test_what_is_cancelled_and_wanted_again_comes_once() -> None:
    for pause_s in (LINGER_S, LINGER_S + 0.001, LINGER_S + 0.002, LINGER_S + 0.003, 0.5, 5.0):
        for bytes_per_s in (SLOW, 50 * MIB):
            network, file, ahead = fetching(bytes_per_s, Priority.READ_AHEAD)
            network.do(events.Unwanted(ahead))
            network.run(pause_s)
            again = network.want(file, priority=Priority.READ_AHEAD)
            network.run(400)
            assert again in network.satisfied
            assert cancelled(network)
            assert set(came(network).values()) == {1}


def test_what_its_holder_drops_and_others_want_meanwhile_is_asked_for_again() -> None:
    network, file, fetch = fetching()
    network.do(events.Unwanted(fetch))
    network.run(LINGER_S)
    _, index, *_ = [index for *_, index in network.wants]
    assert index in cancelled(network)
    read = network.want(file, index * MIB, (index + 1) * MIB, Priority.READ)
    network.run(LONG_S)
    assert read in network.satisfied
    assert asked_of(network)[index] == 2
    assert came(network)[index] == 1


def test_where_nobody_hears_that_it_is_dropped_it_is_asked_for_again_in_time() -> None:
    network, file, fetch = fetching()
    network.holders[ANNA].loses.append(Dropped)
    network.do(events.Unwanted(fetch))
    network.run(LINGER_S + 0.01)
    again = network.want(file)
    network.run(600)
    assert again in network.satisfied
    assert set(came(network).values()) == {1}


def test_both_who_were_asked_for_a_chunk_are_told() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, withholds_chunks=True).hold(file))
    fetch = network.want(file)
    (content,) = network.machine._books.contents.values()
    while not content.seconds:
        network.run(0.001)
    network.do(events.Unwanted(fetch))
    index = next(iter(content.seconds))
    network.holders[ANNA].withholds_chunks = True
    network.run(0.1)
    assert {device for _, device, each in network.cancels if each == index} == {ANNA, BOB}


def test_who_says_that_he_drops_what_was_not_cancelled_is_not_heeded() -> None:
    network, file, fetch = fetching()
    space = network.asks[0][2].space
    network.do(events.Received(ANNA, Dropped(space, file.id, tuple(range(256)))))
    network.run(400)
    assert fetch in network.satisfied
    assert set(asked_of(network).values()) == {1}


# --- what is forgotten --------------------------------------------------------------------------


def test_what_is_forgotten_before_it_is_cancelled_comes_no_more() -> None:
    """The disk fills up, and nothing is known of the content from then on."""
    network, file, _ = fetching()
    network.do(events.StoreFailed(file.id, DiskFull("No room.")))
    assert under_way(network) == 0
    assert cancelled(network) == set(asked_of(network))
    network.run(LONG_S)
    assert len(network.came) == 1, "what had begun"


def test_of_many_that_are_let_go_at_once_nothing_comes() -> None:
    """More than are remembered."""
    network = Network()
    files = [large_file(number, 4) for number in range(2 * IDLE_CONTENTS_MAX)]
    network.up(Holder(ANNA, bytes_per_s=SLOW).hold(*files))
    waiters = [network.want(file, priority=Priority.READ) for file in files]
    network.run(0.1)
    for waiter in waiters:
        network.do(events.Unwanted(waiter))
    network.run(2.0)
    assert len(network.came) == 1
    assert under_way(network) == 0


def test_what_was_forgotten_and_is_wanted_anew_comes() -> None:
    network, file, _ = fetching()
    network.do(events.StoreFailed(file.id, DiskFull("No room.")))
    again = network.want(file)
    network.run(400)
    assert again in network.satisfied
    assert network.bytes_in_vain <= MIB, "but what had begun"
