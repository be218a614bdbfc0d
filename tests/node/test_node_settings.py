"""What a person chooses holds at once, is kept, and is told with the names that they used."""

import logging

import pytest

from sharefs.errors import BadArgument, NoSuchSpace
from sharefs.node.reports import SettingReport
from sharefs.node.settings import BANDWIDTH_DOWN, EVERYTHING, Scope, of_space
from tests.node.node_parties import Party, until


def choose(party: Party, value: str, space: str = "", peer: str = "", hours: str = "") -> None:
    party.service.set_setting("bandwidth down", value, space, peer, "", hours)


def told(party: Party) -> list[tuple[str, str, str, str]]:
    return [
        (report.value, report.space, report.peer, report.hours)
        for report in party.service.settings()
        if report.name == BANDWIDTH_DOWN.name
    ]


def test_a_choice_holds_at_once_and_is_told_of(anna: Party) -> None:
    settings = anna.node.state.settings
    assert settings.value(BANDWIDTH_DOWN) is None
    changes: list[int | None] = []
    settings.watch(lambda: changes.append(settings.value(BANDWIDTH_DOWN)), BANDWIDTH_DOWN)
    choose(anna, "5M/s")
    assert settings.value(BANDWIDTH_DOWN) == 5_000_000
    until(lambda: changes == [5_000_000])
    assert told(anna) == [("5M/s", "", "", "")]


def test_a_choice_for_a_space_goes_before_the_one_for_everything(anna: Party) -> None:
    settings, space = anna.node.state.settings, anna.replica().id
    choose(anna, "1M", space="Family")
    assert settings.value(BANDWIDTH_DOWN) is None
    assert settings.value(BANDWIDTH_DOWN, of_space(space)) == 1_000_000
    choose(anna, "2M")
    assert settings.value(BANDWIDTH_DOWN, of_space(space)) == 1_000_000
    choose(anna, "default", space="Family")
    assert settings.value(BANDWIDTH_DOWN, of_space(space)) == 2_000_000
    assert told(anna) == [("2M", "", "", "")]


def test_choices_stay_when_the_node_was_down(anna: Party) -> None:
    choose(anna, "1M", space="Family", hours="08-18")
    choose(anna, "3M")
    choose(anna, "4M", peer="Anna")
    choose(anna, "default", peer="Anna")
    anna.down()
    anna.up()
    assert told(anna) == [("3M", "", "", ""), ("1M", "Family", "", "8-18")]


def test_names_that_are_not_known_are_told_of(anna: Party) -> None:
    with pytest.raises(NoSuchSpace, match="Family"):
        choose(anna, "5M", space="Work")
    with pytest.raises(BadArgument, match="Members: Anna"):
        choose(anna, "5M", peer="Zoe")
    with pytest.raises(BadArgument, match="as 8-18 or 22-6"):
        choose(anna, "5M", hours="noon")
    with pytest.raises(BadArgument, match="Settings: bandwidth down"):
        anna.service.set_setting("colour", "red", "", "", "", "")
    with pytest.raises(BadArgument, match="'default' takes a choice back"):
        choose(anna, "fast")
    with pytest.raises(BadArgument, match="write bytes a second"):
        choose(anna, "")
    anna.write("a.txt", b"a")
    path = str(anna.service.path(anna.there("a.txt")))
    with pytest.raises(BadArgument, match="--path: it takes --space and --peer and --hours"):
        anna.service.set_setting("bandwidth down", "5M", "", "", path, "")
    assert told(anna) == [("off", "", "", "")]


def test_what_another_version_kept_is_left_alone(
    anna: Party, caplog: pytest.LogCaptureFixture
) -> None:
    def keep() -> None:
        ledger = anna.node.state.ledger
        ledger.set_setting('chosen ["colour",{}]', "red")
        ledger.set_setting('chosen ["bandwidth down",{}]', "fast")

    anna.node.loop.call(keep)
    anna.down()
    with caplog.at_level(logging.WARNING):
        anna.up()
    assert "There is no setting called 'colour'" in caplog.text
    assert told(anna) == [("off", "", "", "")]
    assert Scope() == EVERYTHING
    assert isinstance(anna.service.settings()[0], SettingReport)
