"""What do all scenarios share?"""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.scenarios.group import Group

_GROUPS: list[Group] = []


@pytest.fixture(scope="session", autouse=True)
def _fuse() -> None:
    """Without FUSE there are no scenarios; where all must run, that is a failure."""
    if os.path.exists("/dev/fuse") and shutil.which("fusermount3"):
        return
    if os.environ.get("CI") == "true":
        pytest.fail("there is no /dev/fuse or no fusermount3, so that nothing can be mounted")
    pytest.skip("there is no /dev/fuse or no fusermount3")


def _group() -> Iterator[Group]:
    group = Group()
    _GROUPS.append(group)
    try:
        yield group
    finally:
        group.end()
        mishaps = group.mishaps()
        _GROUPS.remove(group)
        group.remove()
    assert not mishaps, "\n".join(mishaps)


@pytest.fixture
def group() -> Iterator[Group]:
    """A group for one test."""
    yield from _group()


@pytest.fixture(scope="module")
def lasting_group() -> Iterator[Group]:
    """A group for all tests of a file, each of which goes on where the one before has ended."""
    yield from _group()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A scenario that fails shows what its nodes have to say."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for group in _GROUPS:
            report.sections += [(f"log of {name}", tail) for name, tail in group.log_tails()]
