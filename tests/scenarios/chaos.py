"""Does a group survive everything at once? Random work by real nodes, kills, stops and cuts, then
quiet; and then nothing may be lost, and all mounts be the same.

Each file that an actor saves holds bytes that follow from a tag of its own. Whoever overwrites a
file reads it first, through the descriptor that it then writes by: so it is known which bytes
were superseded by somebody who had seen them. All others must be somewhere in the end.
"""

import argparse
import contextlib
import errno
import os
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.scenarios.group import Group, Node, admit, answers, shell, start, until
from tests.scenarios.proxy import Proxy, free_ports

NAMES = ("Anna", "Bob", "Carol", "Dave", "Erin")
SMALL_SIZE_BYTES_MAX = 40_000
LARGE_SIZE_BYTES = 3_000_000
PRIVATE = ".goutputstream-"
UNFINISHED = " (unfinished, "
"""In the names of what programs had half written when their node was killed."""
FILES_MAX = 300
"""Beyond, actors make no new ones."""
QUIET_S_MAX = 180.0
PAUSE_S_MAX = 0.15
_FAULT_S_MAX = 4.0
_EXPECTED = {
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EINVAL,
    errno.ESTALE,
    errno.EACCES,
    # Nobody who is online has these bytes; or our own node is down.
    errno.EHOSTDOWN,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ENODEV,
    errno.EIO,
    errno.EINTR,
}


def bytes_of(tag: str) -> bytes:
    """What the file of a tag holds."""
    chance = random.Random(tag)
    size = LARGE_SIZE_BYTES if chance.random() < 0.02 else chance.randrange(SMALL_SIZE_BYTES_MAX)
    return tag.encode() + b"\n" + chance.randbytes(size)


def tag_of(data: bytes) -> str:
    """The tag of bytes that were read; they must be whole."""
    tag = data.partition(b"\n")[0].decode(errors="replace")
    return tag


@dataclass
class Account:
    """What was saved, and what somebody who had seen it superseded. Thread-safe."""

    saved: dict[str, str] = field(default_factory=dict)
    """Where each tag was saved first, for the report."""
    superseded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    """Tags of saves that a program was told have failed: their bytes may be there in part."""
    operations: int = 0
    mishaps: list[str] = field(default_factory=list)

    def check(self, data: bytes, where: str) -> str:
        """The tag of what a file holds; notes what no program wrote."""
        tag = tag_of(data)
        whole = bytes_of(tag)
        if data != whole and not (tag in self.failed and whole.startswith(data)) and data:
            self.mishaps.append(f"{where} holds {len(data)} bytes that are not those of {tag!r}")
        return tag


class Actor:
    """Works in one node's mount, as a person with programs does."""

    def __init__(self, node: Node, account: Account, seed: int) -> None:
        self._node = node
        self._account = account
        self._chance = random.Random(seed)
        self._count = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"actor {node.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(QUIET_S_MAX)
        assert not self._thread.is_alive(), f"{self._node.name}'s programs hang"

    def _work(self) -> None:
        operations = (
            (self._add, 5),
            (self._edit, 5),
            (self._save_by_rename, 3),
            (self._move, 3),
            (self._make_folder, 1),
            (self._move_folder, 1),
            (self._remove_folder, 1),
            (self._remove, 1),
            (self._read, 3),
        )
        names, weights = zip(*operations, strict=True)
        while not self._ended.wait(self._chance.random() * PAUSE_S_MAX):
            (operation,) = self._chance.choices(names, weights)
            try:
                operation()
                self._account.operations += 1
            except OSError as error:
                if error.errno not in _EXPECTED:
                    self._account.mishaps.append(
                        f"{self._node.name}: {operation.__name__}: {error}"
                    )

    # --- choices ----------------------------------------------------------------------------------

    @property
    def _top(self) -> Path:
        return self._node.at("Family")

    def _folders(self) -> list[Path]:
        return [Path(folder) for folder, _, _ in os.walk(self._top)] or [self._top]

    def _files(self) -> list[Path]:
        return [path for path in _files_in(self._top) if UNFINISHED not in path.name]

    def _new_name(self) -> str:
        self._count += 1
        if self._chance.random() < 0.2:
            return self._chance.choice(("report.odt", "notes.txt", "Readme", "README", "a b.jpg"))
        return f"{self._node.name}-{self._count}.dat"

    def _mine(self) -> list[Path]:
        """Files that nobody else writes or removes, whatever they are called by now."""
        return [path for path in self._files() if path.name.startswith(f"own-{self._node.name}")]

    def _ours(self) -> list[Path]:
        return [path for path in self._files() if not path.name.startswith("own-")]

    def _tag(self) -> str:
        self._count += 1
        return f"{self._node.name}-{self._chance.randrange(10**9)}-{self._count}"

    # --- operations -------------------------------------------------------------------------------

    def _add(self) -> None:
        if len(self._files()) >= FILES_MAX:
            return
        name = self._new_name()
        name = name if self._chance.random() < 0.7 else f"own-{name}"
        if name.startswith("own-") and not name.startswith(f"own-{self._node.name}"):
            name = f"own-{self._node.name}-{self._count}"
        path = self._chance.choice(self._folders()) / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._save(descriptor, str(path))

    def _save(self, descriptor: int, where: str) -> None:
        """Write new bytes to an open file that is empty, and close it."""
        tag = self._tag()
        self._account.failed.add(tag)
        try:
            data = memoryview(bytes_of(tag))
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        self._account.failed.discard(tag)
        self._account.saved[tag] = where

    def _edit(self) -> None:
        path = self._chance.choice(self._ours() or [self._top / "nothing"])
        descriptor = os.open(path, os.O_RDWR)
        try:
            self._supersede(_read_all(descriptor), str(path))
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        self._save(descriptor, str(path))

    def _supersede(self, data: bytes, where: str) -> None:
        self._account.superseded.add(self._account.check(data, f"{self._node.name}: {where}"))

    def _save_by_rename(self) -> None:
        path = self._chance.choice(self._mine() or [self._top / "nothing"])
        self._supersede(path.read_bytes(), str(path))
        beside = path.with_name(f"{PRIVATE}{self._chance.randrange(10**6):06}")
        tag = self._tag()
        self._account.failed.add(tag)
        beside.write_bytes(bytes_of(tag))
        beside.rename(path)
        self._account.failed.discard(tag)
        self._account.saved[tag] = str(path)

    def _move(self) -> None:
        path = self._chance.choice(self._files() or [self._top / "nothing"])
        own = path.name.startswith("own-")
        name = f"{path.name.split('.')[0].split(' (')[0]}.{self._chance.randrange(1000)}"
        # A new name, as nobody has seen what a move would overwrite.
        to = self._chance.choice(self._folders()) / (name if own else f"{self._tag()} moved")
        if not to.exists():
            path.rename(to)

    def _make_folder(self) -> None:
        folders = self._folders()
        if len(folders) < 12:
            name = self._chance.choice(("Photos", "photos", "Work", "x", f"f{self._count}"))
            (self._chance.choice(folders) / name).mkdir()

    def _move_folder(self) -> None:
        folders = self._folders()[1:]
        if folders:
            one = self._chance.choice(folders)
            one.rename(
                self._chance.choice([self._top, *folders]) / f"m{self._chance.randrange(50)}"
            )

    def _remove_folder(self) -> None:
        for folder in reversed(self._folders()[1:]):
            with contextlib.suppress(OSError):
                folder.rmdir()
                return

    def _remove(self) -> None:
        mine = self._mine()
        if len(mine) > 3:
            path = self._chance.choice(mine)
            self._supersede(path.read_bytes(), str(path))
            path.unlink()

    def _read(self) -> None:
        path = self._chance.choice(self._files() or [self._top / "nothing"])
        self._account.check(path.read_bytes(), f"{self._node.name}: {path}")


def _files_in(top: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in os.walk(top) for name in names]


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of it."""

    seed: int
    seconds: float
    nodes: int


class Chaos:
    """A group under faults. `run` returns what went wrong; the group goes with its owner."""

    def __init__(self, group: Group, plan: Plan) -> None:
        self._group = group
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._account = Account()
        self._nodes: list[Node] = []
        self._proxies: list[Proxy] = []

    def run(self) -> list[str]:
        """Work, faults, quiet, and the comparison."""
        self._assemble()
        actors = [
            Actor(node, self._account, self._plan.seed * 100 + number)
            for number, node in enumerate(self._nodes)
        ]
        for actor in actors:
            actor.begin()
        ending = time.monotonic() + self._plan.seconds
        faults = 0
        while time.monotonic() < ending:
            time.sleep(self._chance.random() * 2)
            self._fault()
            faults += 1
        for actor in actors:
            actor.end()
        self._await_quiet()
        self._compare()
        say = self._account
        print(
            f"seed {self._plan.seed}: {say.operations} operations, {len(say.saved)} saves, {faults}"
            f" faults, {len(self._found())} files in the end"
        )
        return say.mishaps

    def _assemble(self) -> None:
        self._nodes = [self._group.node(name) for name in NAMES[: self._plan.nodes]]
        for node in self._nodes:
            port = free_ports(4)
            proxy = Proxy(port + 2, port)
            self._group.at_end(proxy.close)
            self._proxies.append(proxy)
            node.reachable_at(port, port + 2)
        start(*self._nodes)
        founder, *others = self._nodes
        founder.ask("create", "Family")
        for other in others:
            admit(founder, other)

    # --- faults -----------------------------------------------------------------------------------

    def _fault(self) -> None:
        number = self._chance.randrange(len(self._nodes))
        node, proxy = self._nodes[number], self._proxies[number]
        seconds = self._chance.random() * _FAULT_S_MAX
        match self._chance.choice(("kill", "kill", "stop", "cut", "cut", "down")):
            case "kill":
                node.kill()
                time.sleep(seconds / 4)
                start(node)
            case "stop":
                with node.stopped():
                    time.sleep(seconds)
            case "cut":
                proxy.cut()
                time.sleep(seconds)
                proxy.join()
            case "down":
                node.stop()
                time.sleep(seconds / 4)
                start(node)

    # --- the end ----------------------------------------------------------------------------------

    def _await_quiet(self) -> None:
        """Until all are online for all, and list the same."""

        def same() -> bool:
            listings = [_listing(node.at("Family")) for node in self._nodes]
            if all(each == listings[0] for each in listings):
                return True
            time.sleep(0.5)
            return False

        assert all(answers(node) for node in self._nodes), "all are up"
        names = [node.name for node in self._nodes]
        until(
            lambda: all(node.sees_online(*names) for node in self._nodes),
            QUIET_S_MAX,
            "all are online for all",
        )
        until(same, QUIET_S_MAX, "all list the same")

    def _found(self) -> list[Path]:
        """What all have, and what only one has, as its program was not seen to close it."""
        first, *others = [_files_in(node.at("Family")) for node in self._nodes]
        apart = [path for paths in others for path in paths if UNFINISHED in path.name]
        return first + apart

    def _compare(self) -> None:
        first, *others = [node.at("Family") for node in self._nodes]
        for other in others:
            try:
                shell(
                    f"diff -r --no-dereference -x '{PRIVATE}*' -x '*{UNFINISHED}*'"
                    f" '{first}' '{other}'",
                    first,
                    QUIET_S_MAX,
                )
            except AssertionError as error:
                self._account.mishaps.append(str(error))
        tags = {self._account.check(path.read_bytes(), str(path)) for path in self._found()}
        for path in _files_in(first):
            data = path.read_bytes()
            real = UNFINISHED not in path.name and not path.name.startswith(PRIVATE)
            if real and data and data != bytes_of(tag_of(data)):
                self._account.mishaps.append(f"{path} was published half written")
        for tag, where in self._account.saved.items():
            if tag not in tags and tag not in self._account.superseded:
                self._account.mishaps.append(f"{tag} is lost, which was saved as {where}")


def _listing(top: Path) -> list[tuple[str, int]]:
    """All names and sizes; a scan that a change interrupts is like no other."""
    found = []
    for folder, folders, names in os.walk(top):
        for name in names:
            path = Path(folder) / name
            if name.startswith(PRIVATE) or UNFINISHED in name:
                # What a killed node's programs left of a save stays with that node.
                continue
            try:
                found.append((str(path.relative_to(top)), path.lstat().st_size))
            except OSError:
                found.append((str(path), time.monotonic_ns()))
        found += [(str(Path(folder, name).relative_to(top)), -1) for name in folders]
    return sorted(found)


def main() -> None:
    """`make chaos`: prints what went wrong, and fails if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--nodes", type=int, default=5)
    told = parser.parse_args()
    print(f"SEED={told.seed}")
    group = Group(told.seconds + 4 * QUIET_S_MAX)
    try:
        mishaps = Chaos(group, Plan(told.seed, told.seconds, told.nodes)).run()
    finally:
        group.end()
    mishaps += group.mishaps()
    if mishaps:
        print("\n".join(mishaps))
        print(f"What is left is in {group.base}.")
        sys.exit(1)
    group.remove()


if __name__ == "__main__":
    main()
