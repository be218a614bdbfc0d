from collections import Counter
from itertools import pairwise

import pytest

from sharefs.errors import DiskFull, NoHolderOnline
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.events import Priority
from sharefs.transfer.schedule import UNSAFE_BYTES_MAX
from sharefs.transfer.vain import IN_VAIN_S
from sharefs.wire.transfer import Ask, Lack, Offer, WantChunks
from tests.transfer.transfer_network import (
    ANNA,
    BOB,
    ME,
    SPACE,
    File,
    Holder,
    Network,
    large_file,
    small_file,
)


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


@pytest.mark.parametrize("known", [False, True])
def test_what_was_waited_for_in_vain_fails_at_once_for_some_seconds(known: bool) -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA))
    network.want(file, 0, MIB, Priority.READ, known=known)
    network.run(3.5)
    again = network.now
    page = network.want(file, 0, 4096, Priority.READ, known=known)
    following = network.want(file, MIB, 2 * MIB, Priority.READ, known=known)
    other = network.want(small_file(2), priority=Priority.READ)
    network.run(IN_VAIN_S)
    assert [network.failed[waiter][0] - again for waiter in (page, following)] == [0, 0]
    assert network.failed[other][0] - again >= 2.9
    late = network.want(file, 0, 4096, Priority.READ, known=known)
    began = network.now
    network.run()
    assert network.failed[late][0] - began >= 2.9


def test_who_comes_up_is_asked_for_what_was_waited_for_in_vain() -> None:
    network, file = Network(), large_file(1, 10)
    network.want(file, 0, MIB, Priority.READ)
    network.run(3.5)
    network.up(Holder(ANNA).hold(file))
    waiter = network.want(file, 0, MIB, Priority.READ)
    network.run()
    assert waiter in network.satisfied


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "while another waits"])
def test_who_answers_too_late_is_asked_again_by_the_next_read(others: int) -> None:
    network, file = Network(), small_file(1)
    slow = network.up(Holder(ANNA, latency_s=2.0).hold(file))
    failed = network.want(file, priority=Priority.READ)
    for _ in range(others):
        network.want(file, held=True)
    network.run(4.5)
    assert failed in network.failed
    slow.latency_s = 0.001
    waiter = network.want(file, priority=Priority.READ)
    network.run(0.1)
    assert waiter in network.satisfied


def test_who_has_come_to_hold_it_is_asked_for_what_was_waited_for_in_vain() -> None:
    network, file = Network(), small_file(1)
    holder = network.up(Holder(ANNA))
    network.up(Holder(BOB))
    network.want(file, priority=Priority.READ, likely=(BOB,))
    network.run(3.5)
    holder.hold(file)
    began = network.now
    same = network.want(file, priority=Priority.READ, likely=(BOB,))
    away = network.want(file, priority=Priority.READ, likely=(DeviceId(b"c" * 16),))
    assert [network.failed[waiter][0] for waiter in (same, away)] == [began, began]
    waiter = network.want(file, priority=Priority.READ, likely=(ANNA, BOB))
    network.run(1.0)
    assert waiter in network.satisfied


def test_what_a_holder_has_is_fetched_though_the_rest_was_waited_for_in_vain() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file, chunks=bitmap.span(0, 5)))
    network.want(file, 4 * MIB, 6 * MIB, Priority.READ)
    network.run(4.0)
    had = network.want(file, 3 * MIB, 4 * MIB, Priority.READ, known=True)
    lacking = network.want(file, 5 * MIB, 6 * MIB, Priority.READ, known=True)
    began = network.now
    network.run()
    assert had in network.satisfied
    assert network.failed[lacking][0] == began


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
    network, file = Network(), large_file(1, 600)
    anna = network.up(Holder(ANNA).hold(file))
    network.up(Holder(BOB).hold(file))
    began, waiter = network.now, network.want(file)
    network.at(0.1, lambda: anna.hold(file, chunks=bitmap.span(0, 300)))
    network.run()
    assert network.satisfied[waiter] - began < 4.5, "nothing is waited for in vain"


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


def test_a_local_copy_that_fails_is_fetched_and_nobody_blamed() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA).hold(file))
    network.copies[file.id] = bitmap.span(3, 10)
    waiter = network.want(file)
    network.at(0.0033, lambda: network.do(events.ChunkBad(ME, file.id, 7)))
    network.run()
    assert waiter in network.satisfied
    assert not network.reports


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
    assert not network.machine.expects(ANNA, file.id, 0)


def test_who_was_caught_keeps_no_chunk_from_those_who_have_it() -> None:
    """Else whoever goes on sending false chunks would have them verified instead of true ones."""
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA, withholds_chunks=True).hold(file))
    network.want(file)
    network.run(0.5)
    assert network.machine.expects(BOB, file.id, 3), "what comes late is kept"
    network.machine._books.distrust.add(file.id, BOB)
    assert not network.machine.expects(BOB, file.id, 3)
    assert network.machine.expects(ANNA, file.id, 3)


def test_what_was_not_asked_for_is_not_kept_when_much_waits_to_be_stored() -> None:
    network, file = Network(), large_file(1, 10)
    network.up(Holder(ANNA, withholds_chunks=True).hold(file))
    network.want(file)
    network.run(0.5)
    asked = network.wants[0][3]
    network.machine._books.schedule.storing_bytes = 2 * UNSAFE_BYTES_MAX
    assert not network.machine.expects(BOB, file.id, asked)
    assert network.machine.expects(ANNA, file.id, asked)


def test_a_manifest_that_was_kept_for_a_content_forgotten_meanwhile_is_no_matter() -> None:
    network, file = Network(), large_file(1, 10)
    network.store_s = 5.0
    network.up(Holder(ANNA).hold(file))
    network.do(events.Unwanted(network.want(file)))
    network.want(file)
    network.do(events.StoreFailed(file.id, DiskFull("full")))
    network.want(file)
    network.do(events.ManifestKept(file.id, b"\x01"))
    network.run()
