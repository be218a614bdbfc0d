import logging
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from sharefs.errors import DatabaseTooNew, HomeNotUsable, NodeAlreadyRunning, NodeFailed
from sharefs.node.options import NodeOptions
from sharefs.node.service import Service
from sharefs.store.contents import ContentStore
from sharefs.wire.sync import Push
from tests.node.node_parties import Party, Raw, agree, meet, until


def test_everything_is_there_after_a_restart(anna: Party, bob: Party) -> None:
    anna.write("docs/a.txt", b"hello")
    agree("docs/a.txt", anna, bob)
    for each in (anna, bob):
        each.down()
    for each in (anna, bob):
        each.up()
    assert anna.read("docs/a.txt") == b"hello"
    assert bob.names("docs") == ["a.txt"]
    meet(anna, bob)
    assert bob.read("docs/a.txt") == b"hello"


def test_what_is_done_while_apart_arrives_when_they_meet(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"one")
    agree("a.txt", anna, bob)
    anna.down()
    bob.node.desk.rename(bob.there("a.txt").ino, bob.top(), "b.txt")
    bob.write("c.txt", b"new")
    bob.down()
    anna.up()
    anna.write("d.txt", b"mine")
    bob.up()
    until(lambda: anna.names() == bob.names() == ["b.txt", "c.txt", "d.txt"])
    assert anna.read("c.txt") == b"new"


def test_the_last_save_is_told_before_the_node_goes_down(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is closed as the mount goes is published, durable, and pushed before the Bye."""
    core = anna.node.core
    handle = core.create(anna.top(), "a.txt", 0o644, os.O_RDWR)
    core.write(handle, 0, b"hello")
    settle = anna.node.desk.publication.settle

    def close_at_last(seconds: float) -> None:
        core.release(handle)
        settle(seconds)

    monkeypatch.setattr(anna.node.desk.publication, "settle", close_at_last)
    going = threading.Thread(target=anna.down)
    going.start()
    known.answers_pings = True
    until(lambda: known.heard(Push) and not going.is_alive())
    anna.up()
    assert anna.read("a.txt") == b"hello"


def test_going_down_leaves_nothing_behind(anna: Party, bob: Party) -> None:
    before = set(threading.enumerate())
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    bob.read("a.txt")
    for each in (anna, bob):
        each.down()
    names = [thread.name for thread in threading.enumerate() if thread in before]
    assert not [name for name in names if name.startswith("sharefs")]
    assert not list(anna.home.drafts_folder.iterdir())
    for each in (anna, bob):
        each.up()
        assert not each.node.state.store.unclean
        content = each.there("a.txt").content
        assert content is not None
        assert each.node.state.contents.local_bytes(content) == 5


def test_a_step_of_going_down_that_fails_keeps_no_other_from_being_done(
    anna: Party, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    anna.write("a.txt", b"hello")

    def fail(*_: object) -> None:
        raise OSError("stuck")

    with monkeypatch.context() as patch:
        patch.setattr(anna.node._mounted, "unmount", fail)
        patch.setattr(anna.node.carriage, "sync_now", fail)
        anna.node._closing[-1] = fail
        anna.down()
    assert "going down" in caplog.text
    anna.up()
    assert anna.read("a.txt") == b"hello"


def test_a_fault_of_the_loop_ends_the_node_and_loses_nothing(
    anna: Party, caplog: pytest.LogCaptureFixture
) -> None:
    anna.write("a.txt", b"hello")

    def fail() -> None:
        raise ZeroDivisionError

    anna.node.loop.post(fail)
    with pytest.raises(NodeFailed):
        anna.service.wait()
    anna.down()
    anna.up()
    assert anna.read("a.txt") == b"hello"
    assert "the loop failed" in caplog.text


def test_one_home_has_one_node(anna: Party) -> None:
    second = Service(anna.home, NodeOptions(listen="127.0.0.1:0", discovery=False))
    with pytest.raises(NodeAlreadyRunning):
        second.start()
    second.close()
    anna.write("a.txt", b"the first is not disturbed")


def test_a_newer_database_is_refused_untouched_and_the_home_left_free(anna: Party) -> None:
    anna.down()
    connection = sqlite3.connect(anna.home.database_file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = anna.home.database_file.read_bytes()
    token = anna.home.token_file.read_bytes()
    for _ in range(2):
        with pytest.raises(DatabaseTooNew):
            anna.up()
    assert anna.home.database_file.read_bytes() == before
    assert anna.home.token_file.read_bytes() == token


def test_a_damaged_identity_is_told(anna: Party) -> None:
    anna.down()
    identity = anna.home.identity_file.read_bytes()
    anna.home.identity_file.write_bytes(identity[:-5])
    with pytest.raises(HomeNotUsable, match="identity"):
        anna.up()
    anna.home.identity_file.write_bytes(identity)
    anna.up()


def test_a_port_that_was_used_before_is_used_again(anna: Party) -> None:
    before = anna.node.state.address
    anna.down()
    anna.up()
    assert anna.node.state.address == before


# --- after a kill -------------------------------------------------------------------------------


def test_what_was_verified_before_a_kill_is_not_fetched_again(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(2_000_000)
    anna.write("big", data)
    agree("big", anna, bob)
    row = bob.there("big")
    handle = bob.node.core.open(row.ino, os.O_RDONLY)
    bob.node.core.read(handle, 0, 1000)
    assert row.content is not None
    contents = bob.node.state.contents
    content = row.content
    until(lambda: contents.is_saved(content), "the bits are saved")
    here = contents.local_bytes(content)
    bob.kill()
    bob.up()
    local = bob.node.state.contents.open(content, row.size)
    assert local.local_bytes == here > 0
    assert bob.node.state.store.unclean
    meet(anna, bob)
    assert bob.read("big") == data


def test_what_a_kill_left_in_doubt_is_not_verified_in_the_loop(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take minutes; meanwhile nothing is said of it."""
    anna.write("big", os.urandom(2_000_000))
    agree("big", anna, bob)
    row = bob.there("big")
    content = row.content
    assert content is not None
    handle = bob.node.core.open(row.ino, os.O_RDONLY)
    bob.node.core.read(handle, 0, 1000)
    until(lambda: bob.node.state.contents.is_saved(content), "the bits are saved")
    bob.kill()
    monkeypatch.setattr(ContentStore, "verify_suspects", lambda _: None)
    bob.up()
    serving, space = bob.node.carriage.serving, bob.replica().id
    assert bob.node.loop.call(lambda: serving._known(space, content)) is None
    assert bob.node.state.contents.open(content, row.size).local_bytes > 0
    assert bob.node.loop.call(lambda: serving._known(space, content)) is not None


def local_bytes(party: Party, name: str) -> int:
    row = party.entry(name)
    return party.node.state.contents.local_bytes(row.content) if row and row.content else 0


# --- a restored database ------------------------------------------------------------------------


def test_a_restored_database_counts_anew_and_nothing_is_lost(
    anna: Party, bob: Party, tmp_path: Path
) -> None:
    anna.write("before.txt", b"before the backup")
    agree("before.txt", anna, bob)
    old = anna.replica().incarnation
    anna.down()
    anna.backup(tmp_path / "backup")
    anna.up()
    anna.write("after.txt", b"after the backup")
    anna.write("before.txt", b"changed")
    agree("after.txt", anna, bob)
    agree("before.txt", anna, bob)
    assert bob.read("after.txt") == b"after the backup"
    anna.down()
    anna.restore(tmp_path / "backup")
    anna.up()
    assert anna.replica().incarnation != old
    assert any("restored" in notice for notice in anna.node.state.notices)
    anna.write("new.txt", b"new")
    until(lambda: anna.names() == bob.names() == ["after.txt", "before.txt", "new.txt"])
    assert anna.read("after.txt") == b"after the backup"
    until(lambda: local_bytes(anna, "before.txt"), "its bytes are recognised")
    assert anna.read("before.txt") == b"changed"
    assert bob.read("new.txt") == b"new"


def test_why_a_node_goes_down_is_in_its_log(anna: Party, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sharefs")
    anna.node._mounted.ended.set()
    anna.node.wait()
    assert f"{anna.node.mount_point} was unmounted by somebody else" in caplog.text
    anna.node.stop()
    anna.node.wait()
    assert "going down: asked to" in caplog.text


def test_who_lost_the_database_joins_again_and_counts_anew(anna: Party, bob: Party) -> None:
    bob.write("before.txt", b"before")
    agree("before.txt", anna, bob)
    assert anna.read("before.txt") == b"before"
    old = bob.replica().incarnation
    bob.down()
    for path in bob.home.data_folder.glob("sharefs.db*"):
        path.unlink()
    bob._listen = "127.0.0.1:0"
    bob.up()
    assert any("restored" in notice for notice in bob.node.state.notices)
    anna.invite(bob)
    agree("before.txt", anna, bob)
    assert bob.replica().incarnation != old
    bob.write("after.txt", b"after")
    bob.edit("before.txt", b"changed")
    until(lambda: anna.names() == ["after.txt", "before.txt"])
    until(lambda: anna.read("before.txt") == b"changed")


def test_two_copies_of_a_home_count_apart_once_they_run_on_two_machines(
    anna: Party, bob: Party, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "machine-id"
    monkeypatch.setattr("sharefs.store.database.MACHINE_FILE", machine)
    machine.write_text("the first")
    bob.down()
    bob.up()
    bob.write("before.txt", b"before")
    agree("before.txt", anna, bob)
    bob.down()
    first = tmp_path / "copy"
    shutil.copytree(bob.home.directory, first)
    machine.write_text("the second")
    bob.up()
    bob.write("on the second.txt", b"2")
    agree("on the second.txt", anna, bob)
    assert anna.read("on the second.txt") == b"2"
    bob.down()
    shutil.rmtree(bob.home.directory)
    shutil.copytree(first, bob.home.directory)
    machine.write_text("the first")
    bob.up()
    bob.write("on the first.txt", b"1")
    names = ["before.txt", "on the first.txt", "on the second.txt"]
    until(lambda: anna.names() == bob.names() == names)
    assert not anna.replica().roster.closed, "no number was used twice"
