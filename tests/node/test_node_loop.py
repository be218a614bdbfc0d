"""What does the loop do with what it is asked, when all goes well and when it does not?"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sharefs.errors import DiskFull, NodeFailed, NodeNotRunning, NoSuchEntry, SharefsError
from sharefs.node import loop as loop_module
from sharefs.node.loop import Loop

PATIENCE_S_MAX = 10.0


class Disk:
    """A batch's surroundings: a transaction that remembers what was kept, and can be full."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.kept: list[str] = []
        self.said: list[str] = []
        self.arrivals: list[Callable[[], None]] = []
        self.full_commits = 0
        self.ended_by: list[str] = []
        self._woken = threading.Event()

    def arrive(self, timeout_s: float) -> list[Callable[[], None]]:
        self._woken.wait(timeout_s)
        self._woken.clear()
        arrived, self.arrivals = self.arrivals, []
        return arrived

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.written = []
        yield
        if self.full_commits:
            self.full_commits -= 1
            raise DiskFull("The disk is full.")
        self.kept += self.written

    def before_commit(self) -> None:
        self.written.append("sealed")

    def after_commit(self) -> None:
        self.said.append("committed")

    def after_rollback(self) -> None:
        self.said.append("rolled back")

    def ended(self) -> None:
        self.ended_by.append(threading.current_thread().name)

    def wake(self) -> None:
        self._woken.set()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def loop(disk: Disk) -> Iterator[Loop]:
    loop = Loop(disk)
    yield loop
    if loop._thread.is_alive():
        loop.stop()


class Told:
    """Remembers what `done` was told, and lets a test wait for it."""

    def __init__(self, count: int = 1) -> None:
        self.answers: list[tuple[object, SharefsError | None]] = []
        self._awaited = threading.Semaphore(0)
        self._count = count

    def __call__(self, result: object, error: SharefsError | None) -> None:
        self.answers.append((result, error))
        self._awaited.release()

    def wait(self) -> list[tuple[object, SharefsError | None]]:
        for _ in range(self._count):
            assert self._awaited.acquire(timeout=PATIENCE_S_MAX)
        return self.answers


def write(disk: Disk, word: str, error: Exception | None = None) -> Callable[[], str]:
    def run() -> str:
        disk.written.append(word)
        if error is not None:
            raise error
        return word

    return run


def test_a_call_returns_when_its_batch_is_committed(loop: Loop, disk: Disk) -> None:
    loop.start()
    assert loop.call(write(disk, "a")) == "a"
    assert disk.kept == ["a", "sealed"]
    assert disk.said == ["committed"]


def test_calls_run_in_the_order_in_which_they_were_posted(loop: Loop, disk: Disk) -> None:
    count = 2 * loop_module.BATCH_COMMANDS_MAX + 10
    told = Told(count)
    for number in range(count):
        loop.post(write(disk, str(number)), told)
    loop.start()
    assert [result for result, _ in told.wait()] == [str(number) for number in range(count)]
    assert disk.kept.count("sealed") == 3, "a batch has a limit"


def test_a_deliberate_error_spoils_no_batch(loop: Loop, disk: Disk) -> None:
    told = Told(2)
    loop.post(write(disk, "a", NoSuchEntry("gone")), told)
    loop.post(write(disk, "b"), told)
    loop.start()
    (_, error), (result, nothing) = told.wait()
    assert isinstance(error, NoSuchEntry)
    assert (result, nothing) == ("b", None)
    assert disk.said == ["committed"]


def test_a_full_disk_at_commit_is_told_to_all_of_the_batch(loop: Loop, disk: Disk) -> None:
    disk.full_commits = 1
    told = Told(2)
    loop.post(write(disk, "a"), told)
    loop.post(write(disk, "b"), told)
    loop.start()
    assert [type(error) for _, error in told.wait()] == [DiskFull, DiskFull]
    assert disk.kept == []
    assert disk.said == ["rolled back"]
    assert loop.call(write(disk, "c")) == "c", "the loop goes on"


def test_what_was_only_asked_is_answered_although_the_disk_is_full(loop: Loop, disk: Disk) -> None:
    disk.full_commits = 1
    loop.start()
    assert loop.ask(lambda: "all well") == "all well"
    assert disk.said == ["rolled back"]


def test_what_can_not_be_found_on_a_full_disk_is_told(loop: Loop, disk: Disk) -> None:
    loop.start()
    with pytest.raises(DiskFull):
        loop.ask(write(disk, "a", DiskFull("full")))


def test_what_comes_after_a_call_that_met_a_full_disk_runs_in_the_next_batch(
    loop: Loop, disk: Disk
) -> None:
    first, last = Told(2), Told(2)
    loop.post(write(disk, "a"), first)
    loop.post(write(disk, "b", DiskFull("full")), first)
    loop.post(write(disk, "c"), last)
    loop.post(write(disk, "d"), last)
    loop.start()
    assert [type(error) for _, error in first.wait()] == [DiskFull, DiskFull]
    assert [result for result, _ in last.wait()] == ["c", "d"]
    assert disk.kept == ["c", "d", "sealed"]
    assert disk.said == ["rolled back", "committed"]


def test_arrivals_of_a_batch_that_met_a_full_disk_are_not_lost(loop: Loop, disk: Disk) -> None:
    told = Told()
    full = [DiskFull("full")]

    def first() -> None:
        if full:
            raise full.pop()

    disk.arrivals = [first, lambda: loop.post(write(disk, "second came"), told)]
    disk.wake()
    loop.start()
    told.wait()
    assert disk.said[0] == "rolled back"
    assert "second came" in disk.kept


def test_timers_fire_in_order_and_never_early(loop: Loop, disk: Disk) -> None:
    fired: list[tuple[str, float]] = []
    told = Told()
    began = time.monotonic()

    def set_timers() -> None:
        def late() -> None:
            fired.append(("late", time.monotonic()))
            loop.post(lambda: None, told)

        loop.at(began + 0.06, late)
        loop.at(began + 0.03, lambda: fired.append(("early", time.monotonic())))

    loop.post(set_timers)
    loop.start()
    told.wait()
    assert [name for name, _ in fired] == ["early", "late"]
    assert fired[0][1] >= began + 0.03
    assert fired[1][1] >= began + 0.06


def test_stopping_tells_those_who_wait(loop: Loop, disk: Disk) -> None:
    told = Told()

    def stop() -> None:
        loop.stop()
        loop.post(write(disk, "too late"), told)

    loop.post(stop)
    loop.start()
    ((_, error),) = told.wait()
    assert isinstance(error, NodeNotRunning)
    loop.stop()
    assert disk.ended_by == ["sharefs-loop"]


def test_what_is_asked_after_the_end_is_refused_at_once(loop: Loop, disk: Disk) -> None:
    loop.start()
    loop.stop()
    told = Told()
    loop.post(write(disk, "a"), told)
    assert isinstance(told.answers[0][1], NodeNotRunning)
    with pytest.raises(NodeNotRunning):
        loop.call(write(disk, "b"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["call", "done", "after_commit"])
def test_a_bug_ends_the_loop_and_leaves_nobody_waiting(
    loop: Loop, disk: Disk, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = Told(), Told()

    def fail(*_: object) -> None:
        raise AssertionError("a bug")

    loop.post(write(disk, "a"), before)
    if where == "after_commit":
        disk.after_commit = fail  # type: ignore[method-assign]
    loop.post(fail if where == "call" else write(disk, "b"), fail if where == "done" else None)
    loop.post(write(disk, "c"), after)
    loop.start()
    ((_, error),) = after.wait()
    assert isinstance(error, NodeNotRunning)
    before.wait()
    loop.stop()
    assert isinstance(loop.failure, AssertionError)
    assert disk.ended_by
    assert "the loop failed" in caplog.text


def test_a_call_that_is_not_answered_in_time_says_so(
    loop: Loop, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "CALL_SECONDS_MAX", 0.05)
    asked, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        asked.set()
        go_on.wait(PATIENCE_S_MAX)

    loop.post(busy)
    loop.start()
    assert asked.wait(PATIENCE_S_MAX)
    with pytest.raises(NodeFailed):
        loop.call(write(disk, "a"))
    go_on.set()
