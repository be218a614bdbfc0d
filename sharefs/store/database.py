"""Where is the database, may we use it, and what is a transaction?

Theory of operation. One connection writes, in the loop's thread; others read, from a pool. WAL
with synchronous=NORMAL: COMMIT makes a transaction atomic, `make_durable` makes it survive a power
cut. A checkpoint follows every migration, so that the file's header tells the version.

The token (I3) is drawn anew at every open and every clean close, and kept in the database and in a
file beside it. Where the two do not agree, the database is not the one that was closed last: it was
restored or lost, so every space gets a new incarnation in the transaction that writes the new
token. `next_token` bridges a crash between the two writes. So it does where the database knows
another machine than this one: a home was copied there, file and all, and both copies may run.
"""

import secrets
import sqlite3
from importlib.resources import files
from pathlib import Path

from blake3 import blake3

from sharefs.errors import DatabaseDamaged, DatabaseTooNew, DiskFull, LocalProtocolError
from sharefs.store.connection import (
    Readers,
    Writer,
    connect,
    connect_reader,
    roll_back,
    translated,
)
from sharefs.store.ledger import Ledger
from sharefs.store.shelf import Shelf
from sharefs.store.view import ReadView
from sharefs.store.whole import write_file

MACHINE_FILE = Path("/etc/machine-id")
_MACHINE_CONTEXT = "sharefs 2026-11 machine 1"
_SQLITE_MAGIC = b"SQLite format 3\x00"
_VERSION_POSITION_BYTES = 60
_TOKEN_SIZE_BYTES = 16
_INCARNATION_SIZE_BYTES = 8


def open_database(path: Path, token_file: Path) -> "Store":
    """Open or create the database, and bring it to this version.

    Raises DatabaseTooNew with not a byte changed, DatabaseDamaged, HomeNotUsable, DiskFull.
    """
    with translated(path):
        refuse_newer(path)
        connection = connect(path)
        try:
            _migrate(connection)
            return Store(path, token_file, connection)
        except BaseException:
            connection.close()
            raise


class Store(Writer):
    """The open database, and what writes and reads it."""

    def __init__(self, path: Path, token_file: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self.readers = Readers(path)
        """For any thread."""
        self.view = ReadView(self.readers)
        """For any thread."""
        self.ledger = Ledger(self)
        self._token_file = token_file
        with self.transaction():
            self.unclean = _setting(connection, "running") == b"\x01"
            """Whether the node before this one was killed, or the machine."""
            self.restored = self._renew_token_in_database()
            """Whether the database is not the one that was closed last (I3)."""
            _set_setting(connection, "running", b"\x01")
            if self.unclean:
                connection.execute("UPDATE content SET suspect = 1 WHERE local < size")
        self.make_durable()
        self._finish_token()

    def shelf(self, space: int) -> Shelf:
        """The heads and rows of one space."""
        return Shelf(self, space)

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
        self.disconnect()

    def _renew_token_in_database(self) -> bool:
        """Whether the tokens told that the database is not the one we closed."""
        known = {_setting(self.connection, name) for name in ("token", "next_token")} - {None}
        kept = _read_token(self._token_file)
        restored = kept not in known and (kept is not None or bool(known))
        restored |= self._has_moved()
        self._next_token = secrets.token_bytes(_TOKEN_SIZE_BYTES)
        _set_setting(self.connection, "next_token", self._next_token)
        if kept is not None:
            _set_setting(self.connection, "token", kept)
        if restored:
            for (number,) in self.connection.execute("SELECT number FROM space").fetchall():
                self.connection.execute(
                    "UPDATE space SET incarnation = ?, next_sequence = 1, told = 0"
                    " WHERE number = ?",
                    (secrets.token_bytes(_INCARNATION_SIZE_BYTES), number),
                )
        return restored

    def _has_moved(self) -> bool:
        """Whether this is another machine than the last time."""
        machine, known = _this_machine(), _setting(self.connection, "machine")
        if machine is not None:
            _set_setting(self.connection, "machine", machine)
        return known is not None and machine is not None and known != machine

    def _finish_token(self) -> None:
        """The database has the next token, durably: now the file may."""
        with translated(self._token_file):
            write_file(self._token_file, self._next_token)


def _read_token(token_file: Path) -> bytes | None:
    try:
        return token_file.read_bytes()
    except FileNotFoundError:
        return None


def _this_machine() -> bytes | None:
    """What tells this machine from others, and nobody which one it is; None if nothing does."""
    try:
        name = MACHINE_FILE.read_bytes().strip()
    except OSError:
        return None
    return blake3(name, derive_key_context=_MACHINE_CONTEXT).digest(16) if name else None


def _setting(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _set_setting(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))


def _migrations() -> list[str]:
    """The steps of the schema, in order: step n brings version n - 1 to version n."""
    folder = files("sharefs.store") / "schema"
    steps = sorted((step for step in folder.iterdir()), key=lambda step: step.name)
    return [step.read_text() for step in steps if step.name.endswith(".sql")]


def refuse_newer(path: Path) -> None:
    """Read the version from the header, and open the database only if there is a log, too.

    Raises DatabaseTooNew, DatabaseDamaged.
    """
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
        connection = connect_reader(path)
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
            roll_back(connection)
            raise
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
