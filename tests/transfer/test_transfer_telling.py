import pytest

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Incarnation, SpaceId
from sharefs.transfer import telling
from sharefs.transfer.telling import (
    AGAIN_SECONDS,
    ANSWER_SECONDS,
    COMPARE_SECONDS,
    TELL_SECONDS,
    Answer,
    Ask,
    Changed,
    Compared,
    Effect,
    Event,
    Keep,
    PeerDown,
    PeerUp,
    Received,
    SetTimer,
    TellChanges,
    Telling,
    TellSum,
    TimerFired,
)
from sharefs.wire.holdings import AskHeld, Held, HeldPage, Place, Spoken

ANNA, BOB = DeviceId(b"a" * 16), DeviceId(b"b" * 16)
FAMILY, WORK = SpaceId(b"f" * 32), SpaceId(b"w" * 32)
LIFE = Incarnation(b"l" * 8)
SPOKEN = Spoken(LIFE, 7, b"d" * 16)
HERE, THERE = Place(ANNA, LIFE, 100), Place(BOB, LIFE, 3)


class Turn:
    """The machine and its clock."""

    def __init__(self) -> None:
        self.machine = Telling()
        self.now = 1000.0
        self.timer: float | None = None

    def do(self, event: Event) -> list[Effect]:
        effects = self.machine.handle(event, self.now)
        for effect in effects:
            if isinstance(effect, SetTimer):
                self.timer = effect.at
        return [effect for effect in effects if not isinstance(effect, SetTimer)]

    def sleep(self, seconds: float) -> list[Effect]:
        """What is done within so many seconds."""
        end, done = self.now + seconds, list[Effect]()
        while self.timer is not None and self.timer <= end:
            self.now, self.timer = self.timer, None
            done += self.do(TimerFired())
        self.now = end
        return done

    def page(self, after: Place | None, until: Place | None) -> list[Effect]:
        return self.do(Received(BOB, HeldPage(FAMILY, after, until, (), SPOKEN)))

    def doubted(self) -> None:
        """Bob is here, and what he said does not add up."""
        self.do(PeerUp(BOB, (FAMILY,)))
        assert self.do(Compared(BOB, FAMILY, False)) == [Ask(BOB, AskHeld(FAMILY, None))]


@pytest.fixture
def turn() -> Turn:
    return Turn()


def test_who_comes_up_is_told_what_it_adds_up_to(turn: Turn) -> None:
    assert turn.do(PeerUp(BOB, (FAMILY, WORK))) == [TellSum(BOB, FAMILY), TellSum(BOB, WORK)]
    assert turn.do(PeerUp(ANNA, ())) == []


def test_changes_are_gathered_and_told_to_those_in_the_space(turn: Turn) -> None:
    turn.do(PeerUp(BOB, (FAMILY,)))
    turn.do(PeerUp(ANNA, (FAMILY, WORK)))
    assert turn.do(Changed(FAMILY)) == []
    turn.sleep(TELL_SECONDS / 2)
    assert turn.do(Changed(FAMILY)) == []
    assert turn.sleep(TELL_SECONDS) == [TellChanges(FAMILY, (BOB, ANNA))]
    turn.do(Changed(WORK))
    assert turn.sleep(TELL_SECONDS) == [TellChanges(WORK, (ANNA,))]
    turn.do(PeerDown(ANNA))
    turn.do(Changed(WORK))
    assert turn.sleep(TELL_SECONDS) == [TellChanges(WORK, ())]


def test_what_adds_up_is_not_asked_for(turn: Turn) -> None:
    turn.do(PeerUp(BOB, (FAMILY,)))
    held = Held(FAMILY, (), SPOKEN)
    assert turn.do(Received(BOB, held)) == [Keep(BOB, held)]
    assert turn.do(Compared(BOB, FAMILY, True)) == []
    assert turn.sleep(COMPARE_SECONDS / 2) == []


def test_a_doubt_is_cleared_page_by_page(turn: Turn) -> None:
    turn.doubted()
    assert turn.do(Compared(BOB, FAMILY, False)) == [], "it is asked for already"
    keep, ask = turn.page(None, HERE)
    assert isinstance(keep, Keep)
    assert ask == Ask(BOB, AskHeld(FAMILY, HERE))
    assert turn.do(Compared(BOB, FAMILY, False)) == [], "not all of it is here"
    assert isinstance(turn.page(HERE, THERE)[0], Keep)
    (keep,) = turn.page(THERE, None)
    assert isinstance(keep, Keep)
    assert turn.do(Compared(BOB, FAMILY, True)) == []
    assert turn.page(None, HERE) == [], "nobody asked"


def test_a_page_that_was_lost_is_asked_for_again_where_it_was(turn: Turn) -> None:
    turn.doubted()
    turn.page(None, HERE)
    assert turn.sleep(ANSWER_SECONDS) == [Ask(BOB, AskHeld(FAMILY, HERE))]
    assert turn.page(None, THERE) == [], "it is not the one that was asked for"
    assert isinstance(turn.page(HERE, None)[0], Keep)


def test_what_does_not_add_up_in_the_end_is_asked_for_later_and_later(turn: Turn) -> None:
    turn.doubted()
    waits = []
    for _ in range(12):
        turn.page(None, None)
        assert turn.do(Compared(BOB, FAMILY, False)) == []
        assert turn.do(Compared(BOB, FAMILY, False)) == []
        assert turn.page(None, None) == [], "it was not asked for"
        began, asks = turn.now, list[Effect]()
        while not asks:
            asks = [effect for effect in turn.sleep(1.0) if isinstance(effect, Ask)]
        waits.append(turn.now - began)
    assert waits[:3] == [AGAIN_SECONDS, 2 * AGAIN_SECONDS, 4 * AGAIN_SECONDS]
    assert max(waits) <= telling.AGAIN_SECONDS_MAX + 1
    turn.page(None, None)
    turn.do(Compared(BOB, FAMILY, True))
    turn.doubted()


def test_all_compare_from_time_to_time(turn: Turn) -> None:
    turn.do(PeerUp(BOB, (FAMILY,)))
    assert turn.sleep(2 * COMPARE_SECONDS) == [TellSum(BOB, FAMILY)] * 2
    turn.do(PeerDown(BOB))
    assert turn.sleep(2 * COMPARE_SECONDS) == []


def test_of_who_is_gone_nothing_is_asked(turn: Turn) -> None:
    turn.doubted()
    turn.do(PeerDown(BOB))
    assert turn.sleep(3 * ANSWER_SECONDS) == []


def test_who_asks_is_answered(turn: Turn) -> None:
    question = AskHeld(FAMILY, HERE)
    assert turn.do(Received(BOB, question)) == [Answer(BOB, question)]


def test_a_page_that_leads_nowhere_is_refused(turn: Turn) -> None:
    turn.doubted()
    turn.page(None, THERE)
    with pytest.raises(RemoteProtocolError):
        turn.page(THERE, HERE)
