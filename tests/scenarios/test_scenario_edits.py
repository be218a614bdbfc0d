"""Edits travel, and what they make of entries is the same for all, whoever was away meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.group import Group, Node, start, stop, until
from tests.scenarios.real_files import MIB, describe, write_random

ARRIVES_S = 10.0


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob", "Carol")


def all_see(nodes: list[Node], path: str, check: Callable[[Path], object]) -> None:
    """Wait until `check` holds for the path in every node's mount."""
    for node in nodes:
        at = node.at("Family", path)

        def holds(at: Path = at) -> bool:
            try:
                return bool(check(at))
            except FileNotFoundError:
                return False

        until(holds, ARRIVES_S, f"{node.name} sees it of {path}")


def has_text(text: str) -> Callable[[Path], bool]:
    return lambda path: path.read_text() == text


def is_gone(path: Path) -> bool:
    return not os.path.lexists(path)


def test_created_and_edited_files_arrive(family: list[Node]) -> None:
    _, bob, _ = family
    bob.shell("mkdir -p work/deep/er && echo one > work/deep/er/note.txt")
    all_see(family, "work/deep/er/note.txt", has_text("one\n"))
    bob.shell("echo two >> work/deep/er/note.txt")
    all_see(family, "work/deep/er/note.txt", has_text("one\ntwo\n"))
    bob.shell("printf ONE | dd of=work/deep/er/note.txt conv=notrunc status=none")
    all_see(family, "work/deep/er/note.txt", has_text("ONE\ntwo\n"))
    bob.shell("truncate -s 3 work/deep/er/note.txt; chmod +x work/deep/er/note.txt")
    all_see(family, "work/deep/er/note.txt", has_text("ONE"))
    all_see(family, "work/deep/er/note.txt", lambda path: os.access(path, os.X_OK))


def test_a_renamed_and_moved_file_is_still_the_same_item(family: list[Node]) -> None:
    anna, bob, carol = family
    anna.shell("mkdir -p there && echo mine > moves.txt")
    all_see(family, "moves.txt", has_text("mine\n"))
    inodes = [node.at("Family", "moves.txt").stat().st_ino for node in (anna, carol)]
    bob.shell("mv moves.txt there/moved.txt")
    all_see(family, "there/moved.txt", has_text("mine\n"))
    all_see(family, "moves.txt", is_gone)
    moved = [node.at("Family", "there", "moved.txt") for node in (anna, carol)]
    assert [path.stat().st_ino for path in moved] == inodes
    assert [anna.xattr(path, "contributor") for path in moved] == ["Anna", "Anna"]


def test_a_file_saved_by_a_rename_over_it_is_still_the_same_item(family: list[Node]) -> None:
    anna, bob, carol = family
    anna.shell("echo draft > letter.txt")
    all_see(family, "letter.txt", has_text("draft\n"))
    theirs = carol.at("Family", "letter.txt")
    inode = theirs.stat().st_ino
    bob.shell("echo better > .letter.txt.new && mv .letter.txt.new letter.txt")
    all_see(family, "letter.txt", has_text("better\n"))
    all_see(family, ".letter.txt.new", is_gone)
    assert theirs.stat().st_ino == inode
    assert carol.xattr(theirs, "contributor") == "Anna"
    bob.shell("echo best > .goutputstream-ABCDEF && mv .goutputstream-ABCDEF letter.txt")
    all_see(family, "letter.txt", has_text("best\n"))
    bob.shell("mv letter.txt letter.txt~ && echo vim > letter.txt && rm letter.txt~")
    all_see(family, "letter.txt", has_text("vim\n"))
    assert theirs.stat().st_ino == inode
    assert carol.xattr(theirs, "contributor") == "Anna"
    assert sorted(p for p in os.listdir(carol.at("Family")) if "letter" in p) == ["letter.txt"]


def test_folders_are_renamed_moved_and_deleted_with_all_they_hold(family: list[Node]) -> None:
    _, bob, _ = family
    bob.shell("mkdir -p album/summer; for n in 1 2 3; do echo $n > album/summer/$n.jpg; done")
    all_see(family, "album/summer/3.jpg", has_text("3\n"))
    bob.shell("mkdir archive && mv album/summer archive/2026 && rmdir album")
    all_see(family, "archive/2026/3.jpg", has_text("3\n"))
    all_see(family, "album", is_gone)
    bob.shell("rm -r archive")
    all_see(family, "archive", is_gone)


def test_temporary_files_of_programs_stay_where_they_are_made(family: list[Node]) -> None:
    anna, bob, carol = family
    bob.shell("echo private > .~lock.plan.odt#; echo private > plan.odt~; echo shared > plan.odt")
    all_see(family, "plan.odt", has_text("shared\n"))
    for node in (anna, carol):
        assert not [p for p in os.listdir(node.at("Family")) if p.startswith(".~") or "~" in p]
    bob.shell("rm '.~lock.plan.odt#' plan.odt~")


def test_two_files_of_one_name_are_both_there_for_all(family: list[Node]) -> None:
    anna, bob, carol = family
    anna.shell("mkdir shared")
    all_see(family, "shared", Path.is_dir)
    stop(bob, carol)
    anna.shell("echo by Anna > shared/report.odt")
    stop(anna)
    start(bob)
    bob.shell("echo by Bob > shared/report.odt")
    start(anna, carol)
    all_see(family, "shared/report.odt", has_text("by Anna\n"))
    all_see(family, "shared/report (Bob).odt", has_text("by Bob\n"))
    for node in family:
        assert sorted(os.listdir(node.at("Family", "shared"))) == [
            "report (Bob).odt",
            "report.odt",
        ]


def test_a_conflict_keeps_both_versions_for_all(family: list[Node]) -> None:
    anna, bob, carol = family
    anna.shell("echo first > both.txt")
    all_see(family, "both.txt", has_text("first\n"))
    stop(bob, carol)
    anna.shell("echo of Anna >> both.txt")
    stop(anna)
    start(bob)
    bob.shell("echo of Bob >> both.txt")
    start(anna, carol)
    all_see(family, "both.txt", has_text("first\nof Bob\n"))

    def loser(node: Node) -> str:
        names = os.listdir(node.at("Family"))
        return next((name for name in names if name.startswith("both (conflict, Anna, ")), "")

    for node in family:
        until(lambda node=node: loser(node), ARRIVES_S, f"{node.name} sees the loser")  # type: ignore[misc]
    assert len({loser(node) for node in family}) == 1
    all_see(family, loser(anna), has_text("first\nof Anna\n"))


def test_everything_survives_a_restart_of_all(family: list[Node]) -> None:
    anna, bob, _ = family
    write_random(anna.at("Family", "big.bin"), 5 * MIB, 5)
    all_see(family, "big.bin", lambda path: path.stat().st_size == 5 * MIB)
    seen = describe(anna.at("Family"))
    for node in family:
        until(lambda node=node: describe(node.at("Family")) == seen, ARRIVES_S, node.name)  # type: ignore[misc]
    for node in family:
        node.down()
        assert not os.path.ismount(node.mount)
    for node in family:
        node.up()
    for node in family:
        assert describe(node.at("Family")) == seen
    until(lambda: bob.sees_online("Anna", "Carol"), 20)
    bob.shell(f"cmp big.bin {anna.at('Family', 'big.bin')}")


def test_work_done_while_the_others_were_away_arrives_when_they_meet(family: list[Node]) -> None:
    anna, bob, carol = family
    stop(anna, carol)
    bob.shell(
        "mkdir alone; for n in $(seq 100); do echo $n > alone/$n; done; rm -r work; mv there here"
    )
    stop(bob)
    start(carol)
    carol.shell("mkdir -p also; echo carol > also/there.txt")
    start(bob, anna)
    all_see(family, "alone", lambda path: len(os.listdir(path)) == 100)
    all_see(family, "alone/100", has_text("100\n"))
    all_see(family, "also/there.txt", has_text("carol\n"))
    all_see(family, "work", is_gone)
    all_see(family, "there", is_gone)
    all_see(family, "here/moved.txt", has_text("mine\n"))
