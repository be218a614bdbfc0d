from collections import Counter

import pytest

from sharefs.records.content import KIB, MIB
from sharefs.records.ids import DeviceId, SpaceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.events import Priority
from sharefs.transfer.schedule import UNSAFE_BYTES_MAX
from tests.transfer.transfer_network import (
    ANNA,
    BOB,
    ME,
    SPACE,
    Holder,
    Network,
    large_file,
    small_file,
)


def asked_of(network: Network) -> Counter[DeviceId]:
    return Counter(device for _, device, _, _ in network.wants)


def test_a_large_content_comes_whole_and_each_chunk_once() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert Counter(index for *_, index in network.wants) == dict.fromkeys(range(1000), 1)


def test_a_small_content_costs_one_question_and_no_chunk() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, priority=Priority.READ)
    network.run()
    assert waiter in network.satisfied
    assert len(network.asks) == 1
    assert not network.wants


def test_a_read_fetches_only_the_chunks_of_its_range() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, 5 * MIB - 1, 5 * MIB + 1, Priority.READ)
    network.run()
    assert waiter in network.satisfied
    assert [index for *_, index in network.wants] == [4, 5]


def test_two_holders_share_a_large_content() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    waiter = network.want(file, likely=(ANNA,))
    network.run()
    assert waiter in network.satisfied
    assert min(network.bytes_from.values()) > 400 * MIB
    assert sum(network.bytes_from.values()) == 1000 * MIB


def test_a_slow_holder_does_not_hold_up_the_last_chunks() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, bytes_per_s=2 * MIB).hold(file))
    waiter = network.want(file)
    start = network.now
    network.run()
    assert network.satisfied[waiter] - start < 14


def test_a_holder_of_half_is_used_for_its_half() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA, bytes_per_s=20 * MIB).hold(file))
    network.up(Holder(BOB).hold(file, chunks=bitmap.span(200, 400)))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert all(index >= 200 for _, device, _, index in network.wants if device == BOB)
    assert asked_of(network)[BOB] > 150


def test_two_halves_make_a_whole() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file, chunks=bitmap.span(0, 50)))
    network.up(Holder(BOB).hold(file, chunks=bitmap.span(50, 100)))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert asked_of(network) == {ANNA: 50, BOB: 50}


def test_a_read_overtakes_a_fetch() -> None:
    network, file, other = Network(), large_file(1, 2000), large_file(2, 2000)
    network.up(Holder(ANNA, bytes_per_s=20 * MIB).hold(file, other))
    fetch = network.want(file)
    network.run(5.0)
    start = network.now
    ahead = network.want(other, 100 * MIB, 140 * MIB, Priority.READ_AHEAD)
    read = network.want(other, 1500 * MIB, 1501 * MIB, Priority.READ)
    network.run(200)
    assert network.satisfied[read] - start < 1.0
    assert network.satisfied[ahead] - start < 4.0
    assert fetch in network.satisfied


def test_ten_thousand_small_contents_are_pipelined_64_at_a_time() -> None:
    network = Network()
    files = [small_file(number) for number in range(10_000)]
    network.up(Holder(ANNA, latency_s=0.005).hold(*files))
    start = network.now
    in_flight, most = 0, 0
    for file in files:
        network.want(file)
    network.run()
    sent = [(at, 1) for at, _, _ in network.asks]
    answered = [(at, -1) for at in network.satisfied.values()]
    for _, step in sorted(sent + answered, key=lambda pair: pair[0]):
        in_flight += step
        most = max(most, in_flight)
    assert len(network.satisfied) == len(network.asks) == 10_000
    assert most <= 128
    assert max(network.satisfied.values()) - start < 4


def test_no_more_than_64_contents_are_asked_for_at_a_time() -> None:
    network = Network()
    network.up(Holder(ANNA, mute=True))
    for number in range(1000):
        network.want(small_file(number))
    assert len(network.asks) == 64


def test_a_read_is_asked_about_though_64_fetches_are() -> None:
    network = Network()
    network.up(Holder(ANNA, mute=True))
    for number in range(1000):
        network.want(small_file(number))
    network.want(small_file(999), priority=Priority.READ)
    assert network.asks[-1][2].content == small_file(999).id


def test_questions_are_spread_over_members_who_hold_the_contents() -> None:
    network = Network()
    files = [small_file(number) for number in range(2000)]
    network.up(Holder(ANNA, latency_s=0.005).hold(*files))
    network.up(Holder(BOB, latency_s=0.005).hold(*files))
    for file in files:
        network.want(file, likely=(ANNA,))
    network.run()
    assert len(network.satisfied) == 2000
    assert Counter(device for _, device, _ in network.asks)[BOB] > 500


def test_unwanted_cancels_what_was_not_asked_for_yet() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)
    network.run(1.0)
    asked = len(network.wants)
    network.do(events.Unwanted(waiter))
    network.run()
    assert waiter not in network.satisfied
    assert len(network.wants) == asked
    assert network.machine.snapshot(network.now) == []
    network.do(events.Unwanted(waiter))


def test_unwanted_leaves_what_another_waits_for() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    fetch, read = network.want(file), network.want(file, 50 * MIB, 52 * MIB, Priority.READ)
    network.do(events.Unwanted(fetch))
    network.run()
    assert read in network.satisfied
    assert {index for *_, index in network.wants} == {50, 51}


def test_chunks_that_are_here_are_not_fetched() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, known=True, have=bitmap.span(10, 100))
    network.run()
    assert waiter in network.satisfied
    assert sorted(index for *_, index in network.wants) == list(range(10))


def test_chunks_of_other_local_contents_are_not_fetched() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    network.copies[file.id] = bitmap.span(3, 1000)
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert sorted(index for *_, index in network.wants) == [0, 1, 2]


def test_nothing_is_asked_for_while_it_is_looked_what_other_contents_have() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, known=True, have=bitmap.span(0, 1), looks=True)
    network.run(1.0)
    assert not network.wants
    network.do(events.ManifestKept(file.id, b"\x01", bitmap.to_bytes(bitmap.span(3, 100), 100)))
    network.run(1.0)
    assert sorted(index for *_, index in network.wants) == [1, 2]
    for index in range(3, 100):
        network.do(events.ChunkStored(ME, file.id, index))
    assert waiter in network.satisfied


def test_what_is_being_copied_is_not_asked_for_by_who_wants_it_next() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA).hold(file))
    network.want(file, known=True, coming=bitmap.span(3, 100))
    network.run(1.0)
    assert sorted(index for *_, index in network.wants) == [0, 1, 2]
    network.do(events.ChunkBad(ME, file.id, 7))
    network.run(1.0)
    assert sorted(index for *_, index in network.wants) == [0, 1, 2, 7]


def test_a_program_is_blocked_on_what_it_reads_before_what_it_may_read() -> None:
    network, file = Network(), large_file(1, 100)
    assert network.machine.blocked(file.id) == bitmap.NONE
    network.want(file, known=True)
    assert network.machine.blocked(file.id) == bitmap.NONE
    network.want(file, 50 * MIB, 60 * MIB, Priority.READ_AHEAD)
    assert network.machine.blocked(file.id) == bitmap.span(50, 60)
    network.want(file, 7 * MIB, 8 * MIB, Priority.READ)
    assert network.machine.blocked(file.id) == bitmap.span(7, 8)


def test_what_is_here_satisfies_at_once() -> None:
    network, file = Network(), large_file(1, 100)
    have = bitmap.span(0, 50)
    here = network.want(file, 0, 50 * MIB, Priority.READ, known=True, have=have)
    assert network.want(file, 7, 7) in network.satisfied
    assert network.want(file, file.size, file.size + 10) in network.satisfied
    assert here in network.satisfied


def test_a_disk_slower_than_the_network_slows_the_asking() -> None:
    network, file = Network(), large_file(1, 1000)
    network.store_s = 5.0
    network.up(Holder(ANNA, bytes_per_s=1000 * MIB).hold(file))
    waiter = network.want(file)
    network.run(6.0)
    assert len(network.wants) == UNSAFE_BYTES_MAX // MIB
    network.run(200)
    assert waiter in network.satisfied


def test_no_more_is_under_way_or_unsaved_than_may_be_lost_in_a_crash() -> None:
    network, file = Network(), large_file(1, 400)
    network.save_s = 0.5
    network.up(Holder(ANNA, bytes_per_s=1000 * MIB).hold(file))
    network.up(Holder(BOB, bytes_per_s=1000 * MIB).hold(file))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert network.unsafe_bytes_most == UNSAFE_BYTES_MAX


def test_a_blocked_read_does_not_wait_for_the_disk_to_save_what_is_fetched() -> None:
    network, file, other = Network(), large_file(1, 400), large_file(2, 4)
    network.save_s = 1000.0
    network.up(Holder(ANNA).hold(file, other))
    network.want(file)
    network.run(5.0)
    waiter, began = network.want(other, 0, MIB, Priority.READ), network.now
    network.run(5.0)
    assert network.satisfied[waiter] - began < 0.1


def test_what_was_held_back_is_asked_for_when_those_who_were_asked_are_gone() -> None:
    network, file = Network(), large_file(1, 200)
    holders = [Holder(DeviceId(bytes([number]) * 16)) for number in range(5)]
    for holder in holders:
        network.up(holder.hold(file))
    waiter = network.want(file)
    network.run(0.5)
    for holder in holders[1:]:
        holder.withholds_chunks = True
    network.run(0.1)
    for holder in holders[1:]:
        network.down(holder.device)
    network.run()
    assert waiter in network.satisfied


def test_what_was_learnt_of_the_holders_serves_the_next_read() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    for chunk in range(0, 100, 10):
        waiter = network.want(file, chunk * MIB, chunk * MIB + 4 * KIB, Priority.READ)
        network.run(1.0)
        assert waiter in network.satisfied
    assert len(network.asks) == 1


def test_a_freed_content_is_fetched_again() -> None:
    network, file = Network(), large_file(1, 20)
    network.up(Holder(ANNA).hold(file))
    network.want(file, 0, 10 * MIB)
    network.run()
    network.do(events.Freed(file.id))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    assert len(network.wants) == 30


def test_members_of_other_spaces_are_not_asked() -> None:
    network, file = Network(), small_file(1)
    network.holders[ANNA] = Holder(ANNA).hold(file)
    network.do(events.PeerUp(ANNA, (SpaceId(b"o" * 32),)))
    waiter = network.want(file)
    network.run(1.0)
    assert not network.asks
    network.do(events.PeerUp(ANNA, (SpaceId(b"o" * 32), SPACE)))
    network.run()
    assert waiter in network.satisfied


def test_the_snapshot_tells_how_far_and_from_whom() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB, bytes_per_s=50 * MIB).hold(file))
    network.want(file)
    network.want(small_file(1))
    assert [progress.state for progress in network.machine.snapshot(network.now)] == ["asking"] * 2
    network.run(4.0)
    [progress] = [p for p in network.machine.snapshot(network.now) if p.content == file.id]
    assert progress.state == "fetching"
    assert progress.done > 400 * MIB
    rates = {source.device: source.bytes_per_second / MIB for source in progress.sources}
    assert rates[ANNA] == pytest.approx(100, rel=0.1)
    assert rates[BOB] == pytest.approx(50, rel=0.1)
    network.down(ANNA)
    network.down(BOB)
    network.run(1.0)
    assert network.machine.snapshot(network.now)[0].state == "waiting"
