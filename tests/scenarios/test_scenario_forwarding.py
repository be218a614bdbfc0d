"""Who got something new first tells the others, so that two who can not reach each other share."""

import pytest

from tests.scenarios.group import Group, Node, admit, start, until
from tests.scenarios.patient_node import up_patient
from tests.scenarios.proxy import free_ports

ARRIVES_S = 30.0


@pytest.fixture(scope="module")
def chain(lasting_group: Group) -> list[Node]:
    """Anna and Carol, whom nobody can dial, and Bob between them. From when they all know each
    other, none of them looks what the others have but when they meet."""
    anna, bob, carol = (lasting_group.node(name) for name in ("Anna", "Bob", "Carol"))
    for node in (anna, carol):
        port = free_ports(4)
        node.reachable_at(port, port + 2)
    nodes = [anna, bob, carol]
    start(*nodes)
    bob.ask("create", "Family")
    for node in (anna, carol):
        admit(bob, node)
    for node in nodes:
        until(lambda node=node: len(node.members()) == 3, ARRIVES_S)  # type: ignore[misc]
        node.down()
    for node in nodes:
        up_patient(node)
    until(lambda: bob.sees_online("Anna", "Carol"), ARRIVES_S)
    for node in (anna, carol):
        until(lambda node=node: node.sees_online("Bob"), ARRIVES_S)  # type: ignore[misc]
    return nodes


@pytest.mark.parametrize(("one", "other"), [(0, 2), (2, 0)])
def test_what_is_saved_at_one_end_is_seen_at_the_other(
    chain: list[Node], one: int, other: int
) -> None:
    writer, reader, bob = chain[one], chain[other], chain[1]
    mine, theirs = (node.at("Family", f"of {writer.name}") for node in (writer, reader))
    mine.write_text("first")
    until(theirs.exists, ARRIVES_S, "a new file comes through Bob")
    mine.write_text("the second")
    until(lambda: theirs.stat().st_size == len("the second"), ARRIVES_S, "so does a change")
    bob.ask("fetch", bob.at("Family", mine.name))
    assert theirs.read_text() == "the second"
    mine.unlink()
    until(lambda: not theirs.exists(), ARRIVES_S, "so does a removal")
    assert not writer.sees_online(reader.name), "they never meet"


def test_many_files_come_through_each_of_them(chain: list[Node]) -> None:
    anna, _, carol = chain
    anna.shell("mkdir many; for n in $(seq 300); do echo $n > many/$n; done")
    many = carol.at("Family", "many")
    until(lambda: many.exists() and len(list(many.iterdir())) == 300, ARRIVES_S)
