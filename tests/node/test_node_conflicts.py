"""What happens to a conflict when programs and people do something to its files."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from sharefs.errors import BadArgument, NoConflict, NoSuchEntry, ReadOnlySpace
from sharefs.mount.ports import Base
from sharefs.node.conflicts import version_name
from sharefs.records.ids import item_id
from sharefs.store.drafts import DraftBase, DraftNote
from tests.node.node_parties import Party, agree, apart, until

MINE, OTHER = b"by anna", b"by bob"


def fall_out(anna: Party, bob: Party, path: str = "a.txt") -> str:
    """Both write one file while apart, Bob last; the name under which Anna's version is shown."""
    anna.write(path, b"first")
    agree(path, anna, bob)
    before = set(anna.names())
    join = apart(anna, bob)
    anna.edit(path, MINE)
    bob.edit(path, OTHER)
    join()
    until(lambda: len(anna.names()) == len(before) + 1 and anna.names() == bob.names())
    (loser,) = set(anna.names()) - before
    assert (read(anna, path), read(anna, loser)) == (OTHER, MINE)
    return loser


def read(party: Party, path: str) -> bytes:
    """Who was silent for long enough to be thought away is online again before long."""
    until(lambda: party.fails(path) is None, path)
    return party.read(path)


def all_hold(parties: list[Party], files: dict[str, bytes]) -> None:
    """Wait until all show these files, and nothing else; and nothing is in conflict."""

    def held(party: Party) -> bool:
        if party.names() != sorted(files):
            return False
        rows = [party.there(name) for name in files]
        heads = [len(party.node.state.view.heads_of(row)) for row in rows]
        if any(row.loser for row in rows) or max(heads) > 1:
            return False
        return all(read(party, name) == data for name, data in files.items())

    until(lambda: all(map(held, parties)), str(files))
    assert all(party.alive for party in parties)


def settle(party: Party, path: str, keep: str) -> list[str]:
    """As `sharefs resolve` does; the names of what is kept."""
    mount = party.node.mount_point
    report = party.service.resolve(str(mount / "Family" / path), keep)
    return [os.path.relpath(path, mount / "Family") for path in report.kept]


# --- programs -------------------------------------------------------------------------------------


def test_removing_the_losers_file_lets_the_loser_go(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    bob.remove(loser)
    all_hold([anna, bob], {"a.txt": OTHER})


def test_removing_the_winners_file_keeps_the_loser(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    bob.remove("a.txt")
    until(lambda: anna.names() == bob.names() == [loser])
    assert read(anna, loser) == MINE
    anna.remove(loser)
    until(lambda: anna.names() == bob.names() == [])


def test_renaming_the_losers_file_makes_it_an_entry_of_its_own(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    ino = bob.there(loser).ino
    bob.move(loser, "b.txt")
    all_hold([anna, bob], {"a.txt": OTHER, "b.txt": MINE})
    assert bob.there("b.txt").ino == ino
    assert bob.node.desk.describe(bob.there("b.txt"))["contributor"] == "Anna"
    bob.edit("b.txt", b"more")
    all_hold([anna, bob], {"a.txt": OTHER, "b.txt": b"more"})


def test_the_losers_file_can_be_moved_to_another_folder(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    anna.folder("docs")
    anna.move(loser, "docs/old.txt")
    until(lambda: bob.entry("docs/old.txt"))
    assert anna.names() == bob.names() == ["a.txt", "docs"]
    assert read(bob, "docs/old.txt") == MINE


def test_two_who_rename_the_losers_file_at_once_make_one_entry(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    join = apart(anna, bob)
    anna.move(loser, "anna.txt")
    bob.move(loser, "bob.txt")
    join()
    until(lambda: len(anna.names()) == 2 and anna.names() == bob.names())
    first, second = anna.names()
    assert first == "a.txt"
    assert second in ("anna.txt", "bob.txt")
    assert read(anna, second) == read(bob, second) == MINE


def test_moving_the_losers_file_over_the_winners_makes_it_what_counts(
    anna: Party, bob: Party
) -> None:
    loser = fall_out(anna, bob)
    item = anna.there("a.txt").item
    bob.move(loser, "a.txt")
    all_hold([anna, bob], {"a.txt": MINE})
    assert anna.there("a.txt").item == item


def test_moving_the_winners_file_over_the_losers_lets_the_loser_go(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    anna.move("a.txt", loser)
    all_hold([anna, bob], {loser: OTHER})


def test_moving_the_losers_file_over_another_file_is_its_next_version(
    anna: Party, bob: Party
) -> None:
    loser = fall_out(anna, bob)
    anna.write("c.txt", b"c")
    item = anna.there("c.txt").item
    anna.move(loser, "c.txt")
    all_hold([anna, bob], {"a.txt": OTHER, "c.txt": MINE})
    assert bob.there("c.txt").item == item


def test_moving_another_file_over_the_losers_takes_its_place(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    anna.write("c.txt", b"c")
    anna.move("c.txt", loser)
    all_hold([anna, bob], {"a.txt": OTHER, loser: b"c"})


def test_editing_the_losers_file_makes_it_an_entry_of_its_own(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    ino = bob.there(loser).ino
    bob.edit(loser, b"merged")
    all_hold([anna, bob], {"a.txt": OTHER, loser: b"merged"})
    assert bob.there(loser).ino == ino
    assert bob.there(loser).name == loser


def test_the_losers_file_can_be_saved_as_editors_do(anna: Party, bob: Party) -> None:
    """A backup first, and then a new file; a temporary file first, and then a rename."""
    loser = fall_out(anna, bob)
    core, top = anna.node.core, anna.top()
    core.rename(top, loser, top, loser + "~")
    core.release(write_to(anna, loser, b"vim"))
    core.unlink(top, loser + "~")
    all_hold([anna, bob], {"a.txt": OTHER, loser: b"vim"})
    again = fall_out(anna, bob, "b.txt")
    core.release(write_to(anna, ".goutputstream-ABCDEF", b"gio"))
    core.rename(top, ".goutputstream-ABCDEF", top, again)
    all_hold([anna, bob], {"a.txt": OTHER, loser: b"vim", "b.txt": OTHER, again: b"gio"})


def write_to(party: Party, name: str, data: bytes):  # type: ignore[no-untyped-def]
    handle = party.node.core.create(party.top(), name, 0o644)
    party.node.core.write(handle, 0, data)
    return handle


def test_a_new_time_or_mode_makes_the_loser_an_entry_of_its_own(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    row = anna.there(loser)
    anna.node.core.utimens(row.ino, divmod(row.mtime_ns, 10**9))
    assert anna.there(loser).loser, "nothing changed"
    anna.node.core.chmod(row.ino, 0o755)
    all_hold([anna, bob], {"a.txt": OTHER, loser: MINE})
    assert bob.there(loser).executable
    assert bob.there(loser).mtime_ns == row.mtime_ns


@pytest.mark.parametrize("settled", ["let go", "kept apart"])
def test_an_edit_of_a_loser_that_is_settled_meanwhile_is_kept(
    anna: Party, bob: Party, settled: str
) -> None:
    """Its bytes are those that the program has read."""
    loser = fall_out(anna, bob)
    core = anna.node.core
    handle = core.open(anna.there(loser).ino, os.O_RDWR)
    core.write(handle, 0, b"edited ")
    if settled == "let go":
        bob.remove(loser)
        until(lambda: anna.names() == ["a.txt"])
    else:
        settle(anna, loser, "both")
    core.release(handle)
    all_hold([anna, bob], {"a.txt": OTHER, loser: b"edited "})


def test_an_edit_of_a_loser_that_is_kept_apart_and_changed_meanwhile_replaces_nothing(
    anna: Party, bob: Party
) -> None:
    loser = fall_out(anna, bob)
    core = anna.node.core
    handle = core.open(anna.there(loser).ino, os.O_RDWR)
    core.write(handle, 0, b"edited ")
    settle(bob, loser, "both")
    bob.edit(loser, b"other")
    agree(loser, anna, bob)
    core.release(handle)
    until(lambda: len(anna.names()) == len(bob.names()) == 3)
    for party in (anna, bob):
        kept = [read(party, name) for name in party.names()]
        assert sorted(kept) == sorted([OTHER, b"other", b"edited "])


def test_an_edit_of_a_loser_that_a_killed_node_had_not_shared_is_not_lost(
    anna: Party, bob: Party
) -> None:
    loser = fall_out(anna, bob)
    base = anna.node.desk.base(anna.there(loser))
    assert base.loser
    for _ in range(2):  # The second time as if the draft had outlived its own publication.
        leave_draft(anna, loser, b"edited", base)
        anna.kill()
        anna.up()
        all_hold([anna, bob], {"a.txt": OTHER, loser: b"edited"})


def test_who_removes_a_file_that_is_being_written_removes_what_was_seen(
    anna: Party, bob: Party
) -> None:
    """What Bob saved meanwhile, nobody at Anna's has seen: the draft stood in its place."""
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    core = anna.node.core
    handle = core.open(anna.there("a.txt").ino, os.O_RDWR)
    core.write(handle, 0, b"draft")
    bob.edit("a.txt", b"from bob")
    agree("a.txt", anna, bob)
    until(lambda: anna.there("a.txt").size == len(b"from bob"))
    core.unlink(anna.top(), "a.txt")
    core.release(handle)
    for party in (anna, bob):
        until(lambda party=party: len(party.names()) == 1 and party.names() != ["a.txt"])  # type: ignore[misc]
        assert party.read(*party.names()) == b"from bob"


def test_a_draft_whose_base_a_power_cut_took_is_published(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    base = anna.node.desk.base(anna.there("a.txt"))
    (seen,) = base.context
    taken = replace(base, context=((seen[0], seen[1], seen[2] + 7),))
    leave_draft(anna, "a.txt", b"second", taken)
    anna.kill()
    anna.up()
    until(lambda: bob.there("a.txt").size == len(b"second"))
    all_hold([anna, bob], {"a.txt": b"second"})


def test_a_draft_whose_folder_a_power_cut_took_is_published_in_the_top_folder(
    anna: Party,
) -> None:
    gone = item_id(anna.device, bytes(8))
    leave(anna, DraftNote(1, anna.replica().id, gone, "b.txt", None), b"kept")
    anna.kill()
    anna.up()
    until(lambda: anna.names() == ["b.txt"])
    assert anna.read("b.txt") == b"kept"


def leave_draft(party: Party, name: str, data: bytes, base: Base) -> None:
    kept = DraftBase(base.item, base.context, base.stamp, base.created, base.loser)
    parent = party.node.desk.entry(party.top())
    assert parent is not None
    leave(party, DraftNote(1, party.replica().id, parent.item, name, kept), data)


def leave(party: Party, note: DraftNote, data: bytes) -> None:
    written = party.node.state.drafts.create(note)
    written.write(0, data)
    written.finish(False)
    written.close()


# --- people ---------------------------------------------------------------------------------------


def test_the_winner_is_kept_for_everybody(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    assert settle(anna, loser, "winner") == ["a.txt"]
    all_hold([anna, bob], {"a.txt": OTHER})


def test_the_loser_is_kept_for_everybody(anna: Party, bob: Party) -> None:
    fall_out(anna, bob)
    ino = bob.there("a.txt").ino
    settle(bob, "a.txt", "loser")
    all_hold([anna, bob], {"a.txt": MINE})
    assert bob.there("a.txt").ino == ino


def test_both_are_kept_for_everybody(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    assert settle(bob, "a.txt", "both") == ["a.txt", loser]
    all_hold([anna, bob], {"a.txt": OTHER, loser: MINE})


def test_two_who_keep_both_at_once_make_one_entry(anna: Party, bob: Party) -> None:
    loser = fall_out(anna, bob)
    join = apart(anna, bob)
    settle(anna, "a.txt", "both")
    settle(bob, "a.txt", "both")
    join()
    until(lambda: anna.names() == bob.names() == [loser, "a.txt"])
    assert read(anna, loser) == read(bob, loser) == MINE


def test_two_who_settle_it_otherwise_at_once_are_in_conflict_again(anna: Party, bob: Party) -> None:
    fall_out(anna, bob)
    join = apart(anna, bob)
    settle(anna, "a.txt", "loser")
    settle(bob, "a.txt", "winner")
    join()
    until(lambda: len(anna.names()) == 2 and anna.names() == bob.names())
    assert {read(anna, name) for name in anna.names()} == {MINE, OTHER}


@pytest.mark.parametrize("named", ["docs/a.txt", "loser"])
@pytest.mark.parametrize("taken", [False, True])
def test_a_delete_that_won_is_settled_by_each_of_its_paths(
    anna: Party, bob: Party, named: str, taken: bool
) -> None:
    anna.write("docs/a.txt", b"first")
    agree("docs/a.txt", anna, bob)
    join = apart(anna, bob)
    anna.edit("docs/a.txt", MINE)
    bob.remove("docs/a.txt")
    if taken:
        bob.write("docs/a.txt", b"another")
    join()
    until(lambda: anna.names("docs") == bob.names("docs") and len(bob.names("docs")) == 1 + taken)
    (report,) = until(lambda: bob.service.conflicts(None))
    assert report.path.endswith("/Family/docs/a.txt")
    paths = {"docs/a.txt": report.path, "loser": report.versions[1].path}
    assert bob.service.resolve(paths[named], "loser").kept != []
    until(lambda: bob.service.conflicts(None) == [])
    assert len(bob.names("docs")) == 1 + taken


def test_a_delete_that_won_is_undone_by_keeping_the_loser(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob)
    join = apart(anna, bob)
    anna.edit("a.txt", MINE)
    bob.remove("a.txt")
    join()
    until(lambda: anna.names()[0] != "a.txt" and anna.names() == bob.names())
    (loser,) = anna.names()
    assert read(bob, loser) == MINE
    settle(bob, loser, "loser")
    all_hold([anna, bob], {"a.txt": MINE})


def three_versions(anna: Party, bob: Party, carol: Party) -> list[str]:
    """The names of the two losers: Anna's, and Bob's."""
    anna.write("a.txt", b"first")
    agree("a.txt", anna, bob, carol)
    join = apart(anna, bob, carol)
    for party in (anna, bob, carol):
        party.edit("a.txt", party.name.encode())
    join()
    until(lambda: len(anna.names()) == 3 and anna.names() == bob.names() == carol.names())
    losers = [name for name in anna.names() if name != "a.txt"]
    assert [read(anna, name) for name in ("a.txt", *losers)] == [b"Carol", b"Anna", b"Bob"]
    return losers


def test_of_several_losers_one_is_named(anna: Party, bob: Party, carol: Party) -> None:
    _, by_bob = three_versions(anna, bob, carol)
    name = version_name(bob.there(by_bob).version)
    with pytest.raises(BadArgument, match=f"one of winner, both, [^.]*{name}"):
        settle(carol, "a.txt", "loser")
    with pytest.raises(BadArgument, match=f"one of winner, loser, both, [^.]*{name}"):
        settle(carol, by_bob, "0123456789ab")
    settle(carol, "a.txt", name)
    all_hold([anna, bob, carol], {"a.txt": b"Bob"})


def test_of_several_losers_the_one_at_the_path_is_meant(
    anna: Party, bob: Party, carol: Party
) -> None:
    by_anna, _ = three_versions(anna, bob, carol)
    settle(bob, by_anna, "loser")
    all_hold([anna, bob, carol], {"a.txt": b"Anna"})


@pytest.mark.parametrize("who", [0, 1, 2])
def test_of_several_losers_all_are_kept(anna: Party, bob: Party, carol: Party, who: int) -> None:
    """Also by the one who wrote one of them."""
    by_anna, by_bob = three_versions(anna, bob, carol)
    settle((anna, bob, carol)[who], "a.txt", "both")
    all_hold([anna, bob, carol], {"a.txt": b"Carol", by_anna: b"Anna", by_bob: b"Bob"})


@pytest.mark.parametrize("who", [0, 1, 2])
def test_removing_one_loser_leaves_the_other(
    anna: Party, bob: Party, carol: Party, who: int
) -> None:
    by_anna, by_bob = three_versions(anna, bob, carol)
    (anna, bob, carol)[who].remove(by_anna)
    until(lambda: anna.names() == bob.names() == carol.names() == [by_bob, "a.txt"])
    assert (read(carol, "a.txt"), read(carol, by_bob)) == (b"Carol", b"Bob")


def test_what_is_not_in_conflict_is_not_settled(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"a")
    with pytest.raises(NoConflict, match="one version"):
        settle(anna, "a.txt", "winner")
    with pytest.raises(NoSuchEntry):
        settle(anna, "b.txt", "winner")
    for path in (".", ".."):
        with pytest.raises(NoConflict):
            settle(anna, path, "winner")


def test_a_reader_settles_nothing(anna: Party, bob: Party, party: Callable[[str], Party]) -> None:
    loser = fall_out(anna, bob)
    carol = party("Carol")
    anna.invite(carol, role="reader")
    until(lambda: len(carol.names()) == 2)
    with pytest.raises(ReadOnlySpace):
        settle(carol, "a.txt", "winner")
    with pytest.raises(ReadOnlySpace):
        carol.node.core.open(carol.there(loser).ino, os.O_RDWR)
    assert [space.conflicts for space in carol.service.spaces()] == [1]


# --- heads that are not shown ---------------------------------------------------------------------


@pytest.mark.parametrize("end", ["remove", "edit", "touch"])
def test_versions_of_the_same_bytes_go_together(anna: Party, bob: Party, end: str) -> None:
    """Both renamed the file, so it has two heads of the same bytes, and one of them is shown: the
    other must not come to light when that one is edited or removed."""
    anna.write("a.txt", b"same")
    agree("a.txt", anna, bob)
    join = apart(anna, bob)
    anna.move("a.txt", "anna.txt")
    bob.move("a.txt", "bob.txt")
    join()
    until(lambda: anna.names() == bob.names())
    (name,) = anna.names()
    for party in (anna, bob):
        until(lambda p=party: len(p.node.state.view.heads_of(p.there(name))) == 2)  # type: ignore[misc]
    # Whoever wrote the other version would supersede it anyway.
    winner = anna.there(name).version.device
    who = anna if winner == anna.device else bob
    if end == "remove":
        who.remove(name)
        until(lambda: anna.names() == bob.names() == [])
    elif end == "edit":
        who.edit(name, b"other")
        all_hold([anna, bob], {name: b"other"})
    else:
        who.node.core.chmod(who.there(name).ino, 0o755)
        all_hold([anna, bob], {name: b"same"})


@pytest.mark.parametrize("way", ["remove", "rename", "resolve"])
def test_settling_a_conflict_while_its_winner_is_written_makes_no_copy(
    anna: Party, bob: Party, way: str
) -> None:
    """The writer had seen the bytes that the settling version has, too."""
    loser = fall_out(anna, bob)
    core = anna.node.core
    handle = core.open(anna.there("a.txt").ino, os.O_RDWR)
    core.write(handle, 0, b"BY")
    if way == "remove":
        anna.remove(loser)
    elif way == "rename":
        anna.move(loser, "b.txt")
    else:
        settle(anna, "a.txt", "winner")
    core.release(handle)
    all_hold([anna, bob], {"a.txt": b"BY bob"} | ({"b.txt": MINE} if way == "rename" else {}))
