"""A version of a file that was changed takes from the one before what that has."""

import os
import random
from collections.abc import Callable
from typing import cast

import pytest

from sharefs.errors import DiskFull
from sharefs.records.content import KIB, MIB
from sharefs.records.ids import ContentId
from sharefs.store.elsewhere import Run
from tests.node.node_parties import Party, agree, meet, until

FILM = random.Random(8).randbytes(24_000_000)
HEAD = b"title"


def changed(anna: Party, bob: Party) -> ContentId:
    """Bob has a film, all of it, and sees another version of it, with a title before it."""
    anna.write("film", FILM)
    agree("film", anna, bob)
    assert bob.read("film") == FILM
    anna.edit("film", HEAD + FILM)
    agree("film", anna, bob)
    return cast(ContentId, bob.there("film").content)


def sent(party: Party, to: Party) -> int:
    """Bytes of chunks."""
    return party.node.loop.call(lambda: party.node.carriage.serving.sent(to.device)[0])


Take = Callable[[], list[int]]


def watch(
    monkeypatch: pytest.MonkeyPatch, party: Party, take: Callable[[Take, Run], list[int]]
) -> None:
    """Have this called for each run that is to be taken."""
    contents = party.node.state.contents
    original = contents.take

    def watched(content: ContentId, run: Run) -> list[int]:
        return take(lambda: original(content, run), run)

    monkeypatch.setattr(contents, "take", watched)


def test_only_what_is_new_travels(anna: Party, bob: Party) -> None:
    changed(anna, bob)
    before = sent(anna, bob)
    assert bob.read("film") == HEAD + FILM
    assert sent(anna, bob) - before < 2 * MIB


def test_who_reads_one_place_waits_for_that_only(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = changed(anna, bob)
    place, taken = 17_000_000, []

    def take(original: Take, run: Run) -> list[int]:
        taken.append(run)
        return original()

    watch(monkeypatch, bob, take)
    handle = bob.node.core.open(bob.there("film").ino, os.O_RDONLY)
    assert bob.node.core.read(handle, place, 10) == (HEAD + FILM)[place : place + 10]
    bob.node.core.release(handle)
    offsets = bob.node.state.contents.open(content, 0).manifest.offsets()  # type: ignore[union-attr]
    first = taken[0].indexes
    assert offsets[first.start] <= place < offsets[first.stop]
    until(lambda: bob.node.state.contents.local_bytes(content) > len(FILM) - 2 * MIB, "the rest")


def test_after_a_kill_the_rest_is_taken_and_not_fetched(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(anna, bob)
    node, taken = bob.node, []

    def take(original: Take, run: Run) -> list[int]:
        taken.append(run)
        if len(taken) > 1:
            until(lambda: node.loop.stopping)
            return []
        return original()

    watch(monkeypatch, bob, take)
    handle = node.core.open(bob.there("film").ino, os.O_RDONLY)
    assert node.core.read(handle, 10_000_000, 10) == (HEAD + FILM)[10_000_000:10_000_010]
    until(lambda: len(taken) > 1)
    bob.kill()
    bob.up()
    meet(anna, bob)
    before = sent(anna, bob)
    assert bob.read("film") == HEAD + FILM
    assert sent(anna, bob) - before < 2 * MIB


def test_a_chunk_that_is_damaged_here_is_fetched(anna: Party, bob: Party) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob)
    assert bob.read("film") == FILM
    old = bob.there("film").content
    assert old is not None
    name = old.hex()
    with (bob.home.contents_folder / name[:2] / name).open("r+b") as file:
        file.seek(12_000_000)
        file.write(bytes(64 * KIB))
    anna.edit("film", HEAD + FILM)
    agree("film", anna, bob)
    before = sent(anna, bob)
    assert bob.read("film") == HEAD + FILM
    assert sent(anna, bob) - before < 4 * MIB


def test_a_disk_that_is_full_is_told_to_who_reads(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(anna, bob)

    def fail(original: Take, run: Run) -> list[int]:
        raise DiskFull("No room.")

    watch(monkeypatch, bob, fail)
    assert isinstance(bob.fails("film"), DiskFull)
    monkeypatch.undo()
    assert bob.read("film") == HEAD + FILM
