"""A device whose disk was copied, or set back, signs two records under one number (I8)."""

import shutil
from pathlib import Path

import msgspec
import pytest

from sharefs.node.replica import Overtaken
from sharefs.node.reports import AstrayEvent
from sharefs.records.commit import sign_commit
from sharefs.records.ids import ROOT, DeviceId, Frontier, Incarnation, RecordHash
from sharefs.records.record import encode_record, hash_record
from sharefs.sync.effects import Apply
from sharefs.sync.shipment import ship
from tests.node.node_parties import Party, agree, meet, until
from tests.node.test_node_audit import audit, fingerprints
from tests.node.test_node_replica import NOW, Make, Side, make, past  # noqa: F401
from tests.spaces.space_people import ANNA, BOB, CAROL


class Twins:
    """Bob's device, his other copy of it, and two who know him."""

    def __init__(self, make: Make) -> None:  # noqa: F811
        self.anna, self.carol = make(ANNA), make(CAROL)
        self.bob, self.twin = make(BOB), make(BOB)
        with self.twin.store.transaction():
            self.twin.replica.renew_incarnation(self.bob.replica.incarnation)

    @property
    def author(self) -> tuple[DeviceId, Incarnation]:
        return (BOB.device, self.bob.replica.incarnation)

    @property
    def others(self) -> tuple[Side, Side]:
        return (self.anna, self.carol)


@pytest.fixture
def twins(make: Make) -> Twins:  # noqa: F811
    return Twins(make)


def close(side: Side) -> bool:
    with side.store.transaction():
        return side.replica.has_astray and side.replica.close_astray(NOW)


def tell_roster(teller: Side, hearer: Side) -> None:
    with hearer.store.transaction():
        hearer.replica.add_operations(teller.ledger.operations(teller.replica.number))


def until_equal(*sides: Side) -> None:
    """What the exchange does, until nobody has anything to tell."""
    for _ in range(3):
        for one in sides:
            for other in sides:
                if one is not other:
                    tell_roster(one, other)
                    close(other)
                    other.pull_from(one)
                    audit(other, one)
                    close(other)


def limits(side: Side) -> Frontier:
    return side.replica.roster.limits


def test_both_versions_reach_all_and_all_are_equal(twins: Twins) -> None:
    anna, carol = twins.others
    anna.apply(twins.bob.file(1, "by the one"))
    carol.apply(twins.twin.file(2, "by the other"))
    assert anna.replica.frontier == carol.replica.frontier
    until_equal(anna, carol)
    assert anna.names() == carol.names() == ["by the one", "by the other"]
    assert len(fingerprints(anna, carol)) == 1
    assert limits(anna) == limits(carol) == {twins.author: 1}


def test_both_versions_of_one_file_reach_all(twins: Twins) -> None:
    anna, carol = twins.others
    anna.apply(twins.bob.file(1, "a.txt", b"one"))
    carol.apply(twins.twin.file(1, "a.txt", b"two"))
    until_equal(anna, carol)
    assert anna.names() == carol.names()
    assert len(anna.names()) == 2
    shown = [
        {(row.shown, row.loser, row.content) for row in side.replica.shelf.listed(ROOT)}
        for side in twins.others
    ]
    assert shown[0] == shown[1]


def test_nothing_more_is_taken_under_that_number(twins: Twins) -> None:
    anna = twins.anna
    anna.apply(twins.bob.file(1, "1"))
    anna.apply(twins.twin.file(2, "2"))
    assert close(anna)
    assert not close(anna), "it is told once"
    later = twins.bob.file(3, "3")
    anna.apply(later, {twins.author: 2})
    assert anna.names() == ["1", "2"]
    assert anna.replica.frontier[twins.author] == 1
    assert anna.replica.stands(None).limits == {twins.author: 1}


def test_what_somebody_had_before_they_knew_is_not_lost(twins: Twins) -> None:
    anna, carol = twins.others
    for side in (anna, carol):
        side.apply(twins.bob.file(1, "1") if side is anna else list(twins.bob.page({}).shipments))
    for number in (2, 3):
        carol.apply(twins.bob.file(number, f"{number}"))
    anna.apply(twins.twin.file(9, "9"))
    close(anna)
    assert limits(anna) == {twins.author: 1}
    until_equal(anna, carol)
    assert limits(anna) == limits(carol) == {twins.author: 3}
    assert anna.names() == carol.names() == ["1", "2", "3", "9"]
    assert len(fingerprints(anna, carol)) == 1


def test_a_copy_that_learns_of_the_other_brings_all_it_has(twins: Twins) -> None:
    anna, bob = twins.anna, twins.bob
    for number in (1, 2, 3):
        bob.file(number, f"{number}")
    anna.apply(twins.twin.file(9, "9"))
    anna.apply(list(bob.page({}).shipments[:1]), {})
    close(anna)
    assert limits(anna) == {twins.author: 1}
    tell_roster(anna, bob)
    close(bob)
    assert [side.replica.is_astray for side in (anna, bob)] == [False, True]
    with bob.store.transaction():
        bob.replica.renew_incarnation(Incarnation(b"another!"))
    bob.file(4, "4")
    until_equal(anna, bob)
    assert anna.names() == bob.names() == ["1", "2", "3", "4", "9"]
    assert len(fingerprints(anna, bob)) == 1


def test_a_proof_survives_a_restart(twins: Twins) -> None:
    twins.anna.apply(twins.bob.file(1, "1"))
    twins.anna.apply(twins.twin.file(2, "2"))
    close(twins.anna)
    assert twins.anna.open().roster.limits == {twins.author: 1}


# --- who meets its other copy -------------------------------------------------------------------


def test_a_commit_of_our_own_that_we_never_made_is_not_kept(twins: Twins) -> None:
    bob = twins.bob
    bob.file(1, "1")
    foreign = twins.twin.file(2, "2")
    with pytest.raises(Overtaken):
        bob.apply(foreign, {})
    assert bob.names() == ["1"]
    bob.apply(list(bob.page({}).shipments), {})
    with bob.store.transaction():
        bob.replica.renew_incarnation(Incarnation(b"another!"))
    bob.apply(foreign, {})
    assert bob.names() == ["1", "2"]


def test_a_claim_to_hold_what_we_never_made_is_not_merged(twins: Twins) -> None:
    with pytest.raises(Overtaken):
        twins.bob.apply([], {twins.author: 1})


def test_who_has_seen_what_we_never_made_has_met_another_copy(twins: Twins) -> None:
    """Else a later version of ours would claim to have seen itself, and nobody would take it."""
    anna, bob = twins.anna, twins.bob
    anna.apply(twins.twin.file(1, "1"))
    with pytest.raises(Overtaken):
        bob.apply(anna.rename(bob.item(1), "renamed"))


# --- whole nodes --------------------------------------------------------------------------------


def set_back(party: Party, image: Path) -> None:
    """As a virtual machine is: all of its disk, the token outside the database included."""
    shutil.rmtree(party.home.directory)
    shutil.copytree(image, party.home.directory)


@pytest.mark.parametrize("count", [1, 3])
def test_a_device_that_was_set_back_loses_nothing(
    anna: Party, bob: Party, tmp_path: Path, count: int
) -> None:
    """Be it known for less than it has made since, or for more."""
    bob.down()
    shutil.copytree(bob.home.directory, tmp_path / "image")
    bob.up()
    before = {f"before {number}.txt" for number in range(count)}
    for name in sorted(before):
        bob.write(name, name.encode())
    until(lambda: set(anna.names()) == before)
    assert [anna.read(name) for name in sorted(before)]
    bob.down()
    set_back(bob, tmp_path / "image")
    anna.down()
    bob.up()
    bob.write("after 1.txt", b"after")
    bob.write("after 2.txt", b"after, too")
    anna.up()
    names = sorted({*before, "after 1.txt", "after 2.txt"})
    until(lambda: anna.names() == bob.names() == names)
    assert [n for n in bob.node.state.notices if "number" in n]
    assert anna.read("after 1.txt") == b"after"
    bob.write("later.txt", b"later")
    until(lambda: anna.names() == [*names, "later.txt"])
    assert anna.alive
    assert bob.alive


def test_what_was_saved_after_a_disk_was_set_back_is_not_superseded_by_who_never_saw_it(
    anna: Party, bob: Party, tmp_path: Path
) -> None:
    """Anna went on from what Bob's device had written under the number that it uses again."""
    anna.write("a.txt", b"the first")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"the first"
    bob.down()
    shutil.copytree(bob.home.directory, tmp_path / "image")
    bob.up()
    meet(anna, bob)
    bob.edit("a.txt", b"by Bob, before")
    until(lambda: anna.read("a.txt") == b"by Bob, before")
    bob.down()
    anna.edit("a.txt", b"by Anna, who went on")
    anna.down()
    set_back(bob, tmp_path / "image")
    bob.up()
    bob.edit("a.txt", b"by Bob, afterwards")
    anna.up()
    until(lambda: len(anna.names()) == len(bob.names()) == 2)
    until(lambda: anna.names() == bob.names())
    held = {b"by Anna, who went on", b"by Bob, afterwards"}
    for party in (anna, bob):
        until(lambda p=party: {p.read(name) for name in p.names()} == held)  # type: ignore[misc]


def test_members_are_told_who_went_astray(anna: Party, bob: Party) -> None:
    bob.write("a.txt", b"a")
    until(lambda: anna.names() == ["a.txt"])
    replica = anna.replica()
    (head,) = anna.node.state.view.heads_of(anna.there("a.txt"))
    data = encode_record(msgspec.structs.replace(head, item=anna.node.state.new_item()))
    commit = sign_commit(
        bob.identity.device_key,
        replica.id,
        bob.device,
        head.incarnation,
        head.sequence,
        replica.roster.heads[0],
        (RecordHash(hash_record(data)),),
    )
    listener = anna.service.listen(lambda: None)
    contradiction = Apply(bob.device, replica.id, (ship(commit, [(head.sequence, data)]),), {})
    anna.node.loop.call(lambda: anna.node.exchange._do(contradiction))
    for party, words in ((anna, "Bob's device laptop"), (bob, "Two copies of this device")):
        until(lambda p=party, w=words: [n for n in p.node.state.notices if w in n])  # type: ignore[misc]
    assert bob.replica().incarnation != head.incarnation
    until(lambda: len(anna.names()) == 2 and anna.names() == bob.names())
    (told,) = [member for member in anna.service.members("Family") if member.astray]
    assert told.name == "Bob"
    events = [event for event in listener.take() if isinstance(event, AstrayEvent)]
    assert events == [AstrayEvent("Family", "Bob", "laptop", ours=False)], "it is told once"
    bob.write("later.txt", b"later")
    until(lambda: "later.txt" in anna.names())
    anna.down()
    anna.up()
    assert [n for n in anna.node.state.notices if "Bob's device laptop" in n]
