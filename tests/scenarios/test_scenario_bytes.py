"""What is travelling is shown, can be called for and let go, and survives any number of crashes."""

import os
import random
import subprocess
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from sharefs.errors import NodeNotRunning
from sharefs.node.reports import TransferReport
from sharefs.web.client import Client
from tests.scenarios.group import Group, Node, run, shell, start, stop, until
from tests.scenarios.real_files import MIB, write_random
from tests.scenarios.traffic import traffic

KILLS = 20
KILLED_SIZE_BYTES = 512 * MIB
FURTHER_BYTES_MAX = 200 * MIB


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob")


def test_getfattr_tells_what_an_entry_is(family: list[Node]) -> None:
    anna, bob = family
    anna.shell("mkdir photos; head -c 300000 /dev/urandom > photos/sea.jpg")
    theirs = bob.at("Family", "photos", "sea.jpg")
    until(theirs.exists, 10)
    told = bob.shell("getfattr -d photos/sea.jpg")
    assert 'user.sharefs.state="ghost"' in told
    assert 'user.sharefs.contributor="Anna"' in told
    bob.shell("cat photos/sea.jpg > /dev/null")
    assert 'user.sharefs.state="local"' in bob.shell("getfattr -d photos/sea.jpg")


def test_fetch_and_free_make_an_entry_local_and_a_ghost_again(family: list[Node]) -> None:
    anna, bob = family
    anna.shell("for n in 1 2 3; do head -c 3000000 /dev/urandom > photos/$n.jpg; done")
    theirs = bob.at("Family", "photos")
    until(lambda: len(os.listdir(theirs)) == 4, 10)
    said = bob.ask("fetch", theirs)
    assert "4 of 4 files" in said
    assert {bob.xattr(path, "state") for path in theirs.iterdir()} == {"local"}
    assert bob.disk_bytes() >= 9_000_000
    assert "4 files" in bob.ask("free", theirs)
    assert {bob.xattr(path, "state") for path in theirs.iterdir()} == {"ghost"}
    assert bob.disk_bytes() == 0
    assert bob.local_bytes() == 0
    bob.shell(f"cmp photos/2.jpg {anna.at('Family', 'photos', '2.jpg')}")


def test_free_refuses_the_last_copy(family: list[Node]) -> None:
    anna, bob = family
    bob.ask("free", bob.at("Family", "photos"))
    sentence = sentence_of_free(anna, "photos/1.jpg")
    assert sentence.startswith("9 ")
    assert "1.jpg" in sentence
    assert anna.xattr(anna.at("Family", "photos", "1.jpg"), "state") == "last copy"
    bob.ask("fetch", bob.at("Family", "photos", "1.jpg"))
    stop(bob)
    assert sentence_of_free(anna, "photos/1.jpg").startswith("9 ")
    start(bob)
    until(lambda: anna.sees_online("Bob"), 15)
    anna.ask("free", anna.at("Family", "photos", "1.jpg"))
    assert anna.xattr(anna.at("Family", "photos", "1.jpg"), "state") == "ghost"
    anna.shell("cat photos/1.jpg > /dev/null")


def sentence_of_free(node: Node, path: str) -> str:
    outcome = run(node.command("free", node.at("Family", path)))
    assert "Traceback" not in outcome.complaint
    return f"{outcome.code} {outcome.complaint}"


def test_outside_of_the_mount_nothing_is_fetched_or_freed(family: list[Node]) -> None:
    _, bob = family
    assert bob.refused("fetch", "/etc").startswith("3 ")
    assert bob.refused("free", bob.at("Family", "no such file")).startswith("3 ")


def test_transfers_show_what_travels_from_whom_and_how_far(family: list[Node]) -> None:
    anna, bob = family
    size = 192 * MIB
    write_random(anna.at("Family", "film.mkv"), size, 6)
    theirs = bob.at("Family", "film.mkv")
    until(lambda: theirs.exists() and theirs.stat().st_size == size, 15)
    fetching = subprocess.Popen(bob.command("fetch", theirs), stdout=subprocess.DEVNULL)

    def of_the_film() -> TransferReport | None:
        # Of what went a moment ago something may still be told.
        films = (t for t in bob.transfers() if t.path == str(theirs))
        return next((t for t in films if t.done and t.sources), None)

    try:
        report = until(of_the_film, 20)
        assert fetching.wait(60) == 0
    finally:
        fetching.kill()
        fetching.wait()
    assert report is not None
    assert (report.direction, report.size) == ("in", size)
    assert [source.name for source in report.sources] == ["Anna"]
    assert 0 < report.done <= size
    assert report.state in ("asking", "fetching")
    until(lambda: not bob.transfers(), 10, "nothing travels any more")
    assert bob.ask_json("transfers") == []


def test_twenty_kills_lose_nothing_that_had_come(family: list[Node]) -> None:
    anna, bob = family
    chance = random.Random(20)
    write_random(anna.at("Family", "killed.bin"), KILLED_SIZE_BYTES, 7)
    theirs = bob.at("Family", "killed.bin")
    until(lambda: theirs.exists() and theirs.stat().st_size == KILLED_SIZE_BYTES, 20)
    bob.ask("free", bob.at("Family", "film.mkv"))
    elsewhere = bob.local_bytes()
    kept = 0
    for _ in range(KILLS):
        if kept > KILLED_SIZE_BYTES * 3 // 4:
            bob.ask("free", theirs)
            kept = 0
        done = kill_while_fetching(bob, theirs, kept + chance.randrange(FURTHER_BYTES_MAX))
        start(bob)
        until(partial(holds, bob, elsewhere + done), 10, "what had come is kept")
        before, kept = kept, bob.local_bytes() - elsewhere
        assert kept >= before, "what was kept is kept"
    until(lambda: bob.sees_online("Anna"), 15)
    received = traffic(bob.pid).received
    bob.ask("fetch", theirs)
    fetched = traffic(bob.pid).received - received
    assert fetched <= (KILLED_SIZE_BYTES - kept) * 1.03 + 2 * MIB, "nothing is fetched twice"
    shell(f"cmp {theirs} {anna.at('Family', 'killed.bin')}", bob.base)


def holds(node: Node, size_bytes: int) -> bool:
    """Whether so much is there, as far as it is looked through after a kill."""
    return node.local_bytes() >= size_bytes


def kill_while_fetching(node: Node, path: Path, goal: int) -> int:
    """Kill the node when a fetch has come as far as `goal`, or is over; returns how far it was."""
    until(lambda: node.sees_online("Anna"), 15)
    fetching = threading.Thread(target=fetch_until_killed, args=(node, path))
    fetching.start()
    done = 0

    def far() -> bool:
        nonlocal done
        done = max([done, *(transfer.done for transfer in node.transfers())])
        return done > goal or not fetching.is_alive()

    try:
        until(far, 60)
    finally:
        node.kill()
        fetching.join(30)
    assert not fetching.is_alive()
    return done


def fetch_until_killed(node: Node, path: Path) -> None:
    with (
        suppress(NodeNotRunning),
        Client(node.home.socket_file) as client,
        client.fetch([str(path)]) as steps,
    ):
        deque(steps, maxlen=0)
