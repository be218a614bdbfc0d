"""`doctor` on homes whose node is down."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sharefs.records.ids import SpaceId
from sharefs.store.database import open_database
from sharefs.store.home import Home
from tests.cli.test_cli_commands import Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "home", capsys)


@pytest.fixture
def home(shell: Shell) -> Home:
    assert shell.run("init", "--name", "Anna").code == 0
    home = Home.at(shell.folder)
    store = open_database(home.database_file, home.token_file)
    with store.transaction():
        store.ledger.add_space(SpaceId(bytes(32)), "Family")
    store.close()
    return home


def damage(home: Home) -> None:
    with closing(sqlite3.connect(home.database_file)) as connection:
        connection.execute("DELETE FROM entry")
        connection.commit()


def test_what_is_well_is_said_to_be(shell: Shell, home: Home) -> None:
    ran = shell.run("doctor")
    assert (ran.code, ran.out) == (0, f"All is well in {home.directory}.\n")


def test_damage_is_told_then_mended(shell: Shell, home: Home) -> None:
    damage(home)
    ran = shell.run("doctor")
    assert ran.code == 1
    assert ran.lines[0].startswith("Family: It is not shown")
    assert "With --repair" in ran.lines[1]
    assert "--repair` mends" in ran.lines[-1]
    ran = shell.run("doctor", "--repair")
    assert ran.code == 0
    assert "Mended" in ran.lines[1]
    assert ran.lines[-1] == "1 finding, 1 mended, 0 left."
    assert shell.run("doctor").code == 0


def test_programs_get_json(shell: Shell, home: Home) -> None:
    damage(home)
    ran = shell.run("doctor", "--json")
    assert ran.code == 1
    report = json.loads(ran.out)
    assert report["found"] == 1
    assert report["findings"][0]["kind"] == "view"


def test_what_can_not_be_mended_is_left(shell: Shell, home: Home) -> None:
    (home.drafts_folder / ("0" * 32)).write_bytes(b"somebody's")
    ran = shell.run("doctor", "--repair")
    assert ran.code == 1
    assert "can not be mended here" in ran.out
    assert ran.lines[-1] == "1 finding, 0 mended, 1 left."


def test_a_home_without_a_database_has_nothing_to_examine(shell: Shell) -> None:
    assert "sharefs init" in shell.run("doctor").err
    assert shell.run("init", "--name", "Anna").code == 0
    ran = shell.run("doctor")
    assert ran.code == 1
    assert "never up" in ran.err


def test_a_home_in_use_is_left_alone(shell: Shell, home: Home) -> None:
    lock = home.lock()
    ran = shell.run("doctor", "--repair")
    lock.release()
    assert ran.code == 1
    assert "sharefs down" in ran.err
