"""What happened that programs on this machine may want to know at once?

Whoever listens has a queue of his own, of bounded length: who is slow loses the oldest events and
is told how many, and holds up nobody.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sharefs.errors import NodeFailed, SharefsError
from sharefs.node.replica import Replica
from sharefs.records.ids import ContentId, DeviceId, ItemId, SpaceId

LISTENERS_MAX = 32
EVENTS_WAITING_MAX = 256


@dataclass(frozen=True, slots=True)
class ConflictChanged:
    """The losers of an item are others than they were, or none any more."""

    space: SpaceId
    item: ItemId


@dataclass(frozen=True, slots=True)
class WentAstray:
    """It was proven that a device signed two versions under one number (I8)."""

    space: SpaceId
    device: DeviceId


@dataclass(frozen=True, slots=True)
class TransferMoved:
    """More of a content is here, or it stands otherwise."""

    content: ContentId


@dataclass(frozen=True, slots=True)
class TransferEnded:
    """Nobody waits for a content any more: all of it is here, or as much as was wanted, or why
    it does not come."""

    content: ContentId
    error: SharefsError | None


Happening = ConflictChanged | WentAstray | TransferMoved | TransferEnded


class Queue:
    """What one listener has not taken yet. Any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Happening] = deque()
        self._lost = 0
        self._lock = threading.Lock()

    def put(self, happening: Happening) -> None:
        """Add an event, unless the same one waits already."""
        with self._lock:
            if happening in self._waiting:
                return
            if len(self._waiting) == EVENTS_WAITING_MAX:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(happening)
        self._wake()

    def take(self) -> tuple[list[Happening], int]:
        """All that waits, the oldest first, and how many older ones were lost since the last
        time."""
        with self._lock:
            taken, lost = list(self._waiting), self._lost
            self._waiting.clear()
            self._lost = 0
        return taken, lost


class Events:
    """All who listen. Any thread."""

    def __init__(self) -> None:
        self._queues: list[Queue] = []
        self._lock = threading.Lock()

    def listen(self, wake: Callable[[], None]) -> Queue:
        """From now on; `wake` is called, from the loop, whenever there is something to take.

        Raises NodeFailed if too many listen.
        """
        with self._lock:
            if len(self._queues) == LISTENERS_MAX:
                raise NodeFailed(f"{LISTENERS_MAX} programs listen to the node: end one of them.")
            queue = Queue(wake)
            self._queues.append(queue)
        return queue

    def leave(self, queue: Queue) -> None:
        """It listens no more."""
        with self._lock:
            self._queues.remove(queue)

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._queues)

    def tell_of(self, replicas: Mapping[SpaceId, Replica]) -> None:
        """What a batch changed in them."""
        for space, replica in replicas.items():
            for item in replica.take_contested():
                self.tell(ConflictChanged(space, item))
            for device in replica.take_astray():
                self.tell(WentAstray(space, device))

    def tell(self, happening: Happening) -> None:
        """Let all know."""
        with self._lock:
            queues = list(self._queues)
        for queue in queues:
            queue.put(happening)
