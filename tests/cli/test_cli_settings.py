"""The command `settings`, against a node in memory."""

import json

import pytest

from sharefs.node.reports import SettingReport
from sharefs.node.settings import ALL
from sharefs.web.fake import FakeNode
from tests.cli.test_cli_commands import Shell, node, shell

__all__ = ["node", "shell"]


def test_settings_are_listed(shell: Shell, node: FakeNode) -> None:
    ran = shell.run("settings")
    assert ran.code == 0
    assert ran.lines[0].split() == ["SETTING", "VALUE", "FOR", "MEANING"]
    assert ran.lines[1].split()[:5] == ["bandwidth", "down", "off", "everything", "Fetch"]
    names = [each["name"] for each in json.loads(shell.run("settings", "--json").out)]
    assert "bandwidth up" in names


def test_the_beginning_of_a_name_lists_those_settings(shell: Shell, node: FakeNode) -> None:
    assert len(shell.run("settings", "bandwidth").lines) == 3
    assert len(shell.run("settings", "bandwidth", "up").lines) == 2


def test_a_setting_is_set(shell: Shell, node: FakeNode) -> None:
    ran = shell.run(
        "settings",
        "bandwidth",
        "down",
        "5M",
        "--space",
        "Family",
        "--peer",
        "Bob",
        "--hours",
        "8-18",
    )
    assert ran.code == 0
    assert "5M" in ran.lines[1]
    assert "Family, Bob, 8-18 h" in ran.lines[1]
    (made,) = node.chosen
    assert isinstance(made, SettingReport)
    assert (made.name, made.value) == ("bandwidth down", "5M")
    assert shell.run("settings", "bandwidth up 1M").code == 0
    assert node.chosen[-1].name == "bandwidth up"


def test_what_can_not_be_set_says_what_can(shell: Shell, node: FakeNode) -> None:
    ran = shell.run("settings", "colour", "red")
    assert ran.code == 2
    assert "There is no setting called 'colour red'. Settings: bandwidth down," in ran.err
    ran = shell.run("settings", "bandwidth", "down", "fast")
    assert ran.code == 2
    assert "write bytes a second, as 5M" in ran.err
    ran = shell.run("settings", "bandwidth", "down", "--space", "Family")
    assert ran.code == 2
    assert "Say a setting and its value" in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["bandwith down 5M"], ": did you mean 'bandwidth down'? Settings: bandwidth down, "),
        (["bandwith", "up"], ": did you mean 'bandwidth up'? "),
        (["stream", "only", "on"], ": did you mean 'stream-only'? "),
        (["Pined", "on"], ": did you mean 'pinned'? "),
        (["colour", "red"], ". Settings: "),
    ],
)
def test_what_is_misspelt_is_guessed(
    shell: Shell, node: FakeNode, words: list[str], hint: str
) -> None:
    ran = shell.run("settings", *words)
    assert ran.code == 2
    assert ran.err.startswith(f"There is no setting called {' '.join(words)!r}{hint}")


def test_the_help_names_every_setting(shell: Shell) -> None:
    text = " ".join(shell.run("settings", "--help").out.split())
    names = ", ".join(setting.name for setting in ALL)
    assert f"Settings: {names}." in text
