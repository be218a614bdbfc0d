from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from transfer_network import ANNA, BOB, ME, SPACE, File, Holder, Network, large_file, small_file

from sharefs.errors import DiskFull, NoHolderOnline
from sharefs.records.content import KIB, MIB
from sharefs.records.ids import DeviceId, SpaceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.events import Priority
from sharefs.wire.transfer import Ask, Lack, Offer, WantChunks


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


def test_a_holder_that_goes_down_is_replaced_by_the_other() -> None:
    network, file = Network(), large_file(1, 400)
    network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    waiter = network.want(file)
    network.at(1.0, lambda: network.down(ANNA))
    network.run()
    assert waiter in network.satisfied


def test_a_holder_that_falls_silent_is_replaced_by_the_other() -> None:
    network, file = Network(), large_file(1, 400)
    anna = network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    waiter = network.want(file)
    start = network.now
    network.at(0.5, lambda: setattr(anna, "withholds_chunks", True))
    network.run()
    assert network.satisfied[waiter] - start < 10
    twice = [i for i, n in Counter(index for *_, index in network.wants).items() if n > 1]
    assert 0 < len(twice) <= 16


def test_a_lost_want_is_asked_again_after_the_timeout_only() -> None:
    network, file = Network(), large_file(1, 100)
    network.up(Holder(ANNA, loses=[WantChunks]).hold(file))
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied
    times: dict[int, list[float]] = {}
    for at, _, _, index in network.wants:
        times.setdefault(index, []).append(at)
    assert all(b - a >= 4 for at in times.values() for a, b in pairwise(at))


def test_a_want_that_is_lost_while_others_are_answered_is_noticed() -> None:
    network, file, other = Network(), large_file(1, 8), large_file(2, 4000)
    anna = network.up(Holder(ANNA).hold(file, other))
    network.want(other)
    network.run(2.0)
    anna.loses.append(WantChunks)
    waiter = network.want(file, 0, 1, Priority.READ)
    start = network.now
    network.run()
    assert network.satisfied[waiter] - start < 12


@pytest.mark.parametrize("file", [small_file(1), large_file(1, 20)], ids=["small", "large"])
def test_a_lost_answer_is_asked_for_again(file: File) -> None:
    network = Network()
    network.up(Holder(ANNA, loses=[Ask]).hold(file))
    waiter = network.want(file, priority=Priority.READ)
    start = network.now
    network.run()
    assert network.satisfied[waiter] - start < 2


@pytest.mark.parametrize("large", [False, True])
def test_a_liar_is_dropped_reported_and_replaced(large: bool) -> None:
    network = Network()
    file = large_file(1, 50) if large else small_file(1)
    network.up(Holder(ANNA, lies=True).hold(file))
    network.up(Holder(BOB).hold(file))
    waiter = network.want(file, likely=(ANNA,))
    network.run()
    assert waiter in network.satisfied
    assert [(report.device, report.content) for report in network.reports] == [(ANNA, file.id)]
    assert "Anna" in network.reports[0].sentence
    again = network.want(file)
    network.asks.clear()
    network.run()
    assert again in network.satisfied
    assert all(device == BOB for _, device, _ in network.asks)


def test_a_false_manifest_is_refused_and_its_sender_replaced() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(BOB, latency_s=0.01).hold(file))
    network.up(Holder(ANNA, mute=True))
    waiter = network.want(file, likely=(ANNA,))
    forged = Offer(SPACE, file.id, True, b"", large_file(2, 10).encoded, b"")
    network.do(events.Received(ANNA, forged))
    network.run()
    assert waiter in network.satisfied
    assert [report.device for report in network.reports] == [ANNA]


def test_a_content_whose_record_lies_about_its_size_fails() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file))
    wanted = events.Wanted(
        77, SPACE, file.id, file.size + 1, None, b"", 0, file.size, Priority.READ
    )
    network.do(wanted)
    network.run()
    assert isinstance(network.failed[77][1], NoHolderOnline)
    waiter = network.want(file)
    network.run()
    assert waiter in network.satisfied


def test_nobody_online_fails_in_three_seconds() -> None:
    network, file = Network(), large_file(1, 10)
    start = network.now
    waiters = [network.want(file, priority=Priority.READ), network.want(small_file(1))]
    waiters.append(network.want(file, 0, 1, Priority.READ, known=True, likely=(ANNA,)))
    network.run()
    for waiter in waiters:
        at, error = network.failed[waiter]
        assert isinstance(error, NoHolderOnline)
        assert 2.9 <= at - start <= 3.1
    assert "Anna may have them" in str(network.failed[waiters[-1]][1])


def test_ten_thousand_contents_that_nobody_has_fail_in_seconds_too() -> None:
    network = Network()
    network.up(Holder(ANNA))
    start = network.now
    waiters = [network.want(small_file(number)) for number in range(10_000)]
    network.run()
    assert all(network.failed[waiter][0] - start < 5 for waiter in waiters)
    assert len(network.asks) == 10_000


def test_members_who_do_not_hold_it_are_all_asked_before_it_fails() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA))
    network.up(Holder(BOB))
    start = network.now
    waiter = network.want(file)
    network.run()
    assert {device for _, device, _ in network.asks} == {ANNA, BOB}
    assert 2.9 <= network.failed[waiter][0] - start <= 3.1


def test_a_mute_member_does_not_make_a_read_hang() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA, mute=True))
    start = network.now
    waiter = network.want(file, priority=Priority.READ)
    network.run()
    assert network.failed[waiter][0] - start <= 6


def test_a_holder_that_answers_but_sends_nothing_does_not_make_a_read_hang() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA, withholds_chunks=True).hold(file))
    start = network.now
    waiter = network.want(file, priority=Priority.READ)
    network.run()
    assert network.failed[waiter][0] - start <= 14


def test_a_read_of_a_mute_member_s_content_soon_asks_another() -> None:
    network, file = Network(), small_file(1)
    network.up(Holder(ANNA, mute=True))
    network.up(Holder(BOB).hold(file))
    start = network.now
    waiter = network.want(file, priority=Priority.READ, likely=(ANNA,))
    network.run()
    assert 0.15 <= network.satisfied[waiter] - start < 0.2


def test_a_holder_that_appears_in_the_last_moment_is_waited_for() -> None:
    network, file = Network(), large_file(1, 10)
    waiter = network.want(file, priority=Priority.READ)
    network.at(2.99, lambda: network.up(Holder(ANNA, latency_s=0.5).hold(file)))
    network.run()
    assert waiter in network.satisfied


def test_a_member_that_comes_and_goes_does_not_make_a_read_hang() -> None:
    network, file = Network(), small_file(1)
    start = network.now
    waiter = network.want(file, priority=Priority.READ)

    def flap() -> None:
        if ANNA in network.holders:
            network.down(ANNA)
        else:
            network.up(Holder(ANNA, mute=True))
        network.at(1.0, flap)

    network.at(1.0, flap)
    network.run(60)
    assert network.failed[waiter][0] - start <= 11


def test_a_holder_that_appears_joins_a_large_transfer() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)
    network.at(2.0, lambda: network.up(Holder(BOB).hold(file)))
    network.run()
    assert waiter in network.satisfied
    assert network.bytes_from[BOB] > 200 * MIB


def test_a_partial_holder_is_asked_again_for_what_it_got_meanwhile() -> None:
    network, file = Network(), large_file(1, 20)
    anna = network.up(Holder(ANNA).hold(file, chunks=bitmap.span(0, 10)))
    waiter = network.want(file, priority=Priority.READ)
    network.at(0.5, lambda: anna.hold(file))
    network.run()
    assert waiter in network.satisfied


def test_what_can_be_had_is_fetched_before_the_rest_fails() -> None:
    network, file = Network(), large_file(1, 500)
    network.up(Holder(ANNA, bytes_per_s=50 * MIB).hold(file, chunks=bitmap.span(0, 400)))
    waiter = network.want(file)
    network.run()
    assert waiter in network.failed
    assert network.bytes_from[ANNA] == 400 * MIB


def test_a_chunk_that_a_holder_lacks_after_all_is_fetched_elsewhere() -> None:
    network, file = Network(), large_file(1, 100)
    anna = network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    waiter = network.want(file)
    network.at(0.1, lambda: anna.hold(file, chunks=bitmap.span(0, 10)))
    network.run()
    assert waiter in network.satisfied


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


@pytest.mark.parametrize("large", [False, True])
def test_a_full_disk_fails_the_waiters_with_that_error(large: bool) -> None:
    network = Network()
    file = large_file(1, 100) if large else small_file(1)
    network.up(Holder(ANNA).hold(file))
    network.disk_error = DiskFull("No room.")
    waiters = [network.want(file), network.want(file, 0, 1, Priority.READ)]
    network.run(10)
    assert all(network.failed[waiter][1] is network.disk_error for waiter in waiters)
    network.disk_error = None
    again = network.want(file)
    network.run()
    assert again in network.satisfied


def test_a_disk_that_fills_up_on_the_way_fails_the_waiters() -> None:
    network, file = Network(), large_file(1, 1000)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file)

    def fill() -> None:
        network.disk_error = DiskFull("No room.")

    network.at(1.0, fill)
    network.run(10)
    assert isinstance(network.failed[waiter][1], DiskFull)


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


def test_a_local_copy_that_fails_is_fetched_and_nobody_blamed() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file))
    network.copies[file.id] = bitmap.span(3, 10)
    waiter = network.want(file)
    network.at(0.0033, lambda: network.do(events.ChunkBad(ME, file.id, 7)))
    network.run()
    assert waiter in network.satisfied
    assert not network.reports


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
    assert len(network.wants) < 160
    network.run(200)
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


def test_answers_that_nobody_asked_for_are_ignored() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA, mute=True))
    strangers: list[events.Event] = [
        events.Received(BOB, Offer(SPACE, file.id, True, b"", file.encoded, b"")),
        events.Received(ANNA, Lack(SPACE, file.id, (2**31,))),
        events.ChunkArrived(BOB, file.id, 2**31, 5),
        events.ChunkStored(BOB, file.id, 2**31),
        events.ChunkBad(ANNA, file.id, 2**31),
        events.ManifestKept(file.id),
    ]
    for event in strangers:
        network.do(event)
    network.want(file)
    for event in strangers[:-1]:
        network.do(event)
    assert not network.wants
    assert not network.machine.expects(file.id, 0)


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


@pytest.mark.parametrize(
    ("planted", "bug", "claim"),
    [
        (
            "credit.Flow.give_up",
            lambda *_: [],
            test_a_lost_want_is_asked_again_after_the_timeout_only,
        ),
        (
            "asking._repetitions",
            lambda *_: [],
            test_a_partial_holder_is_asked_again_for_what_it_got_meanwhile,
        ),
        (
            "peers.Distrust.add",
            lambda *_: None,
            lambda: test_a_liar_is_dropped_reported_and_replaced(True),
        ),
        (
            "machine.verify_whole",
            lambda *_: None,
            lambda: test_a_liar_is_dropped_reported_and_replaced(False),
        ),
        (
            "line.ACTIVE_CONTENTS_WITH_READS_MAX",
            64,
            test_a_read_is_asked_about_though_64_fetches_are,
        ),
    ],
)
def test_a_planted_bug_is_found(
    planted: str, bug: object, claim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sharefs.transfer.{planted}", bug)
    with pytest.raises(AssertionError):
        claim()
