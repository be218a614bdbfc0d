"""What people type, and what becomes of it."""

import io
import os
from pathlib import Path

import pytest

from sharefs.cli import arguments
from sharefs.errors import BadArgument, TicketNotValid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800), (" 2w ", 1_209_600)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert arguments.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "7", "d", "7 d", "-7d", "0s", "1.5h", "7D", "7dd", "400d", "9999999999s", "٣d"]
)
def test_what_is_no_duration_is_told_of(text: str) -> None:
    with pytest.raises(BadArgument, match="duration"):
        arguments.parse_duration(text)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "\x1b[31mAnna", "\udcff", "x" * 65])
def test_a_person_needs_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(BadArgument, match="name"):
        arguments.check_person_name(name, "name")


def test_names_are_trimmed_and_may_be_of_any_language() -> None:
    assert arguments.check_person_name("  Ægir 李 ", "name") == "Ægir 李"
    assert arguments.check_space_name(" Família ") == "Família"


@pytest.mark.parametrize("name", ["", "a/b", ".", "..", "a\x00b", "x" * 129, "李" * 86])
def test_a_space_needs_a_name_that_a_folder_can_have(name: str) -> None:
    with pytest.raises(BadArgument):
        arguments.check_space_name(name)


def test_nobody_is_invited_as_an_owner() -> None:
    assert arguments.check_role("reader") == "reader"
    with pytest.raises(BadArgument, match="admin, contributor, reader"):
        arguments.check_role("owner")


def test_addresses_to_listen_on_are_read() -> None:
    assert arguments.check_listen(None) is None
    for text in ["127.0.0.1:4000", "0.0.0.0:0", "[::1]:4000", "laptop.local:65534"]:
        assert arguments.check_listen(text) == text


@pytest.mark.parametrize("text", ["", "4000", ":4000", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address_is_told_of(text: str) -> None:
    with pytest.raises(BadArgument, match="HOST:PORT"):
        arguments.check_listen(text)


def test_a_ticket_is_read_from_itself_its_file_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "family.sharefs"
    file.write_text("sharefs1abc\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("sharefs1abc\n"))
    assert arguments.read_ticket_text(" sharefs1abc\n") == "sharefs1abc"
    assert arguments.read_ticket_text(str(file)) == "sharefs1abc"
    assert arguments.read_ticket_text("-") == "sharefs1abc"


def test_a_file_named_like_a_ticket_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sharefs1.sharefs").write_text("sharefs1abc")
    assert arguments.read_ticket_text("sharefs1.sharefs") == "sharefs1abc"


def test_what_is_neither_ticket_nor_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff")
    for given in ["nonsense", str(tmp_path), str(tmp_path / "photo"), "a\x00b", "x" * 10_000]:
        with pytest.raises(TicketNotValid):
            arguments.read_ticket_text(given)


def test_paths_are_resolved_up_to_the_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mount/Family").mkdir(parents=True)
    (tmp_path / "short").symlink_to("mount")
    (tmp_path / "mount/Family/link").symlink_to("/elsewhere")
    top = str(tmp_path.resolve())
    assert arguments.absolute(Path("short/Family/link")) == f"{top}/mount/Family/link"
    assert arguments.absolute(Path("short/Family/../Family")) == f"{top}/mount/Family"
    os.chdir("mount/Family")
    assert arguments.absolute(Path()) == f"{top}/mount/Family"
    assert arguments.absolute(Path("..")) == f"{top}/mount"
