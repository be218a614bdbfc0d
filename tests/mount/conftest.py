import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sharefs.errors import MountNotPossible
from sharefs.mount import kernel
from sharefs.mount.core import Core
from tests.mount.fake_ports import FakeHouse


class Timers:
    """Remembers what is to be called later; the test decides when that is."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def fire(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[FakeHouse]:
    folder = tmp_path / "drafts"
    folder.mkdir()
    house = FakeHouse(folder, ("Family", "Work"))
    yield house
    house.close()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def core(house: FakeHouse, timers: Timers) -> Core:
    return Core(house, house, house, timers)


@pytest.fixture
def fuse() -> None:
    """Real mounts: on the build machine they must be possible, elsewhere they may not be."""
    try:
        kernel.check_system()
    except MountNotPossible as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def mount_point(tmp_path: Path) -> Path:
    return tmp_path / "mount"


@pytest.fixture
def mounted(core: Core, mount_point: Path, fuse: None) -> Iterator[kernel.Mounted]:
    mounted = kernel.mount(core, kernel.prepare_mount_point(mount_point))
    yield mounted
    mounted.unmount()


@pytest.fixture
def family(mounted: kernel.Mounted) -> Path:
    return mounted.mount_point / "Family"
