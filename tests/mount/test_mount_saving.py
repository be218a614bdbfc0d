"""The filesystem unmounted, over ports in memory."""

import os
import random
import stat
import threading

import pytest

from sharefs import errors
from sharefs.mount.core import Core
from sharefs.mount.errnos import Refusal
from sharefs.mount.names import is_temporary
from tests.mount.conftest import Timers
from tests.mount.core_calls import WAIT_SECONDS, names, read, write
from tests.mount.fake_ports import FakeHouse

# --- while a publication is under way ---------------------------------------------------------


def test_a_published_name_is_never_missing(core: Core, house: FakeHouse) -> None:
    missing = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if "a" not in names(core, house.top()):
                missing.append("listing")
            try:
                core.lookup(house.top(), "a")
            except errors.NoSuchEntry:
                missing.append("lookup")

    write(core, house.top(), "a", b"0")
    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(200):
        write(core, house.top(), "a", b"%d" % number)
    house.settle()
    done.set()
    watcher.join(WAIT_SECONDS)
    assert missing == []


@pytest.mark.parametrize("published_before_close", [True, False])
def test_writing_again_while_it_is_published_loses_neither(
    core: Core, house: FakeHouse, published_before_close: bool
) -> None:
    house.hold()
    write(core, house.top(), "a", b"first")
    ino = core.find(house.top(), "a").ino
    handle = core.open(ino, os.O_RDWR)
    core.write(handle, 5, b"+second")
    assert core.getattr(ino).size == 12
    if published_before_close:
        house.resume()
        house.settle()
    core.release(handle)
    house.resume()
    house.settle()
    assert [data for _, data in house.published] == [b"first", b"first+second"]
    assert names(core, house.top()) == {"a"}
    assert list(house.drafts_folder.iterdir()) == []


def test_a_writer_that_opened_during_publication_and_writes_after_it_is_no_conflict(
    core: Core, house: FakeHouse
) -> None:
    house.hold()
    write(core, house.top(), "a", b"first")
    handle = core.open(core.find(house.top(), "a").ino, os.O_RDWR)
    house.resume()
    house.settle()
    core.write(handle, 5, b"!")
    core.release(handle)
    house.settle()
    assert names(core, house.top()) == {"a"}
    assert read(core, house.top(), "a") == b"first!"


@pytest.mark.parametrize("operation", ["rename", "unlink", "replace"])
def test_names_change_while_a_publication_is_under_way(
    core: Core, house: FakeHouse, operation: str
) -> None:
    house.hold()
    write(core, house.top(), "a", b"1")
    top = house.top()

    def change() -> None:
        if operation == "rename":
            core.rename(top, "a", top, "b")
        elif operation == "unlink":
            core.unlink(top, "a")
        else:
            write(core, top, ".goutputstream-1", b"2")
            core.rename(top, ".goutputstream-1", top, "a")

    changing = threading.Thread(target=change)
    changing.start()
    house.resume()
    changing.join(WAIT_SECONDS)
    house.settle()
    expected = {"rename": {"b": b"1"}, "unlink": {}, "replace": {"a": b"2"}}[operation]
    assert {name: read(core, top, name) for name in names(core, top)} == expected


def test_a_draft_that_can_not_be_published_stays_and_is_tried_again(
    core: Core, house: FakeHouse
) -> None:
    house.fail_publications = True
    write(core, house.top(), "a", b"precious")
    house.settle()
    assert house.lookup(house.top(), "a") is None
    assert read(core, house.top(), "a") == b"precious"
    assert len(list(house.drafts_folder.iterdir())) == 1
    house.fail_publications = False
    core.retry()
    house.settle()
    assert house.published == [("a", b"precious")]
    assert read(core, house.top(), "a") == b"precious"


def test_what_grew_from_a_draft_that_failed_is_published(core: Core, house: FakeHouse) -> None:
    house.hold()
    house.fail_publications = True
    write(core, house.top(), "a", b"first")
    handle = core.open(core.find(house.top(), "a").ino, os.O_RDWR)
    core.write(handle, 5, b"+second")
    house.resume()
    house.settle()
    house.fail_publications = False
    core.release(handle)
    house.settle()
    assert house.published == [("a", b"first+second")]
    assert list(house.drafts_folder.iterdir()) == []


def act(core: Core, top: int, names_lock: threading.Lock, draw: random.Random) -> None:
    """One thing that a program does to one of a few names."""
    few = ["a", "b", "a~", ".goutputstream-1"]
    name, other = draw.choice(few), draw.choice(few)
    match draw.choice(["write", "write", "read", "touch", "rename", "unlink"]):
        case "write":
            # The kernel, too, lets one program at a time change the names in a folder.
            with names_lock:
                handle = core.create(top, name, 0o644, os.O_RDWR | draw.choice([0, os.O_TRUNC]))
            core.write(handle, draw.randrange(3), b"bytes")
            core.release(handle)
        case "read":
            read(core, top, name)
        case "touch":
            core.utimens(core.find(top, name).ino, (1_000, 0))
        case "rename":
            with names_lock:
                core.rename(top, name, top, other)
        case _:
            with names_lock:
                core.unlink(top, name)


def test_many_programs_on_few_names_leave_nothing_behind(house: FakeHouse) -> None:
    core, top, names_lock = Core(house, house, house, Timers()), house.top(), threading.Lock()
    unforeseen: list[BaseException] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(150):
            try:
                act(core, top, names_lock, draw)
            except errors.NoSuchEntry:
                continue
            except BaseException as error:
                unforeseen.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    house.settle()
    core.close()
    assert unforeseen == []
    for name in sorted(names(core, top)):
        core.unlink(top, name)
    house.settle()
    assert house.children(top) == []
    assert list(house.drafts_folder.iterdir()) == []


# --- names ------------------------------------------------------------------------------------


def test_folders_and_links(core: Core, house: FakeHouse) -> None:
    made = core.mkdir(house.top(), "d")
    write(core, made.ino, "x", b"1")
    core.symlink(made.ino, "l", "x")
    assert core.readlink(core.find(made.ino, "l").ino) == "x"
    with pytest.raises(errors.FolderNotEmpty):
        core.rmdir(house.top(), "d")
    with pytest.raises(errors.EntryExists):
        core.mkdir(house.top(), "d")
    house.settle()
    core.rename(house.top(), "d", house.top(), "e")
    assert names(core, made.ino) == {"x", "l"}
    with pytest.raises(errors.IsAFolder):
        core.unlink(house.top(), "e")
    with pytest.raises(errors.NotAFolder):
        core.rmdir(made.ino, "x")
    core.unlink(made.ino, "x")
    core.unlink(made.ino, "l")
    core.rmdir(house.top(), "e")
    assert names(core, house.top()) == set()
    with pytest.raises(Refusal):
        core.mknod(house.top(), "pipe", stat.S_IFIFO | 0o644)


def test_a_folder_with_a_private_file_is_not_empty(core: Core, house: FakeHouse) -> None:
    made = core.mkdir(house.top(), "d")
    write(core, made.ino, ".~lock.a#", b"me")
    with pytest.raises(errors.FolderNotEmpty):
        core.rmdir(house.top(), "d")


def test_a_move_between_spaces_is_refused(core: Core, house: FakeHouse) -> None:
    house.add("a", b"1")
    handle = core.create(house.top(), "b", 0o644)
    for name in ("a", "b"):
        with pytest.raises(errors.CrossSpaceMove):
            core.rename(house.top(), name, house.top(2), name)
    core.release(handle)


def test_rename_can_be_told_not_to_replace(core: Core, house: FakeHouse) -> None:
    house.add("a", b"1")
    house.add("b", b"2")
    with pytest.raises(errors.EntryExists):
        core.rename(house.top(), "a", house.top(), "b", may_replace=False)
    assert names(core, house.top()) == {"a", "b"}


@pytest.mark.parametrize(
    "name",
    [
        ".goutputstream-AB12CD",
        "lu123abc.tmp",
        ".~lock.report.odt#",
        ".report.odt.swp",
        "report.odt~",
        ".#notes",
        "#notes#",
        "film.part",
        "film.crdownload",
        ".nfs0001",
        ".fuse_hidden0001",
    ],
)
def test_a_temporary_name_stays_here_until_it_becomes_a_real_one(
    core: Core, house: FakeHouse, name: str
) -> None:
    assert is_temporary(name)
    write(core, house.top(), name, b"draft")
    house.settle()
    assert house.published == []
    assert names(core, house.top()) == {name}
    assert read(core, house.top(), name) == b"draft"
    core.rename(house.top(), name, house.top(), "real")
    house.settle()
    assert house.published == [("real", b"draft")]
    assert names(core, house.top()) == {"real"}


@pytest.mark.parametrize(
    "name", ["report.odt", "lunch.txt", ".hidden", "a.swpx", "49130", "4913", "#1"]
)
def test_an_ordinary_name_is_published(name: str) -> None:
    assert not is_temporary(name)


def test_an_editors_probe_of_a_folder_is_seen_by_nobody_else(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    write(core, house.top(), "4913", b"")
    core.unlink(house.top(), "4913")
    timers.fire()
    house.settle()
    assert house.published == []
    assert names(core, house.top()) == set()


@pytest.mark.parametrize("end", ["later", "closing", "renamed"])
def test_a_file_that_is_called_like_an_editors_probe_is_shared(
    core: Core, house: FakeHouse, timers: Timers, end: str
) -> None:
    write(core, house.top(), "4913", b"")
    house.settle()
    assert house.published == [], "it may be a probe"
    if end == "later":
        timers.fire()
    elif end == "closing":
        core.close()
    else:
        core.rename(house.top(), "4913", house.top(), "empty")
    house.settle()
    assert house.published == [("empty" if end == "renamed" else "4913", b"")]
    timers.fire()
    write(core, house.top(), "4913", b"five thousand photos")
    house.settle()
    assert house.published[-1] == ("4913", b"five thousand photos"), "and what is written, at once"


def test_a_private_link_stays_here(core: Core, house: FakeHouse) -> None:
    core.symlink(house.top(), ".#notes", "anna@host.1")
    assert house.children(house.top()) == []
    assert core.readlink(core.find(house.top(), ".#notes").ino) == "anna@host.1"
    core.unlink(house.top(), ".#notes")
    assert names(core, house.top()) == set()


# --- how programs save ------------------------------------------------------------------------


def test_saving_over_a_file_keeps_its_identity(core: Core, house: FakeHouse) -> None:
    """GIO and LibreOffice: write another file, rename it over the first."""
    row = house.add("report.odt", b"old")
    write(core, house.top(), ".goutputstream-1", b"new")
    core.rename(house.top(), ".goutputstream-1", house.top(), "report.odt")
    assert names(core, house.top()) == {"report.odt"}
    house.settle()
    after = house.lookup(house.top(), "report.odt")
    assert after is not None
    assert after.item == row.item
    assert names(core, house.top()) == {"report.odt"}
    assert read(core, house.top(), "report.odt") == b"new"


def test_a_file_that_is_still_written_when_it_is_renamed_is_published_when_closed(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"old")
    handle = core.create(house.top(), "lu1.tmp", 0o644)
    core.write(handle, 0, b"ne")
    core.rename(house.top(), "lu1.tmp", house.top(), "a")
    core.write(handle, 2, b"w")
    assert read(core, house.top(), "a") == b"new"
    core.release(handle)
    house.settle()
    after = house.lookup(house.top(), "a")
    assert after is not None
    assert (after.item, read(core, house.top(), "a")) == (row.item, b"new")


@pytest.mark.parametrize("keeps_backup", [True, False])
def test_vim_sets_the_file_aside_and_writes_it_anew(
    core: Core, house: FakeHouse, timers: Timers, keeps_backup: bool
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    write(core, top, "4913", b"")
    core.unlink(top, "4913")
    core.rename(top, "f", top, "f~")
    assert names(core, top) == {"f~"}
    assert house.lookup(top, "f") is row, "others still see it"
    handle = core.create(top, "f", 0o644, os.O_WRONLY | os.O_CREAT)
    core.write(handle, 0, b"new")
    core.release(handle)
    house.settle()
    assert read(core, top, "f~") == b"old"
    if not keeps_backup:
        core.unlink(top, "f~")
    timers.fire()
    house.settle()
    after = house.lookup(top, "f")
    assert after is not None
    assert after.item == row.item
    assert house.published == [("f", b"new")]
    assert names(core, top) == ({"f", "f~"} if keeps_backup else {"f"})
    assert len(house.children(top)) == 1


def test_a_file_set_aside_for_good_is_renamed_for_all(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    timers.fire()
    assert names(core, top) == {"f~"}
    after = house.lookup(top, "f~")
    assert after is not None
    assert after.item == row.item
    write(core, top, "f", b"new")
    house.settle()
    assert len(house.children(top)) == 2


def test_a_file_set_aside_and_put_back_is_as_before(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    core.rename(top, "f~", top, "f")
    timers.fire()
    assert house.lookup(top, "f") is row
    assert core.find(top, "f") is row


def test_a_file_set_aside_and_removed_is_removed_for_all(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    core.unlink(top, "f~")
    timers.fire()
    assert house.children(top) == []
    assert names(core, top) == set()


def test_a_published_file_moved_to_the_name_that_was_set_aside_takes_its_item(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    house.add("g", b"new")
    core.rename(top, "f", top, "f~")
    core.rename(top, "g", top, "f")
    timers.fire()
    after = house.lookup(top, "f")
    assert after is not None
    assert after.item == row.item
    assert names(core, top) == {"f", "f~"}
    assert (read(core, top, "f"), read(core, top, "f~")) == (b"new", b"old")


def test_a_backup_can_be_brought_back_after_its_item_went_on(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    write(core, top, "f", b"new")
    house.settle()
    core.rename(top, "f~", top, "f")
    timers.fire()
    house.settle()
    after = house.lookup(top, "f")
    assert after is not None
    assert (after.item, read(core, top, "f")) == (row.item, b"old")
    assert names(core, top) == {"f"}


def test_a_backup_that_is_written_to_becomes_a_file_of_its_own(
    core: Core, house: FakeHouse
) -> None:
    top = house.top()
    house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    write(core, top, "f", b"new")
    handle = core.open(core.find(top, "f~").ino, os.O_RDWR)
    core.write(handle, 3, b"er")
    core.release(handle)
    house.settle()
    assert read(core, top, "f~") == b"older"
    assert house.published == [("f", b"new")]


def test_renames_that_wait_are_published_when_the_mount_goes(core: Core, house: FakeHouse) -> None:
    house.add("f", b"old")
    core.rename(house.top(), "f", house.top(), "f~")
    core.close()
    assert house.lookup(house.top(), "f~") is not None
