"""What a device tells others that it holds is what it holds, after a doctor has seen to it."""

import os
import random
import sqlite3
from contextlib import closing

import pytest

from sharefs.records.content import MIB
from sharefs.store.health import holdings
from sharefs.store.holders import OURS, Holders
from sharefs.store.sums import Author
from tests.node.node_parties import Party, agree, meet
from tests.node.test_node_collection import content
from tests.node.test_node_doctor import (
    LONG,
    assert_as_before,
    content_file,
    examine,
    fill,
    kinds,
    sql,
)
from tests.node.test_node_holders import all_know, read, tells
from tests.node.test_node_layers import SIZE_BYTES, change, changed, same
from tests.node.test_node_partial import read_part

HERE = "All of it is here, and other members are not told so."
NOT_HERE = "Other members are told that all of it is here, and it is not."
PARTLY_HERE = "Some of it is here, and other members are not told so."
NOTHING_HERE = "Other members are told that some of it is here, and nothing is."
MORE_HERE = "Other members are told that some of it is here, and all of it is."


@pytest.fixture
def home(anna: Party) -> Party:
    """Anna's, whose node is down after some work."""
    fill(anna)
    anna.down()
    return anna


def account(party: Party, name: str) -> tuple[Author, int]:
    """Who wrote a file that is shown, and under which number."""
    with closing(sqlite3.connect(party.home.database_file)) as connection:
        device, incarnation, sequence = connection.execute(
            "SELECT device, incarnation, sequence FROM entry WHERE shown = ? AND live = 1", (name,)
        ).fetchone()
    return (device, incarnation), sequence


def tell(party: Party, name: str, held: bool, *, partial: bool = False) -> None:
    """As a bug would that adds up what it tells: the file is held, or is not."""
    author, sequence = account(party, name)
    with closing(sqlite3.connect(party.home.database_file)) as connection:
        stated = ((sequence, sequence),) if held else ()
        Holders(connection).splice(1, OURS, author, sequence, sequence, stated, partial=partial)
        connection.commit()


def is_told(party: Party, name: str, *, partial: bool = False) -> bool:
    """Whether others are told that the file is here, or some of it."""
    author, sequence = account(party, name)
    with closing(sqlite3.connect(party.home.database_file)) as connection:
        return bool(
            Holders(connection).intervals(1, OURS, author, sequence, sequence, 1, partial=partial)
        )


def told(party: Party) -> list[tuple[str, str]]:
    """What a doctor says who only looks."""
    findings = examine(party).findings
    assert {finding.kind for finding in findings} <= {"holding"}
    return sorted((finding.path, finding.sentence) for finding in findings)


def mend(party: Party) -> None:
    assert examine(party, repair=True).left == 0
    assert examine(party).found == 0


def test_what_is_told_wrongly_is_mended_and_the_others_learn_it(anna: Party, bob: Party) -> None:
    anna.write("mine.txt", b"Anna's")
    bob.write("his.txt", b"Bob's")
    for name in ("mine.txt", "his.txt"):
        agree(name, anna, bob)
    read(bob, "mine.txt")
    tells(anna, "mine.txt", "local", "Anna, Bob")
    anna.down()
    assert examine(anna).found == 0
    tell(anna, "mine.txt", held=False)
    tell(anna, "his.txt", held=True)
    anna.up()
    meet(anna, bob)
    tells(bob, "mine.txt", "last copy", "Bob")
    tells(bob, "his.txt", "local", "Bob, Anna")
    anna.down()
    assert told(anna) == [("Family/his.txt", NOT_HERE), ("Family/mine.txt", HERE)]
    assert len(told(anna)) == 2, "to look changes nothing"
    mend(anna)
    anna.up()
    meet(anna, bob)
    tells(bob, "mine.txt", "local", "Bob, Anna")
    tells(bob, "his.txt", "last copy", "Bob")
    all_know(anna, bob)


def test_what_is_told_wrongly_of_a_part_is_mended_and_the_others_learn_it(
    anna: Party, bob: Party
) -> None:
    for name in ("some", "none", "all"):
        anna.write(name, random.Random(name).randbytes(MIB))
        agree(name, anna, bob)
    read(bob, "all")
    read_part(bob, "some", 0, 1)
    tells(anna, "some", "last copy", "Anna, Bob (partial)")
    bob.down()
    assert examine(bob).found == 0
    tell(bob, "some", held=False, partial=True)
    tell(bob, "none", held=True, partial=True)
    tell(bob, "all", held=True, partial=True)
    assert told(bob) == [
        ("Family/all", MORE_HERE),
        ("Family/none", NOTHING_HERE),
        ("Family/some", PARTLY_HERE),
    ]
    mend(bob)
    partly = [name for name in ("some", "none", "all") if is_told(bob, name, partial=True)]
    assert partly == ["some"]
    assert is_told(bob, "all")
    bob.up()
    meet(anna, bob)
    all_know(anna, bob)
    tells(anna, "none", "last copy", "Anna")


def test_a_part_told_of_ahead_of_what_has_come_is_cut_off(home: Party) -> None:
    author, _ = account(home, "long.bin")
    with closing(sqlite3.connect(home.home.database_file)) as connection:
        Holders(connection).splice(1, OURS, author, 1000, 2000, ((1000, 2000),), partial=True)
        connection.commit()
    (finding,) = examine(home).findings
    assert "nothing has come yet" in finding.sentence
    mend(home)


def test_a_quick_look_finds_it_too(home: Party) -> None:
    tell(home, "long.bin", held=False)
    assert examine(home, quick=True).found == 1


@pytest.mark.parametrize("repair", [False, True])
def test_damaged_bytes_are_told_of_once(home: Party, repair: bool) -> None:
    """Who mends those tells others no more that they are here."""
    content_file(home, len(LONG)).unlink()
    assert [finding.kind for finding in examine(home, repair).findings] == ["bytes"]
    assert is_told(home, "long.bin") is not repair
    assert is_told(home, "same.bin")


ACCOUNTS = {
    "intervals gone": "DELETE FROM held",
    "accounts gone": "DELETE FROM holder",
    "a wrong sum": "UPDATE holder SET sum = zeroblob(16)",
    "a wrong count": "UPDATE holder SET count = count + 1",
    "intervals that overlap": "INSERT INTO held SELECT holder, first + 1, last FROM held"
    " WHERE last > first",
    "an interval beyond what is known": "UPDATE held SET last = last + 1000",
}


@pytest.mark.parametrize("statement", ACCOUNTS.values(), ids=ACCOUNTS.keys())
def test_accounts_that_do_not_add_up_are_mended(home: Party, statement: str) -> None:
    assert sql(home, statement) > 0
    assert kinds(examine(home)) == {"holding"}
    mend(home)
    assert all(is_told(home, name) for name in ("a.txt", "long.bin", "same.bin"))
    assert_as_before(home)


def accounts(party: Party) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(party.home.database_file)) as connection:
        return connection.execute(
            "SELECT number, space, device, author, incarnation, count, sum FROM holder"
        ).fetchall()


def test_what_another_device_said_is_kept_and_added_up(anna: Party, bob: Party) -> None:
    anna.write("mine.txt", b"Anna's")
    agree("mine.txt", anna, bob)
    all_know(anna, bob)
    bob.down()
    before = accounts(bob)
    assert sql(bob, "UPDATE holder SET sum = randomblob(16) WHERE device <> x'' AND count > 0") == 1
    (finding,) = examine(bob).findings
    assert "another device" in finding.sentence
    mend(bob)
    assert accounts(bob) == before
    bob.up()


def test_what_is_told_ahead_of_what_has_come_is_cut_off(home: Party) -> None:
    author, _ = account(home, "long.bin")
    with closing(sqlite3.connect(home.home.database_file)) as connection:
        Holders(connection).splice(1, OURS, author, 1000, 2000, ((1000, 2000),))
        connection.commit()
    (finding,) = examine(home).findings
    assert finding.path == "Family"
    assert "nothing has come yet" in finding.sentence
    mend(home)


def test_many_files_are_told_of_one_by_one_and_mended_together(
    anna: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "FILES_AT_ONCE", 3)
    for number in range(8):
        anna.write(f"{number}.txt", str(number).encode())
    anna.down()
    for number in range(0, 8, 2):
        tell(anna, f"{number}.txt", held=False)
    assert told(anna) == [(f"Family/{number}.txt", HERE) for number in range(0, 8, 2)]
    mend(anna)


@pytest.mark.parametrize("quick", [False, True])
def test_a_layer_is_held_only_while_what_it_lies_over_is(
    anna: Party, bob: Party, quick: bool
) -> None:
    film = random.Random(1).randbytes(SIZE_BYTES)
    anna.write("film", film)
    agree("film", anna, bob)
    assert same(bob.read("film"), film)
    old = content(anna, "film").hex()
    change(anna, "film", MIB, b"new")
    agree("film", anna, bob)
    assert same(bob.read("film"), changed(film, MIB, b"new"))
    anna.down()
    assert examine(anna, quick=quick).found == 0
    os.truncate(anna.home.contents_folder / old[:2] / old, 2 * MIB)
    assert kinds(examine(anna, quick=quick)) == {"bytes"}
    assert is_told(anna, "film")
    assert examine(anna, repair=True, quick=quick).left == 0
    assert examine(anna, quick=quick).found == 0
    assert not is_told(anna, "film")
    anna.up()
    meet(anna, bob)
    tells(bob, "film", "last copy", "Bob, Anna (partial)")
    assert same(anna.read("film"), changed(film, MIB, b"new"))
    tells(bob, "film", "local", "Bob, Anna")
