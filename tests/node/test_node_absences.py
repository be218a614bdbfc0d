import pytest

from sharefs.node import absences
from sharefs.node.absences import CONTENTS_MAX, Absences
from sharefs.records.ids import ContentId, DeviceId
from tests.node.node_parties import Party, agree, until

ANNA, BOB = DeviceId(b"a" * 16), DeviceId(b"b" * 16)
FILM, SONG = ContentId(b"f" * 32), ContentId(b"s" * 32)


def test_who_said_no_is_not_taken_for_a_holder_until_it_says_yes() -> None:
    heard = Absences()
    assert heard.may_hold(ANNA, FILM)
    heard.said(ANNA, FILM, holds=False)
    assert not heard.may_hold(ANNA, FILM)
    assert heard.may_hold(BOB, FILM)
    assert heard.may_hold(ANNA, SONG)
    heard.said(ANNA, FILM, holds=True)
    assert heard.may_hold(ANNA, FILM)


def test_who_went_away_may_come_back_with_it() -> None:
    heard = Absences()
    heard.said(ANNA, FILM, holds=False)
    heard.said(BOB, FILM, holds=False)
    heard.forget(ANNA)
    assert heard.may_hold(ANNA, FILM)
    assert not heard.may_hold(BOB, FILM)


def test_what_was_said_long_ago_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Absences()
    heard.said(ANNA, FILM, holds=False)
    monkeypatch.setattr(absences, "ABSENCE_SECONDS_MAX", -1.0)
    assert heard.may_hold(ANNA, FILM)


def test_of_too_many_contents_the_latest_are_remembered() -> None:
    heard = Absences()
    heard.said(ANNA, FILM, holds=False)
    heard.said(ANNA, SONG, holds=False)
    heard.said(BOB, FILM, holds=False)
    for number in range(CONTENTS_MAX - 1):
        heard.said(ANNA, ContentId(number.to_bytes(32, "big")), holds=False)
    assert heard.may_hold(ANNA, SONG)
    assert not heard.may_hold(ANNA, FILM)


def test_what_no_holder_online_has_is_unavailable_though_others_are_online(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol)

    def state() -> str:
        return bob.node.desk.describe(bob.there("a.txt"))["state"]

    anna.down()
    until(lambda: not bob.sees(anna))
    assert bob.sees(carol)
    assert state() == "ghost", "Carol may have it"
    bob.fails("a.txt")
    assert state() == "unavailable", "she said that she has not"
    anna.up()
    until(lambda: bob.sees(anna))
    assert state() == "ghost"
    assert bob.read("a.txt") == b"hello"
    assert state() == "local"
