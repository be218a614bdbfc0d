"""Large files that are changed: no more is copied or fetched than need be."""

import os
import threading
from typing import Any

import pytest

from sharefs.mount.core import Core
from sharefs.mount.drafts import DraftFile
from sharefs.mount.files import AWAITED_SIZE_BYTES_MIN
from sharefs.store.written import Written
from tests.mount.core_calls import WAIT_SECONDS, names, read, write
from tests.mount.fake_ports import FakeHouse


def test_a_large_file_that_is_written_again_while_it_is_published_is_not_copied(
    core: Core, house: FakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, waits = bytes(AWAITED_SIZE_BYTES_MIN), threading.Event()
    await_settled = core._overlay.await_settled

    def wait(draft: DraftFile) -> None:
        waits.set()
        await_settled(draft)

    monkeypatch.setattr(core._overlay, "await_settled", wait)
    house.hold()
    write(core, house.top(), "film", data)
    handle = core.open(core.find(house.top(), "film").ino, os.O_RDWR)
    writer = threading.Thread(target=core.write, args=(handle, 0, b"again"))
    writer.start()
    assert waits.wait(WAIT_SECONDS)
    house.resume()
    writer.join(WAIT_SECONDS)
    core.release(handle)
    house.settle()
    assert house.copied == []
    assert names(core, house.top()) == {"film"}
    assert [data for _, data in house.published] == [data, b"again" + data[5:]]


def test_a_large_file_that_can_not_be_published_is_written_again_at_once(
    core: Core, house: FakeHouse
) -> None:
    house.fail_publications = True
    write(core, house.top(), "film", bytes(AWAITED_SIZE_BYTES_MIN))
    house.settle()
    handle = core.open(core.find(house.top(), "film").ino, os.O_RDWR)
    core.write(handle, 0, b"again")
    core.release(handle)
    house.settle()
    assert house.copied == []
    assert read(core, house.top(), "film")[:6] == b"again\0"


def test_of_a_ghost_that_is_cut_off_only_the_rest_is_fetched(
    core: Core, house: FakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(core, house.top(), "log", b"line\n" * 10)
    house.settle()
    asked: list[int] = []
    new_draft = house.new_draft

    def new(*arguments: Any) -> Written:
        asked.append(arguments[4])
        return new_draft(*arguments)

    monkeypatch.setattr(house, "new_draft", new)
    handle = core.open(core.find(house.top(), "log").ino, os.O_RDWR)
    core.truncate_open(handle, 5)
    core.release(handle)
    house.settle()
    assert asked == [5]
    assert read(core, house.top(), "log") == b"line\n"
