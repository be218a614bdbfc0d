"""Two write one file while apart: both versions are files for everybody, until somebody chooses."""

import os
from pathlib import Path

import pytest

from sharefs.node.reports import ConflictReport
from sharefs.web.client import Client
from tests.scenarios.group import Group, Node, run, start, stop, until
from tests.scenarios.real_files import MIB, sha256, write_random

ARRIVES_S = 15.0
FILES = ("big.bin", "cli.txt", "both.txt", "edit.txt", "move.txt", "over.txt", "gone.txt", "vi.txt")


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    """Anna, Bob and Carol, with a conflict about each of FILES: Bob's versions have won."""
    anna, bob, carol = family = lasting_group.family("Anna", "Bob", "Carol")
    for name in FILES:
        anna.at("Family", name).write_text("first\n")
    until(lambda: set(os.listdir(bob.at("Family"))) == set(FILES), ARRIVES_S)
    bob.shell("cat *")
    stop(bob, carol)
    for name in FILES[1:]:
        anna.at("Family", name).write_text("of Anna\n")
    write_random(anna.at("Family", "big.bin"), 3 * MIB, 1)
    stop(anna)
    start(bob)
    for name in FILES[1:]:
        bob.at("Family", name).write_text("of Bob\n")
    write_random(bob.at("Family", "big.bin"), 3 * MIB, 2)
    start(anna, carol)
    for node in family:
        until(lambda node=node: len(conflicts(node)) == len(FILES), ARRIVES_S)  # type: ignore[misc]
        until(lambda node=node: node.sees_online("Anna", "Bob", "Carol"), ARRIVES_S)  # type: ignore[misc]
    return family


def conflicts(node: Node) -> list[ConflictReport]:
    with Client(node.home.socket_file) as client:
        return client.conflicts()


def loser_of(node: Node, name: str) -> Path:
    """The path of the version that Anna wrote."""
    (report,) = [r for r in conflicts(node) if r.path == str(node.at("Family", name))]
    assert [version.writer for version in report.versions] == ["Bob", "Anna"]
    return Path(report.versions[1].path)


def listed(node: Node, prefix: str) -> list[str]:
    return sorted(name for name in os.listdir(node.at("Family")) if name.startswith(prefix))


def all_list(family: list[Node], prefix: str, files: dict[str, str]) -> None:
    """Wait until these files are all that begins so, for everybody, and nobody sees a conflict."""
    for node in family:

        def agrees(node: Node = node) -> bool:
            if listed(node, prefix) != sorted(files):
                return False
            return all(node.at("Family", name).read_text() == files[name] for name in files)

        until(agrees, ARRIVES_S, f"{node.name} sees {files}")
        assert not [r for r in conflicts(node) if Path(r.path).name in files]


def test_the_other_version_is_a_file_for_everybody(family: list[Node]) -> None:
    names = {loser_of(node, "big.bin").name for node in family}
    assert len(names) == 1
    (name,) = names
    assert name.startswith("big (conflict, Anna, 20")
    assert name.endswith(").bin")
    for node in family:
        assert node.xattr(node.at("Family", name), "conflict") == "loser"


def test_the_other_version_is_fetched_and_freed_like_any_file(family: list[Node]) -> None:
    anna, bob, carol = family
    there = loser_of(carol, "big.bin")
    assert carol.xattr(there, "state") == "ghost"
    assert there.stat().st_size == 3 * MIB
    with there.open("rb") as file:
        file.seek(2 * MIB)
        piece = file.read(1000)
    assert piece
    assert carol.xattr(there, "state") == "partial"
    carol.ask("fetch", there)
    assert carol.xattr(there, "state") == "local"
    assert sha256(there) == sha256(loser_of(anna, "big.bin")) == sha256(loser_of(bob, "big.bin"))
    assert sha256(carol.at("Family", "big.bin")) == sha256(bob.at("Family", "big.bin"))
    assert sha256(there) != sha256(carol.at("Family", "big.bin"))
    carol.ask("free", there)
    assert carol.xattr(there, "state") == "ghost"


def test_whom_it_concerns_is_told(family: list[Node]) -> None:
    anna, bob, carol = family
    for node, concerned in ((anna, True), (bob, True), (carol, False)):
        told = f"{len(FILES)} conflicts concern you" in "".join(node.status().notices)
        assert told == concerned
        assert {report.mine for report in conflicts(node)} == {concerned}
        assert node.status().spaces[0].conflicts == len(FILES)
    assert f"Note: {len(FILES)} conflicts concern you" in anna.ask("status")
    listing = carol.ask_json("conflicts", "Family")
    assert [len(report["versions"]) for report in listing] == [2] * len(FILES)


def test_one_of_two_is_kept_for_everybody(family: list[Node]) -> None:
    _, _, carol = family
    refused = carol.refused("resolve", carol.at("Family", "cli.txt"), "--keep", "mine")
    assert refused.startswith("2 Which version of cli.txt is to be kept? Say")
    assert "Kept: " in carol.ask("resolve", carol.at("Family", "cli.txt"), "--keep", "loser")
    all_list(family, "cli", {"cli.txt": "of Anna\n"})
    refused = carol.refused("resolve", carol.at("Family", "cli.txt"), "--keep", "loser")
    assert "cli.txt has one version" in refused


def test_both_are_kept_for_everybody(family: list[Node]) -> None:
    anna, _, _ = family
    loser = loser_of(anna, "both.txt")
    assert anna.ask("resolve", loser, "--keep", "both").count("Kept: ") == 2
    all_list(family, "both", {"both.txt": "of Bob\n", loser.name: "of Anna\n"})
    assert anna.xattr(anna.at("Family", loser.name), "contributor") == "Anna"


def test_who_edits_the_other_version_makes_a_file_of_it(family: list[Node]) -> None:
    _, bob, _ = family
    loser = loser_of(bob, "edit.txt")
    inode = loser.stat().st_ino
    with loser.open("a") as file:
        file.write("and of Bob\n")
    all_list(family, "edit", {"edit.txt": "of Bob\n", loser.name: "of Anna\nand of Bob\n"})
    assert loser.stat().st_ino == inode


def test_who_renames_the_other_version_makes_a_file_of_it(family: list[Node]) -> None:
    _, _, carol = family
    os.rename(loser_of(carol, "move.txt"), carol.at("Family", "move of Anna.txt"))
    all_list(family, "move", {"move.txt": "of Bob\n", "move of Anna.txt": "of Anna\n"})


def test_who_moves_the_other_version_over_the_first_chooses_it(family: list[Node]) -> None:
    anna, _, _ = family
    outcome = run(["mv", loser_of(anna, "over.txt"), anna.at("Family", "over.txt")])
    assert outcome.code == 0, outcome.complaint
    all_list(family, "over", {"over.txt": "of Anna\n"})


def test_who_removes_the_other_version_lets_it_go(family: list[Node]) -> None:
    _, bob, _ = family
    loser_of(bob, "gone.txt").unlink()
    all_list(family, "gone", {"gone.txt": "of Bob\n"})


def test_an_editor_that_saves_by_renames_makes_a_file_of_the_other_version(
    family: list[Node],
) -> None:
    _, _, carol = family
    loser = loser_of(carol, "vi.txt")
    backup = loser.with_name(loser.name + "~")
    os.rename(loser, backup)
    loser.write_text("vi\n")
    backup.unlink()
    all_list(family, "vi", {"vi.txt": "of Bob\n", loser.name: "vi\n"})


def test_what_is_settled_stays_settled(family: list[Node]) -> None:
    anna, bob, _ = family
    bob.ask("resolve", bob.at("Family", "big.bin"), "--keep", "winner")
    for node in family:
        until(lambda node=node: not conflicts(node), ARRIVES_S, node.name)  # type: ignore[misc]
    seen = sorted(os.listdir(anna.at("Family")))
    stop(*family)
    start(*family)
    for node in family:
        assert sorted(os.listdir(node.at("Family"))) == seen
        assert conflicts(node) == []
        assert node.status().notices == []
