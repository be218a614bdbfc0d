"""How is sharefs measured? Nodes in processes of their own, with a space that they share.

They speak over TCP on this machine, directly or through links of the bench's own.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import sharefs
from sharefs.errors import UserError
from sharefs.records.content import Manifest
from sharefs.store.cutting import cut
from sharefs.store.home import Home
from sharefs.store.verifying import chunks_in
from sharefs.web.client import Client
from tests.bench.bench_subjects import (
    LINK_BYTES_S,
    LINK_DELAY_S,
    SOURCES,
    BenchFailed,
    Killable,
    Killed,
    Pair,
    Sources,
    Subject,
    do,
    mounted,
    wait_for,
)
from tests.bench.bench_wire import bytes_read, bytes_received
from tests.scenarios.proxy import Link, Proxy, free_ports

SPACE = "Bench"
LIAR = "tests.scenarios.lying_node"
FETCH_POLL_S = 0.01


class Node:
    """A node. While it is begun, it has a process and a client."""

    process: "subprocess.Popen[bytes]"
    client: Client

    def __init__(self, folder: Path, program: str = "sharefs") -> None:
        self.mount = folder / "mount"
        self.log = folder / "output.log"
        self.space = self.mount / SPACE
        self._program = program
        self._home = folder / "home"
        self._life = ExitStack()
        self._addresses = ["--listen", "127.0.0.1:0"]
        self._begun = False
        self.mount.mkdir(parents=True)
        do(*self.command("init", "--name", folder.name))

    def command(self, *arguments: str | Path) -> list[str]:
        """One of its commands."""
        own = [sys.executable, "-m", self._program, "--home", self._home]
        return [str(part) for part in (*own, *arguments)]

    def behind(self, port: int, announced: int) -> None:
        """Before it is begun: have it listen there, and be found elsewhere."""
        self._addresses = ["--listen", f"127.0.0.1:{port}", "--announce", f"127.0.0.1:{announced}"]

    def begin(self) -> None:
        """Start it; returns when it serves."""
        options = ["--foreground", "--mount", str(self.mount), "--no-discovery"]
        if not self._begun or "--announce" in self._addresses:
            options += self._addresses
        self._begun = True
        command = self.command("up", *options)
        self.process = self._life.enter_context(mounted(command, self.mount, self.log))
        wait_for(self._answers, self.process, self.log)
        self._life.enter_context(self.client)

    def _answers(self) -> bool:
        with contextlib.suppress(UserError):
            self.client = self.new_client()
            return True
        return False

    def new_client(self) -> Client:
        """For a thread of its own."""
        return Client(Home.at(self._home).socket_file)

    def end(self) -> None:
        self._life.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._life.close()

    def await_online(self, members: int) -> None:
        """Until it has met so many, itself included."""
        wait_for(lambda: self.client.spaces()[0].online >= members, self.process, self.log)

    def fetch(self, path: Path) -> int:
        """As `sharefs fetch`, without the start of a command. Raises BenchFailed."""
        with self.new_client() as client, client.fetch([str(path)]) as steps:
            *_, last = steps
        if last.failures:
            raise BenchFailed(f"{len(last.failures)} files were not fetched: {last.failures[0]}")
        return last.files_done

    def bring(self, path: Path) -> Path:
        """As a person does. Raises BenchFailed."""
        do(*self.command("fetch", path))
        return path

    def forget(self, path: Path) -> None:
        self.client.free([str(path)])

    def written_bytes(self, original: Path) -> int:
        """How much of a file that it brings lies on its disk, in chunks that are whole and right,
        marked or not."""
        manifest = _manifest_of(original)
        for path in Home.at(self._home).contents_folder.rglob("*"):
            if path.is_file() and path.stat().st_size == manifest.size:
                return sum(manifest.lengths[index] for index in chunks_in(path, manifest, None))
        return 0

    def done_bytes(self) -> int:
        """Of what it fetches now."""
        return max((each.done for each in self.client.transfers()), default=0)


@cache
def _manifest_of(path: Path) -> Manifest:
    manifest, _ = cut(path, path.stat().st_size)
    return manifest


@contextmanager
def _open_pair(folder: Path, link: Link | None = None) -> Iterator[tuple[Node, Node]]:
    """Two nodes with a space; with a link, all that they say goes through it."""
    with ExitStack() as stack:
        nodes = [Node(folder / name) for name in ("near", "far")]
        if link is not None:
            for node in nodes:
                stack.callback(_put_behind(node, link).close)
        _meet(stack, nodes)
        yield nodes[0], nodes[1]


def _put_behind(node: Node, link: Link) -> Proxy:
    port = free_ports(4)
    node.behind(port, port + 2)
    return Proxy(port + 2, port, link)


def _meet(stack: ExitStack, nodes: list[Node]) -> None:
    """Start them, and have them share a space."""
    for node in nodes:
        stack.callback(node.end)
        node.begin()
    first, *others = nodes
    first.client.create_space(SPACE)
    for other in others:
        other.client.join(first.client.invite(SPACE, "contributor", 3600.0))
    for node in nodes:
        node.await_online(len(nodes))


def _pair_of(near: Node, far: Node) -> Pair:
    return Pair(
        near=near.space,
        far=far.space,
        pids=(far.process.pid,),
        near_pids=(near.process.pid,),
        writes_through=True,
        fetch=far.fetch,
        bring=far.bring,
        forget=far.forget,
    )


@contextmanager
def _open(folder: Path) -> Iterator[Pair]:
    with _open_pair(folder) as (near, far):
        yield _pair_of(near, far)


@contextmanager
def _open_link(folder: Path) -> Iterator[Pair]:
    with _open_pair(folder, Link(LINK_BYTES_S, LINK_DELAY_S)) as (near, far):
        yield _pair_of(near, far)


@contextmanager
def _open_sources(folder: Path, liars: int = 0) -> Iterator[Sources]:
    """Several who have a file, each behind a link, and one whom nobody can dial."""
    with ExitStack() as stack:
        links = [Link() for _ in range(SOURCES)]
        holders = []
        for number, link in enumerate(links):
            # The first one is the author, and does not lie.
            program = LIAR if 0 < number <= liars else "sharefs"
            holders.append(Node(folder / f"source{number}", program))
            stack.callback(_put_behind(holders[-1], link).close)
        wanting = Node(folder / "wanting")
        port = free_ports(4)
        wanting.behind(port, port + 2)
        _meet(stack, [*holders, wanting])
        yield _sources_of(holders, links, wanting)


def _sources_of(holders: list[Node], links: list[Link], wanting: Node) -> Sources:
    film = wanting.space / "film"

    def share(original: Path) -> None:
        do("cp", original, holders[0].space / "film")
        size = original.stat().st_size
        for node in (*holders[1:], wanting):
            wait_for(lambda node=node: _size(node.space / "film") == size, node.process, node.log)  # type: ignore[misc]
        for node in holders[1:]:
            node.fetch(node.space / "film")

    def limit(bytes_s: float) -> None:
        for link in links:
            link.bytes_s = bytes_s

    return Sources(
        share=share,
        limit=limit,
        bring=lambda: wanting.bring(film),
        done_bytes=wanting.done_bytes,
        end_one=holders[-1].kill,
        pids=(wanting.process.pid,),
        near_pids=tuple(node.process.pid for node in holders),
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


@contextmanager
def _open_trouble(folder: Path) -> Iterator[Sources]:
    with _open_sources(folder, liars=1) as sources:
        yield sources


@contextmanager
def _open_kills(folder: Path) -> Iterator[Killable]:
    with _open_pair(folder) as (near, far):

        def begin() -> None:
            far.begin()
            far.await_online(2)

        def kill(film: Path) -> Killed:
            # It stands still while it is looked at.
            far.process.send_signal(signal.SIGSTOP)
            pids = [far.process.pid]
            found = Killed(bytes_read(pids), bytes_received(pids), far.written_bytes(film))
            far.kill()
            return found

        def fetch_up_to(path: Path, goal: int) -> None:
            fetching = threading.Thread(target=_fetch_until_killed, args=(far, path), daemon=True)
            fetching.start()
            while fetching.is_alive() and far.done_bytes() < goal:
                time.sleep(FETCH_POLL_S)

        yield Killable(
            pair=_pair_of(near, far),
            begin=begin,
            kill=kill,
            fetch_up_to=fetch_up_to,
            received=lambda: bytes_received([far.process.pid]),
        )


def _fetch_until_killed(node: Node, path: Path) -> None:
    with contextlib.suppress(UserError, BenchFailed, OSError):
        node.fetch(path)


_OPENERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[object]]] = {
    "pair": _open,
    "link": _open_link,
    "sources": _open_sources,
    "trouble": _open_trouble,
    "kills": _open_kills,
}

SHAREFS = Subject("sharefs", (), lambda: sharefs.__version__, _OPENERS)
