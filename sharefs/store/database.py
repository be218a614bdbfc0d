"""Where is the database, may we use it, and what is a transaction?

Theory of operation. One connection writes, in the loop's thread; others read, from a pool. WAL
with synchronous=NORMAL: COMMIT makes a transaction atomic, `make_durable` makes it survive a power
cut. A checkpoint follows every migration, so that the file's header tells the version.

The token (I3) is drawn anew at every open and every clean close, and kept in the database and in a
file beside it. Where the two do not agree, the database is not the one that was closed last: it was
restored or lost, so every space gets a new incarnation in the transaction that writes the new
token. `next_token` bridges a crash between the two writes.
"""

import errno
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import count
from pathlib import Path

from sharefs.errors import (
    DatabaseDamaged,
    DatabaseTooNew,
    DiskFull,
    HomeNotUsable,
    LocalProtocolError,
)
from sharefs.records.ids import ItemId

BUSY_SECONDS_MAX = 10.0
READERS_IDLE_MAX = 8
WAL_CHECKPOINT_PAGES = 4000
WAL_SIZE_BYTES_MAX = 64 * 1024 * 1024
_SQLITE_MAGIC = b"SQLite format 3\x00"
_VERSION_POSITION_BYTES = 60
_TOKEN_SIZE_BYTES = 16
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


def open_database(path: Path, token_file: Path) -> "Store":
    """Open or create the database, and bring it to this version.

    Raises DatabaseTooNew with not a byte changed, DatabaseDamaged, HomeNotUsable, DiskFull.
    """
    with translated(path):
        _refuse_newer(path)
        connection = _connect(path)
        try:
            _migrate(connection)
            return Store(path, token_file, connection)
        except BaseException:
            connection.close()
            raise


class InoCounter:
    """Draws inode numbers that no row has. Any thread."""

    def __init__(self, first: int) -> None:
        self._count = count(first)

    def __call__(self) -> int:
        return next(self._count)


class Store:
    """The open database. Invariant: `connection` is used by one thread at a time, the loop's."""

    def __init__(self, path: Path, token_file: Path, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.readers = Readers(path)
        """For any thread."""
        self.touched: set[Place] = set()
        """Folders whose rows were changed since somebody last took this."""
        self._path = path
        self._token_file = token_file
        self._after_commit: list[Callable[[], None]] = []
        self._wal = -1
        with self.transaction():
            self.unclean = _setting(connection, "running") == b"\x01"
            """Whether the node before this one was killed, or the machine."""
            self.restored = self._renew_token_in_database()
            _set_setting(connection, "running", b"\x01")
            if self.unclean:
                connection.execute("UPDATE content SET suspect = 1 WHERE local < size")
        greatest = connection.execute("SELECT max(ino) FROM entry").fetchone()[0]
        self.new_ino = InoCounter(max(greatest or 1, 1) + 1)
        self._wal = os.open(f"{path}-wal", os.O_RDONLY)
        with translated(path):
            sync_folder(path.parent)
        self.make_durable()
        self._finish_token()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside. Loop only; not to be nested.

        Raises DiskFull or DatabaseDamaged, after a rollback, where SQLite fails for that.
        """
        assert not self.connection.in_transaction, "transactions are not nested"
        self._after_commit.clear()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(self.connection)
            raise explained(error, self._path) from error
        except BaseException:
            _roll_back(self.connection)
            raise
        done, self._after_commit = self._after_commit, []
        for call in done:
            call()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have it called if the transaction that is open commits."""
        assert self.connection.in_transaction, "only within a transaction"
        self._after_commit.append(call)

    def make_durable(self) -> None:
        """When this returns, what had been committed survives a power cut. Any thread.

        What a checkpoint moved on from the log to the database was synced by it.
        """
        with translated(self._path):
            os.fdatasync(self._wal)

    def take_touched(self) -> set[Place]:
        """The folders whose rows, or whose rows' local bytes, changed since the last call."""
        touched, self.touched = self.touched, set()
        return touched

    def close(self) -> None:
        """A clean stop; on a full disk it counts as an unclean one."""
        try:
            with self.transaction():
                self._renew_token_in_database()
                _set_setting(self.connection, "running", b"\x00")
            self.make_durable()
            self._finish_token()
        except DiskFull:
            pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the files as a kill would: the next open finds an unclean stop."""
        self.readers.close()
        self.connection.close()
        os.close(self._wal)

    def _renew_token_in_database(self) -> bool:
        """Whether the tokens told that the database is not the one we closed."""
        known = {_setting(self.connection, name) for name in ("token", "next_token")} - {None}
        kept = _read_token(self._token_file)
        restored = kept not in known and (kept is not None or bool(known))
        self._next_token = secrets.token_bytes(_TOKEN_SIZE_BYTES)
        _set_setting(self.connection, "next_token", self._next_token)
        if kept is not None:
            _set_setting(self.connection, "token", kept)
        if restored:
            for (number,) in self.connection.execute("SELECT number FROM space").fetchall():
                self.connection.execute(
                    "UPDATE space SET incarnation = ?, next_sequence = 1 WHERE number = ?",
                    (secrets.token_bytes(8), number),
                )
        return restored

    def _finish_token(self) -> None:
        """The database has the next token, durably: now the file may."""
        with translated(self._token_file):
            write_file(self._token_file, self._next_token)


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
            return _connect_reader(self._path)

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


def write_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 whole or not at all, durably. Raises OSError."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(path: Path) -> bool:
    return os.statvfs(path.parent).f_bavail == 0


def _read_token(token_file: Path) -> bytes | None:
    try:
        return token_file.read_bytes()
    except FileNotFoundError:
        return None


def _setting(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _set_setting(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))


def _connect(path: Path) -> sqlite3.Connection:
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


def _connect_reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS_MAX,
        isolation_level=None,
        check_same_thread=False,
    )


def _migrations() -> list[str]:
    """The steps of the schema, in order: step n brings version n - 1 to version n."""
    folder = files("sharefs.store") / "schema"
    steps = sorted((step for step in folder.iterdir()), key=lambda step: step.name)
    return [step.read_text() for step in steps if step.name.endswith(".sql")]


def _refuse_newer(path: Path) -> None:
    """Read the version from the header, and open the database only if there is a log, too."""
    known = len(_migrations())
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    if header and not header.startswith(_SQLITE_MAGIC):
        raise DatabaseDamaged(
            f"{path} is not a database: restore it from a backup, or move it away and join the"
            " spaces again."
        )
    version = int.from_bytes(header[_VERSION_POSITION_BYTES:][:4])
    log = Path(f"{path}-wal")
    if version <= known and header and log.exists() and log.stat().st_size > 0:
        connection = _connect_reader(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        finally:
            connection.close()
    if version > known:
        raise DatabaseTooNew(
            f"A later sharefs wrote the database in {path.parent} (its version is {version}, this"
            f" one knows {known}): install that, or use another home. Nothing was changed."
        )


def _migrate(connection: sqlite3.Connection) -> None:
    steps = _migrations()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise LocalProtocolError("a newer database got past the check of its version")
    for number, step in list(enumerate(steps, 1))[version:]:
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        except BaseException:
            _roll_back(connection)
            raise
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite has rolled back by itself after some failures, a full disk among them.
    if connection.in_transaction:
        connection.execute("ROLLBACK")
