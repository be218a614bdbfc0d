"""The filesystem unmounted, over ports in memory."""

import errno
import os
import random
import stat
import threading

import pytest
from msgspec.structs import replace

from sharefs import errors
from sharefs.mount.core import UTIME_NOW, UTIME_OMIT, XATTR_PREFIX, Core
from sharefs.mount.errnos import Refusal, errno_of
from sharefs.mount.names import is_temporary, split_path
from tests.mount.conftest import Timers
from tests.mount.fake_ports import FakeHouse

WAIT_SECONDS = 20


def write(core: Core, folder: int, name: str, data: bytes) -> None:
    handle = core.create(folder, name, 0o644, os.O_WRONLY | os.O_TRUNC)
    core.write(handle, 0, data)
    core.release(handle)


def read(core: Core, folder: int, name: str) -> bytes:
    handle = core.open_at(folder, name, os.O_RDONLY)
    try:
        return core.read(handle, 0, 1 << 20)
    finally:
        core.release(handle)


def names(core: Core, folder: int) -> set[str]:
    return {name for name, _ in core.children(folder)}


# --- looking ------------------------------------------------------------------------------------


def test_the_root_lists_the_spaces(core: Core, house: FakeHouse) -> None:
    assert names(core, 1) == {"Family", "Work"}
    assert core.lookup(1, "Work").ino == house.top(2)
    assert stat.S_ISDIR(core.getattr(1).mode)


def test_an_entry_of_the_view_is_looked_up_listed_and_read(core: Core, house: FakeHouse) -> None:
    row = house.add("a.txt", b"hello", executable=True)
    assert core.lookup(house.top(), "a.txt") == core.getattr(row.ino)
    assert core.getattr(row.ino).mode == stat.S_IFREG | 0o755
    assert dict(core.children(house.top()))["a.txt"].size == 5
    assert read(core, house.top(), "a.txt") == b"hello"
    with pytest.raises(errors.NoSuchEntry):
        core.lookup(house.top(), "b.txt")


@pytest.mark.parametrize(
    ("size", "local", "blocks"), [(0, 0, 0), (1000, 0, 1), (1000, 1000, 2), (5000, 512, 1)]
)
def test_blocks_tell_what_is_local_and_a_file_with_bytes_has_one(
    core: Core, house: FakeHouse, size: int, local: int, blocks: int
) -> None:
    row = house.add("a", b"x" * size, local=local)
    assert core.getattr(row.ino).blocks == blocks


def test_a_space_that_is_not_writable_shows_it_and_refuses(core: Core, house: FakeHouse) -> None:
    row = house.add("a", b"1")
    house.set_writable(1, False)
    assert core.getattr(row.ino).mode & 0o222 == 0
    assert core.getattr(house.top()).mode & 0o222 == 0
    assert read(core, house.top(), "a") == b"1"
    for attempt in (
        lambda: core.open(row.ino, os.O_WRONLY),
        lambda: core.create(house.top(), "b", 0o644),
        lambda: core.mkdir(house.top(), "b"),
        lambda: core.unlink(house.top(), "a"),
        lambda: core.rename(house.top(), "a", house.top(), "b"),
        lambda: core.chmod(row.ino, 0o755),
        lambda: core.check_access(row.ino, os.W_OK),
    ):
        with pytest.raises(errors.ReadOnlySpace):
            attempt()


def test_a_conflicts_loser_is_read_only_but_removable(core: Core, house: FakeHouse) -> None:
    row = house.add("a (conflict)", b"1")
    house.rows[row.ino] = replace(row, loser=True)
    assert core.getattr(row.ino).mode & 0o222 == 0
    with pytest.raises(errors.NotAllowed):
        core.open(row.ino, os.O_RDWR)
    with pytest.raises(errors.NotAllowed):
        core.rename(house.top(), "a (conflict)", house.top(), "b")
    core.unlink(house.top(), "a (conflict)")
    assert names(core, house.top()) == set()


def test_nothing_is_made_or_removed_in_the_root(core: Core) -> None:
    for attempt in (
        lambda: core.create(1, "x", 0o644),
        lambda: core.mkdir(1, "x"),
        lambda: core.rmdir(1, "Family"),
        lambda: core.rename(1, "Family", 1, "x"),
        lambda: core.symlink(1, "x", "y"),
    ):
        with pytest.raises(errors.NotAllowed):
            attempt()


# --- writing --------------------------------------------------------------------------------------


def test_a_file_grows_in_sight_and_is_published_once_at_the_last_close(
    core: Core, house: FakeHouse
) -> None:
    first = core.create(house.top(), "new", 0o755)
    second = core.open(first.ino, os.O_RDWR)
    core.write(first, 0, b"abc")
    assert core.lookup(house.top(), "new").size == 3
    core.write(second, 3, b"def")
    assert core.read(first, 0, 10) == b"abcdef"
    core.release(first)
    house.settle()
    assert house.published == []
    core.release(second)
    house.settle()
    assert house.published == [("new", b"abcdef")]
    row = house.lookup(house.top(), "new")
    assert row is not None
    assert row.ino == first.ino
    assert row.executable
    assert core.find(house.top(), "new") is row


def test_opening_for_writing_without_writing_publishes_nothing(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"1")
    core.release(core.open(row.ino, os.O_RDWR))
    house.settle()
    assert house.published == []


def test_the_first_write_copies_what_was_opened_and_not_before(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"12345")
    handle = core.open(row.ino, os.O_RDWR)
    assert house.notes == {}
    core.write(handle, 1, b"x")
    assert core.read(handle, 0, 9) == b"1x345"
    core.release(handle)
    house.settle()
    assert house.published == [("a", b"1x345")]
    after = house.lookup(house.top(), "a")
    assert after is not None
    assert (after.item, after.ino) == (row.item, row.ino)


def test_truncating_to_nothing_fetches_nothing(core: Core, house: FakeHouse) -> None:
    row = house.add("a", b"12345")
    assert row.content is not None
    house.offline.add(row.content)
    write(core, house.top(), "a", b"new")
    core.truncate(row.ino, 0)
    house.settle()
    assert [data for _, data in house.published] == [b"new", b""]


def test_a_write_that_needs_bytes_nobody_has_fails_and_leaves_nothing(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"12345")
    assert row.content is not None
    house.offline.add(row.content)
    handle = core.open(row.ino, os.O_RDWR)
    with pytest.raises(errors.NoHolderOnline):
        core.write(handle, 5, b"6")
    core.release(handle)
    house.settle()
    assert house.published == []
    assert list(house.drafts_folder.iterdir()) == []


def test_readers_follow_a_writer_on_the_same_file(core: Core, house: FakeHouse) -> None:
    row = house.add("a", b"old")
    reader = core.open(row.ino, os.O_RDONLY)
    assert core.read(reader, 0, 9) == b"old"
    writer = core.open(row.ino, os.O_WRONLY)
    core.write(writer, 0, b"new")
    assert core.read(reader, 0, 9) == b"new"
    core.release(writer)
    house.settle()
    assert core.read(reader, 0, 9) == b"new"
    core.release(reader)


def test_a_reader_keeps_the_version_it_opened_when_another_member_changes_it(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"old")
    reader = core.open(row.ino, os.O_RDONLY)
    house.change(row.ino, b"newer")
    assert core.read(reader, 0, 9) == b"old"
    assert read(core, house.top(), "a") == b"newer"
    core.release(reader)


def test_a_time_that_a_program_set_is_published(core: Core, house: FakeHouse) -> None:
    handle = core.create(house.top(), "copy", 0o644)
    core.write(handle, 0, b"1")
    core.utimens(handle.ino, (1_000, 5))
    core.release(handle)
    house.settle()
    assert core.lookup(house.top(), "copy").mtime_ns == 1_000 * 10**9 + 5


def test_a_time_set_while_the_publication_is_under_way_is_not_lost(
    core: Core, house: FakeHouse
) -> None:
    house.hold()
    write(core, house.top(), "copy", b"1")
    ino = core.find(house.top(), "copy").ino
    setting = threading.Thread(target=core.utimens, args=(ino, (1_000, 5)))
    setting.start()
    house.resume()
    setting.join(WAIT_SECONDS)
    assert core.getattr(ino).mtime_ns == 1_000 * 10**9 + 5


def test_times_that_are_not_to_change_are_left(core: Core, house: FakeHouse) -> None:
    row = house.add("a", b"1")
    core.utimens(row.ino, (0, UTIME_OMIT))
    assert core.getattr(row.ino).mtime_ns == row.mtime_ns
    core.utimens(row.ino, (0, UTIME_NOW))
    assert core.getattr(row.ino).mtime_ns > row.mtime_ns
    core.chmod(row.ino, 0o755)
    assert core.getattr(row.ino).mode & 0o100


def test_attributes_set_while_a_file_is_open_do_not_make_a_conflict(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"1")
    handle = core.open(row.ino, os.O_RDWR)
    core.chmod(row.ino, 0o755)
    core.rename(house.top(), "a", house.top(), "b")
    core.write(handle, 0, b"2")
    core.rename(house.top(), "b", house.top(), "c")
    core.release(handle)
    house.settle()
    assert names(core, house.top()) == {"c"}
    assert read(core, house.top(), "c") == b"2"


def test_another_members_change_while_a_file_is_open_makes_a_conflict(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"1")
    handle = core.open(row.ino, os.O_RDWR)
    house.change(row.ino, b"theirs")
    core.write(handle, 0, b"m")
    core.release(handle)
    house.settle()
    assert names(core, house.top()) == {"a", "a (conflict)"}
    assert read(core, house.top(), "a") == b"m"


def test_a_file_removed_elsewhere_while_it_is_written_comes_back(
    core: Core, house: FakeHouse
) -> None:
    row = house.add("a", b"1")
    handle = core.open(row.ino, os.O_RDWR)
    house.remove(row.ino)
    core.write(handle, 1, b"2")
    core.release(handle)
    house.settle()
    assert read(core, house.top(), "a") == b"12"


def test_an_unlinked_file_lives_until_it_is_closed_and_is_never_published(
    core: Core, house: FakeHouse
) -> None:
    handle = core.create(house.top(), "a", 0o644)
    core.write(handle, 0, b"1")
    core.unlink(house.top(), "a")
    assert names(core, house.top()) == set()
    core.write(handle, 1, b"2")
    assert core.read(handle, 0, 9) == b"12"
    assert core.getattr_open(handle).nlink == 0
    core.release(handle)
    row = house.add("b", b"1")
    handle = core.open(row.ino, os.O_RDWR)
    core.unlink(house.top(), "b")
    core.write(handle, 1, b"2")
    core.release(handle)
    house.settle()
    assert house.published == []
    assert list(house.drafts_folder.iterdir()) == []


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
        "4913",
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


@pytest.mark.parametrize("name", ["report.odt", "lunch.txt", ".hidden", "a.swpx", "49130", "#1"])
def test_an_ordinary_name_is_published(name: str) -> None:
    assert not is_temporary(name)


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


# --- the rest ---------------------------------------------------------------------------------


def test_state_is_readable_as_attributes(core: Core, house: FakeHouse) -> None:
    row = house.add("a", b"1")
    assert set(core.listxattr(row.ino)) == {XATTR_PREFIX + "state", XATTR_PREFIX + "contributor"}
    assert core.getxattr(row.ino, XATTR_PREFIX + "state") == b"local"
    for name, number in (
        ("user.sharefs.none", errno.ENODATA),
        ("user.other", errno.ENODATA),
        ("security.capability", errno.ENODATA),
        ("system.posix_acl_access", errno.ENOTSUP),
    ):
        with pytest.raises(Refusal) as refusal:
            core.getxattr(row.ino, name)
        assert errno_of(refusal.value) == number


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/Family/" + b"x" * 256, errors.NameTooLong),
        (b"/Family/" + "ä".encode() * 128, errors.NameTooLong),
        (b"/Family/\xff", errors.NameNotText),
    ],
)
def test_names_that_not_everyone_could_show_are_refused(
    path: bytes, error: type[errors.UserError]
) -> None:
    with pytest.raises(error):
        split_path(path)
    assert split_path(b"/Family/" + b"x" * 255) == ["Family", "x" * 255]
    assert split_path(b"/") == []


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NoHolderOnline(), errno.EHOSTDOWN),
        (errors.DiskFull(), errno.ENOSPC),
        (errors.NotAllowed(), errno.EACCES),
        (errors.ReadOnlySpace(), errno.EROFS),
        (errors.CrossSpaceMove(), errno.EXDEV),
        (errors.TransferInterrupted(), errno.EINTR),
        (errors.LocalDamage(), errno.EIO),
        (errors.NameTooLong(), errno.ENAMETOOLONG),
        (errors.NameNotText(), errno.EILSEQ),
        (OSError(errno.ENOSPC, ""), errno.ENOSPC),
    ],
)
def test_each_failure_has_its_errno(error: Exception, number: int) -> None:
    assert errno_of(error) == number


def test_what_nobody_foresaw_is_an_input_output_error_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert errno_of(ZeroDivisionError()) == errno.EIO
    assert errno_of(FileNotFoundError(errno.ENOENT, "")) == errno.EIO
    assert len(caplog.records) == 2
