"""When the machine audits a peer, and what it takes for an answer."""

import pytest

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Incarnation
from sharefs.records.record import hash_record
from sharefs.sync.effects import (
    Answer,
    Apply,
    Compare,
    Correct,
    Effect,
    NotePassed,
    Send,
    SetTimer,
)
from sharefs.sync.events import (
    ApplyFailed,
    Compared,
    Event,
    PeerDown,
    PeerUp,
    Received,
    RolledBack,
    Stands,
    TimerFired,
)
from sharefs.sync.machine import PASS_STALLED_SECONDS, SUMMARY_INTERVAL_SECONDS, Sync
from sharefs.sync.reconciliation import Findings
from sharefs.sync.shipment import digest_of, entries_of
from sharefs.wire.audit import (
    SPANS_MAX,
    AskRecords,
    AskSums,
    Records,
    Span,
    Sums,
    Tombstones,
    Wanted,
)
from sharefs.wire.message import SyncMessage
from sharefs.wire.sync import Idle, Pull, Shipment, Summary
from tests.sync.commits import SPACE, shipments

ME, ANNA, BOB = (DeviceId(bytes([number] * 16)) for number in (9, 1, 2))
LIFE = Incarnation(bytes(8))
ROSTER = bytes(32)
FRONTIER = {(ANNA, LIFE): 9}
OURS, THEIRS, OTHERS = (bytes([number] * 32) for number in (5, 6, 7))
SOON = SUMMARY_INTERVAL_SECONDS
NUMBER = 5000
"""Of the first audit: by the clock."""


def started() -> Sync:
    sync = Sync(ME)
    sync.handle(Stands(SPACE, ROSTER, FRONTIER, None, OURS), 0.0)
    for peer in (ANNA, BOB):
        sync.handle(PeerUp(peer, (SPACE,)), 0.0)
    return sync


def answer(sync: Sync, event: Event | SyncMessage, now: float = SOON) -> list[Effect]:
    """Without the timer, and what is noted for collection."""
    effects = sync.handle(Received(ANNA, event) if isinstance(event, SyncMessage) else event, now)
    assert isinstance(effects[-1], SetTimer)
    return [effect for effect in effects[:-1] if not isinstance(effect, NotePassed)]


def summary(fingerprint: bytes = THEIRS, sequence: int = 9, roster: bytes = ROSTER) -> Summary:
    return Summary(SPACE, roster, entries_of({(ANNA, LIFE): sequence}), fingerprint)


def audits(effects: list[Effect]) -> list[DeviceId]:
    """Whom we begin to audit."""
    return [e.peer for e in effects if isinstance(e, Send) and isinstance(e.message, AskSums)]


def auditing() -> Sync:
    sync = started()
    answer(sync, summary(), 0.0)
    assert audits(answer(sync, summary())) == [ANNA]
    return sync


def span(number: int = 0) -> Span:
    return Span(ANNA, LIFE, 256 * number, 2)


def wanted(sequence: int) -> Wanted:
    return Wanted(ANNA, LIFE, sequence, bytes(16))


def sums(number: int = NUMBER) -> Sums:
    return Sums(SPACE, number, (), ())


def compared(*findings: Span | Wanted, number: int = NUMBER) -> Compared:
    spans = tuple(each for each in findings if isinstance(each, Span))
    lacking = tuple(each for each in findings if isinstance(each, Wanted))
    return Compared(ANNA, SPACE, number, Findings(spans, lacking))


def test_who_differs_for_a_whole_round_is_audited() -> None:
    sync = started()
    assert answer(sync, summary(), 0.0) == []
    assert answer(sync, summary(), SOON / 2) == [], "it may be in the middle of a pass"
    assert answer(sync, summary()) == [Send(ANNA, AskSums(SPACE, NUMBER, ()))]


@pytest.mark.parametrize(
    "between",
    [
        summary(OURS),
        Idle(SPACE, digest_of(ROSTER, FRONTIER, OURS)),
    ],
)
def test_a_doubt_that_was_cleared_begins_anew(between: SyncMessage) -> None:
    sync = started()
    answer(sync, summary(), 0.0)
    answer(sync, between, SOON / 2)
    assert audits(answer(sync, summary())) == []


@pytest.mark.parametrize("told", [summary(sequence=8), summary(roster=bytes([1] * 32))])
def test_who_differs_otherwise_is_not_audited(told: Summary) -> None:
    sync = started()
    answer(sync, told, 0.0)
    assert audits(answer(sync, told)) == []


def test_during_a_pass_nobody_is_audited() -> None:
    sync = started()
    ahead = Summary(SPACE, ROSTER, entries_of({(BOB, LIFE): 1}), THEIRS)
    answer(sync, summary(), 0.0)
    *_, pull = answer(sync, Received(BOB, ahead), SOON / 2)
    assert isinstance(pull, Send)
    assert isinstance(pull.message, Pull)
    assert audits(answer(sync, summary())) == []


def test_one_audit_at_a_time() -> None:
    sync = auditing()
    answer(sync, Received(BOB, summary()))
    assert audits(answer(sync, Received(BOB, summary()), 2 * SOON)) == []


def test_what_an_audit_could_not_repair_is_audited_again_when_something_changed() -> None:
    sync = auditing()
    assert answer(sync, compared()) == [], "nothing is lacking"
    assert audits(answer(sync, summary(), 2 * SOON)) == []
    assert audits(answer(sync, summary(OTHERS), 3 * SOON)) == [ANNA]
    answer(sync, compared(number=3 * NUMBER))
    answer(sync, Stands(SPACE, ROSTER, FRONTIER, None, bytes(32)))
    assert audits(answer(sync, summary(OTHERS), 4 * SOON)) == [ANNA]


def test_sums_are_compared_and_what_differs_is_asked_for() -> None:
    sync = auditing()
    assert answer(sync, sums()) == [Compare(ANNA, (), sums())]
    asked = AskSums(SPACE, NUMBER + 1, (span(1), span(2)))
    assert answer(sync, compared(span(1), span(2))) == [Send(ANNA, asked)]
    assert answer(sync, sums()) == [], "an answer that came twice"
    second = sums(NUMBER + 1)
    assert answer(sync, second) == [Compare(ANNA, asked.spans, second)]
    assert answer(sync, compared(number=NUMBER + 1)) == []
    assert answer(sync, second) == [], "the audit is over"


def test_what_was_compared_twice_counts_once() -> None:
    sync = auditing()
    assert answer(sync, compared(span(1))) != []
    assert answer(sync, compared(span(1))) == []


def test_what_is_lacking_is_fetched_at_the_end_or_when_it_is_much() -> None:
    sync = auditing()
    many = [wanted(n) for n in range(300)]
    (send,) = answer(sync, compared(wanted(1), span(1)))
    assert send == Send(ANNA, AskSums(SPACE, NUMBER + 1, (span(1),)))
    (send,) = answer(sync, compared(*many, span(2), number=NUMBER + 1))
    assert isinstance(send, Send)
    assert isinstance(send.message, AskRecords)
    assert len(send.message.records) == 256
    assert answer(sync, sums(NUMBER + 2)) == [], "records were asked for"


def test_many_spans_are_asked_for_in_several_questions() -> None:
    sync = auditing()
    (send,) = answer(sync, compared(*[span(n) for n in range(SPANS_MAX + 1)]))
    assert isinstance(send, Send)
    assert isinstance(send.message, AskSums)
    assert len(send.message.spans) == SPANS_MAX
    assert answer(sync, compared(number=NUMBER + 1)) == [
        Send(ANNA, AskSums(SPACE, NUMBER + 2, (span(0),)))
    ]


def fetched() -> tuple[Shipment, Wanted]:
    (shipment,) = shipments(1)
    commit, ((_, data),) = shipment.commit, shipment.records
    return shipment, Wanted(commit.device, commit.incarnation, 1, hash_record(data)[:16])


def test_records_are_applied_and_claim_nothing() -> None:
    sync = auditing()
    shipment, lacking = fetched()
    answer(sync, compared(lacking))
    records = Records(SPACE, NUMBER + 1, (shipment,))
    assert answer(sync, records) == [
        Apply(ANNA, SPACE, (shipment,), {}),
        Correct(ANNA, SPACE, (shipment,)),
    ]
    assert answer(sync, records) == [], "the audit is over"


def test_tombstones_of_what_was_given_are_taken_in_and_claim_nothing() -> None:
    shipment, _ = fetched()
    assert answer(started(), Tombstones(SPACE, (shipment,))) == [
        Apply(ANNA, SPACE, (shipment,), {})
    ]


def test_what_did_not_come_is_asked_for_again_while_something_comes() -> None:
    sync = auditing()
    shipment, lacking = fetched()
    answer(sync, compared(lacking, wanted(7)))
    apply, _, again = answer(sync, Records(SPACE, NUMBER + 1, (shipment,)))
    assert isinstance(apply, Apply)
    assert again == Send(ANNA, AskRecords(SPACE, NUMBER + 2, (wanted(7),)))
    last, _ = answer(sync, Records(SPACE, NUMBER + 2, ()))
    assert last == Apply(ANNA, SPACE, (), {})


def test_answers_that_nobody_waits_for_are_ignored() -> None:
    assert answer(started(), sums()) == []
    assert answer(started(), compared()) == []
    sync = auditing()
    assert answer(sync, sums(NUMBER + 1)) == []
    assert answer(sync, Received(BOB, sums())) == []
    assert answer(sync, Records(SPACE, NUMBER, ())) == []
    assert answer(sync, compared(span(), number=NUMBER + 1)) == []
    assert answer(sync, sums()) != []


@pytest.mark.parametrize(
    ("event", "now"),
    [
        (PeerDown(ANNA), SOON),
        (RolledBack(SPACE), SOON),
        (ApplyFailed(ANNA, SPACE), SOON),
        (TimerFired(), SOON + PASS_STALLED_SECONDS),
    ],
)
def test_an_audit_ends_where_it_can_not_go_on(event: Event, now: float) -> None:
    sync = auditing()
    answer(sync, event, now)
    assert answer(sync, sums(), now) == []


def test_an_audit_that_stalled_begins_anew() -> None:
    sync = auditing()
    late = SOON + PASS_STALLED_SECONDS
    assert sync.handle(sums_of_bob(), 1.0)[-1] == SetTimer(SUMMARY_INTERVAL_SECONDS)
    answer(sync, TimerFired(), late)
    answer(sync, summary(), late)
    assert audits(answer(sync, summary(), late + SOON)) == [ANNA]


def sums_of_bob() -> Received:
    return Received(BOB, sums())


def test_questions_are_answered() -> None:
    for question in (AskSums(SPACE, 3, (span(),)), AskRecords(SPACE, 3, (wanted(1),))):
        assert answer(started(), question) == [Answer(ANNA, question)]
    with pytest.raises(RemoteProtocolError):
        answer(started(), AskSums(SPACE, 3, (Span(ANNA, LIFE, 1, 2),)))
