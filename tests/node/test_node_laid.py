"""A version that is almost like the one that is here lies over that, wherever it comes to."""

import random

import pytest

from sharefs.node import collection
from sharefs.node.doctor import run_doctor
from sharefs.records.content import MIB
from tests.node.node_parties import Party, agree, meet, until
from tests.node.test_node_collection import collect, content, has, rounds_pass
from tests.node.test_node_layers import SIZE_BYTES, change, changed, free, room, same


@pytest.fixture(scope="module")
def film() -> bytes:
    return random.Random(3).randbytes(SIZE_BYTES)


def both_have_two_versions(anna: Party, bob: Party, film: bytes) -> None:
    anna.write("film", film)
    agree("film", anna, bob)
    assert same(bob.read("film"), film)
    # What is read is on the disk a moment later.
    until(lambda: bob.there("film").local == SIZE_BYTES)
    change(anna, "film", 3 * MIB, b"new")
    agree("film", anna, bob)
    assert same(bob.read("film"), changed(film, 3 * MIB, b"new"))


def test_a_change_in_place_takes_little_room_where_it_comes_to(
    anna: Party, bob: Party, film: bytes
) -> None:
    both_have_two_versions(anna, bob, film)
    assert room(bob) < SIZE_BYTES + 3 * MIB
    bob.down()
    assert run_doctor(bob.home, False, False, lambda _: None).found == 0
    bob.up()
    assert same(bob.read("film"), changed(film, 3 * MIB, b"new"))


def test_who_has_it_so_serves_it_and_may_be_relied_upon(
    anna: Party, bob: Party, film: bytes
) -> None:
    both_have_two_versions(anna, bob, film)
    until(lambda: free(anna, "film"), "Bob promises to keep it")
    assert same(anna.read("film"), changed(film, 3 * MIB, b"new"))


def test_what_is_under_it_is_collected_there_too(
    anna: Party, bob: Party, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "GRACE_SECONDS", 0.0)
    anna.write("film", film)
    agree("film", anna, bob)
    assert same(bob.read("film"), film)
    old = content(bob, "film")
    change(anna, "film", 3 * MIB, b"new")
    agree("film", anna, bob)
    assert same(bob.read("film"), changed(film, 3 * MIB, b"new"))
    assert has(bob, old)
    rounds_pass(anna, bob)

    def collects() -> bool:
        collect(bob)
        return not has(bob, old)

    until(collects, "it stands alone, and then that goes")
    assert same(bob.read("film"), changed(film, 3 * MIB, b"new"))
    bob.kill()
    bob.up()
    meet(anna, bob)
    assert same(bob.read("film"), changed(film, 3 * MIB, b"new"))
