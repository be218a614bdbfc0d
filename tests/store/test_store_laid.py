"""What is fetched, and is almost like a content that is here, lies over that; nothing is copied."""

import os
import random

import pytest

from sharefs.records.content import KIB, MIB
from sharefs.records.ids import ContentId
from sharefs.store.layer import Layer
from sharefs.store.local import LocalContent
from tests.store.store_parties import Disk
from tests.store.test_store_elsewhere import damage, lacking, take_all

SIZE_BYTES = 12 * MIB + 12_345


@pytest.fixture(scope="module")
def film() -> bytes:
    return random.Random(4).randbytes(SIZE_BYTES)


def changed(film: bytes, at: int) -> bytes:
    return film[:at] + b"new" + film[at + 3 :]


def come(local: LocalContent, data: bytes) -> None:
    """What is missing, from others."""
    assert local.manifest is not None
    offsets = local.manifest.offsets()
    for index in local.missing(0, local.size):
        local.write_chunk(index, data[offsets[index] : offsets[index + 1]])


def room(disk: Disk, content: ContentId) -> int:
    return disk.file(content).stat().st_blocks * 512


def same(local: LocalContent, data: bytes) -> bool:
    return local.complete and local.pread(0, local.size) == data


AFTER = {
    "changed at its head": lambda film: changed(film, 0),
    "changed inside": lambda film: changed(film, 3 * MIB),
    "changed in two places": lambda film: changed(changed(film, MIB + 5), 5 * MIB),
    "changed at its end": lambda film: changed(film, SIZE_BYTES - 3),
    "longer": lambda film: film + bytes(700 * KIB),
    "shorter": lambda film: film[: 11 * MIB + 1],
}


@pytest.mark.parametrize("how", AFTER.values(), ids=AFTER.keys())
def test_what_is_changed_in_place_is_not_copied(disk: Disk, film: bytes, how: object) -> None:
    assert callable(how)
    data = how(film)
    disk.publish(film)
    local = lacking(disk, data)
    assert take_all(disk, local.content) == []
    missing = local.missing(0, local.size)
    assert 0 < len(missing) <= 5
    disk.save()
    come(local, data)
    assert same(local, data)
    disk.save()
    for restart in (disk.restart, disk.kill):
        restart()
        local = disk.contents.open(local.content, 0)
        assert same(local, data)
    assert room(disk, local.content) < 3 * MIB


def test_every_chunk_of_it_is_what_it_should_be(disk: Disk, film: bytes) -> None:
    disk.publish(film)
    local = lacking(disk, changed(film, 3 * MIB))
    take_all(disk, local.content)
    come(local, changed(film, 3 * MIB))
    local.verify(0, local.size)


def test_a_kill_before_it_is_saved_costs_nothing(disk: Disk, film: bytes) -> None:
    data = changed(film, 3 * MIB)
    disk.publish(film)
    local = lacking(disk, data)
    take_all(disk, local.content)
    content = local.content
    del local
    disk.kill()
    local = disk.contents.open(content, 0)
    for run in disk.contents.elsewhere(content):
        disk.contents.take(content, run)
    assert len(local.missing(0, local.size)) <= 2
    come(local, data)
    assert same(local, data)


def test_a_power_cut_that_takes_the_layer_leaves_nothing_that_is_wrong(
    disk: Disk, film: bytes
) -> None:
    disk.publish(film)
    local = lacking(disk, changed(film, 3 * MIB))
    take_all(disk, local.content)
    disk.save()
    content = local.content
    del local
    disk.file(content).write_bytes(bytes(SIZE_BYTES))
    for attribute in os.listxattr(disk.file(content)):
        os.removexattr(disk.file(content), attribute)
    disk.kill()
    local = disk.contents.open(content, 0)
    assert local.local_bytes == 0


def test_what_is_under_it_goes_when_it_has_taken_that(disk: Disk, film: bytes) -> None:
    """Also while not all of it is here yet."""
    data = changed(film, 3 * MIB)
    old = disk.publish(film)
    local = lacking(disk, data)
    take_all(disk, local.content)
    missing = local.missing(0, local.size)
    disk.save()
    assert disk.contents.is_leaned_on(old)
    local.stand_alone()
    disk.save()
    with disk.store.transaction():
        assert disk.contents.free(old) == SIZE_BYTES
    assert local.missing(0, local.size) == missing
    content = local.content
    del local
    disk.restart()
    local = disk.contents.open(content, 0)
    assert local.missing(0, local.size) == missing
    come(local, data)
    assert same(local, data)
    local.verify(0, local.size)


def test_it_lies_over_a_content_that_stands_alone(disk: Disk, film: bytes) -> None:
    first = disk.publish(film)
    second, third = changed(film, 0), changed(changed(film, 0), 3 * MIB)
    for data in (second, third):
        local = lacking(disk, data)
        take_all(disk, local.content)
        come(local, data)
        disk.save()
        assert local.base is disk.contents.open(first, 0)
        assert same(local, data)
    assert room(disk, local.content) < 2 * MIB


def test_a_partial_content_has_nothing_laid_over_it(disk: Disk, film: bytes) -> None:
    old = lacking(disk, film)
    come(old, film)
    disk.save()
    damage(disk, old.content, SIZE_BYTES - 5)
    with pytest.raises(Exception, match="disk gave back"):
        old.verify(0, SIZE_BYTES)
    local = lacking(disk, changed(film, 3 * MIB))
    assert take_all(disk, local.content)
    assert local.layer is None


def test_damage_below_is_noticed_and_fetched(disk: Disk, film: bytes) -> None:
    data = changed(film, 3 * MIB)
    old = disk.publish(film)
    local = lacking(disk, data)
    take_all(disk, local.content)
    come(local, data)
    damage(disk, old, 5 * MIB)
    with pytest.raises(Exception, match="disk gave back"):
        local.verify(0, local.size)
    assert len(local.missing(0, local.size)) == 1
    come(local, data)
    assert not local.missing(0, local.size)
    assert local.pread(0, local.size) == data


def test_a_disk_without_attributes_gets_a_copy(
    disk: Disk, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(Layer, "_note", refuse)
    data = changed(film, 3 * MIB)
    disk.publish(film)
    local = lacking(disk, data)
    assert take_all(disk, local.content)
    come(local, data)
    assert same(local, data)
    disk.save()
    monkeypatch.undo()
    disk.restart()
    assert same(disk.contents.open(local.content, 0), data)


def test_what_has_little_in_common_is_copied(disk: Disk, film: bytes) -> None:
    data = film[: SIZE_BYTES // 2] + random.Random(5).randbytes(SIZE_BYTES // 2)
    disk.publish(film)
    local = lacking(disk, data)
    assert take_all(disk, local.content)
    assert local.layer is None
    come(local, data)
    assert same(local, data)


def test_what_lies_over_a_content_whose_manifest_is_gone_is_not_here(
    disk: Disk, film: bytes
) -> None:
    old = disk.publish(film)
    new = lacking(disk, changed(film, 3 * MIB)).content
    take_all(disk, new)
    come(disk.contents.open(new, 0), changed(film, 3 * MIB))
    disk.save()
    assert disk.contents.open(new, 0).base is not None
    with disk.store.transaction():
        disk.store.connection.execute("DELETE FROM manifest WHERE content = ?", (old,))
    disk.restart()
    local = disk.contents.open(new, 0)
    assert not local.complete
    assert local.missing(6 * MIB, 1) != []
