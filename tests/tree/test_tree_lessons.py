"""How others' trees went wrong, and ours must not. Each test names the project and its number."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

from sharefs.records.ids import DeviceId
from sharefs.records.record import Record
from tests.tree.histories import DEVICES, Replica
from tests.tree.members import Group, group, meet
from tests.tree.test_tree_scenes import paths, show, write

ANNA, BOB, CAROL = DEVICES


@pytest.fixture(params=["memory", "sqlite"])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as ending:
        yield group(request.param, tmp_path, ending)


def versions(made: Record, stamps: dict[DeviceId, tuple[int, bool]]) -> list[Record]:
    """What each wrote over the first version: when, and whether it was a delete."""
    return [
        write(
            device,
            "a",
            over=(made,),
            stamp=stamp,
            deleted=deleted,
            bytes_of=0 if deleted else number + 2,
        )
        for number, (device, (stamp, deleted)) in enumerate(stamps.items())
    ]


@pytest.mark.parametrize("deletes", list(permutations((True, False, False))))
def test_deletes_stand_in_the_same_order_as_edits(deletes: tuple[bool, bool, bool]) -> None:
    """syncthing PR 10207: with "a delete always loses", of three versions each lost to another, so
    that devices which met in different orders kept different ones for ever."""
    made = write(ANNA, "a", bytes_of=1)
    stamps = dict(zip(DEVICES, zip((100, 200, 300), deletes, strict=True), strict=True))
    edits = versions(made, stamps)
    views = []
    for order in permutations(edits):
        replica = Replica(ANNA)
        replica.receive(made)
        for record in order:
            replica.receive(record)
        replica.check()
        views.append(replica.view())
    assert all(view == views[0] for view in views)
    (winner,) = [row for row in views[0] if not row.loser]
    assert winner.version == edits[2].coordinate, "whatever it is, it was the last"
    kept = {row.size for row in views[0] if not row.deleted}
    assert kept == {size for size, gone in zip((2, 3, 4), deletes, strict=True) if not gone}


def test_a_change_of_case_is_never_a_delete_of_both(members: Group) -> None:
    """syncthing #1787: a case-only rename came as a delete of the one name and a new file of the
    other, and where these were one file, both went."""
    anna, bob, carol = members
    anna.write("Report", 1)
    anna.folder("Photos")
    anna.write("Photos/a", 2)
    meet(*members)
    anna.move("Report", "report")
    bob.move("Photos", "photos")
    assert meet(*members) == {"report": 1, "photos": None, "photos/a": 2}
    carol.move("report", "REPORT")
    carol.move("REPORT", "Report")
    assert meet(*members) == {"Report": 1, "photos": None, "photos/a": 2}


def test_a_file_may_be_called_as_if_we_had_named_it(members: Group) -> None:
    """owncloud/client #7557: files whose real names looked like the client's own suffixes were
    renamed, or taken for placeholders."""
    anna, bob, _ = members
    real = ["a (Bob).txt", "a (conflict, Bob, 1970-01-01 00.16).txt", "a (Bob 2).txt", "x (Bob)"]
    for number, name in enumerate(real):
        anna.write(name, number + 1)
    anna.write("a.txt", 50)
    meet(*members)
    anna.write("a.txt", 51)
    bob.write("a.txt", 52)
    bob.clock.tick()
    seen = meet(*members)
    assert [seen[name] for name in real] == [1, 2, 3, 4]
    assert seen["a.txt"] == 52
    (made,) = set(seen) - {*real, "a.txt"}
    assert seen[made] == 51
    bob.remove(made)
    bob.move(real[0], "b.txt")
    assert set(meet(*members)) == {"a.txt", "b.txt", *real[1:]}


def test_a_name_that_was_made_is_given_back(members: Group) -> None:
    """owncloud/client #7557, the other way round: the made name yields to the real one."""
    anna, bob, carol = members
    anna.write("a.txt", 1)
    bob.write("a.txt", 2)
    assert meet(*members) == {"a.txt": 1, "a (Bob).txt": 2}
    carol.write("a (Bob).txt.part", 3)
    carol.move("a (Bob).txt.part", "b.txt")
    anna.move("a.txt", "c.txt")
    assert meet(*members) == {"a.txt": 2, "b.txt": 3, "c.txt": 1}


def test_a_rename_and_a_delete_bring_nothing_back(members: Group) -> None:
    """rclone #6809: a file that was renamed and then deleted came back under its old name. Two
    renamed it at once here, so that it has a head for each name."""
    anna, bob, carol = members
    anna.write("a", 1)
    meet(*members)
    anna.move("a", "b")
    bob.move("a", "c")
    (name,) = meet(*members)
    carol.remove(name)
    assert meet(*members) == {}


def test_no_order_of_arrival_brings_back_what_was_renamed_and_deleted() -> None:
    """rclone #6809, with records that come in any order, and twice."""
    made = write(ANNA, "a", bytes_of=1)
    renamed = write(ANNA, "b", over=(made,), bytes_of=1)
    deleted = write(ANNA, "b", over=(renamed,), deleted=True)
    other = write(BOB, "a", bytes_of=2)
    chance = random.Random(1)
    for order in permutations([made, renamed, deleted, other]):
        replica = Replica(CAROL)
        for record in (*order, *chance.sample(order, 4)):
            replica.receive(record)
            replica.check()
        assert paths(replica) == ["a"]
    assert show(made, renamed, deleted) == []
