"""What comes by itself makes room on a full link: nobody waits for it, and others need it."""

from tests.scenarios.group import Group, Node, admit, start, until
from tests.scenarios.proxy import Link
from tests.scenarios.real_files import MIB, sha256, write_random
from tests.scenarios.test_scenario_links import (
    arrives,
    behind,
    done_bytes,
    fetching,
    nowhere,
)

SIZE_BYTES = 96 * MIB
"""What is left of it would take longer at the rate that is left to it than the test waits."""
LINK_BYTES_S = 2_000_000
SWOLLEN_S = 0.1
PART_BYTES = 2 * MIB
YIELDED = 1 / 8
"""Of what somebody gets who waits for it; they would get as much if both were the same to us."""


def gather(founder: Node, *others: Node) -> None:
    """In a space, where only the founder can be dialled: all their bytes pass its link."""
    start(founder, *others)
    founder.ask("create", "Family")
    for other in others:
        admit(founder, other)
        until(lambda other=other: other.sees_online(founder.name), 20)  # type: ignore[misc]


def part_beside(background: Node, foreground: Node) -> float:
    """How much one gets while the other gets a part, to that."""
    theirs, ours = done_bytes(background), done_bytes(foreground)
    until(lambda: done_bytes(foreground) >= ours + PART_BYTES, 30, "a part has come")
    return (done_bytes(background) - theirs) / (done_bytes(foreground) - ours)


def test_what_comes_by_itself_leaves_a_full_link_to_others(group: Group) -> None:
    link = Link(delay_s=0.01, queue_s=1.0)
    anna, bob, carol = behind(group, "Anna", link), nowhere(group, "Bob"), nowhere(group, "Carol")
    gather(anna.node, bob, carol)
    film = write_random(group.base / "film.mkv", SIZE_BYTES, 7)
    anna.node.shell(f"cp {film} film.mkv")
    bobs, carols = (arrives(each.at("Family", "film.mkv"), SIZE_BYTES) for each in (bob, carol))
    link.bytes_s = LINK_BYTES_S
    bob.ask("settings", "replication", "eager", "--space", "Family")

    until(lambda: anna.proxy.queued_s > SWOLLEN_S, 20, "the film fills the link")
    until(lambda: anna.proxy.queued_s == 0, 20, "it makes room")
    assert done_bytes(bob), "it is still on its way"

    with fetching(carol, carols):
        until(lambda: part_beside(bob, carol) < YIELDED, 60, "it makes way for who waits for it")
        assert done_bytes(bob) < SIZE_BYTES / 2, "most of it is to come"

    link.bytes_s = None
    until(lambda: bob.xattr(bobs, "state") == "local", 60, "the rest comes as fast as it can")
    assert sha256(bobs) == sha256(film)
