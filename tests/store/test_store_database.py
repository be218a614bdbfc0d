"""The database: versions, tokens, transactions, durability."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from sharefs.errors import DatabaseDamaged, DatabaseTooNew, DiskFull, HomeNotUsable
from sharefs.records.ids import OperationHash
from sharefs.store.database import open_database
from tests.store.store_parties import FAMILY, WORK, open_store


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}


def test_a_database_keeps_what_was_committed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    store.close()
    store = open_store(tmp_path)
    assert [space.name for space in store.ledger.spaces()] == ["Family"]
    assert not store.restored
    assert not store.unclean
    store.close()


def test_a_newer_database_is_refused_and_not_a_byte_is_changed(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "sharefs.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = _bytes_of(tmp_path)
    with pytest.raises(DatabaseTooNew, match="999"):
        open_store(tmp_path)
    assert _bytes_of(tmp_path) == before


def test_a_newer_version_that_stands_in_the_log_alone_is_found(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "sharefs.db")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA user_version = 999")
    # A copy of the files under an open connection is what a kill leaves.
    killed = tmp_path / "killed"
    killed.mkdir()
    for path in tmp_path.glob("*"):
        if path.is_file() and path.suffix != ".db-shm":
            shutil.copy(path, killed)
    connection.close()
    before = _bytes_of(killed)
    assert int.from_bytes(before["sharefs.db"][60:64]) == 1
    with pytest.raises(DatabaseTooNew):
        open_store(killed)
    assert _bytes_of(killed) == before


def test_garbage_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "sharefs.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(DatabaseDamaged):
        open_store(tmp_path)
    assert (tmp_path / "sharefs.db").read_bytes() == b"garbage" * 1000


def test_a_damaged_database_is_told_as_such(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    store.close()
    data = bytearray((tmp_path / "sharefs.db").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "sharefs.db").write_bytes(data)
    with pytest.raises(DatabaseDamaged, match="backup"):
        open_store(tmp_path)


def test_a_folder_that_is_missing_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(HomeNotUsable):
        open_database(tmp_path / "no" / "sharefs.db", tmp_path / "token")


def test_the_database_is_for_this_user_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


# --- tokens (I3) ----------------------------------------------------------------------------------


def _incarnations(folder: Path) -> tuple[bool, list[bytes], list[int]]:
    store = open_store(folder)
    spaces = store.ledger.spaces()
    restored = store.restored
    store.close()
    return restored, [s.incarnation for s in spaces], [s.next_sequence for s in spaces]


def _two_spaces(folder: Path) -> None:
    store = open_store(folder)
    with store.transaction():
        for id, name in ((FAMILY, "Family"), (WORK, "Work")):
            store.ledger.take_sequences(store.ledger.add_space(id, name), 5)
    store.close()


def test_a_restored_database_counts_anew_in_every_space(tmp_path: Path) -> None:
    _two_spaces(tmp_path)
    _, before, _ = _incarnations(tmp_path)
    shutil.copy(tmp_path / "sharefs.db", tmp_path / "backup")
    assert _incarnations(tmp_path) == (False, before, [6, 6])
    shutil.copy(tmp_path / "backup", tmp_path / "sharefs.db")
    restored, after, sequences = _incarnations(tmp_path)
    assert restored
    assert not set(after) & set(before)
    assert len(set(after)) == 2
    assert sequences == [1, 1]
    assert _incarnations(tmp_path) == (False, after, [1, 1])


def test_a_backup_made_while_the_node_ran_is_found_out(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
    backup = sqlite3.connect(tmp_path / "backup")
    store.connection.backup(backup)
    backup.close()
    with store.transaction():
        store.ledger.take_sequences(1, 100)
    store.close()
    shutil.copy(tmp_path / "backup", tmp_path / "sharefs.db")
    restored, _, sequences = _incarnations(tmp_path)
    assert restored
    assert sequences == [1]


def test_a_lost_token_or_a_lost_database_is_a_restored_one(tmp_path: Path) -> None:
    _two_spaces(tmp_path)
    (tmp_path / "token").unlink()
    assert _incarnations(tmp_path)[0]
    assert not _incarnations(tmp_path)[0]
    (tmp_path / "sharefs.db").unlink()
    assert _incarnations(tmp_path)[0]


def test_a_home_that_was_copied_to_another_machine_counts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token and all, so that both copies would go on under one number."""
    machine = tmp_path / "machine-id"
    monkeypatch.setattr("sharefs.store.database.MACHINE_FILE", machine)
    _two_spaces(tmp_path / "home")
    assert not _incarnations(tmp_path / "home")[0], "a machine without a name"
    machine.write_text("\n")
    assert not _incarnations(tmp_path / "home")[0], "nor has this one any"
    machine.write_text("one\n")
    _, before, _ = _incarnations(tmp_path / "home")
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    assert _incarnations(tmp_path / "home") == (False, before, [6, 6])
    machine.write_text("another\n")
    restored, after, sequences = _incarnations(tmp_path / "copy")
    assert restored
    assert not set(after) & set(before)
    assert sequences == [1, 1]
    assert _incarnations(tmp_path / "copy") == (False, after, [1, 1])


def test_a_kill_is_no_restoring(tmp_path: Path) -> None:
    _two_spaces(tmp_path)
    store = open_store(tmp_path)
    store.abandon()
    store = open_store(tmp_path)
    assert store.unclean
    assert not store.restored
    store.close()
    store = open_store(tmp_path)
    assert not store.unclean
    store.close()


def test_a_crash_between_the_two_tokens_is_no_restoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _two_spaces(tmp_path)
    _, before, _ = _incarnations(tmp_path)

    def crash(path: Path, data: bytes) -> None:
        raise OSError(5, "crash")

    monkeypatch.setattr("sharefs.store.database.write_file", crash)
    with pytest.raises(HomeNotUsable):
        open_store(tmp_path)
    monkeypatch.undo()
    assert _incarnations(tmp_path) == (False, before, [6, 6])


# --- transactions ---------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    called: list[str] = []

    def fail() -> None:
        with store.transaction():
            store.ledger.add_space(FAMILY, "Family")
            store.after_commit(lambda: called.append("commit"))
            store.after_durable(lambda: called.append("durable"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.ledger.spaces() == []
    store.make_durable()
    assert called == []
    store.close()


def test_what_waits_for_the_disk_waits_until_it_is_synced(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    called: list[str] = []
    with store.transaction():
        store.after_commit(lambda: called.append("commit"))
        store.after_durable(lambda: called.append("durable"))
        assert called == []
    assert called == ["commit"]
    store.make_durable()
    assert called == ["commit", "durable"]
    store.make_durable()
    assert called == ["commit", "durable"]
    store.close()


def test_make_durable_syncs_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fdatasync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    store.make_durable()
    assert synced == [str(tmp_path / "sharefs.db-wal")]
    store.close()


def test_a_full_disk_rolls_back_and_the_store_lives_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        number = store.ledger.add_space(FAMILY, "Family")
    (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
    store.connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    def fill() -> None:
        with store.transaction():
            for n in range(1000):
                store.ledger.add_operation(number, OperationHash(n.to_bytes(32)), os.urandom(1000))

    with pytest.raises(DiskFull):
        fill()
    assert store.ledger.operations(number) == []
    store.connection.execute("PRAGMA max_page_count = 1000000")
    with store.transaction():
        store.ledger.add_operation(number, OperationHash(bytes(32)), b"operation")
    assert store.ledger.operations(number) == [b"operation"]
    store.close()


def test_inode_numbers_are_above_those_that_rows_have(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction():
        store.ledger.add_space(FAMILY, "Family")
        store.ledger.add_space(WORK, "Work")
    drawn = [store.new_ino() for _ in range(3)]
    assert drawn == [4, 5, 6]
    store.close()
    store = open_store(tmp_path)
    assert store.new_ino() == 4
    store.close()


def test_readers_can_not_write(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(HomeNotUsable), store.readers.lent() as connection:
        connection.execute("DELETE FROM setting")
    store.close()
