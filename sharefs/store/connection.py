"""How do we talk to SQLite and the disk, and what do their failures mean?

One `Writer`, in the loop's thread; `Readers` for all others. Foreign exceptions end here.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sharefs.errors import DatabaseDamaged, DiskFull, HomeNotUsable
from sharefs.records.ids import ContentId, Coordinate, ItemId
from sharefs.store.groups import among, in_groups
from sharefs.store.holders import Holders
from sharefs.store.holding import Holding
from sharefs.store.sums import Sums
from sharefs.store.superseded import Superseded
from sharefs.store.whole import sync_folder

BUSY_SECONDS_MAX = 10.0
READERS_IDLE_MAX = 8
WAL_CHECKPOINT_PAGES = 16_000
"""At this size the loop itself moves the log on, should `checkpoint` not come to it."""
WAL_SIZE_BYTES_MAX = 64 * 1024 * 1024
ROWS_AT_ONCE = 32
"""So many are inserted by one statement."""
_DAMAGED_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNUSABLE_CODES = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)

Place = tuple[int, ItemId]
"""A folder: the number of its space, and its item."""
Touched = tuple[int, ItemId, int, str]
"""A row that changed, or changes: its space, its place, its inode number, the name it is shown
under."""
TOUCHED_COLUMNS = "space, place, ino, shown"
ROW_COLUMNS = f"{TOUCHED_COLUMNS}, content, device, incarnation, sequence"
"""What there is to know of a row before it changes."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """A statement that inserts rows, many at once: `INSERT INTO t`, the number of its columns, and
    what follows the values."""

    head: str
    columns: int
    tail: str = ""

    def of(self, rows: int) -> str:
        """The statement for that many rows."""
        row = f"({', '.join('?' * self.columns)})"
        return f"{self.head} VALUES {', '.join([row] * rows)} {self.tail}"


class InoCounter:
    """Draws inode numbers that no row has. Any thread."""

    def __init__(self, first: int) -> None:
        self._count = count(first)

    def __call__(self) -> int:
        return next(self._count)


class Writer:
    """The connection that writes, and what follows from a transaction.

    Invariant: it is used by one thread at a time, the loop's, but for `make_durable`. Rows that
    were put off by `later` are written before anybody can read through `connection`: each call of
    SQLite lets another thread have the interpreter, and to get it back costs more than the call.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._later: dict[Insertion, list[tuple[Any, ...]]] = {}
        self._saved: dict[int, ContentId | None] = {}
        self.touched: set[Touched] = set()
        """Rows, as they were and as they are, that changed since somebody last took this."""
        greatest = connection.execute("SELECT max(ino) FROM entry").fetchone()[0]
        self.new_ino = InoCounter(max(greatest or 1, 1) + 1)
        self.sums = Sums(connection)
        """Of the heads; written with them."""
        self.superseded = Superseded(connection)
        """Contents whose rows went; written last."""
        self.holders = Holders(connection)
        self.holding = Holding(connection, self.holders)
        """What we hold of all that changed; written last, too."""
        self._path = path
        self._after_commit: list[Callable[[], None]] = []
        self._after_durable: list[Callable[[], None]] = []
        self._durable_lock = threading.Lock()
        self._log: int | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside. Not to be nested.

        Raises DiskFull or DatabaseDamaged, after a rollback, where SQLite fails for that.
        """
        assert not self._connection.in_transaction, "transactions are not nested"
        self._after_commit.clear()
        try:
            # Deferred: most batches write nothing, and nobody else writes.
            self._connection.execute("BEGIN")
            yield
            self.sums.flush()
            if self._later:
                self._write_later()
            self.superseded.flush()
            self.holding.flush()
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise explained(error, self._path) from error
        except BaseException:
            self._roll_back()
            raise
        self.holding.committed()
        done, self._after_commit = self._after_commit, []
        for call in done:
            call()

    def _roll_back(self) -> None:
        self._later.clear()
        self._saved.clear()
        roll_back(self._connection)
        self.sums.forget()
        self.superseded.forget()
        self.holding.forget()

    @property
    def connection(self) -> sqlite3.Connection:
        """To read, and write what can not wait."""
        if self._later:
            self._write_later()
        return self._connection

    def later(self, insertion: Insertion, values: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows before the next who looks, in this transaction."""
        assert self._connection.in_transaction, "only within a transaction"
        self._later.setdefault(insertion, []).extend(values)

    def save_row(
        self, insertion: Insertion, ino: int, content: ContentId | None, values: tuple[Any, ...]
    ) -> None:
        """As `later`, for a row of the view; what it was before is touched, too, and a
        content that it had before is noted."""
        self._saved[ino] = content
        self.later(insertion, (values,))

    def _write_later(self) -> None:
        connection, later, saved = self._connection, self._later, self._saved
        self._later, self._saved = {}, {}
        self.holding.note_rows(saved)
        for group in in_groups(saved):
            query = f"SELECT {ROW_COLUMNS} FROM entry WHERE ino {among(group)}"
            for row in connection.execute(query, group):
                self.note_row_before(row, saved[row[2]])
        for insertion, rows in later.items():
            whole = len(rows) - len(rows) % ROWS_AT_ONCE
            for start in range(0, whole, ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                connection.execute(
                    insertion.of(ROWS_AT_ONCE), [value for values in part for value in values]
                )
            connection.executemany(insertion.of(1), rows[whole:])

    def note_row_before(self, row: tuple[Any, ...], content: ContentId | None) -> None:
        """What ROW_COLUMNS gave of a row that goes, or has this content from now on."""
        space, place, ino, shown, content_before, *version = row
        self.touched.add((space, place, ino, shown))
        if content_before != content:
            self.superseded.note(content_before, space)
        self.holding.note_gone(space, Coordinate(*version))

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have it called, at once, if the transaction that is open commits."""
        assert self._connection.in_transaction, "only within a transaction"
        self._after_commit.append(call)

    def after_durable(self, call: Callable[[], None]) -> None:
        """Have it called, by `make_durable`, if the transaction that is open commits."""
        self.after_commit(lambda: self._after_durable.append(call))

    def checkpoint(self) -> None:
        """Move what the log holds on to the database. Any thread but the loop, which would wait
        for the disk; readers and the loop go on meanwhile."""
        with translated(self._path), closing(connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def make_durable(self) -> None:
        """When this returns, what had been committed survives a power cut. Any thread.

        What a checkpoint moved on from the log to the database was synced by it.
        """
        with self._durable_lock, translated(self._path):
            waiting = list(self._after_durable)
            if self._log is None:
                self._log = os.open(f"{self._path}-wal", os.O_RDONLY)
                sync_folder(self._path.parent)
            os.fdatasync(self._log)
            del self._after_durable[: len(waiting)]
        for call in waiting:
            call()

    def take_touched(self) -> set[Touched]:
        """The rows that changed since the last call, or whose local bytes did."""
        if self._later:
            self._write_later()
        touched, self.touched = self.touched, set()
        return touched

    def disconnect(self) -> None:
        """Let go of the files."""
        self._connection.close()
        if self._log is not None:
            os.close(self._log)
            self._log = None


class Readers:
    """Read-only connections, lent to any thread.

    Not thread-local: a thread that comes from C is, to Python, a new one at every callback.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """A connection for the caller alone. Raises DatabaseDamaged."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        except sqlite3.Error as error:
            raise explained(error, self._path) from error
        finally:
            self._take_back(connection)

    def _connect(self) -> sqlite3.Connection:
        with translated(self._path):
            return connect_reader(self._path)

    def _take_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < READERS_IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Those that are lent are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say about a file of ours into what a person can act on."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise explained(error, path) from error


def explained(error: sqlite3.Error | OSError, path: Path) -> Exception:
    """DiskFull, DatabaseDamaged or HomeNotUsable; of SQLite, the error itself if it is our bug."""
    if isinstance(error, OSError):
        return _explained_os(error, path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return DiskFull(f"The disk of {path.parent} is full: make room on it.")
    if code in _DAMAGED_CODES:
        return DatabaseDamaged(
            f"The database {path} is damaged ({error}): restore it from a backup, or move it away"
            " and join the spaces again."
        )
    if code in _UNUSABLE_CODES:
        return HomeNotUsable(
            f"The database {path} can not be used ({error}): check the disk and whose it is."
        )
    return error


def _explained_os(error: OSError, path: Path) -> Exception:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFull(
            f"There is no room for {path.name} on the disk of {path.parent}: make room on it."
        )
    reason = os.strerror(error.errno or 0)
    return HomeNotUsable(f"{path} can not be used ({reason}): check the disk and whose it is.")


def _is_full(path: Path) -> bool:
    return os.statvfs(path.parent).f_bavail == 0


def connect(path: Path) -> sqlite3.Connection:
    """To write. Raises sqlite3.Error, OSError."""
    # The file is made here, as SQLite would make it readable for others.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -16000")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_BYTES_MAX}")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """To read, and change nothing. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS_MAX,
        isolation_level=None,
        check_same_thread=False,
    )


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed."""
    # SQLite has rolled back by itself after some failures, a full disk among them.
    if connection.in_transaction:
        connection.execute("ROLLBACK")
