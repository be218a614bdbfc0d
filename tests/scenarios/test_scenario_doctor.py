"""A person whose disk or database went wrong has it examined and mended."""

import sqlite3
from contextlib import closing

from sharefs.store.holders import OURS, Holders
from tests.scenarios.group import Group, Node, run, until
from tests.scenarios.real_files import MIB, sha256, write_random


def test_a_damaged_home_is_mended_and_its_mount_is_right_again(group: Group) -> None:
    anna, bob = group.family("Anna", "Bob")
    original = write_random(group.base / "film.mkv", 3 * MIB, 5)
    anna.shell(f"mkdir -p a/b && cp {original} a/film.mkv && echo text > a/b/c.txt && mkdir empty")
    before = anna.shell("find . | sort")
    ghost = bob.at("Family", "a", "film.mkv")
    until(lambda: ghost.exists() and ghost.stat().st_size == 3 * MIB, 10)
    bob.ask("fetch", ghost)
    assert run(anna.command("doctor")).code == 1, "its node runs"
    anna.down()
    assert run(anna.command("doctor")).code == 0
    (film,) = [
        path
        for path in anna.home.contents_folder.rglob("*")
        if path.is_file() and path.stat().st_size == 3 * MIB
    ]
    with film.open("r+b") as file:
        file.truncate(2 * MIB)
    with closing(sqlite3.connect(anna.home.database_file)) as connection:
        connection.execute("DELETE FROM entry WHERE name IN ('a', 'c.txt')")
        connection.execute("UPDATE entry SET shown = 'x' WHERE name = 'empty'")
        connection.commit()
    found = run(anna.command("doctor"))
    assert found.code == 1
    assert "Family/a/b/c.txt: It is not shown" in found.output
    assert run(anna.command("doctor", "--repair")).code == 0
    anna.up()
    assert anna.shell("find . | sort") == before
    until(lambda: anna.sees_online("Bob"), 15)
    anna.ask("fetch", anna.at("Family", "a", "film.mkv"))
    assert sha256(anna.at("Family", "a", "film.mkv")) == sha256(original)
    anna.down()
    assert run(anna.command("doctor")).code == 0


def test_what_is_told_wrongly_of_who_holds_what_is_mended_and_told_rightly(group: Group) -> None:
    anna, bob = group.family("Anna", "Bob")
    anna.shell("echo Anna > hers.txt")
    bob.shell("echo Bob > his.txt")
    until(lambda: anna.at("Family", "his.txt").exists(), 10)
    until(lambda: bob.at("Family", "hers.txt").exists(), 10)
    bob.shell("cat hers.txt")
    holders(anna, "hers.txt", "Anna, Bob")
    anna.down()
    assert run(anna.command("doctor")).code == 0
    with closing(sqlite3.connect(anna.home.database_file)) as connection:
        for name, held in (("hers.txt", False), ("his.txt", True)):
            device, incarnation, sequence = connection.execute(
                "SELECT device, incarnation, sequence FROM entry WHERE name = ?", (name,)
            ).fetchone()
            at = ((sequence, sequence),) if held else ()
            author = (device, incarnation)
            Holders(connection).splice(1, OURS, author, sequence, sequence, at)
        connection.commit()
    found = run(anna.command("doctor"))
    assert found.code == 1
    assert "Family/hers.txt: All of it is here, and other members are not told" in found.output
    assert "Family/his.txt: Other members are told that all of it is here" in found.output
    assert run(anna.command("doctor", "--repair")).code == 0
    assert run(anna.command("doctor")).code == 0
    anna.up()
    until(lambda: bob.sees_online("Anna"), 15)
    holders(bob, "hers.txt", "Bob, Anna")
    holders(bob, "his.txt", "Bob")


def holders(node: Node, name: str, names: str) -> None:
    path = node.at("Family", name)
    until(lambda: node.xattr(path, "holders") == names, 20, f"{name} is told to be with {names}")
