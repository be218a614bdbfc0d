"""Many files are synced at once where that can be relied upon, and one by one elsewhere."""

import os
from pathlib import Path

import pytest

from sharefs.errors import DiskFull, SharefsError
from sharefs.store import syncing
from sharefs.store.adopted import Adopted
from sharefs.store.syncing import FILES_MIN, Syncing
from sharefs.store.written import Written
from tests.store.store_parties import Disk, content_of


class FakeSystem:
    """What the system is asked; `answer` is what it says to `syncfs`."""

    def __init__(self, kind: int = 0xEF53) -> None:
        self.calls: list[str] = []
        self.answer = 0
        self.kind = kind

    def fstatfs(self, descriptor: int, status: list[int]) -> int:
        status[0] = self.kind
        return 0

    def syncfs(self, descriptor: int) -> int:
        self.calls.append("all")
        return self.answer

    def fdatasync(self, descriptor: int) -> None:
        self.calls.append("one")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSystem:
    system = FakeSystem()
    monkeypatch.setattr(syncing, "_system", system)
    monkeypatch.setattr(os, "fdatasync", system.fdatasync)
    tell_unwritten(monkeypatch, tmp_path, 0)
    return system


def tell_unwritten(monkeypatch: pytest.MonkeyPatch, folder: Path, size_bytes: int) -> None:
    file = folder / "meminfo"
    file.write_text(f"MemTotal:  9 kB\nDirty:  {size_bytes // 1024} kB\nWriteback:  0 kB\n")
    monkeypatch.setattr(syncing, "_MEMORY_FILE", file)


def adopt(disk: Disk, data: list[bytes]) -> list[Adopted | SharefsError]:
    drafts = [Written(disk.draft(each)) for each in data]
    for draft in drafts:
        draft.open()
    try:
        return disk.contents.adopt(drafts)
    finally:
        for draft in drafts:
            draft.close()


def numbered(count: int) -> list[bytes]:
    return [b"number %d" % number for number in range(count)]


def renew(disk: Disk) -> Disk:
    """After the system was replaced."""
    disk.restart()
    return disk


def test_many_drafts_are_synced_at_once_and_few_one_by_one(disk: Disk, system: FakeSystem) -> None:
    renew(disk)
    system.calls.clear()
    adopt(disk, numbered(FILES_MIN))
    assert system.calls == ["all"]
    adopt(disk, numbered(FILES_MIN - 1))
    assert system.calls[1:] == ["one"] * (FILES_MIN - 1)


def test_no_draft_stands_as_a_content_before_it_is_synced(
    disk: Disk, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew(disk)
    system.calls.clear()
    link = os.link

    def linked(source: Path, target: Path) -> None:
        link(source, target)
        system.calls.append("link")

    monkeypatch.setattr(os, "link", linked)
    adopted = adopt(disk, numbered(FILES_MIN))
    assert system.calls == ["all"] + ["link"] * FILES_MIN
    with disk.store.transaction():
        disk.contents.register(*(each for each in adopted if isinstance(each, Adopted)))
    disk.store.make_durable()
    for data, each in zip(numbered(FILES_MIN), adopted, strict=True):
        assert isinstance(each, Adopted)
        assert each.content is not None
        assert disk.contents.open(each.content, 0).pread(0, 99) == data


def test_after_one_failure_each_is_synced_by_itself(disk: Disk, system: FakeSystem) -> None:
    renew(disk)
    system.calls.clear()
    system.answer = -1
    adopt(disk, numbered(FILES_MIN))
    assert system.calls == ["all"] + ["one"] * FILES_MIN
    system.answer = 0
    system.calls.clear()
    adopt(disk, numbered(FILES_MIN))
    assert system.calls == ["one"] * FILES_MIN


def test_what_fails_by_itself_spoils_nothing_else(
    disk: Disk, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew(disk)
    system.answer = -1
    count = 0

    def full_at_second(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "full")

    monkeypatch.setattr(os, "fdatasync", full_at_second)
    adopted = adopt(disk, numbered(FILES_MIN))
    assert [type(each) for each in adopted] == [Adopted, DiskFull] + [Adopted] * (FILES_MIN - 2)


def test_while_much_is_to_be_written_nobody_waits_for_that(
    disk: Disk, system: FakeSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    renew(disk)
    system.calls.clear()
    tell_unwritten(monkeypatch, tmp_path, syncing.UNWRITTEN_SIZE_BYTES_MAX + 1024)
    adopt(disk, numbered(FILES_MIN))
    assert system.calls == ["one"] * FILES_MIN


def test_a_disk_of_an_unknown_kind_or_another_disk_is_not_relied_upon(
    system: FakeSystem, tmp_path: Path
) -> None:
    device = tmp_path.stat().st_dev
    assert Syncing(tmp_path).sync_all(FILES_MIN, device)
    assert not Syncing(tmp_path).sync_all(FILES_MIN, device + 1)
    system.kind = 0x65735546  # FUSE, which need not do anything at all.
    assert not Syncing(tmp_path).sync_all(FILES_MIN, device)


def test_this_machines_kind_of_disk_is_read_right(tmp_path: Path) -> None:
    device = os.stat("/proc").st_dev
    assert not Syncing(Path("/proc")).sync_all(FILES_MIN, device)
    descriptor = os.open("/dev/shm", os.O_RDONLY)
    try:
        assert syncing.DISKS[syncing._type_of(descriptor)] == "tmpfs"
    finally:
        os.close(descriptor)


def test_many_fetched_contents_are_synced_at_once(disk: Disk, system: FakeSystem) -> None:
    renew(disk)
    for data in numbered(FILES_MIN):
        disk.begin([data]).write_chunk(0, data)
    system.calls.clear()
    disk.save()
    assert system.calls == ["all"]
    disk.restart()
    assert all(disk.contents.open(content_of([data])[0], 0).complete for data in numbered(3))


def test_bits_that_come_while_all_is_synced_wait_for_the_next_time(
    disk: Disk, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew(disk)
    chunks = [[b"first %d" % number, b"second"] for number in range(FILES_MIN)]
    locals = [disk.begin(each) for each in chunks]
    for local, each in zip(locals, chunks, strict=True):
        local.write_chunk(0, each[0])

    def syncfs(descriptor: int) -> int:
        locals[0].write_chunk(1, b"second")
        locals[1].discard()
        return 0

    monkeypatch.setattr(system, "syncfs", syncfs)
    synced = dict(disk.contents.sync(disk.contents.unsaved()))
    assert synced[locals[0].content] == b"\x01"
    assert locals[0].synced == b"\x01"
    assert locals[1].synced == b"\x00"
    assert locals[2].synced == b"\x01"
    assert locals[0].content in disk.contents.unsaved()
