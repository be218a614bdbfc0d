import errno
import os
from pathlib import Path

import pytest

from sharefs.records.ids import ContentId
from sharefs.store.landing import PLACES_MAX, Landing, Place

FILM = ContentId(b"f" * 32)
SONG = ContentId(b"s" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "arrivals"


def begun(landing: Landing, index: int, size: int = 0) -> Place:
    place = landing.begin((FILM, index), size)
    assert place is not None
    return place


def test_what_had_come_is_there_after_a_kill(path: Path) -> None:
    landing = Landing(path)
    place = begun(landing, 7)
    landing.append((FILM, 7), place, b"here ")
    landing.append((FILM, 7), place, memoryview(b"it is"))
    begun(landing, 8)
    after = Landing(path)
    assert after.left() == [(FILM, 7)]
    assert after.size((FILM, 7)) == 10
    assert after.read((FILM, 7)) == b"here it is"


def test_what_goes_on_begins_with_what_is_there(path: Path) -> None:
    landing = Landing(path)
    landing.append((FILM, 7), begun(landing, 7), b"here ")
    again = Landing(path)
    place = begun(again, 7, 4)
    assert again.size((FILM, 7)) == 0, "while it comes, nobody else goes on with it"
    assert again.begin((FILM, 7), 0) is None
    again.append((FILM, 7), place, b"!")
    again.leave((FILM, 7))
    assert again.read((FILM, 7)) == b"here!"
    assert Landing(path).read((FILM, 7)) == b"here!"


def test_what_is_dropped_or_forgotten_is_gone_for_good(path: Path) -> None:
    landing = Landing(path)
    for index in range(3):
        landing.append((FILM, index), begun(landing, index), b"x")
    song = landing.begin((SONG, 0), 0)
    assert song is not None
    landing.append((SONG, 0), song, b"la")
    landing.drop((FILM, 1))
    assert len(Landing(path).left()) == 3
    landing.forget(FILM)
    assert Landing(path).left() == [(SONG, 0)]
    landing.drop((SONG, 0))
    Landing(path)
    assert path.stat().st_size == 0, "it takes no room when there is nothing in it"


def test_who_was_dropped_meanwhile_writes_into_nobodys_place(path: Path) -> None:
    landing = Landing(path)
    stale = begun(landing, 1)
    landing.drop((FILM, 1))
    landing.append((FILM, 2), begun(landing, 2), b"two")
    landing.append((FILM, 1), stale, b"one")
    landing.leave((FILM, 2))
    assert landing.read((FILM, 2)) == b"two"
    assert landing.read((FILM, 1)) == b""


def test_what_nobody_sends_any_more_makes_room(path: Path) -> None:
    landing = Landing(path)
    for index in range(PLACES_MAX):
        landing.append((FILM, index), begun(landing, index), b"x")
    assert landing.begin((FILM, 99), 0) is None, "what is coming is not given up"
    landing.leave((FILM, 3))
    assert landing.begin((FILM, 99), 0) is not None
    assert landing.size((FILM, 3)) == 0


def test_what_the_disk_does_not_take_comes_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Landing(path)
    place = begun(landing, 1)
    landing.append((FILM, 1), place, b"some")
    pwrite = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 16:
            raise OSError(errno.ENOSPC, "full")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    landing.append((FILM, 1), place, b"more")
    landing.append((FILM, 1), place, b"and more")
    assert not Landing(path).left()


@pytest.mark.parametrize("damage", [b"junk" * 50, b"\xff" * 48, b"f" * 32 + b"\1" * 16, b""])
def test_a_damaged_file_is_worth_no_more_than_its_bytes(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    landing = Landing(path)
    for chunk in landing.left():
        assert len(landing.read(chunk)) <= landing.size(chunk)
    landing.append((SONG, 0), landing.begin((SONG, 0), 0) or begun(landing, 0), b"la")


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "no" / "such" / "folder")
    assert landing.begin((FILM, 1), 0) is None
    assert not landing.left()
