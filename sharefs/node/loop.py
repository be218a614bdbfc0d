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

from sharefs.errors import DiskFull, NodeFailed, NodeNotRunning, SharefsError

log = logging.getLogger("sharefs.node")

BATCH_COMMANDS_MAX = 512
CALL_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 1.0

_GOING_DOWN = "The node is going down."

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Call:
    """Something to run in the loop, and whom to tell how it went."""

    run: Callable[[], object]
    done: Callable[[Any, SharefsError | None], None] | None


_Outcome = tuple[_Call, object, SharefsError | None]


class Batch(Protocol):
    """What surrounds a batch: `node` opens the transaction, and sends after it."""

    def arrive(self, timeout_s: float) -> list[Callable[[], None]]:
        """Wait for the network or a wake-up; what arrived, as calls to make inside the batch."""
        ...

    def transaction(self) -> AbstractContextManager[None]: ...

    def before_commit(self) -> None: ...

    def after_commit(self) -> None: ...

    def after_rollback(self) -> None: ...

    def ended(self) -> None:
        """Nothing will run any more: tell those who wait for something else than a call."""
        ...

    def wake(self) -> None: ...


class Loop:
    """The thread that owns the machines, the writing connection and the sockets."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._calls: deque[_Call] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopping = threading.Event()
        self._posting = threading.Lock()
        self._ended = False
        """Nothing is posted any more; with `_posting` held."""
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
        without `done`, what it does in memory must stand even if the batch is rolled back. When
        the loop has ended, `done` is told so at once.
        """
        with self._posting:
            ended = self._ended
            if not ended:
                self._calls.append(_Call(run, done))
        if not ended:
            self._batch.wake()
        elif done is not None:
            done(None, NodeNotRunning(_GOING_DOWN))

    def ask(self, run: Callable[[], Result]) -> Result:
        """As `call`, for what writes nothing: what it found stands, although the disk had no room
        for something else of its batch."""
        found: list[Result] = []

        def look() -> Result:
            found.append(run())
            return found[0]

        try:
            return self.call(look)
        except DiskFull:
            if not found:
                raise
            return found[0]

    def call(self, run: Callable[[], Result]) -> Result:
        """Run it in the loop, and wait until what it did is committed; from any other thread.

        Raises what it raised, DiskFull if the batch could not be committed, NodeNotRunning, and
        NodeFailed if the loop is too busy.
        """
        assert threading.current_thread() is not self._thread, "the loop would wait for itself"
        future: Future[Result] = Future()

        def done(result: Result | None, error: SharefsError | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast(Result, result))

        self.post(run, done)
        try:
            return future.result(CALL_SECONDS_MAX)
        except TimeoutError as error:
            raise NodeFailed("The node does not answer in time: its log may tell why.") from error

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
            self._batch.ended()

    def _abandon(self) -> None:
        with self._posting:
            self._ended = True
        while self._calls:
            call = self._calls.popleft()
            try:
                if call.done is not None:
                    call.done(None, NodeNotRunning(_GOING_DOWN))
            except Exception:
                log.exception("somebody could not be told that the node goes down")

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
        told = 0
        try:
            for call, result, failure in self._run_batch(work):
                told += 1
                if call.done is not None:
                    call.done(result, failure)
        except BaseException:
            # The loop ends by this, and then tells those who still wait.
            self._calls.extendleft(reversed(work[told:]))
            raise

    def _run_batch(self, work: list[_Call]) -> list[_Outcome]:
        """What to tell whom. What could not be tried any more is taken out of `work`."""
        outcomes: list[_Outcome] = []
        try:
            with self._batch.transaction():
                for call in work:
                    outcomes += [(call, *_attempt(call))]
                self._batch.before_commit()
        except DiskFull as error:
            log.warning("nothing of a batch was kept: %s", error)
            self._batch.after_rollback()
            tried = len(outcomes) + 1
            self._calls.extendleft(reversed(work[tried:]))
            del work[tried:]
            return [(call, None, error) for call in work]
        self._batch.after_commit()
        return outcomes


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
