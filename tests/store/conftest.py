from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.store_parties import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk of a home, whose node runs."""
    disk = Disk(tmp_path)
    yield disk
    disk.store.close()


@pytest.fixture
def drafts_folder(tmp_path: Path) -> None:
    """Made, as a home does it."""
    (tmp_path / "drafts").mkdir()
