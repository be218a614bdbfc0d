"""The core behind the real kernel. Fails where CI has no /dev/fuse; skipped elsewhere."""

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sharefs.errors import MountNotPossible
from sharefs.mount import channel, kernel
from sharefs.mount.core import Core
from tests.mount.conftest import Timers
from tests.mount.fake_ports import FakeHouse

WAIT_SECONDS = 20


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        # Not `cwd`: the child would enter the mount before it is a program of its own, while this
        # process, which serves the mount, waits for that with its interpreter locked.
        ["bash", "-ec", f'cd "$0"; {command}', str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails_with(number: int, path: Path, name: bytes) -> None:
    with pytest.raises(OSError, match="Errno") as failure:
        os.close(os.open(os.fsencode(path) + b"/" + name, os.O_RDWR | os.O_CREAT))
    assert failure.value.errno == number


# --- coming and going ---


def test_a_mount_serves_and_goes(core: Core, house: FakeHouse, fuse: None, tmp_path: Path) -> None:
    mount_point = kernel.prepare_mount_point(tmp_path / "spaces")
    mounted = kernel.mount(core, mount_point)
    assert sorted(os.listdir(mount_point)) == ["Family", "Work"]
    assert kernel.mounted_type(mount_point) == "fuse.sharefs"
    mounted.unmount()
    assert kernel.mounted_type(mount_point) is None
    assert list(mount_point.iterdir()) == []
    assert mounted.ended.is_set()


def test_it_can_be_unmounted_while_a_program_has_a_file_open(
    core: Core, house: FakeHouse, fuse: None, tmp_path: Path
) -> None:
    house.add("a", b"1")
    mount_point = kernel.prepare_mount_point(tmp_path / "spaces")
    mounted = kernel.mount(core, mount_point)
    with subprocess.Popen(
        ["bash", "-c", 'exec 3<"$0/Family/a"; echo open; read -r; exec 3<&-', str(mount_point)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"open\n"
        mounted.unmount()
        assert kernel.mounted_type(mount_point) is None
        assert mounted.ended.is_set()
        program.communicate(b"\n", WAIT_SECONDS)


def test_somebody_elses_unmount_is_noticed(core: Core, fuse: None, tmp_path: Path) -> None:
    mounted = kernel.mount(core, kernel.prepare_mount_point(tmp_path / "spaces"))
    subprocess.run(["fusermount3", "-u", str(mounted.mount_point)], check=True)
    assert mounted.ended.wait(WAIT_SECONDS)
    mounted.unmount()


def test_two_mounts_live_in_one_process(
    core: Core, house: FakeHouse, fuse: None, tmp_path: Path
) -> None:
    house.add("a", b"1")
    two = [
        kernel.mount(core, kernel.prepare_mount_point(tmp_path / name)) for name in ("one", "two")
    ]
    assert [(each.mount_point / "Family/a").read_bytes() for each in two] == [b"1", b"1"]
    for each in two:
        each.unmount()


def test_the_main_programs_signals_stay_its_own(mounted: kernel.Mounted) -> None:
    came = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(WAIT_SECONDS)
        assert not mounted.ended.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_stale_mount_of_a_killed_process_is_recovered(fuse: None, tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    mount_point = tmp_path / "spaces"
    script = textwrap.dedent(
        """
        import os, pathlib, signal, sys
        from tests.mount.fake_ports import FakeHouse
        from sharefs.mount import channel, kernel
        from sharefs.mount.core import Core
        house = FakeHouse(pathlib.Path(sys.argv[1]) / "drafts")
        mount_point = kernel.prepare_mount_point(pathlib.Path(sys.argv[1]) / "spaces")
        kernel.mount(Core(house, house, house), mount_point)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(OSError, match="Errno") as failure:
        os.stat(mount_point)
    assert failure.value.errno == errno.ENOTCONN
    assert kernel.prepare_mount_point(mount_point) == mount_point
    assert list(mount_point.iterdir()) == []


def test_a_mount_point_that_can_not_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"")
    for path, words in (
        (tmp_path / "file", "not a folder"),
        (tmp_path / "file" / "below", "no folder"),
        (tmp_path / "full", "not empty"),
        (tmp_path / "missing" / "mount", "no folder"),
        (Path("/proc"), "already a mount"),
    ):
        with pytest.raises(MountNotPossible, match=words):
            kernel.prepare_mount_point(path)
    assert kernel.prepare_mount_point(tmp_path / "new").is_dir()
    assert kernel.prepare_mount_point(tmp_path / "some" / "where", is_default=True).is_dir()


def test_mounting_twice_is_refused(mounted: kernel.Mounted) -> None:
    with pytest.raises(MountNotPossible, match="already a mount"):
        kernel.prepare_mount_point(mounted.mount_point)


def test_a_machine_without_fuse_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fuse: None
) -> None:
    kernel.check_system()
    monkeypatch.setattr(kernel, "DEVICE", tmp_path / "fuse")
    with pytest.raises(MountNotPossible, match="modprobe"):
        kernel.check_system()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MountNotPossible, match="install"):
        kernel.check_system()


# --- real programs ---


def test_trees_are_copied_compared_archived_and_removed(family: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(60):
        folder = source / f"d{number % 6}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(os.urandom(number * 997))
    (source / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (source / "run.sh").chmod(0o755)
    os.utime(source / "run.sh", ns=(10**18, 10**18 + 7))
    run(f"cp -rp {source} tree && diff -r {source} tree", family)
    assert run("tree/run.sh", family) == "it runs\n"
    assert (family / "tree/run.sh").stat().st_mtime_ns == 10**18 + 7
    run("tar -cf - tree | (mkdir ../Work/t && tar -xf - -C ../Work/t)", family)
    run(f"diff -r {source} ../Work/t/tree && mv tree moved && diff -r {source} moved", family)
    run('mv moved ../Work/ && rm -r ../Work/moved ../Work/t && test -z "$(ls)"', family)


def test_a_sparse_archive_of_a_ghost_holds_its_bytes(
    family: Path, house: FakeHouse, tmp_path: Path
) -> None:
    row = house.add("ghost", b"bytes" * 1000)
    house.make_ghost(row.ino).set()
    assert run("du --block-size=1 ghost | cut -f1", family).strip() == "512"
    run(f"tar -S -cf {tmp_path}/a.tar ghost && cp --sparse=always ghost {tmp_path}/copy", family)
    run(f"tar -xf {tmp_path}/a.tar && cmp ghost {tmp_path}/copy", tmp_path)


def test_files_are_changed_in_all_the_usual_ways(family: Path, house: FakeHouse) -> None:
    run("echo one > f; echo two >> f; sed -i s/one/three/ f; truncate -s 8 f; : > empty", family)
    assert (family / "f").read_bytes() == b"three\ntw"
    with open(family / "f", "r+b") as file:
        file.truncate(5)
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 5
    run("touch -d @1000 f; chmod +x f; chmod -x f; chown $(id -u) f", family)
    assert (family / "f").stat().st_mtime == 1000
    house.settle()
    row = house.lookup(house.top(), "f")
    assert row is not None
    assert row.size == 5


def test_a_file_can_be_mapped_and_written_through_the_map(family: Path, house: FakeHouse) -> None:
    # In another process: this one would hold the interpreter while it waits for its own mount.
    script = (
        "import mmap; f = open('m', 'r+b'); m = mmap.mmap(f.fileno(), 0);"
        "m[5000:5003] = b'abc'; m.flush(); m.close(); f.close()"
    )
    run(f'head -c 8192 /dev/zero > m; {sys.executable} -c "{script}"; cp m copy', family)
    house.settle()
    assert (family / "copy").read_bytes()[5000:5003] == b"abc"


def test_links_folders_and_what_is_not_possible(family: Path, mounted: kernel.Mounted) -> None:
    os.symlink("target ä", family / "link")
    assert os.readlink(family / "link") == "target ä"
    (family / "a").write_bytes(b"1")
    (family / "b").write_bytes(b"2")
    for number, attempt in (
        (errno.EPERM, lambda: os.link(family / "a", family / "hard")),
        (errno.EPERM, lambda: os.mkfifo(family / "pipe")),
        (errno.EXDEV, lambda: os.rename(family / "a", mounted.mount_point / "Work" / "a")),
        (errno.EACCES, lambda: os.mkdir(mounted.mount_point / "New")),
        (errno.EACCES, lambda: os.rename(family, mounted.mount_point / "New")),
        (errno.ENOTSUP, lambda: os.setxattr(family / "a", "user.mine", b"1")),
        (errno.ENODATA, lambda: os.getxattr(family / "a", "user.mine")),
        (errno.EEXIST, lambda: os.mkdir(family / "a")),
    ):
        with pytest.raises(OSError, match="Errno") as failure:
            attempt()
        assert failure.value.errno == number
    fails_with(errno.EILSEQ, family, b"\xff")
    fails_with(errno.ENAMETOOLONG, family, "ä".encode() * 128)
    os.mknod(family / "node", stat.S_IFREG | 0o644)
    assert (family / "node").stat().st_size == 0


def test_exchanging_two_names_is_refused_and_destroys_nothing(family: Path) -> None:
    (family / "a").write_bytes(b"1")
    (family / "b").write_bytes(b"2")
    run("mv --exchange a b 2>/dev/null || true; mv -n a b", family)
    script = (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True);"
        "r = c.renameat2(-100, b'a', -100, b'b', {}); print(r, ctypes.get_errno())"
    )
    for flag, number in ((2, errno.EINVAL), (1, errno.EEXIST)):
        said = run(f'{sys.executable} -c "{script.format(flag)}"', family)
        assert said.split() == ["-1", str(number)]
    assert [(family / name).read_bytes() for name in ("a", "b")] == [b"1", b"2"]


def test_state_is_read_as_extended_attributes(family: Path, house: FakeHouse) -> None:
    house.make_ghost(house.add("a", b"1").ino)
    assert os.getxattr(family / "a", "user.sharefs.state") == b"ghost"
    assert "user.sharefs.contributor" in os.listxattr(family / "a")


def test_the_disks_room_is_told(family: Path, house: FakeHouse) -> None:
    house.room = (4096 * 1000, 4096 * 10)
    room = os.statvfs(family)
    assert (room.f_blocks, room.f_bavail, room.f_namemax) == (1000, 10, 255)


# --- others' changes, and waiting ---


def test_a_new_version_is_read_when_opened_although_time_and_size_are_the_same(
    family: Path, house: FakeHouse
) -> None:
    row = house.add("a", b"old" * 50_000)
    assert (family / "a").read_bytes()[:3] == b"old"
    house.change(row.ino, b"new" * 50_000)
    assert (family / "a").read_bytes() == b"new" * 50_000


def test_readers_of_two_versions_do_not_see_each_others_bytes(
    family: Path, house: FakeHouse
) -> None:
    old, new = b"old" * 500_000, b"new" * 500_000
    row = house.add("a", old)
    with open(family / "a", "rb") as before:
        assert before.read(3) == b"old"
        house.change(row.ino, new)
        with open(family / "a", "rb") as after:
            assert after.read(3) == b"new"
            assert before.read() == old[3:]
            assert after.read() == new[3:]
    assert (family / "a").read_bytes() == new


@pytest.mark.parametrize(("old", "new"), [(10, 300_000), (300_000, 10), (300_000, 0), (0, 9)])
def test_a_new_version_is_read_in_its_own_length(
    family: Path, house: FakeHouse, old: int, new: int
) -> None:
    """The kernel believes in a size for a second."""
    row = house.add("a", b"o" * old)
    for number in range(3):
        assert (family / "a").read_bytes() == b"o" * old
        house.change(row.ino, b"n" * new)
        assert (family / "a").read_bytes() == b"n" * new
        house.change(row.ino, b"o" * old)
        if number == 1:
            assert (family / "a").stat().st_size in {old, new}
            os.listdir(family)


@pytest.mark.parametrize(("old", "new"), [(10, 300_000), (300_000, 10), (300_000, 0)])
def test_who_reads_an_older_version_reads_it_to_its_end(
    family: Path, house: FakeHouse, core: Core, old: int, new: int
) -> None:
    row = house.add("a", b"o" * old)
    with open(family / "a", "rb") as before, open(family / "a", "rb") as beside:
        assert before.read(3) == b"ooo"
        house.change(row.ino, b"n" * new)
        for _ in range(2):
            assert (family / "a").read_bytes() == b"n" * new
            assert len(os.listdir(family)) == 1
            with open(family / "a", "rb") as after:
                assert os.fstat(after.fileno()).st_size == (family / "a").stat().st_size == new
                assert os.fstat(before.fileno()).st_ino == (family / "a").stat().st_ino
        assert os.fstat(before.fileno()).st_size == old
        assert before.read() == b"o" * (old - 3)
        house.change(row.ino, b"again")
        assert (family / "a").read_bytes() == b"again"
        assert beside.read() == b"o" * old
        (family / "a").write_bytes(b"written here")
        assert (family / "a").read_bytes() == b"written here"
        beside.seek(0)
        assert beside.read() == b"o" * old
    house.settle()
    assert (family / "a").read_bytes() == b"written here"


def test_who_opened_an_older_version_to_write_writes_upon_that(
    family: Path, house: FakeHouse
) -> None:
    row = house.add("a", b"o" * 9000)
    with open(family / "a", "r+b", buffering=0) as before:
        house.change(row.ino, b"n" * 20_000)
        assert (family / "a").read_bytes() == b"n" * 20_000
        before.write(b"mine")
        assert (family / "a").read_bytes() == b"mine" + b"o" * 8996
        assert os.fstat(before.fileno()).st_size == 9000
    house.settle()
    assert (family / "a").read_bytes() == b"mine" + b"o" * 8996


def test_a_nodes_memory_goes_with_those_who_used_it(
    family: Path, house: FakeHouse, core: Core
) -> None:
    row = house.add("a", b"0")
    for number in range(1, 20):
        with open(family / "a", "rb") as before:
            house.change(row.ino, b"%d" % number)
            assert (family / "a").read_bytes() == b"%d" % number
            assert before.read() == b"%d" % (number - 1)
    (family / "a").unlink()
    deadline = time.monotonic() + WAIT_SECONDS
    while core.nodes._own:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pages_stay_when_nothing_changed(family: Path, house: FakeHouse, core: Core) -> None:
    row = house.add("a", b"x" * 100_000)
    assert row.content is not None
    assert len((family / "a").read_bytes()) == 100_000
    house.offline.add(row.content)
    assert len((family / "a").read_bytes()) == 100_000


@pytest.fixture
def trustful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel believes for an hour what it was told of attributes."""
    monkeypatch.setattr(channel, "TIMEOUT_SECONDS", 3600)


@pytest.mark.usefixtures("trustful")
def test_what_others_change_is_seen_at_once(family: Path, house: FakeHouse) -> None:
    row = house.add("a", b"1")
    for size in range(2, 20):
        # Looked at under its name, or listed with its folder.
        with os.scandir(family) as listed:
            seen = (family / "a").stat() if size % 2 else next(listed).stat()
        assert seen.st_size == size - 1
        house.change(row.ino, bytes(size))
        deadline = time.monotonic() + WAIT_SECONDS
        while (family / "a").stat().st_size != size:
            assert time.monotonic() < deadline


def test_what_others_add_is_seen_at_once(family: Path, house: FakeHouse) -> None:
    assert not (family / "a").exists()
    house.add("a", b"1")
    assert (family / "a").stat().st_size == 1


def test_many_blocked_reads_do_not_stall_the_mount(family: Path, house: FakeHouse) -> None:
    rows = [house.add(f"ghost{number}", b"%d" % number) for number in range(24)]
    arrivals = [house.make_ghost(row.ino) for row in rows]
    programs = [
        subprocess.Popen(["cat", str(family / row.name)], stdout=subprocess.PIPE) for row in rows
    ]
    for number in range(50):
        (family / f"other{number}").write_bytes(b"1")
    assert len(os.listdir(family)) == 74
    for arrival in arrivals:
        arrival.set()
    said = [program.communicate(timeout=WAIT_SECONDS)[0] for program in programs]
    assert said == [b"%d" % number for number in range(24)]


def test_a_read_that_nobody_can_answer_fails_with_the_host_being_down(
    family: Path, house: FakeHouse
) -> None:
    row = house.add("a", b"1")
    assert row.content is not None
    house.offline.add(row.content)
    with pytest.raises(OSError, match="Errno") as failure:
        (family / "a").read_bytes()
    assert failure.value.errno == errno.EHOSTDOWN


# --- editors ---


def test_vim_saves_and_the_file_keeps_its_identity(
    family: Path, house: FakeHouse, timers: Timers
) -> None:
    row = house.add("notes.txt", b"old\n")
    settings = "set backupcopy=no writebackup"
    command = f"vim -u NONE -es -c '{settings}' -c '%s/old/new/' -c wq notes.txt"
    if not Path("/usr/bin/vim").exists():
        pytest.skip("vim is not installed")
    run(command, family)
    timers.fire()
    house.settle()
    assert os.listdir(family) == ["notes.txt"]
    assert (family / "notes.txt").read_bytes() == b"new\n"
    after = house.lookup(house.top(), "notes.txt")
    assert after is not None
    assert after.item == row.item
    assert [name for name, _ in house.published] == ["notes.txt"]


def test_gio_saves_and_the_file_keeps_its_identity(family: Path, house: FakeHouse) -> None:
    if not Path("/usr/bin/gio").exists():
        pytest.skip("gio is not installed")
    row = house.add("notes.txt", b"old\n")
    run("echo new | gio save notes.txt", family)
    house.settle()
    assert os.listdir(family) == ["notes.txt"]
    after = house.lookup(house.top(), "notes.txt")
    assert after is not None
    assert (after.item, house.published) == (row.item, [("notes.txt", b"new\n")])


def test_the_pattern_of_libreoffice_publishes_only_the_document(
    family: Path, house: FakeHouse
) -> None:
    row = house.add("a.odt", b"old")
    run(
        "echo lock > .~lock.a.odt#; exec 3> lu1x.tmp; echo new >&3; mv lu1x.tmp a.odt; exec 3>&-;"
        "rm .~lock.a.odt#",
        family,
    )
    # Only the release of the last descriptor publishes, and the kernel sends it when it likes.
    deadline = time.monotonic() + WAIT_SECONDS
    while not house.published:
        assert time.monotonic() < deadline
    house.settle()
    after = house.lookup(house.top(), "a.odt")
    assert after is not None
    assert (after.item, house.published) == (row.item, [("a.odt", b"new\n")])
