"""The commands `transfers`, `pin` and `unpin`, against a node in memory."""

import io

import msgspec
import pytest
from rich.console import Console

from sharefs.cli import display, watching
from sharefs.cli.travelling import HEADINGS
from sharefs.node.reports import OrderReport, PinReport, TransferReport
from sharefs.web.fake import FakeNode
from tests.cli.test_cli_commands import Shell, node, shell

__all__ = ["node", "shell"]


def test_transfers_are_paused_resumed_cancelled_and_rejected(shell: Shell, node: FakeNode) -> None:
    assert shell.run("transfers", "pause", "/mnt/a", "/mnt/b").out == "Paused: 2 paths.\n"
    assert shell.run("transfers", "resume", "--all").out == "Resumed.\n"
    assert shell.run("transfers", "cancel", "/mnt/a").out == "Cancelled: 1 transfer.\n"
    assert shell.run("transfers", "reject", "/mnt/a").out == "Rejected: 1 path.\n"
    assert node.asked == [
        ("pause", "/mnt/a", "/mnt/b"),
        ("resume",),
        ("cancel", "/mnt/a"),
        ("reject", "/mnt/a"),
    ]


def test_what_stays_rejected_is_told(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "order", lambda verb, paths: OrderReport(1, rejected=2))
    ran = shell.run("transfers", "resume", "/mnt/a")
    assert ran.out == "Resumed: 1 path.\n"
    assert ran.err.startswith("2 paths stay rejected: ")
    assert shell.run("transfers", "reject", "/mnt/a").err == ""


def test_a_pin_tells_what_will_not_come(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = PinReport(3, 2000, 1000, [("/mnt/a", "You rejected it.")])
    monkeypatch.setattr(node, "pin", lambda paths, on: report)
    ran = shell.run("pin", "/mnt")
    assert (
        ran.out
        == "Pinned: 3 files, 2.0 kB. 1.0 kB of that is still to come, from whoever has it.\n"
    )
    assert ran.err == "/mnt/a: You rejected it.\n"


def test_an_unpin_of_what_was_not_pinned_says_so(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell.run("unpin", "/mnt/a").out == "Not pinned any more: 1 file.\n"
    monkeypatch.setattr(node, "pin", lambda paths, on: PinReport(0, 0, 0, changed=False))
    assert shell.run("unpin", "/mnt/a").out == "Nothing of that was pinned.\n"


@pytest.mark.parametrize("words", [["pause"], ["cancel", "/mnt/a", "--all"], ["reject"]])
def test_what_is_meant_has_to_be_said(shell: Shell, node: FakeNode, words: list[str]) -> None:
    ran = shell.run("transfers", *words)
    assert ran.code == 2
    assert ran.err.startswith(f"Say what to {words[0]}: files or folders")
    assert node.asked == []


def test_transfers_are_watched_on_a_terminal_until_ctrl_c(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(display, "on_terminal", lambda: True)
    monkeypatch.setattr(watching, "_pause", interrupt)
    ran = shell.run("transfers")
    assert ran.code == 0
    assert "film.mkv" in ran.out
    monkeypatch.setattr(display, "on_terminal", lambda: False)
    assert shell.run("transfers", "--once").lines[0].startswith("PATH")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_picture_of_transfers_fits_the_terminal(node: FakeNode, width: int) -> None:
    console = Console(width=width, height=10, file=io.StringIO(), record=True)
    console.print(watching.picture(node.transfers() * 20, width, 10))
    lines = console.export_text().splitlines()
    assert len(lines) == 9
    assert lines[-1] == "and 13 more"
    assert all(len(line.rstrip()) <= width for line in lines)
    assert lines[0].split() == list(HEADINGS)
    assert lines[1].startswith("/h")
    assert ("1.0 MB/s, Carol" in lines[1]) == (width > 100)
    assert all("film.mkv" in line and "0:00" in line and "Bob" in line for line in lines[1:-1])
    assert ("/home/anna/My Shared Spaces/Family/film.mkv" in lines[1]) == (width > 100)


def test_transfers_are_printed_once_on_a_terminal_with_all_that_there_are(
    shell: Shell, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = node.transfers() * 50
    monkeypatch.setattr(display, "on_terminal", lambda: True)
    monkeypatch.setattr(node, "transfers", lambda: reports)
    assert len(shell.run("transfers", "--once").lines) == 51


def test_a_fetch_that_waits_for_a_resume_says_so(shell: Shell, node: FakeNode) -> None:
    node.files_paused = 1
    ran = shell.run("fetch", "/mnt/a")
    assert "1 file is paused: `sharefs transfers resume`" in ran.err


def test_transfers_are_listed(shell: Shell, node: FakeNode) -> None:
    line = shell.run("transfers").lines[1]
    assert line.startswith(
        "/home/anna/My Shared Spaces/Family/film.mkv  in   fetching  75 %  1.0 MB"
    )
    assert line.endswith("Bob 1.0 MB/s, Carol 500.0 kB/s")
    told = msgspec.json.decode(shell.run("transfers", "--json").out, type=list[TransferReport])
    assert told == node.transfers()


def test_pin_tells_what_is_still_to_come(shell: Shell, node: FakeNode) -> None:
    assert shell.run("pin", "/mount/a").out == "Pinned: 1 file, 1.0 MB.\n"
    said = shell.run("pin", "/mount/a", "/mount/b").out
    assert (
        said == "Pinned: 2 files, 2.0 MB. 1.0 MB of that is still to come, from whoever has it.\n"
    )
    assert shell.run("unpin", "/mount/a").out == "Not pinned any more: 1 file.\n"
    assert node.asked == [
        ("/mount/a", "pin"),
        ("/mount/a", "/mount/b", "pin"),
        ("/mount/a", "unpin"),
    ]
