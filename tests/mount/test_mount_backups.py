"""What becomes of a file that an editor has set aside and left there?"""

from sharefs.mount.core import Core
from tests.mount.conftest import Timers
from tests.mount.core_calls import read, write
from tests.mount.fake_ports import FakeHouse


def test_a_backup_that_stays_is_a_file_that_a_restarted_node_finds(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    house.add("f", b"old")
    core.rename(top, "f", top, "f~")
    write(core, top, "f", b"new")
    house.settle()
    assert not list(house.drafts_folder.iterdir()), "most are removed at once"
    timers.fire()
    (draft,) = house.drafts_folder.iterdir()
    assert (draft.read_bytes(), house.notes[draft]) == (b"old", (top, "f~", None))
    assert read(core, top, "f~") == b"old"


def test_a_backup_whose_bytes_are_not_to_be_had_is_tried_again(
    core: Core, house: FakeHouse, timers: Timers
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    assert row.content is not None
    core.rename(top, "f", top, "f~")
    write(core, top, "f", b"new")
    house.settle()
    house.offline.add(row.content)
    timers.fire()
    assert not list(house.drafts_folder.iterdir())
    house.offline.clear()
    timers.fire()
    (draft,) = house.drafts_folder.iterdir()
    assert draft.read_bytes() == b"old"


def test_a_backup_that_is_no_file_of_its_own_yet_keeps_its_bytes(
    core: Core, house: FakeHouse
) -> None:
    top = house.top()
    row = house.add("f", b"old")
    assert row.content is not None
    core.rename(top, "f", top, "f~")
    write(core, top, "f", b"new")
    house.settle()
    assert core.uses(row.content)
