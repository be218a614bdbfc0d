import errno
import os
from pathlib import Path

import pytest

from sharefs.errors import DiskFull
from sharefs.store.reserve import RESERVE_SIZE_BYTES, ROOM_SIZE_BYTES_MIN, Reserve


def test_a_reserve_takes_room_and_gives_it_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    assert reserve.fill()
    assert reserve.fill(), "it is there"
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_SIZE_BYTES
    assert reserve.give_up()
    assert list(tmp_path.iterdir()) == []
    assert not reserve.give_up()


def test_a_reserve_is_not_taken_where_there_is_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs(tmp_path)
    little = os.statvfs_result(
        (disk.f_bsize, 1, 1, ROOM_SIZE_BYTES_MIN - 1, ROOM_SIZE_BYTES_MIN - 1, *disk[5:])
    )
    monkeypatch.setattr(os, "statvfs", lambda _: little)
    assert not Reserve(tmp_path / "reserve").fill()
    assert list(tmp_path.iterdir()) == []


def test_half_a_reserve_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskFull):
        Reserve(tmp_path / "reserve").fill()
    assert list(tmp_path.iterdir()) == []
