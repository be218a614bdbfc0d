"""Slow links, several sources, and sources that fail: what must arrive arrives, and only once."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.scenarios.group import Group, Node, admit, start, until
from tests.scenarios.lying_node import up_lying
from tests.scenarios.proxy import Link, Proxy, free_ports
from tests.scenarios.real_files import MIB, sha256, write_random
from tests.scenarios.traffic import traffic

SIZE_BYTES = 48 * MIB
SLOW_BYTES_S = 12_000_000
CHATTER_SIZE_BYTES_MAX = MIB
"""Of what is said beside payload, in a few seconds."""


@dataclass(frozen=True, slots=True)
class Source:
    """A node, and the proxy through which alone it is reached."""

    node: Node
    proxy: Proxy
    link: Link


def behind(group: Group, name: str, link: Link) -> Source:
    """A new node that is only reached through a link."""
    node = group.node(name)
    port = free_ports(4)
    proxy = Proxy(port + 2, port, link)
    group.at_end(proxy.close)
    node.reachable_at(port, port + 2)
    return Source(node, proxy, link)


def nowhere(group: Group, name: str) -> Node:
    """A new node that dials, and that nobody can dial."""
    node = group.node(name)
    port = free_ports(4)
    node.reachable_at(port, port + 2)
    return node


def meet(*nodes: Node) -> None:
    """Start them, in a space that the first one makes."""
    start(*nodes)
    nodes[0].ask("create", "Family")
    for other in nodes[1:]:
        admit(nodes[0], other)
    names = [node.name for node in nodes]
    for node in nodes:
        until(lambda node=node: node.sees_online(*names), 20, "all are online")  # type: ignore[misc]


def arrives(path: Path, size: int = SIZE_BYTES) -> Path:
    until(lambda: path.exists() and path.stat().st_size == size, 15, f"{path} is seen")
    return path


@contextmanager
def fetching(node: Node, path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """While a command fetches; it must not be over before the block is."""
    process = subprocess.Popen(node.command("fetch", path), stdout=subprocess.DEVNULL)
    try:
        until(lambda: any(each.done for each in node.transfers()), 10, "bytes come")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def sources(lasting_group: Group) -> tuple[list[Source], Node]:
    """Three who hold a film, and one who has a ghost of it."""
    holders = [behind(lasting_group, name, Link()) for name in ("Anna", "Bob", "Carol")]
    dora = nowhere(lasting_group, "Dora")
    meet(*(source.node for source in holders), dora)
    film = write_random(lasting_group.base / "film.mkv", SIZE_BYTES, 4)
    holders[0].node.shell(f"cp {film} film.mkv")
    for source in holders[1:]:
        source.node.ask("fetch", arrives(source.node.at("Family", "film.mkv")))
    arrives(dora.at("Family", "film.mkv"))
    return holders, dora


def test_all_who_hold_a_file_give_some_of_it_and_nobody_gives_it_twice(
    sources: tuple[list[Source], Node],
) -> None:
    holders, dora = sources
    before = [source.proxy.carried_bytes for source in holders]
    for source in holders:
        source.link.bytes_s = SLOW_BYTES_S
    dora.ask("fetch", dora.at("Family", "film.mkv"))
    given = [source.proxy.carried_bytes - old for source, old in zip(holders, before, strict=True)]
    assert min(given) > SIZE_BYTES / 6, "equal links give about the same"
    assert sum(given) < 1.02 * SIZE_BYTES + CHATTER_SIZE_BYTES_MAX
    original = dora.base.parent / "film.mkv"
    assert sha256(dora.at("Family", "film.mkv")) == sha256(original)


def test_a_save_is_seen_while_a_slow_link_is_full(sources: tuple[list[Source], Node]) -> None:
    holders, dora = sources
    film = dora.at("Family", "film.mkv")
    dora.ask("free", film)
    for source in holders:
        source.link.bytes_s = SLOW_BYTES_S / 4
    with fetching(dora, film) as process:
        for number in range(3):
            holders[number].node.shell(f"echo note > note{number}.txt")
            arrives(dora.at("Family", f"note{number}.txt"), 5)
            dora.shell(f"cat note{number}.txt")
        assert process.poll() is None, "the film is still on its way"
        for source in holders:
            source.link.bytes_s = None
        assert process.wait(60) == 0


def test_what_is_read_from_a_ghost_comes_before_what_is_fetched(
    sources: tuple[list[Source], Node],
) -> None:
    holders, dora = sources
    film = dora.at("Family", "film.mkv")
    dora.ask("free", film)
    for source in holders:
        source.link.bytes_s = SLOW_BYTES_S / 4
    with fetching(dora, film) as process:
        with film.open("rb", buffering=0) as file:
            file.seek(SIZE_BYTES * 9 // 10)
            seen = file.read(1000)
        assert process.poll() is None, "the film is still on its way"
        for source in holders:
            source.link.bytes_s = None
        assert process.wait(60) == 0
    with (dora.base.parent / "film.mkv").open("rb") as file:
        file.seek(SIZE_BYTES * 9 // 10)
        assert seen == file.read(1000)


def test_a_file_is_complete_and_right_when_one_source_lies_and_one_dies(group: Group) -> None:
    anna, bob, carol = (behind(group, name, Link()) for name in ("Anna", "Bob", "Carol"))
    dora = nowhere(group, "Dora")
    meet(anna.node, bob.node, carol.node, dora)
    film = write_random(group.base / "film.mkv", SIZE_BYTES, 5)
    anna.node.shell(f"cp {film} film.mkv")
    for source in (bob, carol):
        source.node.ask("fetch", arrives(source.node.at("Family", "film.mkv")))
    theirs = arrives(dora.at("Family", "film.mkv"))
    bob.node.stop()
    up_lying(bob.node)
    until(lambda: dora.sees_online("Anna", "Bob", "Carol"), 20)
    for source in (anna, bob, carol):
        source.link.bytes_s = SLOW_BYTES_S
    with fetching(dora, theirs) as process:
        until(lambda: done_bytes(dora) > SIZE_BYTES / 3, 20)
        carol.node.kill()
        assert process.poll() is None, "the film is still on its way"
        assert process.wait(60) == 0
    assert sha256(theirs) == sha256(film)
    until(lambda: any("Bob" in notice for notice in dora.status().notices), 10)


def done_bytes(node: Node) -> int:
    return max((each.done for each in node.transfers()), default=0)


@pytest.fixture(scope="module")
def distant(lasting_group: Group) -> tuple[Node, Node]:
    """Two with 20 ms and 100 Mbit/s between them, each way through a link of its own."""
    pair = [behind(lasting_group, name, Link(12_500_000, 0.01)) for name in ("Erin", "Frank")]
    meet(*(source.node for source in pair))
    return pair[0].node, pair[1].node


def test_bytes_and_saves_pass_a_slow_and_distant_link(distant: tuple[Node, Node]) -> None:
    erin, frank = distant
    film = write_random(erin.base / "film.mkv", 8 * MIB, 6)
    erin.shell(f"cp {film} film.mkv")
    theirs = arrives(frank.at("Family", "film.mkv"), 8 * MIB)
    frank.shell("echo seen > seen.txt")
    arrives(erin.at("Family", "seen.txt"), 5)
    frank.ask("fetch", theirs)
    assert sha256(theirs) == sha256(film)


def test_a_small_change_of_a_large_file_costs_little_on_the_wire(
    distant: tuple[Node, Node],
) -> None:
    erin, frank = distant
    theirs = frank.at("Family", "film.mkv")
    before = traffic(frank.pid).received
    erin.shell("{ echo -n inserted; cat film.mkv; } > film.new; mv film.new film.mkv")
    arrives(theirs, 8 * MIB + 8)
    frank.ask("fetch", theirs)
    erin.shell("printf changed | dd of=film.mkv bs=1 seek=5000000 conv=notrunc status=none")
    changed = sha256(erin.at("Family", "film.mkv"))

    def is_changed() -> bool:
        frank.ask("fetch", theirs)
        return sha256(theirs) == changed

    until(is_changed, 10)
    assert traffic(frank.pid).received - before < 4 * MIB


def test_a_file_can_be_read_as_soon_as_who_has_it_wakes(group: Group) -> None:
    anna, bob = group.node("Anna"), group.node("Bob")
    meet(anna, bob)
    anna.at("Family/letter.txt").write_bytes(b"Dear all")
    there = bob.at("Family/letter.txt")
    until(there.exists, 10, "Bob sees it")
    with anna.stopped(), pytest.raises(OSError, match="Host is down"):
        there.read_bytes()

    def is_heard() -> bool:
        """Anna has answered what Bob asked before."""
        with suppress(OSError):
            return there.read_bytes() == b"Dear all"
        return False

    until(is_heard, 2, "Bob reads it")


def test_no_port_is_given_twice() -> None:
    firsts = sorted(free_ports(4) for _ in range(300))
    assert all(first + 4 <= other for first, other in pairwise(firsts))
