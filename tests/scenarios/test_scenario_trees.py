"""Folders that two change while apart, and large and deep ones, in real mounts."""

import os
from pathlib import Path

import pytest

from tests.scenarios.group import Group, Node, start, stop, until

ARRIVES_S = 30.0
DEEP = 64
MANY = 10_000


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    """What Anna, and then Bob, did to the same tree, without the other."""
    anna, bob = family = lasting_group.family("Anna", "Bob")
    anna.shell(
        """
        mkdir -p ring/a ring/b; echo a > ring/a/f; echo b > ring/b/g
        mkdir -p gone/made/deep gone/edited gone/moved; echo x > gone/edited/x; echo m > m
        echo same > gone/made/deep/same; mkdir -p away/in; echo i > away/in/i
        """
    )
    until(bob.at("Family", "away", "in", "i").exists, ARRIVES_S)
    until(bob.at("Family", "gone", "edited", "x").exists, ARRIVES_S)
    bob.shell("cat gone/edited/x > /dev/null")
    stop(bob)
    anna.shell(
        """
        mv ring/a ring/b/a
        rm -r gone
        mkdir -p merged/deep; echo 1 > merged/by-anna; echo 2 > merged/deep/by-anna
        echo file > both
        mv away/in/i away/i; rm -r away/in
        """
    )
    stop(anna)
    start(bob)
    bob.shell(
        """
        mv ring/b ring/a/b
        echo n > gone/made/deep/new; echo edited >> gone/edited/x; mv m gone/moved/m
        mkdir -p merged/deep; echo 1 > merged/by-bob; echo 2 > merged/deep/by-bob
        mkdir both; echo in > both/in
        echo late > away/in/late
        """
    )
    start(anna)
    until(lambda: anna.sees_online("Bob"), ARRIVES_S)
    return family


def tree(node: Node, top: str) -> dict[str, str | None]:
    """Every path below a folder of the space, with the text of files; empty if it is not there."""
    found: dict[str, str | None] = {}
    start = node.at("Family", top)
    for folder, folders, files in os.walk(start):
        for name in folders:
            found[str(Path(folder, name).relative_to(start))] = None
        for name in files:
            found[str(Path(folder, name).relative_to(start))] = Path(folder, name).read_text()
    return found


def all_see(family: list[Node], top: str, expected: dict[str, str | None]) -> None:
    for node in family:

        def agrees(node: Node = node) -> bool:
            try:
                return tree(node, top) == expected
            except FileNotFoundError:
                return False

        until(agrees, ARRIVES_S, f"{node.name} sees {expected}")


def test_folders_moved_into_each_other_are_both_there(family: list[Node]) -> None:
    """The later move is undone: the folder stands at the top of the space."""
    all_see(family, "ring", {})
    all_see(family, "b", {"a": None, "a/f": "a\n", "g": "b\n"})


def test_a_deleted_folder_comes_back_for_what_others_did_in_it(family: list[Node]) -> None:
    all_see(
        family,
        "gone",
        {
            "made": None,
            "made/deep": None,
            "made/deep/new": "n\n",
            "edited": None,
            "edited/x": "x\nedited\n",
            "moved": None,
            "moved/m": "m\n",
        },
    )
    for node in family:
        assert not node.at("Family", "m").exists()


def test_a_file_that_was_moved_away_is_not_deleted_with_its_folder(family: list[Node]) -> None:
    all_see(family, "away", {"i": "i\n", "in": None, "in/late": "late\n"})


def test_a_file_and_a_folder_of_one_name_are_both_there(family: list[Node]) -> None:
    all_see(family, "both (Bob)", {"in": "in\n"})
    for node in family:
        assert node.at("Family", "both").read_text() == "file\n"


def merged(deep: str = "deep") -> dict[str, str | None]:
    return {
        "by-anna": "1\n",
        "by-bob": "1\n",
        deep: None,
        f"{deep}/by-anna": "2\n",
        f"{deep}/by-bob": "2\n",
    }


def test_folders_of_one_name_are_renamed_moved_and_deleted_as_one(family: list[Node]) -> None:
    anna, bob = family
    all_see(family, "merged", merged())
    bob.shell("mv merged one")
    all_see(family, "one", merged())
    anna.shell("mkdir -p shelf; mv one/deep one/deeper; mv one shelf/one")
    all_see(family, "shelf/one", merged("deeper"))
    bob.shell("mv shelf/one/deeper deeper")
    all_see(family, "deeper", {"by-anna": "2\n", "by-bob": "2\n"})
    anna.shell("rm -r shelf deeper")
    for node in family:
        for name in ("merged", "one", "shelf", "deeper"):
            path = node.at("Family", name)
            until(lambda path=path: not path.exists(), ARRIVES_S, str(path))  # type: ignore[misc]
    stop(bob)
    start(bob)
    assert not bob.at("Family", "merged").exists()


def test_sixty_four_levels(family: list[Node]) -> None:
    anna, bob = family
    path = "/".join(f"level-{number}" for number in range(DEEP))
    anna.shell(f"mkdir -p {path}; echo deep > {path}/file")
    file = bob.at("Family", path, "file")
    until(file.exists, ARRIVES_S)
    assert file.read_text() == "deep\n"
    bob.shell("mv level-0/level-1 up")
    there = f"up/{path.split('/', 2)[2]}/file"
    until(lambda: anna.at("Family", there).exists(), ARRIVES_S)
    assert anna.at("Family", there).read_text() == "deep\n"
    anna.shell("rm -r up level-0")
    until(lambda: not bob.at("Family", "up").exists(), ARRIVES_S)
    until(lambda: not bob.at("Family", "level-0").exists(), ARRIVES_S)


def test_ten_thousand_entries_in_one_folder(family: list[Node]) -> None:
    anna, bob = family
    anna.shell(f"mkdir many; cd many; for n in $(seq {MANY}); do : > $n; done", 120)
    many = bob.at("Family", "many")
    until(lambda: many.exists() and len(os.listdir(many)) == MANY, 120)
    bob.shell("mv many plenty; echo new > plenty/new; mv plenty/5000 plenty/half; rm plenty/1")
    plenty = anna.at("Family", "plenty")
    until(lambda: plenty.exists() and not (plenty / "1").exists(), ARRIVES_S)
    until(lambda: (plenty / "half").exists() and (plenty / "new").exists(), ARRIVES_S)
    assert len(os.listdir(plenty)) == MANY
    assert set(os.listdir(plenty)) == set(os.listdir(bob.at("Family", "plenty")))
    assert not anna.at("Family", "many").exists()
