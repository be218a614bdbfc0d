"""Where is there room, on a full disk, for what makes room?

To remove a file is to write a record of it, which a disk that is full to the last byte does not
take. So a file of nothing is kept while there is room, and given up for that. Any other program
may get to the room first: then it is as if there had been no reserve. To keep the same room at the
end of the database's log was rejected: Python can not allocate blocks beyond the end of a file,
and SQLite takes whatever is in it for its own.
"""

import os
from pathlib import Path

from sharefs.store.connection import translated

RESERVE_SIZE_BYTES = 8 * 1024 * 1024
"""Records of some hundred removals, each with its pages of the log."""
ROOM_SIZE_BYTES_MIN = 8 * RESERVE_SIZE_BYTES
"""It is not taken from a disk that has hardly more."""


class Reserve:
    """A file that can be given up. Any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> bool:
        """Whether it is there, or could be made. Raises DiskFull, HomeNotUsable."""
        with translated(self._path):
            if self._path.exists():
                return True
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < ROOM_SIZE_BYTES_MIN:
                return False
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_SIZE_BYTES)
            except OSError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
            return True

    def give_up(self) -> bool:
        """Whether there was one. Raises HomeNotUsable."""
        with translated(self._path):
            try:
                self._path.unlink()
            except FileNotFoundError:
                return False
            return True
