"""Everybody knows who holds what, also of those who are away, without asking."""

import time
from collections.abc import Callable

import pytest

from sharefs.errors import LastCopy
from sharefs.node import freeing, holders
from sharefs.node.holders import Holders
from sharefs.records.ids import DeviceId
from sharefs.records.intervals import steps_of
from sharefs.records.shown import Shown
from sharefs.store.holders import OURS, SEQUENCE_MAX, holders_at
from sharefs.transfer import telling
from sharefs.wire.holdings import (
    STEPS_MAX,
    AskHeld,
    AskPromise,
    Held,
    HeldPage,
    Place,
    Promise,
    Spoken,
    Statement,
)
from sharefs.wire.transfer import Ask
from tests.node.node_parties import Party, Raw, agree, apart, meet, until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.02)
    monkeypatch.setattr(telling, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(telling, "COMPARE_SECONDS", 0.5)


def told(party: Party, path: str) -> tuple[str, str]:
    """The state of an entry, and who has it."""
    words = party.node.desk.describe(party.there(path))
    return words["state"], words["holders"]


def tells(party: Party, path: str, state: str, names: str) -> None:
    """Wait until that is what a party is told."""
    until(lambda: told(party, path) == (state, names), f"{path} is {state}, with {names}")


def known(party: Party, of: Party) -> bytes:
    """What a party knows of what another holds."""
    device = OURS if party is of else of.device
    number = party.replica().number
    return party.node.loop.call(lambda: party.node.state.store.holders.digest(number, device))


def all_know(*parties: Party) -> None:
    """Wait until everybody knows what everybody holds."""
    until(
        lambda: all(
            known(one, other) == known(other, other) for one in parties for other in parties
        )
    )


def read(party: Party, *paths: str) -> None:
    """Read them, and wait until they are kept for good."""
    for path in paths:
        party.read(path)
    for path in paths:
        row = party.there(path)
        until(lambda row=row: is_kept(party, row), f"{path} is kept")  # type: ignore[misc]


def is_kept(party: Party, row: Shown) -> bool:
    with party.node.state.store.readers.lent() as connection:
        ours = OURS in holders_at(connection, row.space, row.version)
    return ours and row.content is not None and party.node.carriage.is_durable(row.content)


def free(party: Party, *paths: str) -> list[str]:
    """Why they were not freed."""
    freed = party.node.freeing.free([party.there(path) for path in paths])
    return [str(error) for _, error in freed.refused]


def test_who_holds_an_entry_is_told_without_asking(anna: Party, bob: Party, carol: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol)
    tells(anna, "a.txt", "last copy", "Anna")
    tells(carol, "a.txt", "ghost", "Anna")
    bob.read("a.txt")
    tells(anna, "a.txt", "local", "Anna, Bob")
    tells(bob, "a.txt", "local", "Bob, Anna")
    tells(carol, "a.txt", "ghost", "Anna, Bob")
    free(bob, "a.txt")
    tells(anna, "a.txt", "last copy", "Anna")
    tells(carol, "a.txt", "ghost", "Anna")


def test_what_holders_have_who_are_away_is_known_also_after_a_restart(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol)
    bob.read("a.txt")
    tells(carol, "a.txt", "ghost", "Anna, Bob")
    bob.down()
    tells(carol, "a.txt", "ghost", "Anna, Bob (offline)")
    tells(anna, "a.txt", "local", "Anna, Bob (offline)")
    anna.down()
    tells(carol, "a.txt", "unavailable", "Anna (offline), Bob (offline)")
    carol.down()
    carol.up()
    assert told(carol, "a.txt") == ("unavailable", "Anna (offline), Bob (offline)")
    bob.up()
    tells(carol, "a.txt", "ghost", "Bob, Anna (offline)")


def test_what_no_holder_online_has_is_unavailable_though_others_are_online(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol)
    anna.down()
    tells(bob, "a.txt", "unavailable", "Anna (offline)")
    assert bob.sees(carol)


def test_who_writes_holds_it_before_he_says_so(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "TELL_SECONDS", 100.0)
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    assert told(bob, "a.txt") == ("ghost", "Anna")


def test_who_renames_what_he_has_not_got_is_not_taken_for_a_holder(
    anna: Party, bob: Party, carol: Party
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol)
    bob.move("a.txt", "b.txt")
    agree("b.txt", anna, bob, carol)
    tells(carol, "b.txt", "ghost", "Anna")
    anna.down()
    tells(carol, "b.txt", "unavailable", "Anna (offline)")


def test_what_changed_while_they_were_apart_is_made_up_for_when_they_meet(
    anna: Party, bob: Party
) -> None:
    for name in ("a", "b", "c"):
        anna.write(name, name.encode())
        agree(name, anna, bob)
        bob.read(name)
        tells(anna, name, "local", "Anna, Bob")
    bob.down()
    anna.node.loop.call(lambda: _forget(anna, bob.device))
    assert told(anna, "a") == ("last copy", "Anna")
    bob.up()
    meet(anna, bob)
    tells(anna, "a", "local", "Anna, Bob")
    all_know(anna, bob)


def _forget(party: Party, device: DeviceId) -> None:
    replica = party.node.state.replicas[next(iter(party.node.state.replicas))]
    store = party.node.state.store
    for author in store.holders.authors(replica.number, device):
        for partial in (False, True):
            store.holders.splice(
                replica.number, device, author, 0, SEQUENCE_MAX, (), partial=partial
            )


def test_what_was_lost_on_the_way_is_made_up_for(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    all_know(anna, bob)
    keep = Holders._keep
    lost: list[Held | HeldPage] = []

    def lose(self: Holders, device: DeviceId, message: Held | HeldPage) -> None:
        if self is anna.node.holders and not lost:
            lost.append(message)
        else:
            keep(self, device, message)

    monkeypatch.setattr(Holders, "_keep", lose)
    bob.read("a.txt")
    tells(anna, "a.txt", "local", "Anna, Bob")
    assert lost


def test_many_pieces_travel_in_many_messages(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "INTERVALS_AT_ONCE", 3)
    monkeypatch.setattr(holders, "STEPS_MAX", 6)
    for number in range(30):
        anna.write(f"{number}", b"%d" % number)
    agree("29", anna, bob)
    read(bob, *(f"{number}" for number in range(0, 30, 2)))
    all_know(anna, bob)
    replica = bob.replica()
    assert bob.node.state.store.holders.size(replica.number, OURS)[1] > 10
    anna.node.loop.call(lambda: _forget(anna, bob.device))
    bob.down()
    bob.up()
    all_know(anna, bob)
    anna.write("new", b"new")
    all_know(anna, bob)
    states = {told(anna, f"{number}")[0] for number in range(0, 30, 2)}
    others = {told(anna, f"{number}")[0] for number in range(1, 30, 2)}
    assert (states, others) == ({"local"}, {"last copy"})


def test_what_everybody_has_takes_a_handful_of_bytes(anna: Party, bob: Party) -> None:
    for number in range(40):
        anna.write(f"{number}", b"%d" % number)
    agree("39", anna, bob)
    read(bob, *(f"{number}" for number in range(40)))
    all_know(anna, bob)
    assert bob.node.state.store.holders.size(bob.replica().number, OURS) == (1, 1)


# --- liars --------------------------------------------------------------------------------------


def test_nonsense_is_refused_and_harms_nobody(anna: Party, known: Raw) -> None:
    space = anna.replica().id
    spoken = Spoken(anna.replica().incarnation, 5, b"x" * 16)
    for steps in ((1,), (0, 0, 0, 0), (5, 100)):
        for whole, some in ((steps, ()), ((), steps)):
            statement = Statement(anna.device, anna.replica().incarnation, 3, 20, whole, some)
            known.say(Held(space, (statement,), spoken))
            known.settle()
            assert anna.alive
    assert anna.node.state.store.holders.size(anna.replica().number, known.device)[1] == 0


def test_whoever_never_adds_up_is_not_asked_all_the_time(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "AGAIN_SECONDS", 1000.0)
    monkeypatch.setattr(telling, "AGAIN_SECONDS_MAX", 1000.0)
    space, life = anna.replica().id, anna.replica().incarnation
    false = Spoken(life, 5, b"x" * 16)
    for _ in range(20):
        known.say(Held(space, (), false))
        known.say(HeldPage(space, None, None, (), false))
        known.settle()
    assert len(known.heard(AskHeld)) == 1


def test_more_pieces_than_there_is_room_for_are_not_kept(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharefs.store.holders.INTERVALS_MAX", 3000)
    space, life = anna.replica().id, anna.replica().incarnation
    for start in range(0, 100_000, STEPS_MAX):
        pieces = tuple((at, at) for at in range(start, start + STEPS_MAX, 2))
        last = start + STEPS_MAX - 1
        statement = Statement(anna.device, life, start, last, steps_of(pieces, start), ())
        known.say(Held(space, (statement,), None))
    known.settle()
    _, intervals = anna.node.state.store.holders.size(anna.replica().number, known.device)
    assert intervals <= 3000 + STEPS_MAX


def test_a_place_at_the_end_of_all_is_answered(anna: Party, known: Raw) -> None:
    space, life = anna.replica().id, anna.replica().incarnation
    known.say(AskHeld(space, Place(DeviceId(b"\xff" * 16), life, 2**62)))
    assert known.hears(HeldPage, lambda page: page.until is None).statements == ()


# --- freeing ------------------------------------------------------------------------------------


def test_many_are_freed_with_few_questions(anna: Party, bob: Party, carol: Party) -> None:
    names = [f"{number}" for number in range(50)]
    for name in names:
        anna.write(name, name.encode() * 3)
    agree(names[-1], anna, bob, carol)
    read(bob, *names[:40])
    all_know(anna, bob, carol)
    asked: list[AskPromise] = []
    received = bob.node.freeing.received

    def count(device: DeviceId, message: AskPromise | Promise) -> None:
        if isinstance(message, AskPromise):
            asked.append(message)
        received(device, message)

    bob.node.freeing.received = count  # type: ignore[method-assign]
    refused = free(anna, *names)
    assert len(refused) == 10
    assert all("last copy" in sentence for sentence in refused)
    assert [len(question.contents) for question in asked] == [40, 10]
    assert {told(anna, name)[0] for name in names[:40]} == {"ghost"}
    assert {told(anna, name)[0] for name in names[40:]} == {"last copy"}


def test_who_has_it_is_asked_though_he_has_not_said_so_yet(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    all_know(anna, bob)
    monkeypatch.setattr(telling, "TELL_SECONDS", 100.0)
    read(bob, "a.txt")
    assert free(anna, "a.txt") == []


def says_nothing(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a party holds from now on it tells nobody, unless somebody asks."""
    monkeypatch.setattr(telling, "TELL_SECONDS", 100.0)
    monkeypatch.setattr(telling, "COMPARE_SECONDS", 100.0)
    machine = party.node.holders._machine
    until(lambda: not machine._due and (machine._compare_at or 0.0) > time.monotonic() + 10.0)


def know_three_files(anna: Party, bob: Party) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        anna.write(name, name.encode())
        agree(name, anna, bob)
    all_know(anna, bob)


def test_who_promises_to_keep_it_is_known_to_hold_it_at_once(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_three_files(anna, bob)
    says_nothing(bob, monkeypatch)
    read(bob, "a.txt", "c.txt")
    tells(anna, "a.txt", "last copy", "Anna")
    assert free(anna, "a.txt") == []
    assert told(anna, "a.txt") == ("ghost", "Bob")
    assert told(anna, "c.txt") == ("last copy", "Anna")
    (sentence,) = free(anna, "b.txt")
    assert "last copy" in sentence
    assert told(anna, "b.txt") == ("last copy", "Anna")


def test_what_was_promised_adds_up_with_what_is_told_later(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_three_files(anna, bob)
    says_nothing(bob, monkeypatch)
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.5)
    asked: list[AskHeld] = []
    page = bob.node.holders._page

    def note(question: AskHeld) -> HeldPage:
        asked.append(question)
        return page(question)

    monkeypatch.setattr(bob.node.holders, "_page", note)
    read(bob, "b.txt", "a.txt", "c.txt")
    assert free(anna, "b.txt", "a.txt") == []
    all_know(anna, bob)
    assert asked == []


def test_a_promise_that_nobody_asked_for_is_not_believed(anna: Party, known: Raw) -> None:
    anna.write("a.txt", b"hello")
    known.say(Promise(anna.replica().id, 1, b"\x01"))
    known.settle()
    assert told(anna, "a.txt") == ("last copy", "Anna")


def test_a_holder_who_is_away_is_named(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    bob.read("a.txt")
    tells(anna, "a.txt", "local", "Anna, Bob")
    bob.down()
    until(lambda: not anna.sees(bob))
    (sentence,) = free(anna, "a.txt")
    assert "Bob" in sentence
    assert anna.read("a.txt") == b"hello"


def test_who_does_not_answer_holds_up_nobody_for_long(
    anna: Party, known: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeing, "FREE_SECONDS_MAX", 0.1)
    anna.write("a.txt", b"hello")
    with pytest.raises(LastCopy):
        raise next(iter(_refusals(anna, "a.txt")))
    known.hears(AskPromise)


def _refusals(party: Party, path: str) -> list[LastCopy]:
    freed = party.node.freeing.free([party.there(path)])
    return [error for _, error in freed.refused if isinstance(error, LastCopy)]


def test_two_files_with_the_same_bytes_go_together(anna: Party, bob: Party) -> None:
    anna.write("a", b"the same")
    anna.write("b", b"the same")
    agree("b", anna, bob)
    read(bob, "a")
    freed = anna.node.freeing.free([anna.there("a"), anna.there("b")])
    assert (freed.files, freed.bytes, freed.refused) == (2, 8, [])
    tells(bob, "a", "last copy", "Bob")


# --- whom to ask --------------------------------------------------------------------------------


def test_who_is_known_to_hold_it_is_asked_first(
    anna: Party, bob: Party, carol: Party, party: Callable[[str], Party]
) -> None:
    dora = party("Dora")
    anna.invite(dora)
    meet(anna, bob, carol, dora)
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob, carol, dora)
    bob.read("a.txt")
    anna.down()
    tells(dora, "a.txt", "ghost", "Bob, Anna (offline)")
    asked: list[Party] = []
    for other in (bob, carol):
        serving = other.node.carriage.serving
        answer = serving.answer

        def note(device: DeviceId, ask: Ask, other: Party = other, answer=answer) -> None:  # type: ignore[no-untyped-def]
            asked.append(other)
            answer(device, ask)

        serving.answer = note  # type: ignore[method-assign]
    assert dora.read("a.txt") == b"hello"
    assert asked == [bob]


def test_a_network_that_is_cut_and_mended_leaves_nobody_astray(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    all_know(anna, bob)
    join = apart(anna, bob)
    anna.write("b.txt", b"more")
    join()
    agree("b.txt", anna, bob)
    read(bob, "b.txt")
    all_know(anna, bob)
