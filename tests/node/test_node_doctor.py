"""Damage of each kind, planted in a real home: found, mended, and gone from what is shown."""

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sharefs.errors import NodeAlreadyRunning
from sharefs.node.doctor import run_doctor
from sharefs.node.reports import DoctorReport
from sharefs.store.health import view
from sharefs.store.health.finding import Finding
from tests.node.node_parties import Party, agree, apart, meet, until

KIB = 1024
LONG = random.Random(1).randbytes(2000 * KIB)
"""Some chunks."""
FILES = {
    "docs/a.txt": b"short",
    "docs/deep/long.bin": LONG,
    "docs/same.bin": b"twice",
    "empty.txt": b"",
}


def fill(party: Party) -> None:
    for path, data in FILES.items():
        party.write(path, data)
    party.write("gone.txt", b"gone")
    party.remove("gone.txt")
    party.edit("docs/a.txt", b"edited")
    party.edit("docs/a.txt", b"short")


def examine(party: Party, repair: bool = False, quick: bool = False) -> DoctorReport:
    told: list[Finding] = []
    report = run_doctor(party.home, repair, quick, told.append)
    assert told == report.findings
    return report


def kinds(report: DoctorReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def sql(party: Party, *statements: str) -> int:
    """What a bug or a bad disk did; how many rows were concerned."""
    with closing(sqlite3.connect(party.home.database_file)) as connection:
        count = 0
        for statement in statements:
            count += connection.execute(statement).rowcount
        connection.commit()
    return count


def content_file(party: Party, size: int) -> Path:
    (found,) = [
        path
        for path in party.home.contents_folder.glob("*/*")
        if path.is_file() and path.stat().st_size == size
    ]
    return found


@pytest.fixture
def home(anna: Party) -> Party:
    """Anna's, whose node is down after some work."""
    fill(anna)
    anna.down()
    return anna


def assert_as_before(party: Party) -> None:
    party.up()
    assert party.names() == ["docs", "empty.txt"]
    for path, data in FILES.items():
        assert party.read(path) == data


def test_a_home_that_is_well_is_left_as_it_is(home: Party) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.home.directory.rglob("*")}
    report = examine(home)
    assert report.found == 0
    # A database that is read gets files beside it, and the folders they come and go in are touched.
    for path, time in before.items():
        assert (
            path.is_dir()
            or path.name.startswith(("sharefs.db-", "lock"))
            or (path.stat().st_mtime_ns == time)
        ), path
    assert examine(home, repair=True).found == 0
    assert_as_before(home)


def test_a_node_that_runs_is_not_examined(anna: Party) -> None:
    with pytest.raises(NodeAlreadyRunning, match="sharefs down"):
        examine(anna)
    assert anna.alive


def test_a_node_that_was_killed_is_well(anna: Party) -> None:
    fill(anna)
    anna.kill()
    report = examine(anna)
    assert report.found == 0, report


# --- what can be mended here --------------------------------------------------------------------

MENDED = {
    "a row with another name": (
        "UPDATE entry SET shown = 'b.txt', name = 'b.txt' WHERE name = 'a.txt'",
        {"view"},
    ),
    "a row in another folder": (
        "UPDATE entry SET place = zeroblob(24), anchor = zeroblob(24) WHERE name = 'a.txt'",
        {"view"},
    ),
    "a row that is hidden": ("UPDATE entry SET live = 0 WHERE name = 'long.bin'", {"view"}),
    "a row that is gone": ("DELETE FROM entry WHERE name = 'deep'", {"view"}),
    "all rows gone": ("DELETE FROM entry WHERE length(place) > 0", {"view"}),
    "the row of a space's top gone": ("DELETE FROM entry WHERE length(place) = 0", {"view"}),
    "a row that came back": (
        "UPDATE entry SET live = 1, deleted = 0, shown = 'gone.txt' WHERE name = 'gone.txt'",
        {"view"},
    ),
    "a row too many": (
        "INSERT INTO entry SELECT 999999, space, randomblob(24), device, incarnation, 9, loser,"
        " type, deleted, live, parent, anchor, place, merged, 'new', 'new', created, stamp,"
        " mtime_ns, executable, size, content, target FROM entry WHERE name = 'a.txt'",
        {"view"},
    ),
    "a loser that is none": (
        "INSERT INTO entry SELECT 999999, space, item, device, incarnation, 9, 1,"
        " type, deleted, live, parent, anchor, place, merged, name, 'new', created, stamp,"
        " mtime_ns, executable, size, content, target FROM entry WHERE name = 'a.txt'",
        {"view"},
    ),
    "another size": ("UPDATE entry SET size = 1 WHERE name = 'long.bin'", {"view"}),
    "a live item noted as deleted": (
        "UPDATE record SET dead = 1 WHERE item IN (SELECT item FROM entry WHERE name = 'a.txt')",
        {"record"},
    ),
    "a deleted item noted as live": (
        "UPDATE record SET dead = 0 WHERE dead = 1",
        {"record"},
    ),
    "a wrong sum": ("UPDATE run SET sum = zeroblob(32)", {"record"}),
    "a sum gone": ("DELETE FROM run", {"record"}),
    "a sum too many": (
        "INSERT INTO run SELECT space, device, incarnation, 77, count, sum FROM run",
        {"record"},
    ),
    "an author without a frontier": ("DELETE FROM frontier", {"frontier"}),
    "a frontier that fell": ("UPDATE frontier SET sequence = 1", {"frontier"}),
    "a sequence to be used twice": ("UPDATE space SET next_sequence = 2", {"frontier"}),
    "bytes that are counted wrong": (
        "UPDATE content SET bitmap = x'00', local = 1 WHERE size = 5",
        {"bytes"},
    ),
    "bits lost": ("UPDATE content SET bitmap = zeroblob(1), local = 0", {"bytes"}),
    "a manifest gone": ("DELETE FROM manifest", {"bytes"}),
    "a damaged manifest": ("UPDATE manifest SET data = x'93'", {"bytes"}),
    "places of chunks gone": ("DELETE FROM chunk", {"bytes"}),
    "a place of a chunk that is wrong": ("UPDATE chunk SET position = position + 1", {"bytes"}),
    "contents gone": ("DELETE FROM content", {"stray", "database"}),
}


@pytest.mark.parametrize(("statement", "expected"), MENDED.values(), ids=MENDED.keys())
def test_it_is_found_and_mended(home: Party, statement: str, expected: set[str]) -> None:
    assert sql(home, statement) > 0
    found = examine(home)
    assert kinds(found) == expected
    assert examine(home).findings == found.findings, "to look changes nothing"
    mended = examine(home, repair=True)
    assert mended.found >= found.found
    assert mended.left == 0
    assert examine(home).found == 0
    assert_as_before(home)


def test_findings_name_the_file_of_the_user(home: Party) -> None:
    sql(home, "UPDATE entry SET shown = 'x' WHERE name = 'long.bin'")
    (finding,) = examine(home).findings
    assert finding.path == "Family/docs/deep/long.bin"
    assert "shown differ" in finding.sentence


def test_a_row_that_is_mended_keeps_its_inode(home: Party) -> None:
    home.up()
    ino = home.there("docs/a.txt").ino
    home.down()
    sql(home, "UPDATE entry SET size = 1 WHERE name = 'a.txt'")
    examine(home, repair=True)
    home.up()
    assert home.there("docs/a.txt").ino == ino


def test_versions_in_conflict_are_shown_again(anna: Party, bob: Party) -> None:
    anna.write("plan.txt", b"plan")
    agree("plan.txt", anna, bob)
    join = apart(anna, bob)
    anna.edit("plan.txt", b"anna")
    bob.edit("plan.txt", b"bob, too")
    join()
    until(lambda: len(anna.names()) == 2)
    read = {name: anna.read(name) for name in anna.names()}
    anna.down()
    assert examine(anna).found == 0
    sql(anna, "DELETE FROM entry WHERE loser = 1")
    assert kinds(examine(anna)) == {"view"}
    assert examine(anna, repair=True).left == 0
    anna.up()
    assert {name: anna.read(name) for name in anna.names()} == read


def test_a_dominated_record_is_dropped(home: Party) -> None:
    with closing(sqlite3.connect(home.home.database_file)) as connection:
        rows = connection.execute("SELECT * FROM record ORDER BY number").fetchall()
    home.up()
    home.edit("docs/a.txt", b"newer")
    home.edit("docs/a.txt", b"short")
    home.down()
    with closing(sqlite3.connect(home.home.database_file)) as connection:
        for row in rows:
            connection.execute(
                "INSERT INTO record SELECT 5000 + ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
                " WHERE NOT EXISTS (SELECT 1 FROM record WHERE sequence = ?6)",
                row,
            )
        connection.commit()
    found = examine(home)
    assert kinds(found) == {"record"}
    assert "replaced" in found.findings[0].sentence
    assert examine(home, repair=True).left == 0
    assert_as_before(home)


def test_indexes_are_made_anew(home: Party) -> None:
    sql(
        home,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX entry_anchored ON entry (space, item, live)'"
        " WHERE name = 'entry_anchored'",
    )
    found = examine(home)
    assert kinds(found) == {"database"}
    mended = examine(home, repair=True)
    assert mended.left == 0
    assert_as_before(home)


# --- bytes --------------------------------------------------------------------------------------


@pytest.fixture
def held_twice(anna: Party, bob: Party) -> tuple[Party, Party]:
    """Anna, whose node is down, and Bob, who has every byte of hers."""
    fill(anna)
    for path, data in FILES.items():
        agree(path, anna, bob)
        assert bob.read(path) == data
    until(lambda: not bob.node.state.contents.unsaved())
    anna.down()
    return anna, bob


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


DAMAGES: dict[str, tuple[Callable[[Path], None], str, bool]] = {
    "a flipped bit": (flip, "are not those that were stored", False),
    "a truncated file": (lambda path: os.truncate(path, 1500 * KIB), "bytes are lost", True),
    "an empty file": (lambda path: os.truncate(path, 0), "bytes are lost", True),
    "a longer file": (append, "0 bytes are lost", True),
    "a deleted file": (Path.unlink, "is gone", True),
}


@pytest.mark.parametrize(("damage", "said", "quickly"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_bytes_are_found_and_fetched_again(
    held_twice: tuple[Party, Party], damage: Callable[[Path], None], said: str, quickly: bool
) -> None:
    anna, bob = held_twice
    damage(content_file(anna, len(LONG)))
    assert examine(anna, quick=True).found == int(quickly)
    (finding,) = examine(anna).findings
    assert (finding.kind, finding.path) == ("bytes", "Family/docs/deep/long.bin")
    assert said in finding.sentence
    assert examine(anna, repair=True).left == 0
    assert examine(anna).found == 0
    anna.up()
    meet(anna, bob)
    assert anna.read("docs/deep/long.bin") == LONG


def test_what_is_right_of_a_truncated_file_stays(home: Party) -> None:
    """It may be the only copy."""
    file = content_file(home, len(LONG))
    os.truncate(file, 1500 * KIB)
    examine(home, repair=True)
    home.up()
    content = home.there("docs/deep/long.bin").content
    assert content is not None
    local = home.node.state.contents.open(content, 0)
    assert 0 < local.local_bytes < len(LONG)
    assert local.local_bytes > 300 * KIB
    assert file.read_bytes()[: 1500 * KIB] == LONG[: 1500 * KIB]


def test_what_came_after_the_end_of_a_file_is_set_aside(home: Party) -> None:
    file = content_file(home, len(LONG))
    append(file)
    examine(home, repair=True)
    (aside,) = home.home.set_aside_folder.iterdir()
    assert aside.read_bytes() == LONG + b"more"
    assert_as_before(home)


def test_bits_with_no_bytes_are_dropped(home: Party) -> None:
    """A bit that was set before its bytes were: the file is as long as it should be, and empty."""
    file = content_file(home, len(LONG))
    file.write_bytes(bytes(len(LONG)))
    (finding,) = examine(home, repair=True).findings
    assert f"{len(LONG)} of its bytes" in finding.sentence
    home.up()
    assert home.node.state.contents.local_bytes(home.there("docs/deep/long.bin").content) == 0  # type: ignore[arg-type]


def test_a_part_without_its_manifest_is_set_aside(home: Party) -> None:
    file = content_file(home, len(LONG))
    os.truncate(file, 1500 * KIB)
    sql(home, "DELETE FROM manifest WHERE length(data) > 100")
    report = examine(home, repair=True)
    assert report.left == 0
    (aside,) = home.home.set_aside_folder.iterdir()
    assert aside.read_bytes() == LONG[: 1500 * KIB]
    assert examine(home).found == 0


def test_files_that_are_not_known_stay(home: Party) -> None:
    part = home.home.contents_folder / "ab" / ("ab" * 32)
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"a part of something")
    other = part.with_suffix(".new")
    other.write_bytes(b"half a copy")
    report = examine(home, repair=True)
    assert report.found == 0
    assert any(str(part) in remark for remark in report.remarks)
    assert part.read_bytes() == b"a part of something"
    assert other.exists()


def test_what_is_left_of_earlier_versions_is_told_if_it_is_much(home: Party) -> None:
    home.up()
    home.write("short", b"of no weight")
    home.edit("short", b"of no weight either")
    home.down()
    assert examine(home).remarks == []
    home.up()
    home.edit("docs/deep/long.bin", b"")
    home.down()
    (remark,) = examine(home).remarks
    assert remark.startswith(f"{len(LONG) / 1e6:.1f} MB are of earlier or deleted versions.")


def test_a_draft_without_its_name_is_told_of(home: Party) -> None:
    draft = home.home.drafts_folder / ("0" * 32)
    draft.write_bytes(b"what a program wrote")
    (finding,) = examine(home, repair=True).findings
    assert str(draft) in finding.sentence
    assert not finding.mended
    assert draft.read_bytes() == b"what a program wrote"


# --- what others send again ---------------------------------------------------------------------

FALSE_RECORDS = {
    "a record's bytes": (
        "UPDATE record SET data = CAST(x'93' || data AS BLOB) WHERE sequence = 1",
        "record",
    ),
    "a record's item": ("UPDATE record SET item = randomblob(24) WHERE sequence = 1", "record"),
}


@pytest.mark.parametrize(("statement", "kind"), FALSE_RECORDS.values(), ids=FALSE_RECORDS.keys())
def test_false_records_are_set_aside_and_sent_again(
    held_twice: tuple[Party, Party], statement: str, kind: str
) -> None:
    anna, bob = held_twice
    assert sql(anna, statement) == 1
    assert kind in kinds(examine(anna))
    assert examine(anna, repair=True).left == 0
    assert examine(anna).found == 0
    assert len(list(anna.home.set_aside_folder.iterdir())) == 1
    anna.up()
    meet(anna, bob)
    for path, data in FILES.items():
        agree(path, anna, bob)
        assert anna.read(path) == data


def test_a_false_operation_of_the_roster_is_sent_again(
    anna: Party, bob: Party, carol: Party
) -> None:
    until(lambda: len(bob.replica().roster.devices) == 3)
    anna.down()
    sql(
        anna,
        "UPDATE roster_operation SET data = CAST(x'93' || data AS BLOB)"
        " WHERE number = (SELECT max(number) FROM roster_operation)",
    )
    assert "roster" in kinds(examine(anna))
    assert examine(anna, repair=True).left == 0
    assert examine(anna).found == 0
    anna.up()
    meet(anna, bob, carol)


def test_a_false_commit_is_not_sent(home: Party) -> None:
    sql(
        home,
        "UPDATE \"commit\" SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB)",
    )
    found = examine(home)
    assert "commit" in kinds(found)
    mended = examine(home, repair=True)
    assert {finding.kind for finding in mended.findings if finding.mended} == {"commit"}
    # What the commits had listed can be read here, and not be given away.
    left = examine(home)
    assert kinds(left) == {"record"}
    assert all("Save the file again" in finding.sentence for finding in left.findings)
    assert_as_before(home)


# --- without a way out --------------------------------------------------------------------------


def test_a_database_beyond_repair_is_told_of(home: Party) -> None:
    with closing(sqlite3.connect(home.home.database_file)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'record'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with home.home.database_file.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(os.urandom(100))
    for repair in (False, True):
        report = examine(home, repair)
        assert kinds(report) == {"database"}
        assert report.left == report.found
    assert "restore" in report.findings[0].sentence


def test_memory_does_not_grow_with_the_entries(
    home: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view is made anew batch by batch."""
    monkeypatch.setattr(view, "RECORDS_AT_ONCE", 2)
    sizes: list[int] = []
    batches = view._batches

    def counted(*arguments: object) -> Iterator[view.Batch]:
        for batch in batches(*arguments):  # type: ignore[arg-type]
            sizes.append(len(batch[0]))
            yield batch

    monkeypatch.setattr(view, "_batches", counted)
    assert examine(home).found == 0
    assert len(sizes) > 2
    assert max(sizes) == 2
