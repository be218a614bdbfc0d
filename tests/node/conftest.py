from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sharefs.wire.session import Hello
from sharefs.wire.sync import Summary
from tests.node.node_parties import Party, Raw, meet, raw_member, until, without_kernel


@pytest.fixture
def party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Party]]:
    """Makes people with nodes that are up, and takes these down at the end."""
    without_kernel(monkeypatch)
    made: list[Party] = []

    def make(name: str) -> Party:
        made.append(Party(name, tmp_path))
        return made[-1].up()

    yield make
    for each in made:
        each.down()


@pytest.fixture
def anna(party: Callable[[str], Party]) -> Party:
    """Anna, the owner of Family."""
    anna = party("Anna")
    anna.create()
    return anna


@pytest.fixture
def bob(party: Callable[[str], Party], anna: Party) -> Party:
    """Bob, who has joined it, and is online."""
    bob = party("Bob")
    anna.invite(bob)
    meet(anna, bob)
    return bob


@pytest.fixture
def carol(party: Callable[[str], Party], anna: Party, bob: Party) -> Party:
    """Carol, too."""
    carol = party("Carol")
    anna.invite(carol)
    meet(anna, bob, carol)
    return carol


@pytest.fixture
def mallory(anna: Party, bob: Party) -> Iterator[Raw]:
    """A member of Family whose sockets say what the test wants: those that were Bob's."""
    raw = raw_member(bob, anna)
    raw.say(Hello((), (anna.replica().id,), (), False))
    until(lambda: anna.sees(bob), "who speaks is online")
    yield raw
    raw.close()
    until(lambda: not (anna.alive and anna.sees(bob)), "its absence is noticed")


@pytest.fixture
def known(anna: Party, mallory: Raw) -> Raw:
    """Mallory, who has told how she stands, and so is told what is new."""
    replica = anna.replica()
    mallory.say(Summary(replica.id, replica.roster.digest, (), bytes(32)))
    mallory.settle()
    return mallory
