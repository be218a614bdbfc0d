"""Do the tests of the machine notice what they are there for? Each of these bugs fails one."""

from collections.abc import Callable

import pytest

from sharefs.records.ids import DeviceId
from sharefs.transfer import bitmap
from sharefs.transfer.content import Content, Holder
from sharefs.transfer.events import Priority
from sharefs.transfer.sparing import Sparing
from tests.transfer import (
    test_transfer_failures,
    test_transfer_limits,
    test_transfer_machine,
    test_transfer_partial,
    test_transfer_seconds,
    test_transfer_sparing,
    test_transfer_swarm,
    test_transfer_urgent,
    test_transfer_yielding,
)

_cancel = Sparing._cancel


def _cancel_and_forget(sparing: Sparing, content: Content) -> None:
    """Takes what was cancelled for what does not come."""
    _cancel(sparing, content)
    for index in list(content.cancelled):
        for device in content.asked_of(index):
            content.unrequest(index, device)


def _learn_without_hope(content: Content, device: DeviceId, chunks: int, now: float) -> None:
    """Takes who has some of it for somebody who will never have more."""
    content.holders.setdefault(device, Holder(chunks)).chunks = chunks


def _learn_with_hope(content: Content, device: DeviceId, chunks: int, now: float) -> None:
    """Takes every word of a holder for a reason to wait on."""
    _learn_without_hope(content, device, chunks, now)
    content.stuck_since = now


@pytest.mark.parametrize(
    ("planted", "bug", "claim"),
    [
        (
            "credit.Flow.give_up",
            lambda *_: [],
            test_transfer_failures.test_a_lost_want_is_asked_again_after_the_timeout_only,
        ),
        (
            "asking._repetitions",
            lambda *_: [],
            test_transfer_failures.test_a_partial_holder_is_asked_again_for_what_it_got_meanwhile,
        ),
        (
            "peers.Distrust.add",
            lambda *_: None,
            lambda: test_transfer_failures.test_a_liar_is_dropped_reported_and_replaced(True),
        ),
        (
            "devices.verify_whole",
            lambda *_: None,
            lambda: test_transfer_failures.test_a_liar_is_dropped_reported_and_replaced(False),
        ),
        (
            "schedule.candidates",
            lambda *_: [],
            test_transfer_seconds.test_the_last_chunks_of_a_slow_holder_are_asked_of_a_quick_one_too,
        ),
        (
            "schedule.candidates",
            lambda *_: [],
            test_transfer_seconds.test_a_blocked_read_does_not_wait_for_a_holder_that_fell_silent,
        ),
        (
            "seconds.SECONDS_MAX",
            3,
            test_transfer_seconds.test_two_chunks_of_a_content_at_the_most_are_asked_of_two_holders,
        ),
        (
            "arrivals.Arrivals._cancel",
            lambda *_: None,
            test_transfer_seconds.test_what_came_from_one_is_cancelled_at_the_other,
        ),
        (
            "sparing._in_vain",
            lambda _: [],
            test_transfer_sparing.test_what_a_fetch_that_is_let_go_had_asked_for_comes_no_more,
        ),
        (
            "sparing.LINGER_S",
            0.0,
            test_transfer_sparing.test_what_is_wanted_again_at_once_is_not_cancelled,
        ),
        (
            "devices.Devices._dropped",
            lambda *_: None,
            test_transfer_sparing.test_what_is_paused_or_cancelled_by_a_person_comes_no_more,
        ),
        (
            "sparing.Sparing._cancel",
            _cancel_and_forget,
            test_transfer_sparing.test_what_is_cancelled_and_wanted_again_comes_once,
        ),
        (
            "stages.spare_forgotten",
            lambda *_: None,
            test_transfer_sparing.test_what_is_forgotten_before_it_is_cancelled_comes_no_more,
        ),
        (
            "stages.spare_forgotten",
            lambda *_: None,
            test_transfer_sparing.test_of_many_that_are_let_go_at_once_nothing_comes,
        ),
        (
            "schedule.Schedule.give_back",
            lambda *_: None,
            test_transfer_limits.test_what_is_cancelled_is_not_paid_for,
        ),
        (
            "schedule.Schedule.give_back",
            lambda *_: None,
            test_transfer_limits.test_what_is_lacked_after_all_is_not_paid_for,
        ),
        (
            "schedule.Schedule.hurry",
            lambda *_: [],
            test_transfer_urgent.test_what_was_asked_for_and_a_program_is_blocked_on_by_now_is_hurried_once,
        ),
        (
            "credit.Request.comes_before",
            lambda request, other: request.serial < other.serial,
            test_transfer_urgent.test_what_is_urgent_is_awaited_only_behind_what_is_so_too,
        ),
        (
            "tidings.Tidings.news",
            lambda *_: [],
            test_transfer_swarm.test_three_who_fetch_one_file_from_one_give_each_other_most_of_it,
        ),
        (
            "rarity.rarest",
            lambda chunks, *_: bitmap.lowest(chunks),
            test_transfer_swarm.test_three_who_fetch_one_file_from_one_give_each_other_most_of_it,
        ),
        (
            "devices.Devices._having",
            lambda *_: None,
            test_transfer_swarm.test_who_has_it_all_and_leaves_leaves_a_group_that_completes_itself,
        ),
        (
            "content.Content.learn",
            _learn_without_hope,
            test_transfer_partial.test_a_holder_who_gets_it_bit_by_bit_from_elsewhere_is_waited_for,
        ),
        (
            "content.Content.learn",
            _learn_with_hope,
            test_transfer_partial.test_who_gets_and_loses_the_same_again_and_again_is_not_waited_for,
        ),
        (
            "content.Content.unreachable",
            lambda _: bitmap.NONE,
            test_transfer_partial.test_what_all_who_are_online_lack_together_is_told_of_after_some_seconds,
        ),
        (
            "books.Books.leave",
            lambda *_: None,
            test_transfer_failures.test_a_holder_that_goes_down_is_replaced_by_the_other,
        ),
        (
            "bitmap.from_bytes",
            lambda _: bitmap.ALL,
            test_transfer_machine.test_a_holder_of_half_is_used_for_its_half,
        ),
        (
            "devices.Devices._lacking",
            lambda *_: None,
            test_transfer_failures.test_a_chunk_that_a_holder_lacks_after_all_is_fetched_elsewhere,
        ),
        (
            "limits.Bucket.take",
            lambda *_: None,
            test_transfer_limits.test_a_fetch_takes_the_time_that_the_limit_says,
        ),
        (
            "limits.Limit.concerns",
            lambda *_: True,
            test_transfer_limits.test_a_limit_of_one_space_leaves_the_others_alone,
        ),
        (
            "schedule.Schedule.rank",
            lambda *_: 0,
            test_transfer_limits.test_a_space_that_goes_first_is_fetched_first,
        ),
        (
            "yielding.QUEUE_S_MAX",
            float("inf"),
            test_transfer_yielding.test_what_comes_by_itself_is_halved_when_the_round_trip_swells,
        ),
        (
            "yielding.GROW",
            1.0,
            test_transfer_yielding.test_what_comes_by_itself_is_halved_when_the_round_trip_swells,
        ),
        (
            "events.Priority.yields",
            True,
            lambda: test_transfer_yielding.test_only_what_nobody_waits_for_makes_room(
                Priority.FETCH, 0.2
            ),
        ),
        (
            "arrivals.Arrivals.stored",
            lambda *_: None,
            test_transfer_failures.test_a_disk_that_fills_up_on_the_way_fails_the_waiters,
        ),
        (
            "stages.Stages.forget",
            lambda *_: None,
            lambda: test_transfer_failures.test_a_full_disk_fails_the_waiters_with_that_error(True),
        ),
        (
            "content.Content.clear_have",
            lambda *_: None,
            test_transfer_machine.test_a_freed_content_is_fetched_again,
        ),
        (
            "schedule.UNSAFE_BYTES_MAX",
            1 << 40,
            test_transfer_machine.test_no_more_is_under_way_or_unsaved_than_may_be_lost_in_a_crash,
        ),
    ],
)
def test_a_planted_bug_is_found(
    planted: str, bug: object, claim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sharefs.transfer.{planted}", bug)
    # Who was never told is not among those who were.
    with pytest.raises((AssertionError, KeyError)):
        claim()
