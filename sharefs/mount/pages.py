"""Whose bytes are in the kernel's page cache, and may they stay there?

The kernel keeps pages per inode, not per version. A file opened again keeps its pages only if they
are of the version that is opened. If programs still have an older version open, whose reads would
put its bytes into the same pages, then the newer one is opened past the cache (`direct`), until
they are gone. What is written here goes through those pages, so they are of the draft, whoever has
it open.
"""

import threading
from collections.abc import Hashable
from dataclasses import dataclass

INODES_MAX = 20_000
"""Beyond, what is not open is forgotten: those files lose their pages when opened next."""


@dataclass(slots=True)
class _Pages:
    version: Hashable
    opened: int


@dataclass(frozen=True, slots=True)
class Opening:
    """How the kernel is to open a file."""

    keep: bool
    """Its pages are of this version."""
    direct: bool
    """Its pages are in use for another version: leave them alone."""


class PageCache:
    """Thread-safe. A version is anything that is equal for equal bytes."""

    def __init__(self) -> None:
        self._inodes: dict[int, _Pages] = {}
        self._lock = threading.Lock()

    def opened(self, ino: int, version: Hashable) -> Opening:
        """A program opens the file; unless told `direct`, it must be `closed` again."""
        with self._lock:
            pages = self._inodes.get(ino)
            if pages is None:
                self._make_room()
                self._inodes[ino] = _Pages(version, 1)
                return Opening(keep=False, direct=False)
            keep = pages.version == version
            if not keep and pages.opened:
                return Opening(keep=False, direct=True)
            pages.version = version
            pages.opened += 1
            return Opening(keep=keep, direct=False)

    def closed(self, ino: int) -> None:
        """One that `opened` it, not `direct`, is gone."""
        with self._lock:
            pages = self._inodes.get(ino)
            if pages is not None:
                pages.opened -= 1
                assert pages.opened >= 0

    def written(self, ino: int, version: Hashable) -> None:
        """The pages followed what was written here, which now is this version."""
        with self._lock:
            pages = self._inodes.get(ino)
            if pages is not None:
                pages.version = version

    def _make_room(self) -> None:
        if len(self._inodes) >= INODES_MAX:
            self._inodes = {ino: pages for ino, pages in self._inodes.items() if pages.opened}
