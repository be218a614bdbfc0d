"""A file that nobody has all of is there as long as those who are online have it together."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.scenarios.group import Group, Node, run, start, stop, until
from tests.scenarios.real_files import MIB, sha256, write_random

SIZE_BYTES = 8 * MIB
STEP_BYTES = 16 * 1024
FAILS_S_MAX = 10.0
"""Three seconds of patience, and a busy machine."""


def look_at(path: Path, begin: int, end: int) -> None:
    """Have these bytes come, and hardly any more: who reads on and on gets what follows, too."""
    for offset in range(begin, end, STEP_BYTES):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert len(os.pread(descriptor, 4096, offset)) == 4096
        finally:
            os.close(descriptor)


def tells(node: Node, state: str, holders: str) -> None:
    path = node.at("Family", "film")
    until(
        lambda: (node.xattr(path, "state"), node.xattr(path, "holders")) == (state, holders),
        20,
        f"to {node.name}, it is {state}, with {holders}",
    )


def test_two_halves_of_a_file_are_a_whole_when_its_writer_is_gone_for_good(group: Group) -> None:
    anna, bob, carol, dora = group.family("Anna", "Bob", "Carol", "Dora")
    film = write_random(group.base / "film", SIZE_BYTES, 5)
    anna.shell(f"cp {film} film")
    for node in (bob, carol, dora):
        until(lambda node=node: node.at("Family", "film").exists(), 15, "it is seen")  # type: ignore[misc]
    look_at(bob.at("Family", "film"), 0, SIZE_BYTES // 2)
    look_at(carol.at("Family", "film"), SIZE_BYTES // 2, SIZE_BYTES)
    tells(anna, "last copy", "Anna, Bob (partial), Carol (partial)")
    tells(dora, "ghost", "Anna, Bob (partial), Carol (partial)")
    stop(anna)
    tells(dora, "ghost", "Bob (partial), Carol (partial), Anna (offline)")

    freed = run(bob.command("free", bob.at("Family", "film")))
    assert freed.code == 9, "what nobody has all of stays where it is"

    stop(bob)
    tells(dora, "ghost", "Carol (partial), Anna (offline), Bob (partial, offline)")
    began = time.monotonic()
    with pytest.raises(OSError, match="down") as failed:
        look_at(dora.at("Family", "film"), 0, 1)
    assert failed.value.errno == errno.EHOSTDOWN
    assert time.monotonic() - began < FAILS_S_MAX
    fetched = run(dora.command("fetch", dora.at("Family", "film")))
    assert fetched.code != 0
    assert "Carol holds other parts" in fetched.complaint

    start(bob)
    tells(dora, "partial", "Bob (partial), Carol (partial), Anna (offline)")
    assert sha256(dora.at("Family", "film")) == sha256(film)
    tells(bob, "partial", "Dora, Carol (partial), Anna (offline)")
