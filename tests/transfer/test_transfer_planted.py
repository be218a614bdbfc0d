"""Do the tests of the machine notice what they are there for? Each of these bugs fails one."""

from collections.abc import Callable

import pytest

from sharefs.transfer import bitmap
from sharefs.transfer.content import Content
from sharefs.transfer.sparing import Sparing
from tests.transfer import (
    test_transfer_failures,
    test_transfer_seconds,
    test_transfer_sparing,
    test_transfer_swarm,
)

_cancel = Sparing._cancel


def _cancel_and_forget(sparing: Sparing, content: Content) -> None:
    """Takes what was cancelled for what does not come."""
    _cancel(sparing, content)
    for index in list(content.cancelled):
        for device in content.asked_of(index):
            content.unrequest(index, device)


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
    ],
)
def test_a_planted_bug_is_found(
    planted: str, bug: object, claim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sharefs.transfer.{planted}", bug)
    with pytest.raises(AssertionError):
        claim()
