"""Who has some of a file is known, and used, and relied upon by nobody."""

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharefs.errors import NoHolderOnline, RemoteProtocolError
from sharefs.node import holders
from sharefs.records.content import MIB
from sharefs.records.ids import DeviceId, Incarnation
from sharefs.records.intervals import Intervals, intervals_of, spliced
from sharefs.store.holders import OURS
from sharefs.transfer import telling
from sharefs.wire.holdings import Held, Statement
from tests.node.node_parties import Party, Raw, agree, meet, until
from tests.node.test_node_holders import _forget, all_know, free, read, says_nothing, tells
from tests.node.test_node_holders import known as known_by
from tests.node.test_node_layers import same

FILM = random.Random(7).randbytes(6 * MIB)
"""A dozen chunks."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.02)
    monkeypatch.setattr(telling, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(telling, "COMPARE_SECONDS", 0.5)


@pytest.fixture
def dora(party: Callable[[str], Party], anna: Party, bob: Party, carol: Party) -> Party:
    """And Dora."""
    dora = party("Dora")
    anna.invite(dora)
    meet(anna, bob, carol, dora)
    return dora


def read_part(party: Party, path: str, start: int, end: int) -> bytes:
    """Some bytes of a file, and a little more, are here for good."""
    core, row = party.node.core, party.there(path)
    handle = core.open(row.ino, os.O_RDONLY)
    try:
        data = bytes(core.read(handle, start, end - start))
    finally:
        core.release(handle)
    until(lambda: row.content is None or party.node.carriage.is_durable(row.content))
    return data


def halve(anna: Party, bob: Party, carol: Party, *others: Party) -> None:
    """Anna has a film, Bob the first half of it and Carol the second."""
    anna.write("film", FILM)
    agree("film", anna, bob, carol, *others)
    half = len(FILM) // 2
    assert same(read_part(bob, "film", 0, half), FILM[:half])
    assert same(read_part(carol, "film", half, len(FILM)), FILM[half:])


def test_who_has_some_of_a_file_is_told_without_asking(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob, carol)
    read_part(bob, "film", 0, MIB)
    tells(anna, "film", "last copy", "Anna, Bob (partial)")
    tells(carol, "film", "ghost", "Anna, Bob (partial)")
    tells(bob, "film", "partial", "Anna")
    anna.down()
    tells(carol, "film", "ghost", "Bob (partial), Anna (offline)")
    bob.down()
    tells(carol, "film", "unavailable", "Anna (offline), Bob (partial, offline)")
    carol.down()
    carol.up()
    tells(carol, "film", "unavailable", "Anna (offline), Bob (partial, offline)")
    anna.up()
    bob.up()
    meet(anna, bob, carol)
    read(bob, "film")
    tells(carol, "film", "ghost", "Anna, Bob")
    free(bob, "film")
    tells(carol, "film", "ghost", "Anna")
    all_know(anna, bob, carol)


def test_who_frees_some_of_a_file_is_a_holder_no_more(anna: Party, bob: Party) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob)
    read_part(bob, "film", 0, MIB)
    tells(anna, "film", "last copy", "Anna, Bob (partial)")
    assert free(bob, "film") == []
    tells(anna, "film", "last copy", "Anna")


def test_two_halves_are_a_whole_when_nobody_has_all_of_it(
    anna: Party, bob: Party, carol: Party, dora: Party
) -> None:
    halve(anna, bob, carol, dora)
    anna.down()
    tells(dora, "film", "ghost", "Bob (partial), Carol (partial), Anna (offline)")
    assert same(dora.read("film"), FILM)
    tells(bob, "film", "partial", "Dora, Carol (partial), Anna (offline)")


def test_nobody_relies_on_those_who_have_some_of_it(anna: Party, bob: Party, carol: Party) -> None:
    """Not even if they have all of it together: each may free what it has."""
    halve(anna, bob, carol)
    tells(anna, "film", "last copy", "Anna, Bob (partial), Carol (partial)")
    (sentence,) = free(anna, "film")
    assert "last copy" in sentence
    assert same(anna.read("film"), FILM)


def test_what_nobody_online_has_fails_soon_and_says_who_has_the_rest(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob, carol)
    read_part(bob, "film", 0, MIB)
    tells(carol, "film", "ghost", "Anna, Bob (partial)")
    anna.down()
    tells(carol, "film", "ghost", "Bob (partial), Anna (offline)")
    assert same(read_part(carol, "film", 0, MIB), FILM[:MIB])
    error = carol.fails("film")
    assert isinstance(error, NoHolderOnline)
    assert "Bob holds other parts. Anna may have them." in str(error)


def test_who_promises_all_of_it_is_known_to_hold_more_than_some(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob)
    read_part(bob, "film", 0, MIB)
    tells(anna, "film", "last copy", "Anna, Bob (partial)")
    all_know(anna, bob)
    says_nothing(bob, monkeypatch)
    read(bob, "film")
    assert free(anna, "film") == []
    tells(anna, "film", "ghost", "Bob")
    assert known_by(anna, bob) == known_by(bob, bob), "what Bob says next adds up"


def test_many_pieces_of_both_kinds_travel_in_many_messages(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "INTERVALS_AT_ONCE", 2)
    monkeypatch.setattr(holders, "STEPS_MAX", 4)
    names = [f"{number:02}" for number in range(24)]
    for number, name in enumerate(names):
        anna.write(name, random.Random(number).randbytes(MIB))
    agree(names[-1], anna, bob)
    for name in names[::3]:
        read_part(bob, name, 0, 1)
    read(bob, *names[1::3])
    all_know(anna, bob)
    anna.node.loop.call(lambda: _forget(anna, bob.device))
    bob.down()
    bob.up()
    all_know(anna, bob)
    assert bob.node.state.store.holders.size(bob.replica().number, OURS)[1] > 12
    for name in names[::3]:
        tells(anna, name, "last copy", "Anna, Bob (partial)")
    for name in names[1::3]:
        tells(anna, name, "local", "Anna, Bob")
    for name in names[2::3]:
        tells(anna, name, "last copy", "Anna")


# --- what a stranger says -----------------------------------------------------------------------

MOST = 30
Kept = tuple[Intervals, Intervals]


def drawn_statements(author: tuple[DeviceId, Incarnation]) -> list[Statement]:
    """Many that speak of few versions, of which some make sense."""
    drawn: list[Statement] = []
    pairs = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), max_size=4)
    steps = pairs.map(lambda each: tuple(step for pair in each for step in pair))
    steps |= st.lists(st.integers(0, 5), max_size=8).map(tuple)

    @settings(max_examples=150, database=None)
    @given(st.integers(0, 12), st.integers(8, MOST), steps, steps)
    def draw(first: int, last: int, whole: tuple[int, ...], partial: tuple[int, ...]) -> None:
        drawn.append(Statement(*author, first, last, whole, partial))

    draw()
    return drawn


def kept_of(party: Party, device: DeviceId, author: tuple[DeviceId, Incarnation]) -> Kept:
    """What a party knows of what another holds, whole and in part."""
    number, store = party.replica().number, party.node.state.store.holders

    def look() -> Kept:
        whole, partial = (
            store.intervals(number, device, author, 0, 2 * MOST, 99, partial=kind)
            for kind in (False, True)
        )
        return whole, partial

    return party.node.loop.call(look)


def test_a_statement_is_kept_as_a_whole_or_not_at_all(anna: Party, known: Raw) -> None:
    replica = anna.replica()
    author = (anna.device, replica.incarnation)
    model: Kept = ((), ())
    refused = 0
    for statement in drawn_statements(author):
        first, last = statement.first, statement.last
        try:
            whole, partial = (
                intervals_of(steps, first, last) for steps in (statement.whole, statement.partial)
            )
        except RemoteProtocolError:
            refused += 1
        else:
            if first <= last:
                model = (
                    spliced(model[0], first, last, whole),
                    spliced(model[1], first, last, partial),
                )
        known.say(Held(replica.id, (statement,), None))
        known.settle()
        assert kept_of(anna, known.device, author) == model
    assert 10 < refused < 140, "both are tried"
