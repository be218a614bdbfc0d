"""Deleted folders come back with what is put into them, as deep as they are."""

from sharefs.records.entry import EntryType, decode_entry
from sharefs.records.ids import ROOT, ItemId, item_id
from sharefs.tree import operations
from sharefs.tree.operations import Bytes, Change
from sharefs.tree.revival import folders_anew
from tests.tree.histories import DEVICES, Replica
from tests.tree.test_tree_scenes import FOLDER, write

ANNA, BOB, _ = DEVICES
NOTHING = Bytes(0, None, 0, False)


def file_in(folder: ItemId) -> Change:
    return operations.make_file(item_id(ANNA, b"new file"), folder, "new", NOTHING, 1000)


def said(changes: list[Change]) -> dict[str, tuple[ItemId, bool]]:
    """By name: where a folder is to be, and whether it is deleted."""
    entries = [decode_entry(change.body) for change in changes]
    assert all(entry.type is EntryType.FOLDER for entry in entries)
    return {entry.name: (entry.parent, entry.deleted) for entry in entries}


def with_deleted_folders(*, outer_is_known: bool = True) -> tuple[Replica, ItemId, ItemId]:
    replica = Replica(ANNA)
    outer = write(ANNA, "outer", type=FOLDER)
    inner = write(ANNA, "inner", outer.item, type=FOLDER)
    gone = write(BOB, "inner", outer.item, type=FOLDER, over=(inner,), deleted=True)
    if outer_is_known:
        replica.receive(outer, write(BOB, "outer", type=FOLDER, over=(outer,), deleted=True))
    replica.receive(inner, gone)
    return replica, outer.item, inner.item


def test_who_writes_into_a_deleted_folder_makes_it_and_those_above_it_anew() -> None:
    replica, outer, inner = with_deleted_folders()
    anew = folders_anew([file_in(inner)], replica.memory)
    assert said(anew) == {"inner": (outer, False), "outer": (ROOT, False)}
    for change in anew:
        (tombstone,) = replica.memory.heads(change.item)
        assert tombstone.coordinate in change.context, "its writer has seen the delete"


def test_folders_that_stand_and_those_that_are_not_here_are_left_alone() -> None:
    replica, *_ = with_deleted_folders()
    docs = write(BOB, "docs", type=FOLDER)
    file = write(BOB, "a")
    gone = write(BOB, "a", over=(file,), deleted=True)
    replica.receive(docs, file, gone)
    for place in (ROOT, docs.item, item_id(BOB, b"not here"), file.item):
        assert folders_anew([file_in(place)], replica.memory) == []


def test_a_delete_needs_no_folder() -> None:
    replica, _, inner = with_deleted_folders()
    file = write(BOB, "a", inner)
    replica.receive(file)
    row = replica.memory.winner(file.item)
    assert row is not None
    assert folders_anew([operations.remove(row, [file])], replica.memory) == []
    assert said(folders_anew([operations.keep(row, [file])], replica.memory)).keys() == {
        "inner",
        "outer",
    }


def test_a_folder_that_is_made_anew_by_the_same_edit_is_made_once() -> None:
    replica, _, inner = with_deleted_folders()
    row = replica.memory.winner(inner)
    assert row is not None
    moved = operations.move(row, replica.memory.heads(inner), ROOT, "moved")
    assert folders_anew([file_in(inner), moved], replica.memory) == []


def test_a_folder_of_a_forgotten_one_comes_back_at_the_top() -> None:
    replica, _, inner = with_deleted_folders(outer_is_known=False)
    assert said(folders_anew([file_in(inner)], replica.memory)) == {"inner": (ROOT, False)}


def test_folders_that_are_in_each_other_come_back_once() -> None:
    replica = Replica(ANNA)
    one, other = write(ANNA, "one", type=FOLDER), write(ANNA, "other", type=FOLDER)
    gone = [
        write(BOB, record_name, into.item, type=FOLDER, over=(record,), deleted=True)
        for record_name, record, into in (("one", one, other), ("other", other, one))
    ]
    replica.receive(one, other, *gone)
    assert said(folders_anew([file_in(one.item)], replica.memory)).keys() == {"one", "other"}
