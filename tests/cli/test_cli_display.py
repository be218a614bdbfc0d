"""What is printed, on a terminal and in a pipe."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharefs.cli import display


@given(st.text())
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    shown = display.printable(text)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert text.isprintable() == (shown == text) or "\n" in text


def test_escapes_are_shown_as_what_they_are() -> None:
    assert display.printable("\x1b[2J\u202ename\udcff") == "\\x1b[2J\\u202ename\\udcff"


@given(st.lists(st.lists(st.text("ab李é ", max_size=9), min_size=3, max_size=3), min_size=1))
def test_plain_columns_begin_below_each_other_and_lose_nothing(rows: list[list[str]]) -> None:
    lines = display.plain_lines(rows)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert "\t" not in line
        assert line.replace(" ", "") == "".join(row).replace(" ", "")


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    display.say_table(["Name", "Path"], [["a\nb\t", "x" * 300], ["[bold]c", "y"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME     PATH", "a\\nb\\t   " + "x" * 300, "[bold]c  y"]


def test_a_terminal_gets_a_table_with_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "on_terminal", lambda: True)
    display.say_table(["Name", "Path"], [["[bold]c", "x" * 300]])
    out = capsys.readouterr().out
    assert out.splitlines() == ["Name", "[bold]c", "  Path: " + "x" * 300]


ROWS = [["Family", "owner", "/home/anna/My Shared Spaces/Family", "a sentence of some length"]]
HEADINGS = ["Space", "Role", "Path", "Meaning"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (76, ["Space   Role   Path                                Meaning", "  ".join(ROWS[0])]),
        (75, ["Space   Role   Meaning", "Family  owner  a sentence of some length",
              "  Path: /home/anna/My Shared Spaces/Family"]),
        (30, ["Space   Role", "Family  owner", "  Path: /home/anna/My Shared Spaces/Family",
              "  Meaning: a sentence of some length"]),
        (3, ["Space", "Family", "  Role: owner", "  Path: /home/anna/My Shared Spaces/Family",
             "  Meaning: a sentence of some length"]),
    ],
)  # fmt: skip
def test_what_a_terminal_has_no_room_for_stands_below_its_row(width: int, lines: list[str]) -> None:
    assert display.fitting_lines(HEADINGS, ROWS, width) == lines


@given(
    st.lists(st.lists(st.text("ab李é", max_size=30), min_size=3, max_size=3), min_size=1),
    st.integers(1, 120),
)
def test_a_table_of_any_width_loses_nothing(rows: list[list[str]], width: int) -> None:
    lines = display.fitting_lines(["One", "Two", "Three"], rows, width)
    for cell in (cell for row in rows for cell in row):
        assert any(cell in line for line in lines)
    assert len(lines) == 1 or len(lines) >= 1 + len(rows)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (59, "just now"), (61, "1 minute ago"), (7_300, "2 hours ago"),
     (86_400 * 3 + 5, "3 days ago"), (-500, "just now")],
)  # fmt: skip
def test_moments_are_told_from_now(
    seconds: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    assert display.ago(1_800_000_000.0 - seconds) == words


def test_whoever_was_never_seen_is_told_so() -> None:
    assert display.ago(None) == "never"
