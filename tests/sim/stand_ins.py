"""What do a node's loop, mesh and pool become when a simulation turns them?

The loop is the shipped one without its thread: it takes a turn whenever it is woken, or a timer of
its is due. The mesh hands frames to the simulated network. The pool does its work a moment later,
each piece when it likes. When the process is killed, none of them does anything any more.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sharefs.errors import HomeNotUsable, LocalProtocolError, NodeNotRunning, SharefsError
from sharefs.mesh.events import Arrived, Channel, MeshEvent
from sharefs.node.loop import Batch, Loop
from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address
from tests.sim.agenda import Agenda
from tests.sim.network import Network
from tests.sim.surroundings import Killed

POOL_SECONDS_MAX = (0.05, 0.05, 0.05, 1.0)
"""One of these for each piece of work."""

Result = TypeVar("Result")


class Process:
    """Whether what belongs to a process still runs, and whose turn it is."""

    def __init__(self, agenda: Agenda, guarded: Callable[[Callable[[], None]], None]) -> None:
        self.agenda = agenda
        self.alive = True
        self.guarded = guarded
        """Calls under the device's clock, and deals with the end of the process."""

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Unless it is killed before."""

        def do() -> None:
            if self.alive:
                self.guarded(call)

        self.agenda.at(when, do)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Unless it is killed before."""
        self.at(self.agenda.now + seconds, call)


class TurnedLoop(Loop):
    """The loop, turned by the agenda."""

    def __init__(self, batch: Batch, process: Process) -> None:
        super().__init__(batch)
        self._process = process
        self._waking = False
        self._next_timer: float | None = None
        self._turning = False

    def start(self) -> None:
        """It has no thread."""

    def stop(self) -> None:
        if not self.stopping:
            self._stopping.set()
            self._abandon()
            self._batch.ended()

    def wake(self) -> None:
        """There is something to do."""
        if not self._waking and not self._turning:
            self._waking = True
            self._process.later(0.0, self.turn)

    def turn(self) -> None:
        """Do all there is to do now."""
        if self.stopping:
            return
        self._waking, self._turning = False, True
        try:
            self._step()
            while self._calls:
                self._step()
        except (HomeNotUsable, LocalProtocolError) as error:
            if not isinstance(error, HomeNotUsable) and not isinstance(
                error.__cause__, HomeNotUsable
            ):
                raise
            # As with its thread: the loop fails, and the node goes down.
            raise Killed(str(error)) from error
        finally:
            self._turning = False
        self._set_alarm()

    def _set_alarm(self) -> None:
        due = self._timers[0][0] if self._timers else None
        if due is None or (self._next_timer is not None and self._next_timer <= due):
            return
        self._next_timer = due
        self._process.at(due, self._alarm)

    def _alarm(self) -> None:
        self._next_timer = None
        self.turn()

    def call(self, run: Callable[[], Result]) -> Result:
        """Another thread asks, and waits: it is the simulation that has its turn."""
        if not self._process.alive:
            # It waited when the process was killed, and is on its way out of there.
            raise Killed
        outcome: list[tuple[Any, SharefsError | None]] = []
        self.post(run, lambda result, error: outcome.append((result, error)))
        if not outcome:
            self.turn()
        if not outcome:
            raise NodeNotRunning("The loop does not turn any more.")
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]


class TurnedPool:
    """Stands in for the pool of threads."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(self, work: Callable[[], None]) -> None:
        chance = self._process.agenda.chance
        self._process.later(chance.random() * chance.choice(POOL_SECONDS_MAX), work)

    def shutdown(self, wait: bool = True, cancel_futures: bool = False) -> None:
        """What is not done is not done."""


class SimulatedMesh:
    """Stands in for `Mesh`: one device's end of the simulated network, for one process."""

    def __init__(self, network: Network, key: PublicKey, wake: Callable[[], None]) -> None:
        self._network = network
        self._key = key
        self._wake = wake
        self._events: list[MeshEvent] = []

    def happened(self, event: MeshEvent) -> None:
        """From the network."""
        self._events.append(event)
        self._wake()

    def wait(self, timeout_s: float) -> list[MeshEvent]:
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        self._wake()

    def linked(self, key: PublicKey) -> bool:
        return self._network.is_up(self._key, key)

    def send(
        self, key: PublicKey, channel: Channel, frames: tuple[bytes | memoryview, ...]
    ) -> bool:
        return self._network.send(self._key, key, int(channel), tuple(map(bytes, frames)))

    def listen(self, host: str, port: int, bulk_port: int) -> Address:
        return Address("10.0.0.1", 4747, 4748)

    def dial(self, key: PublicKey, address: Address) -> None:
        """The network decides who is linked."""

    def flush(self, seconds: float) -> None:
        """What was sent is on its way."""

    def close(self) -> None:
        """The network is told by whoever ends the process."""


def event_of(peer: PublicKey, channel: int, frames: tuple[bytes, ...]) -> MeshEvent:
    payload = memoryview(frames[1]) if len(frames) > 1 else None
    return Arrived(peer, Channel(channel), frames[0], payload)
