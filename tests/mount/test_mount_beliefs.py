"""The kernel is told of what it may believe wrongly, and of nothing else."""

from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from sharefs.mount import beliefs
from sharefs.mount.beliefs import Beliefs

SECONDS = 10


class Clock:
    """The time that `beliefs` is told."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(beliefs, "time", clock)
    return clock


@pytest.fixture
def told() -> "SimpleQueue[int]":
    return SimpleQueue()


@pytest.fixture
def kernel(clock: Clock, told: "SimpleQueue[int]") -> Iterator[Beliefs]:
    kernel = Beliefs(told.put, SECONDS)
    yield kernel
    assert kernel.stop(SECONDS)


def test_only_what_may_be_believed_is_told_of(kernel: Beliefs, told: "SimpleQueue[int]") -> None:
    kernel.note(1, 1)
    kernel.note(2, 77)
    kernel.changed([1, 2, 3])
    assert {told.get(timeout=SECONDS), told.get(timeout=SECONDS)} == {1, 77}
    assert kernel.stop(SECONDS)
    assert told.empty()


def test_what_was_noted_is_told_of_for_as_long_as_it_is_believed(
    kernel: Beliefs, clock: Clock, told: "SimpleQueue[int]"
) -> None:
    kernel.note(1, 1)
    clock.now += SECONDS - 1
    kernel.note(2, 2)
    clock.now += SECONDS - 2
    kernel.note(3, 3)
    kernel.changed([2])
    assert told.get(timeout=SECONDS) == 2
    clock.now += 2 * SECONDS
    kernel.note(4, 4)
    kernel.note(4, 4)
    clock.now += 2 * SECONDS
    kernel.note(5, 5)
    kernel.changed([1, 2, 3, 5])
    assert told.get(timeout=SECONDS) == 5
    assert kernel.stop(SECONDS)
    assert told.empty()


def test_what_is_noted_is_bounded(
    kernel: Beliefs, clock: Clock, told: "SimpleQueue[int]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beliefs, "NOTED_MAX", 2)
    for ino in (1, 2, 3):
        kernel.note(ino, ino)
    kernel.changed([3, 2])
    assert told.get(timeout=SECONDS) == 2
    assert kernel.stop(SECONDS)
    assert told.empty()
