"""How others lost files to lost databases, and ours must not. Each test names the project and its
number."""

import shutil
from pathlib import Path

from sharefs.records.ids import Coordinate
from sharefs.records.record import Record
from tests.node.node_parties import Party, agree, meet, until


def lose_database(party: Party) -> None:
    """Of a node that is down; its contents stay."""
    party.listen_anywhere()
    for name in ("sharefs.db", "sharefs.db-wal", "sharefs.db-shm"):
        (party.home.data_folder / name).unlink(missing_ok=True)


def test_who_joins_anew_after_a_loss_does_not_bring_old_files_back(anna: Party, bob: Party) -> None:
    """syncthing #3876: a folder that was removed and added again began to count at one, so that
    its versions looked older than they were, or an old file silently won over newer ones."""
    for number in range(5):
        bob.write("a.txt", b"by bob, %d" % number)
    agree("a.txt", anna, bob)
    assert anna.read("a.txt") == b"by bob, 4"
    bob.down()
    lose_database(bob)
    anna.edit("a.txt", b"by anna, newer")
    bob.up()
    assert bob.node.desk.spaces() == []
    anna.invite(bob)
    meet(anna, bob)
    until(lambda: bob.names() == ["a.txt"])
    until(lambda: bob.fails("a.txt") is None)
    assert bob.read("a.txt") == b"by anna, newer"
    assert anna.read("a.txt") == b"by anna, newer"
    bob.edit("a.txt", b"by bob, newest")
    agree("a.txt", anna, bob)
    assert anna.names() == bob.names() == ["a.txt"], "and nothing is in conflict"
    until(lambda: anna.fails("a.txt") is None)
    assert anna.read("a.txt") == b"by bob, newest"


def heads(party: Party) -> dict[Coordinate, Record]:
    replica = party.replica()
    rows = party.node.loop.call(lambda: [replica.shelf.heads(r.item) for r in everything(party)])
    return {head.coordinate: head for each in rows for head in each}


def everything(party: Party):  # type: ignore[no-untyped-def]
    return [party.there(name) for name in party.names()]


def test_no_sequence_is_used_twice_whatever_a_crash_took_back(
    anna: Party, bob: Party, tmp_path: Path
) -> None:
    """syncthing #6335: after a crash that lost the last writes of the database, the next change got
    a number that others had seen under another change already, and was never sent to them."""
    known: dict[Coordinate, Record] = {}
    for number in range(4):
        anna.write(f"{number}.txt", b"%d" % number)
        agree(f"{number}.txt", anna, bob)
        backup = tmp_path / f"backup {number}"
        anna.kill()
        anna.backup(backup)
        anna.up()
        anna.write(f"lost {number}.txt", b"%d" % number)
        agree(f"lost {number}.txt", anna, bob)
        for coordinate, head in heads(bob).items():
            assert known.setdefault(coordinate, head) == head
        anna.kill()
        if number % 2:
            # The database is as it was before the last writes, and so is what stands beside it.
            lose_database(anna)
            shutil.copytree(backup, anna.home.data_folder, dirs_exist_ok=True)
        anna.up()
        meet(anna, bob)
        until(lambda: anna.names() == bob.names(), "what the database lost comes back from Bob")
    names = [f"{lost}{number}.txt" for lost in ("", "lost ") for number in range(4)]
    assert bob.names() == sorted(names)
    for coordinate, head in heads(bob).items():
        assert known.setdefault(coordinate, head) == head
    anna.write("last.txt", b"last")
    agree("last.txt", anna, bob)
    assert heads(anna) == heads(bob)


def test_a_lost_database_does_not_fetch_everything_again(anna: Party, bob: Party) -> None:
    """nextcloud/desktop #10705: a journal that was rebuilt took every file for a new one, and
    downloaded all of them."""
    anna.write("a.txt", b"a" * 100_000)
    anna.write("b.txt", b"b" * 100_000)
    agree("b.txt", anna, bob)
    assert len(bob.read("a.txt")) == 100_000
    bob.down()
    lose_database(bob)
    bob.up()
    anna.invite(bob)
    meet(anna, bob)
    until(lambda: bob.names() == ["a.txt", "b.txt"])
    content = bob.there("a.txt").content
    assert content is not None
    until(lambda: bob.node.state.contents.local_bytes(content) == 100_000, "it is recognised")
    until(lambda: bob.node.desk.describe(bob.there("b.txt"))["state"] == "ghost")
    assert bob.there("b.txt").local == 0, "and nothing is fetched"
    anna.down()
    assert bob.read("a.txt") == b"a" * 100_000


def test_a_content_that_is_gone_from_the_disk_is_a_ghost_and_no_delete(
    anna: Party, bob: Party
) -> None:
    """nextcloud/desktop #3444: a placeholder that could not be made was missing at the next look,
    and so was taken for a delete, which then travelled."""
    anna.write("docs/a.txt", b"a" * 50_000)
    agree("docs/a.txt", anna, bob)
    assert len(bob.read("docs/a.txt")) == 50_000
    version = anna.there("docs/a.txt").version
    bob.down()
    for path in bob.home.contents_folder.rglob("*"):
        if path.is_file():
            path.unlink()
    bob.up()
    meet(anna, bob)
    assert bob.names("docs") == ["a.txt"]
    until(lambda: bob.fails("docs/a.txt") is None)
    assert bob.read("docs/a.txt") == b"a" * 50_000
    bob.write("later.txt", b"later")
    agree("later.txt", anna, bob)
    assert anna.there("docs/a.txt").version == bob.there("docs/a.txt").version == version


def test_nothing_that_stops_a_node_is_a_delete(anna: Party, bob: Party) -> None:
    """The shutdown that deleted: clients took an unmounted, emptied or forgotten folder for one
    whose files were all removed."""
    names = [f"{number}.txt" for number in range(20)]
    for name in names:
        anna.write(name, name.encode())
    agree(names[-1], anna, bob)
    versions = {name: anna.there(name).version for name in names}
    assert bob.read(names[0]) == names[0].encode()
    for end in (bob.down, bob.kill, bob.down):
        end()
        if end == bob.kill:
            shutil.rmtree(bob.home.contents_folder)
        bob.up()
        meet(anna, bob)
    bob.down()
    lose_database(bob)
    bob.up()
    anna.invite(bob)
    meet(anna, bob)
    until(lambda: bob.names() == sorted(names))
    bob.write("new.txt", b"new")
    agree("new.txt", anna, bob)
    for party in (anna, bob):
        assert {name: party.there(name).version for name in names} == versions
