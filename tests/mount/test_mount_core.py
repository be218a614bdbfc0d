"""The filesystem unmounted, over ports in memory."""

import errno
import os
import stat
import threading

import pytest
from msgspec.structs import replace

from sharefs import errors
from sharefs.mount.core import UTIME_NOW, UTIME_OMIT, XATTR_PREFIX, Core
from sharefs.mount.errnos import Refusal, errno_of
from sharefs.mount.names import text_of
from sharefs.records.shown import Shown
from tests.mount.core_calls import WAIT_SECONDS, names, read, write
from tests.mount.fake_ports import FakeHouse

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


def loser(house: FakeHouse) -> Shown:
    row = house.add("a", b"1")
    house.rows[row.ino] = replace(row, loser=True, shown="a (conflict)")
    house.names[house.top()] = {"a (conflict)": row.ino}
    return house.rows[row.ino]


def test_a_conflicts_loser_is_removed_and_renamed_like_any_file(
    core: Core, house: FakeHouse
) -> None:
    assert core.getattr(loser(house).ino).mode & 0o222 == 0o200
    core.rename(house.top(), "a (conflict)", house.top(), "b")
    core.unlink(house.top(), "b")
    assert names(core, house.top()) == set()


def test_an_edited_loser_is_published_under_the_name_that_was_made_for_it(
    core: Core, house: FakeHouse
) -> None:
    row = loser(house)
    handle = core.open(row.ino, os.O_RDWR)
    core.write(handle, 0, b"2")
    core.release(handle)
    house.settle()
    assert house.published == [("a (conflict)", b"2")]
    ((_, _, base),) = house.notes.values()
    assert base is not None
    assert base.loser


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
    ("name", "error"),
    [
        (b"x" * 256, errors.NameTooLong),
        ("ä".encode() * 128, errors.NameTooLong),
        (b"\xff", errors.NameNotText),
    ],
)
def test_names_that_not_everyone_could_show_are_refused(
    name: bytes, error: type[errors.UserError]
) -> None:
    with pytest.raises(error):
        text_of(name)
    assert text_of(b"x" * 255) == "x" * 255


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
