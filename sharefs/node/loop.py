"""What happens next? One thread, and the queue through which all others ask it for something.

Rejected: asyncio, whose loop would have to share ZeroMQ's edge-triggered descriptors with every
other task, and costs two thirds of the throughput at depth one (FACTS).
"""

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from sharefs.errors import DiskFull, NodeNotRunning, SharefsError

log = logging.getLogger("sharefs.node")

BATCH_COMMANDS_MAX = 512
CALL_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Call:
    """Something to run in the loop, and whom to tell how it went."""

    run: Callable[[], object]
    done: Callable[[Any, SharefsError | None], None] | None


class Batch(Protocol):
    """What surrounds a batch: `node` opens the transaction, and sends after it."""

    def arrive(self, timeout_s: float) -> list[Callable[[], None]]:
        """Wait for the network or a wake-up; what arrived, as calls to make inside the batch."""
        ...

    def transaction(self) -> AbstractContextManager[None]: ...

    def before_commit(self) -> None: ...

    def after_commit(self) -> None: ...

    def after_rollback(self) -> None: ...

    def wake(self) -> None: ...


class Loop:
    """The thread that owns the machines, the writing connection and the sockets."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._calls: deque[_Call] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sharefs-loop", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """From any other thread: end after the batch that runs, and wait for that."""
        self._stopping.set()
        self._batch.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def post(
        self,
        run: Callable[[], Result],
        done: Callable[[Result | None, SharefsError | None], None] | None = None,
    ) -> None:
        """Have it run in the next batch; from any thread.

        `done` is told, after the batch, what it returned, or the SharefsError that it raised;
        without `done`, what it does in memory must stand even if the batch is rolled back.
        """
        self._calls.append(_Call(run, done))
        self._batch.wake()

    def call(self, run: Callable[[], Result]) -> Result:
        """Run it in the loop, and wait until what it did is committed; from any other thread.

        Raises what it raised, DiskFull if the batch could not be committed, NodeNotRunning.
        """
        assert threading.current_thread() is not self._thread, "the loop would wait for itself"
        future: Future[Result] = Future()

        def done(result: Result | None, error: SharefsError | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast(Result, result))

        self.post(run, done)
        if self._stopping.is_set() and not self._thread.is_alive():
            self._abandon()
        return future.result(CALL_SECONDS_MAX)

    def at(self, when: float, run: Callable[[], None]) -> None:
        """Run it at a monotonic time; from the loop only."""
        heapq.heappush(self._timers, (when, next(self._order), run))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        except BaseException as error:
            log.exception("the loop failed, and the node stops")
            self.failure = error
            self._stopping.set()
        finally:
            self._abandon()

    def _abandon(self) -> None:
        error = NodeNotRunning("The node is going down.")
        while self._calls:
            call = self._calls.popleft()
            if call.done is not None:
                call.done(None, error)

    def _step(self) -> None:
        timeout = 0.0 if self._calls else WAIT_SECONDS_MAX
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - time.monotonic()))
        work = [_Call(run, None) for run in self._batch.arrive(timeout)]
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            work.append(_Call(heapq.heappop(self._timers)[2], None))
        count = min(len(self._calls), BATCH_COMMANDS_MAX)
        work += [self._calls.popleft() for _ in range(count)]
        if work:
            self._do(work)

    def _do(self, work: list[_Call]) -> None:
        outcomes: list[tuple[_Call, object, SharefsError | None]] = []
        try:
            with self._batch.transaction():
                for call in work:
                    outcomes += [(call, *_attempt(call))]
                self._batch.before_commit()
        except DiskFull as error:
            log.warning("nothing of a batch was kept: %s", error)
            self._batch.after_rollback()
            self._calls.extendleft(reversed(work[len(outcomes) + 1 :]))
            outcomes = [(call, None, error) for call in work[: len(outcomes) + 1]]
        else:
            self._batch.after_commit()
        for call, result, failure in outcomes:
            if call.done is not None:
                call.done(result, failure)


def _attempt(call: _Call) -> tuple[object, SharefsError | None]:
    """Deliberate errors are raised before anything is written, so they spoil no batch."""
    try:
        return call.run(), None
    except DiskFull:
        raise
    except SharefsError as error:
        if call.done is None:
            raise
        return None, error
