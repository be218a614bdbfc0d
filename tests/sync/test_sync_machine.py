"""What the machine answers, event by event."""

import pytest

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Frontier, Incarnation, SpaceId
from sharefs.sync.effects import (
    AddOperations,
    Apply,
    Effect,
    NotePassed,
    RenewIncarnation,
    Send,
    SendPage,
    SendRoster,
    SetTimer,
)
from sharefs.sync.events import (
    ApplyFailed,
    Committed,
    Event,
    PeerDown,
    PeerUp,
    Received,
    RolledBack,
    Stands,
    TimerFired,
)
from sharefs.sync.machine import (
    PASS_STALLED_SECONDS,
    SUMMARY_DELAY_SECONDS,
    SUMMARY_INTERVAL_SECONDS,
    Sync,
)
from sharefs.sync.shipment import digest_of, entries_of
from sharefs.wire.message import SyncMessage, decode_message, encode_message
from sharefs.wire.sync import (
    PUSH_TOLD_MAX,
    Idle,
    Page,
    Pull,
    PullRoster,
    Push,
    RosterOperations,
    Shipment,
    Summary,
)
from tests.sync.commits import SPACE, shipments

ME, ANNA, BOB, CAROL, DORA = (DeviceId(bytes([number] * 16)) for number in (9, 1, 2, 3, 4))
FIRST, SECOND = Incarnation(bytes(8)), Incarnation(bytes([1] * 8))
ROSTER, GROWN = bytes(32), bytes([1] * 32)
NOTHING = bytes(32)
OTHER_SPACE = SpaceId(bytes([7] * 32))


def started(*peers: DeviceId) -> Sync:
    sync = Sync(ME)
    sync.handle(Stands(SPACE, ROSTER, {}, None, NOTHING), 0.0)
    for peer in peers:
        sync.handle(PeerUp(peer, (SPACE,)), 0.0)
    return sync


def tells(peer: DeviceId, frontier: Frontier, roster: bytes = ROSTER) -> Received:
    return Received(peer, Summary(SPACE, roster, entries_of(frontier), NOTHING))


def answer(sync: Sync, event: Event, now: float = 0.0) -> list[Effect]:
    """Without the timer, which is in every answer, and what is noted for collection."""
    effects = sync.handle(event, now)
    assert isinstance(effects[-1], SetTimer)
    return [effect for effect in effects[:-1] if not isinstance(effect, NotePassed)]


def pull_from(
    peer: DeviceId, frontier: Frontier | None = None, cursor: int = 0, number: int = 1
) -> Send:
    return Send(peer, Pull(SPACE, entries_of(frontier or {}), cursor, number))


def page(asked: int, cursor: int, frontier: Frontier | None = None, number: int = 1) -> Page:
    complete = frontier is not None
    return Page(SPACE, asked, cursor, (), complete, entries_of(frontier or {}), number)


def test_peers_are_told_how_we_stand_when_they_come() -> None:
    sync = started()
    summary = Summary(SPACE, ROSTER, (), NOTHING)
    assert answer(sync, PeerUp(ANNA, (SPACE, OTHER_SPACE))) == [Send(ANNA, summary)]


def test_peers_that_were_here_before_a_space_are_told_of_it() -> None:
    sync = Sync(ME)
    assert answer(sync, PeerUp(ANNA, (SPACE,))) == []
    told = answer(sync, Stands(SPACE, ROSTER, {}, ANNA, NOTHING))
    assert told == [Send(ANNA, Summary(SPACE, ROSTER, (), NOTHING))]
    assert answer(sync, tells(ANNA, {(ANNA, FIRST): 1})) == [pull_from(ANNA)]


def test_a_peer_that_left_a_space_hears_no_more_of_it() -> None:
    sync = started(ANNA)
    answer(sync, PeerUp(ANNA, ()))
    assert answer(sync, TimerFired(), SUMMARY_INTERVAL_SECONDS) == []


def test_a_pass_asks_page_by_page_and_merges_at_the_end() -> None:
    sync = started(ANNA)
    frontier = {(ANNA, FIRST): 3}
    assert answer(sync, tells(ANNA, frontier)) == [pull_from(ANNA)]
    assert answer(sync, Received(ANNA, page(0, 5))) == [
        Apply(ANNA, SPACE, (), {}),
        pull_from(ANNA, cursor=5),
    ]
    assert answer(sync, Received(ANNA, page(5, 6, frontier))) == [Apply(ANNA, SPACE, (), frontier)]


def test_whole_commits_of_a_page_are_not_asked_for_again() -> None:
    sync = started(ANNA)
    first, second = shipments(2, 2)
    author = (first.commit.device, first.commit.incarnation)
    answer(sync, tells(ANNA, {author: 9}))
    pages = Page(SPACE, 0, 5, (first, second), False, (), 1)
    applied, _ = answer(sync, Received(ANNA, pages))
    assert applied == Apply(ANNA, SPACE, (first, second), {author: 4})


def test_pages_that_were_not_asked_for_are_ignored() -> None:
    sync = started(ANNA, BOB)
    assert answer(sync, Received(ANNA, page(0, 5))) == []
    answer(sync, tells(ANNA, {(ANNA, FIRST): 3}))
    assert answer(sync, Received(BOB, page(0, 5))) == []
    assert answer(sync, Received(ANNA, page(4, 5))) == []
    answer(sync, Received(ANNA, page(0, 5)))
    assert answer(sync, Received(ANNA, page(0, 5))) == [], "a page that came twice"


def test_a_page_that_leads_nowhere_is_no_honest_one() -> None:
    sync = started(ANNA)
    answer(sync, tells(ANNA, {(ANNA, FIRST): 3}))
    with pytest.raises(RemoteProtocolError):
        sync.handle(Received(ANNA, page(0, 0)), 0.0)


@pytest.mark.parametrize(
    ("event", "now"),
    [
        (PeerDown(ANNA), 1.0),
        (ApplyFailed(ANNA, SPACE), 1.0),
        (TimerFired(), PASS_STALLED_SECONDS),
    ],
)
def test_a_pass_that_fails_goes_on_with_another_peer(event: Event, now: float) -> None:
    sync = started(ANNA, BOB)
    answer(sync, tells(ANNA, {(ANNA, FIRST): 3}))
    answer(sync, tells(BOB, {(ANNA, FIRST): 2}))
    asked = [e for e in answer(sync, event, now) if isinstance(e, Send) and e.peer == BOB]
    assert any(isinstance(send.message, Pull) for send in asked)


def test_a_pass_that_was_rolled_back_begins_anew() -> None:
    sync = started(ANNA)
    answer(sync, tells(ANNA, {(ANNA, FIRST): 3}))
    answer(sync, Received(ANNA, page(0, 5)))
    answer(sync, RolledBack(SPACE))
    assert answer(sync, Stands(SPACE, ROSTER, {}, None, NOTHING)) == [pull_from(ANNA, number=2)]


def test_pages_of_a_pass_that_was_dropped_are_ignored() -> None:
    sync = started(ANNA)
    answer(sync, tells(ANNA, {(ANNA, FIRST): 3}))
    answer(sync, RolledBack(SPACE))
    answer(sync, Stands(SPACE, ROSTER, {}, None, NOTHING))
    assert answer(sync, Received(ANNA, page(0, 5, number=1))) == []
    assert answer(sync, Received(ANNA, page(0, 5, number=2))) != []


def test_a_later_process_numbers_its_passes_anew() -> None:
    sync = started(ANNA)
    first = answer(sync, tells(ANNA, {(ANNA, FIRST): 3}), 7.0)
    later = answer(started(ANNA), tells(ANNA, {(ANNA, FIRST): 3}), 8.0)
    assert (first, later) == ([pull_from(ANNA, number=7000)], [pull_from(ANNA, number=8000)])


def test_what_needs_a_greater_roster_is_pulled_when_the_roster_is_there() -> None:
    sync = started(ANNA)
    assert answer(sync, tells(ANNA, {(BOB, FIRST): 3}, GROWN)) == [
        Send(ANNA, PullRoster(SPACE)),
        pull_from(ANNA),
    ]
    assert answer(sync, ApplyFailed(ANNA, SPACE)) == [Send(ANNA, PullRoster(SPACE))]
    assert answer(sync, Stands(SPACE, GROWN, {}, ANNA, NOTHING)) == [pull_from(ANNA, number=2)]


def test_what_is_false_is_not_pulled_again_and_again() -> None:
    sync = started(ANNA)
    answer(sync, tells(ANNA, {(BOB, FIRST): 3}))
    answer(sync, ApplyFailed(ANNA, SPACE))
    assert answer(sync, Stands(SPACE, ROSTER, {(ME, FIRST): 1}, None, NOTHING)) == []


def test_a_contiguous_push_is_applied_and_advances_its_author_alone() -> None:
    sync = started(ANNA)
    (first,) = shipments(3)
    author = (first.commit.device, first.commit.incarnation)
    assert answer(sync, Received(ANNA, Push(SPACE, first, ()))) == [
        Apply(ANNA, SPACE, (first,), {author: 3})
    ]


def test_a_push_with_a_gap_or_with_holes_makes_us_pull() -> None:
    first, second = shipments(2, 2)
    holed = Shipment(first.commit, first.records[1:])
    for push in (second, holed):
        sync = started(ANNA)
        assert answer(sync, Received(ANNA, Push(SPACE, push, ()))) == [pull_from(ANNA)]


def test_a_push_of_what_is_here_is_ignored() -> None:
    sync = started(ANNA)
    (first,) = shipments(3)
    author = (first.commit.device, first.commit.incarnation)
    answer(sync, Stands(SPACE, ROSTER, {author: 3}, ANNA, NOTHING))
    assert answer(sync, Received(ANNA, Push(SPACE, first, ()))) == []


def test_our_own_commit_is_pushed_to_all_and_names_them() -> None:
    (first,) = shipments(1)
    push = Push(SPACE, first, (ANNA, BOB))
    pushed = answer(started(ANNA, BOB), Committed(SPACE, first))
    assert pushed == [Send(ANNA, push), Send(BOB, push)]


Pushed = tuple[Sync, Shipment, Frontier]


@pytest.fixture
def pushed() -> Pushed:
    """Anna is about to push a commit; Bob, Carol and Dora are here as well."""
    (first,) = shipments(3)
    return (
        started(ANNA, BOB, CAROL, DORA),
        first,
        {(first.commit.device, first.commit.incarnation): 3},
    )


def test_a_pushed_commit_is_pushed_on_once_it_is_here(pushed: Pushed) -> None:
    sync, first, reached = pushed
    answer(sync, Received(ANNA, Push(SPACE, first, (ME,))))
    on = Push(SPACE, first, (ANNA, ME, BOB, CAROL, DORA))
    stands = Stands(SPACE, ROSTER, reached, ANNA, NOTHING)
    assert answer(sync, stands) == [Send(peer, on) for peer in (BOB, CAROL, DORA)]
    assert answer(sync, stands) == [], "once"


def test_nobody_is_pushed_what_they_have_or_are_told_by_others(pushed: Pushed) -> None:
    sync, first, reached = pushed
    answer(sync, tells(CAROL, reached))
    answer(sync, Received(ANNA, Push(SPACE, first, (ME, BOB))))
    on = Push(SPACE, first, (ANNA, ME, BOB, DORA))
    assert answer(sync, Stands(SPACE, ROSTER, reached, ANNA, NOTHING)) == [Send(DORA, on)]


@pytest.mark.parametrize("failed", [ApplyFailed(ANNA, SPACE), RolledBack(SPACE)])
def test_what_could_not_be_applied_is_not_pushed_on(pushed: Pushed, failed: Event) -> None:
    sync, first, reached = pushed
    answer(sync, Received(ANNA, Push(SPACE, first, ())))
    answer(sync, failed)
    assert answer(sync, Stands(SPACE, ROSTER, reached, BOB, NOTHING)) == []


def test_a_push_names_so_many_and_no_more() -> None:
    everybody = [DeviceId(number.to_bytes(16)) for number in range(PUSH_TOLD_MAX + 1)]
    (first,) = shipments(1)
    pushed = answer(started(*everybody), Committed(SPACE, first))
    assert len(pushed) == PUSH_TOLD_MAX + 1
    last = pushed[-1]
    assert isinstance(last, Send)
    assert decode_message(encode_message(last.message)) == last.message


def test_what_came_from_one_peer_is_told_to_the_others_soon() -> None:
    sync = started(ANNA, BOB)
    frontier = {(ANNA, FIRST): 1}
    answer(sync, Stands(SPACE, ROSTER, frontier, ANNA, NOTHING), 1.0)
    assert answer(sync, TimerFired(), 1.0 + SUMMARY_DELAY_SECONDS) == [
        Send(BOB, Summary(SPACE, ROSTER, entries_of(frontier), NOTHING))
    ]


def test_what_came_from_two_peers_is_told_to_both_and_is_not_put_off() -> None:
    sync = started(ANNA, BOB)
    answer(sync, Stands(SPACE, ROSTER, {(ANNA, FIRST): 1}, ANNA, NOTHING), 1.0)
    frontier = {(ANNA, FIRST): 1, (BOB, FIRST): 1}
    answer(sync, Stands(SPACE, ROSTER, frontier, BOB, NOTHING), 1.0 + SUMMARY_DELAY_SECONDS / 2)
    summary = Summary(SPACE, ROSTER, entries_of(frontier), NOTHING)
    told = answer(sync, TimerFired(), 1.0 + SUMMARY_DELAY_SECONDS)
    assert told == [Send(ANNA, summary), Send(BOB, summary)]


def test_what_came_twice_from_one_peer_is_not_told_there() -> None:
    sync = started(ANNA, BOB)
    answer(sync, Stands(SPACE, ROSTER, {(ANNA, FIRST): 1}, ANNA, NOTHING), 1.0)
    answer(sync, Stands(SPACE, ROSTER, {(ANNA, FIRST): 2}, ANNA, NOTHING), 1.0)
    told = answer(sync, TimerFired(), 1.0 + SUMMARY_DELAY_SECONDS)
    assert told == [Send(BOB, Summary(SPACE, ROSTER, ((ANNA, FIRST, 2),), NOTHING))]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (PullRoster(SPACE), SendRoster(ANNA, SPACE)),
        (Pull(SPACE, (), 3, 7), SendPage(ANNA, Pull(SPACE, (), 3, 7))),
        (RosterOperations(SPACE, (b"one",)), AddOperations(ANNA, SPACE, (b"one",))),
    ],
)
def test_who_asks_is_answered_and_rosters_are_taken_in(asked: SyncMessage, given: Effect) -> None:
    assert answer(started(ANNA), Received(ANNA, asked)) == [given]


def test_what_is_said_by_who_is_not_known_to_be_here_is_not_counted_on() -> None:
    """As by somebody whose Hello is still to come."""
    sync, (first,) = started(), shipments(1)
    frontier = {(ANNA, FIRST): 1}
    assert answer(sync, tells(ANNA, {(ANNA, FIRST): 3})) == []
    assert answer(sync, idle(ANNA, ROSTER, {}, NOTHING)) == []
    assert not sync.hears(SPACE)
    assert answer(sync, Received(ANNA, Push(SPACE, first, ()))) == [
        Apply(ANNA, SPACE, (first,), frontier)
    ]
    answer(sync, Stands(SPACE, ROSTER, {}, ANNA, NOTHING))
    assert answer(sync, TimerFired(), SUMMARY_INTERVAL_SECONDS) == []


def test_how_much_a_peer_has_of_ours_is_named() -> None:
    sync = started(ANNA)
    answer(sync, Stands(SPACE, ROSTER, {(ME, FIRST): 2, (ME, SECOND): 2}, None, NOTHING))
    known = {(ME, FIRST): 2, (ME, SECOND): 3}
    assert answer(sync, tells(ANNA, known)) == [
        RenewIncarnation(SPACE, FIRST, 2),
        RenewIncarnation(SPACE, SECOND, 3),
        pull_from(ANNA, {(ME, FIRST): 2, (ME, SECOND): 2}),
    ]


def test_who_tells_for_the_first_time_hears_what_was_made_meanwhile() -> None:
    sync = started(ANNA)
    assert not sync.hears(SPACE)
    assert not sync.hears(OTHER_SPACE)
    answer(sync, Stands(SPACE, ROSTER, {(ME, FIRST): 1}, None, NOTHING))
    told = Send(ANNA, Summary(SPACE, ROSTER, ((ME, FIRST, 1),), NOTHING))
    assert answer(sync, tells(ANNA, {})) == [told]
    assert sync.hears(SPACE)
    assert answer(sync, tells(ANNA, {})) == []
    answer(sync, PeerDown(ANNA))
    assert not sync.hears(SPACE)


def test_an_idle_round_is_under_100_bytes_however_many_devices_there_are() -> None:
    sync = started(ANNA)
    frontier = {(DeviceId(bytes([n] * 16)), FIRST): 1000 * n for n in range(30)}
    answer(sync, Stands(SPACE, ROSTER, frontier, ANNA, NOTHING))
    answer(sync, TimerFired(), SUMMARY_DELAY_SECONDS)
    (round,) = answer(sync, TimerFired(), SUMMARY_INTERVAL_SECONDS)
    assert isinstance(round, Send)
    assert isinstance(round.message, Idle)
    assert len(encode_message(round.message)) < 100


def idle(peer: DeviceId, roster: bytes, frontier: Frontier, fingerprint: bytes) -> Received:
    return Received(peer, Idle(SPACE, digest_of(roster, frontier, fingerprint)))


@pytest.mark.parametrize(
    ("roster", "frontier", "fingerprint"),
    [
        (GROWN, {(ANNA, FIRST): 1}, NOTHING),
        (ROSTER, {(ANNA, FIRST): 2}, NOTHING),
        (ROSTER, {(ANNA, FIRST): 1}, bytes([1] * 32)),
    ],
)
def test_who_differs_is_told_how_we_stand(
    roster: bytes, frontier: Frontier, fingerprint: bytes
) -> None:
    sync = started(ANNA)
    answer(sync, Stands(SPACE, ROSTER, {(ANNA, FIRST): 1}, None, NOTHING))
    assert answer(sync, idle(ANNA, roster, frontier, fingerprint)) == [
        Send(ANNA, Summary(SPACE, ROSTER, ((ANNA, FIRST, 1),), NOTHING))
    ]


def test_who_does_not_differ_is_told_nothing_and_is_known_to_have_what_we_have() -> None:
    sync = started(ANNA)
    frontier = {(ANNA, FIRST): 1}
    answer(sync, Stands(SPACE, ROSTER, frontier, None, NOTHING))
    assert answer(sync, idle(ANNA, ROSTER, frontier, NOTHING)) == []
    answer(sync, RolledBack(SPACE))
    assert answer(sync, Stands(SPACE, ROSTER, {}, None, NOTHING)) == [pull_from(ANNA)]


def closed(limit: int) -> Sync:
    """Anna's first incarnation counts so far, and no further; all of that is here."""
    sync = started(ANNA, BOB)
    frontier, limits = {(ANNA, FIRST): limit}, {(ANNA, FIRST): limit}
    answer(sync, Stands(SPACE, ROSTER, frontier, None, NOTHING, limits))
    return sync


def test_what_does_not_count_is_not_pulled() -> None:
    assert answer(closed(3), tells(BOB, {(ANNA, FIRST): 9})) == []
    assert answer(closed(3), tells(BOB, {(ANNA, FIRST): 9, (ANNA, SECOND): 1})) != []


def test_a_push_that_does_not_count_is_ignored() -> None:
    first, second = shipments(3, 2)
    assert answer(closed(3), Received(ANNA, Push(SPACE, second, ()))) == []
    sync = closed(3)
    answer(sync, Stands(SPACE, ROSTER, {}, None, NOTHING, {(ANNA, FIRST): 3}))
    assert answer(sync, Received(ANNA, Push(SPACE, first, ()))) == [
        Apply(ANNA, SPACE, (first,), {(ANNA, FIRST): 3})
    ]


def test_messages_about_spaces_that_are_not_here_are_ignored() -> None:
    sync = started(ANNA)
    assert answer(sync, Received(ANNA, Summary(OTHER_SPACE, ROSTER, (), NOTHING))) == []


def passed_in(effects: list[Effect]) -> list[NotePassed]:
    return [effect for effect in effects if isinstance(effect, NotePassed)]


def test_how_far_a_peer_is_counts_where_its_roster_is_ours() -> None:
    sync = started()
    there: Frontier = {(ANNA, Incarnation(bytes(8))): 3}
    assert passed_in(sync.handle(tells(ANNA, there), 0.0)) == [NotePassed(ANNA, SPACE, there)]
    other = tells(ANNA, there, roster=GROWN)
    assert not passed_in(sync.handle(other, 0.0))
