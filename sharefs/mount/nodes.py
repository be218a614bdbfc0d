"""By which node does the kernel know the bytes of a file?

The kernel keeps a size and pages per node. A file's node is its inode number, until another
version comes while programs have the present one open: what they read must not change in length,
nor be mixed. Then the new version gets a node of its own, under the same inode number as programs
see it, and the old one is left to those who have it open, as on a disk where a file was replaced.

What is written here goes through the pages of the node that it is written by, so they are of the
draft, whoever has it open there.
"""

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count

NODES_IDLE_MAX = 20_000
"""Beyond, what is not open is forgotten: those files lose their pages when opened next."""
_FIRST_OWN_ID = 1 << 62
"""Inode numbers are never so great."""


@dataclass(slots=True, eq=False)
class Node:
    """What the kernel has, or may have, in memory of a file."""

    id: int
    ino: int
    version: Hashable
    """Anything that is equal for equal bytes."""
    opened: int = 0
    looked_up: int = 0
    """How often the kernel was told of it, and did not forget it again; for own ids only."""


class Nodes:
    """The nodes of files. Thread-safe.

    Invariant: `_current` has the node that names lead to, unless that is the inode number and
    nothing is known of its pages; `_own` has all nodes that have an id of their own, and whoever
    lost his inode number to one of them.
    """

    def __init__(self) -> None:
        self._current: dict[int, Node] = {}
        self._own: dict[int, Node] = {}
        self._ids = count(_FIRST_OWN_ID)
        self._lock = threading.Lock()

    def ino_of(self, id: int) -> int:
        """The inode number of a node."""
        node = self._own.get(id)
        return id if node is None else node.ino

    def is_current(self, id: int) -> bool:
        """Whether names still lead to the node."""
        node = self._current.get(self.ino_of(id))
        return id < _FIRST_OWN_ID if node is None else node.id == id

    def in_use(self, ino: int) -> bool:
        """Whether programs have the file open, so that `lead_to` has to be asked."""
        node = self._current.get(ino)
        return node is not None and (node.opened > 0 or node.id != ino)

    def lead_to(self, ino: int, version: Hashable) -> int:
        """The kernel looks the file up, which has this version now: the node to tell of."""
        with self._lock:
            node = self._current.get(ino)
            if node is None:
                return ino
            if node.opened and node.version != version:
                node = self._follow(node, version)
            if node.id != ino:
                node.looked_up += 1
            return node.id

    def open(self, id: int, ino: int, version: Hashable) -> tuple[Node, bool] | None:
        """A program opens this version by a node: the node, and whether its pages are of the
        version. None if names lead elsewhere by now."""
        with self._lock:
            node = self._current.get(ino)
            if node is None:
                if id != ino:
                    return None
                self._make_room()
                node = self._current[ino] = Node(ino, ino, version)
                kept = False
            else:
                kept = node.version == version
                if node.opened and not kept:
                    node = self._follow(node, version)
                if node.id != id:
                    return None
            node.version = version
            node.opened += 1
            return node, kept

    def _follow(self, node: Node, version: Hashable) -> Node:
        """Another version comes while this one is open."""
        self._own[node.id] = node
        following = Node(next(self._ids), node.ino, version)
        self._own[following.id] = self._current[node.ino] = following
        return following

    def close(self, node: Node) -> None:
        """One that `open` gave it to is gone."""
        with self._lock:
            node.opened -= 1
            assert node.opened >= 0, "a node is closed as often as it was opened"
            self._let_go(node)

    def forget(self, id: int, count: int) -> None:
        """The kernel forgets a node, as far as it was told of it so often."""
        with self._lock:
            node = self._own.get(id)
            if node is not None:
                node.looked_up -= count
                self._let_go(node)

    def _let_go(self, node: Node) -> None:
        """Nobody may know the node any more; then the file may have its number back."""
        current = self._current.get(node.ino)
        numbered = node.id == node.ino
        if node.opened or node.looked_up > 0:
            return
        if current is node and not numbered and node.ino in self._own:
            return
        if self._own.pop(node.id, None) is None:
            return
        if current is node and not numbered:
            del self._current[node.ino]
        elif current is not None and current is not node and numbered:
            self._let_go(current)

    def written(self, node: Node, version: Hashable) -> None:
        """A program wrote by this node, so that its pages are of this version, and names lead to
        it."""
        with self._lock:
            node.version = version
            self._current[node.ino] = node

    def published(self, ino: int, version: Hashable) -> None:
        """What was written here is this version."""
        with self._lock:
            node = self._current.get(ino)
            if node is not None:
                node.version = version

    def _make_room(self) -> None:
        if len(self._current) >= NODES_IDLE_MAX:
            self._current = {
                ino: node for ino, node in self._current.items() if node.opened or node.id != ino
            }
