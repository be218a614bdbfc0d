"""What can sharefs do? Shown on three real nodes, each claim looked up before it is made.

Run by `make demo`. Nodes, mounts and files are under a fresh temporary folder, and gone at the end,
also when the demo is interrupted. The exit code is 0 only if every claim was true.
"""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from sharefs.errors import UserError
from sharefs.node.reports import TransferReport
from tests.demo.people import DemoFailed, Person, is_mounted, wait_until
from tests.demo.props import Props, digest, listing, make_props, size
from tests.demo.telling import Teller, complain

VISIBLE_S_MAX = 30.0
FAIL_S_MAX = 10.0
"""Within how long a read must fail when nobody who is online has the bytes."""
TAIL_SIZE_BYTES = 100_000
SAMPLE_INTERVAL_S = 0.02
KILL_AT = 0.6
"""The share of the film that Bob holds when his node is killed."""
INTERRUPTED_EXIT_CODE = 130
REPORTS = {"Anna": "Anna's report: the harvest was good.\n", "Bob": "Bob's report: it rained.\n"}


class Demo:
    """The acts, in order."""

    def __init__(
        self, tell: Teller, props: Props, anna: Person, bob: Person, carol: Person
    ) -> None:
        self._tell = tell
        self._props = props
        self._anna, self._bob, self._carol = anna, bob, carol
        self._film_digest = digest(props.film)

    def play(self) -> None:
        self._three_nodes()
        self._one_space()
        self._anna_shares()
        self._ghosts()
        self._a_killed_fetch()
        self._two_sources()
        self._one_name_twice()
        self._an_edit_and_an_absence()

    def _three_nodes(self) -> None:
        tell, people = self._tell, (self._anna, self._bob, self._carol)
        tell.act("Three people start a node each")
        tell.say("A node is a process of the person's own. There is no server between them. (All")
        tell.say(
            "three are on this machine, so every command also says --home DIR: left out here.)"
        )
        for person in people:
            person.run("init", "--name", person.name, "--device-name", f"{person.name}-laptop")
            person.start()
        tell.claim(
            "Three nodes run, and each has its own folder of shared spaces mounted",
            all(is_mounted(person.mount) for person in people)
            and len({person.pid for person in people}) == len(people),
        )

    def _one_space(self) -> None:
        tell, anna, bob = self._tell, self._anna, self._bob
        tell.act("Anna makes a space, and invites Bob")
        anna.run("create", "Family")
        self._invite_and_join(bob)
        members = bob.run("members", "Family")
        tell.claim(
            "Bob is a member, and has met Anna over an encrypted connection",
            all(name in members for name in ("Anna", "Bob")) and bob.space().online == 2,
        )

    def _invite_and_join(self, guest: Person) -> None:
        ticket = guest.folder.parent / f"for-{guest.name}.sharefs"
        self._anna.run("invite", "Family", "--output", str(ticket))
        guest.run("join", str(ticket))
        wait_until(lambda: guest.space().online > 1, VISIBLE_S_MAX)

    def _anna_shares(self) -> None:
        tell, anna, bob, props = self._tell, self._anna, self._bob, self._props
        mine = listing(props.documents.parent)
        tell.act("Anna copies files in, as into any folder")
        tell.say(f"They are {len(mine)} files: some of {props.source}, and a film of")
        tell.say(
            f"{size(props.film.stat().st_size)}, of random bytes, so that nothing can be spared."
        )
        began = time.monotonic()
        options = ("-r", "--preserve=timestamps")
        anna.program("cp", *options, str(props.documents), str(props.film), "Family")
        copied = time.monotonic()
        seen = wait_until(lambda: listing(bob.mount / "Family") == mine, VISIBLE_S_MAX)
        late_s = time.monotonic() - copied
        tell.say(f"cp took {copied - began:.1f} s; {late_s:.1f} s later Bob saw it all.")
        tell.claim("Bob sees every file, with its size and its time, as Anna has them", seen)

    def _ghosts(self) -> None:
        tell, bob, film = self._tell, self._bob, self._props.film
        whole = bob.space().bytes
        tell.act("Bob sees everything, and has stored nothing: his files are ghosts")
        bob.program("ls", "-l", "Family")
        bob.program("du", "-sh", "--apparent-size", "Family")
        bob.program("du", "-sh", "Family")
        here = bob.disk_bytes()
        tell.claim(f"Of {size(whole)}, Bob's disk holds {size(here)}", here < whole / 100)
        tell.claim("The film's state is: ghost", self._state(bob, "film.mkv") == "ghost")
        tell.say("He looks at the very end of the film, without waiting for the rest.")
        began = time.monotonic()
        with (bob.mount / "Family/film.mkv").open("rb") as ghost, film.open("rb") as original:
            ghost.seek(-TAIL_SIZE_BYTES, os.SEEK_END)
            original.seek(-TAIL_SIZE_BYTES, os.SEEK_END)
            same = ghost.read() == original.read()
        took_s, here = time.monotonic() - began, bob.disk_bytes()
        tell.claim(
            f"The last {size(TAIL_SIZE_BYTES)} are right, after {took_s:.2f} s, and only"
            f" {size(here)} have travelled",
            same and here < whole / 8,
        )

    def _a_killed_fetch(self) -> None:
        tell, bob = self._tell, self._bob
        whole = self._props.film.stat().st_size
        tell.act("Bob fetches the film, and his node is killed in the middle")
        fetch = bob.begin("fetch", str(bob.mount / "Family/film.mkv"))
        with _ending(fetch):
            wait_until(lambda: bob.disk_bytes() > whole * KILL_AT, VISIBLE_S_MAX)
            bob.kill()
        tell.say("It had no chance to put anything in order. He starts it again.")
        bob.start()
        kept = bob.space().local_bytes
        wait_until(lambda: bob.space().online > 1, VISIBLE_S_MAX)
        tell.claim(f"{size(kept)} of the film had been checked and kept", whole / 10 < kept < whole)
        samples = self._watch_fetch(bob)
        arrived = _last_of_each_source(samples)
        tell.claim(
            f"The fetch went on from there: {_from_each(arrived)}, nothing a second time",
            0 < sum(arrived.values()) <= whole - kept,
        )
        self._claim_film(bob)

    def _two_sources(self) -> None:
        tell, carol = self._tell, self._carol
        tell.act("Carol joins, and fetches the film from Anna and Bob at once")
        self._invite_and_join(carol)
        hers = self._anna.mount / "Family"
        seen = wait_until(lambda: listing(carol.mount / "Family") == listing(hers), VISIBLE_S_MAX)
        tell.claim("Carol came late, and sees what there is", seen)
        arrived = _last_of_each_source(self._watch_fetch(carol))
        enough = self._props.film.stat().st_size / 20
        tell.claim(
            f"When `sharefs transfers` was last asked: {_from_each(arrived)}",
            all(arrived.get(name, 0) > enough for name in ("Anna", "Bob")),
        )
        self._claim_film(carol)

    def _one_name_twice(self) -> None:
        tell, people = self._tell, (self._anna, self._bob, self._carol)
        tell.act("Anna and Bob each save a report.odt, at the same moment")
        tell.say("Neither knows of the other's. Nothing is overwritten, and nobody is asked.")
        with ExitStack() as stack:
            # Both are open before either is closed: a file is published when it is closed.
            for person in people[:2]:
                path = person.mount / "Family/report.odt"
                file = stack.enter_context(path.open("w"))
                file.write(REPORTS[person.name])
        same = wait_until(lambda: len(set(map(_reports, people))) == 1, VISIBLE_S_MAX)
        for person in people:
            person.program("ls", "Family")
        tell.claim("All three see the same two files, under the same names", same)
        texts = {path.read_text() for path in self._carol.mount.glob("Family/report*")}
        tell.claim("Both reports are there, each as it was written", texts == {*REPORTS.values()})

    def _an_edit_and_an_absence(self) -> None:
        tell, anna, bob, carol = self._tell, self._anna, self._bob, self._carol
        tell.act("Anna goes away")
        untouched = next(
            path for path in sorted(carol.mount.glob("Family/Documents/**/*")) if path.is_file()
        )
        anna.run("down")
        anna.pid = None
        wait_until(lambda: bob.space().online == 2, VISIBLE_S_MAX)
        line = "Bob adds a line.\n"
        with next(bob.mount.glob("Family/report*")).open("a") as report:
            report.write(line)
        arrived = wait_until(lambda: line in _texts(carol), VISIBLE_S_MAX)
        tell.claim("Bob edits a report without her, and Carol reads what he wrote", arrived)
        tell.claim(
            "Carol holds the film, so Bob could lose his: `sharefs free` lets him",
            "Freed 1 file" in bob.run("free", str(bob.mount / "Family/film.mkv")),
        )
        began = time.monotonic()
        try:
            untouched.read_bytes()
            failure = 0
        except OSError as error:
            failure = error.errno or 0
        took_s = time.monotonic() - began
        tell.claim(
            f"What only Anna holds fails after {took_s:.1f} s, with {os.strerror(failure)!r}",
            failure == errno.EHOSTDOWN and took_s < FAIL_S_MAX,
        )

    def _watch_fetch(self, person: Person) -> list[TransferReport]:
        """Fetch the film, and return what `sharefs transfers` tells meanwhile."""
        samples: list[TransferReport] = []
        ended = threading.Event()

        def sample() -> None:
            with person.client() as client:
                while not ended.wait(SAMPLE_INTERVAL_S):
                    samples.extend(r for r in client.transfers() if r.direction == "in")

        watch = threading.Thread(target=sample)
        watch.start()
        try:
            person.run("fetch", str(person.mount / "Family/film.mkv"))
        finally:
            ended.set()
            watch.join()
        return samples

    def _claim_film(self, person: Person) -> None:
        mine = digest(person.mount / "Family/film.mkv")
        self._tell.claim(
            f"{person.name}'s film is Anna's, by SHA-256: {mine[:16]}…", mine == self._film_digest
        )

    def _state(self, person: Person, name: str) -> str:
        """As `getfattr` tells it, which not every machine has."""
        path, attribute = f"Family/{name}", "user.sharefs.state"
        if shutil.which("getfattr"):
            person.program("getfattr", "-n", attribute, path)
        return os.getxattr(person.mount / path, attribute).decode()


def _reports(person: Person) -> tuple[str, ...]:
    """The names, and nothing while there is only one of them."""
    names = sorted(path.name for path in person.mount.glob("Family/report*"))
    return tuple(names) if len(names) > 1 else (person.name,)


def _texts(person: Person) -> str:
    return "".join(path.read_text() for path in person.mount.glob("Family/report*"))


def _last_of_each_source(samples: list[TransferReport]) -> dict[str, int]:
    return {source.name: source.bytes for sample in samples for source in sample.sources}


def _from_each(arrived: dict[str, int]) -> str:
    return " and ".join(f"{size(count)} from {name}" for name, count in sorted(arrived.items()))


@contextmanager
def _ending(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Nothing of the process is left behind."""
    try:
        yield
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(FAIL_S_MAX)
        process.kill()
        process.wait()


@contextmanager
def _stage(tell: Teller) -> Iterator[tuple[Props, Person, Person, Person]]:
    """The demo's folder, with the people in it; everything is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sharefs-demo-"))
    people: list[Person] = []
    try:
        people += [Person(name, folder, tell) for name in ("Anna", "Bob", "Carol")]
        anna, bob, carol = people
        yield make_props(folder / "Anna's disk"), anna, bob, carol
    except (DemoFailed, UserError, OSError):
        complain("\n".join(line for person in people for line in person.last_words()))
        raise
    finally:
        # A second Ctrl-C must not leave half of it behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for person in people:
            person.clean_up()
        left = [str(person.mount) for person in people if is_mounted(person.mount)]
        if left:
            complain(f"Still mounted: {', '.join(left)}. Run `fusermount3 -u` on them.")
        else:
            shutil.rmtree(folder)
            tell.say("")
            tell.claim("The nodes have ended, and mounts and files are gone", not folder.exists())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    tell = Teller()
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with _stage(tell) as (props, anna, bob, carol):
            Demo(tell, props, anna, bob, carol).play()
    except KeyboardInterrupt:
        complain("Interrupted.")
        return INTERRUPTED_EXIT_CODE
    except (DemoFailed, UserError, OSError) as error:
        complain(f"The demo could not go on: {error}")
        return 1
    for sentence in tell.untrue:
        complain(f"Not true: {sentence}")
    if not tell.untrue:
        tell.say(f"All {tell.claims} claims were looked up and are true.")
    tell.say(f"It took {time.monotonic() - began:.0f} s. README.md shows it with your own files.")
    return 1 if tell.untrue else 0


if __name__ == "__main__":
    sys.exit(main())
