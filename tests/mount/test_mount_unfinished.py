"""Half of a file is never taken for the whole, whenever the node is killed."""

import os
from itertools import islice

import pytest

from sharefs.mount.core import Core
from sharefs.mount.names import is_temporary, unfinished_names
from sharefs.store.written import is_finished
from tests.mount.fake_ports import FakeHouse


@pytest.mark.parametrize("name", ["plan.txt", "...", "x" * 255, "ü" * 127, "archive.tar.gz"])
def test_names_for_what_was_half_written_are_names_that_stay_here(name: str) -> None:
    first, second = islice(unfinished_names(name, 1_790_000_000.5), 2)
    assert first != second
    for made in (first, second):
        assert is_temporary(made)
        assert len(made.encode()) <= 255
        assert made.startswith(name[:50])
    assert first.endswith(" (unfinished, 2026-09-21 14.13).part")


@pytest.mark.parametrize("name", ["a", "a~"])
def test_a_draft_is_whole_when_nobody_writes_it_any_more(
    core: Core, house: FakeHouse, name: str
) -> None:
    """Half of it is never published after a kill, and what was closed is."""
    house.fail_publications = True

    def whole() -> bool:
        (path,) = house.drafts_folder.iterdir()
        return is_finished(path)

    one = core.create(house.top(), name, 0o644, os.O_RDWR)
    two = core.create(house.top(), name, 0o644, os.O_RDWR)
    core.write(one, 0, b"half")
    core.release(one)
    assert not whole()
    core.release(two)
    house.settle()
    assert whole()
    again = core.create(house.top(), name, 0o644, os.O_RDWR)
    assert whole()
    core.write(again, 4, b"more")
    assert not whole()
    core.release(again)
    house.settle()
    assert whole()
    core.truncate(core.find(house.top(), name).ino, 2)
    house.settle()
    assert whole()
