"""What does the kernel believe of files, and who tells it when that is not so any more?

It keeps attributes for a while. Those that it may have are noted, by inode number; when entries
have changed, a thread of its own tells the kernel, which may have to wait until pages are read that
only the loop can bring, so that the loop must not. What was looked up in the very moment of the
change may be told of in vain: that stays as it was for the while.
"""

import threading
import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue

NOTED_MAX = 50_000
"""Beyond, the kernel finds out by itself."""


class Beliefs:
    """Which attributes the kernel may have. Thread-safe."""

    def __init__(self, tell: Callable[[int], None], seconds: float) -> None:
        """`tell` is called with a node; what was noted so many seconds ago is believed no more."""
        self._tell = tell
        self._seconds = seconds
        self._noted: dict[int, int] = {}
        """Nodes by inode number."""
        self._noted_before: dict[int, int] = {}
        self._turns_at = 0.0
        self._wrong: SimpleQueue[list[int] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="beliefs", daemon=True)
        self._thread.start()

    def note(self, ino: int, node: int) -> None:
        """The kernel is about to be told of this node's attributes."""
        now = time.monotonic()
        if now >= self._turns_at:
            self._turns_at = now + self._seconds
            self._noted_before, self._noted = self._noted, {}
        if len(self._noted) < NOTED_MAX:
            self._noted[ino] = node

    def changed(self, inos: Iterable[int]) -> None:
        """Other attributes can be read of these from now on. Never waits."""
        noted, before = self._noted, self._noted_before
        if noted or before:
            nodes = {noted.get(ino) or before.get(ino) for ino in inos}
            wrong = [node for node in nodes if node is not None]
            if wrong:
                self._wrong.put(wrong)

    def _work(self) -> None:
        while (nodes := self._wrong.get()) is not None:
            for node in nodes:
                self._tell(node)

    def stop(self, seconds: float) -> bool:
        """Whether its thread ends within so many seconds."""
        self._wrong.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()
