"""Programs that wait for bytes, and are sent signals. With the kernel, and with real programs."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharefs.errors import TransferInterrupted
from sharefs.mount import askers, crew
from sharefs.mount.askers import Arrival, Asker, Askers
from sharefs.mount.files import COPY_LOCKS, PAST_CACHE_SIZE_BYTES_MIN
from tests.mount.fake_ports import FakeHouse

WAIT_SECONDS = 10.0
"""Less than the reads of ghosts wait here."""
MAPPED = "import mmap; f = open({path!r}, 'rb'); print(mmap.mmap(f.fileno(), 0, prot=1)[9000])"
DIRECT = ["dd", "bs=1M", "iflag=direct", "status=none"]
DATA = b"bytes" * 60_000


def python(script: str, path: Path) -> list[str]:
    return [sys.executable, "-c", script.format(path=str(path))]


PROGRAMS: dict[str, Callable[[Path], list[str]]] = {
    "buffered": lambda path: ["cat", str(path)],
    "direct": lambda path: [*DIRECT, f"if={path}"],
    "mapped": lambda path: python("import signal; signal.signal(2, 0); " + MAPPED, path),
    "write": lambda path: ["bash", "-c", f"exec printf x 1<>{path}"],
    "truncate": lambda path: ["truncate", "-s5", str(path)],
    "own handler": lambda path: python("open({path!r}, 'rb').read()", path),
}


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


class Looks:
    """Lets a test wait until askers were looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._looked = threading.Condition()
        self._counts: Counter[int] = Counter()
        real = askers._gave_up

        def gave_up(thread: int) -> bool:
            with self._looked:
                self._counts[thread] += 1
                self._looked.notify_all()
            return real(thread)

        monkeypatch.setattr(askers, "_gave_up", gave_up)

    def wait(self, thread: int, count: int) -> None:
        """Until a thread was looked at so often from now on."""
        with self._looked:
            before = self._counts[thread]
            seen = self._looked.wait_for(
                lambda: self._counts[thread] >= before + count, WAIT_SECONDS
            )
        assert seen


# --- one program ---


@pytest.mark.parametrize("size_bytes", [300_000, 2 * PAST_CACHE_SIZE_BYTES_MIN])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_signal_ends_a_program_that_waits_for_bytes_and_they_are_wanted_no_more(
    family: Path, house: FakeHouse, name: str, sent: signal.Signals, size_bytes: int
) -> None:
    ghost = house.make_ghost(house.add("ghost", bytes(size_bytes)).ino)
    with started(PROGRAMS[name](family / "ghost")) as program:
        assert ghost.await_waiting(1, WAIT_SECONDS)
        program.send_signal(sent)
        said, complaint = program.communicate(timeout=WAIT_SECONDS)
    assert program.returncode == -sent
    assert said == b""
    assert name != "own handler" or sent != signal.SIGINT or b"KeyboardInterrupt" in complaint
    assert ghost.await_waiting(0, WAIT_SECONDS)


def test_who_was_interrupted_reads_on_when_asked_again(family: Path, house: FakeHouse) -> None:
    ghost = house.make_ghost(house.add("ghost", DATA).ino)
    script = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: print("asked to end", flush=True))
sys.stdout.buffer.write(open({path!r}, "rb").read())
"""
    with started(python(script, family / "ghost")) as program:
        assert ghost.await_waiting(1, WAIT_SECONDS)
        program.send_signal(signal.SIGINT)
        assert program.stdout is not None
        assert program.stdout.readline() == b"asked to end\n"
        assert ghost.await_waiting(1, WAIT_SECONDS)
        ghost.set()
        said, _ = program.communicate(timeout=WAIT_SECONDS)
    assert said == DATA


@pytest.mark.parametrize("name", ["buffered", "direct"])
def test_a_signal_that_is_to_end_nothing_ends_no_read(
    family: Path, house: FakeHouse, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    looks = Looks(monkeypatch)
    ghost = house.make_ghost(house.add("ghost", DATA).ino)
    script = (
        "import signal, os; signal.signal(signal.SIGUSR1, lambda *_: None);"
        "flags = os.O_DIRECT if {direct} else 0; f = os.open({path!r}, os.O_RDONLY | flags);"
        "import mmap; room = mmap.mmap(-1, 4096); os.readv(f, [room]); print(room[:5])"
    )
    path = str(family / "ghost")
    with started(
        [sys.executable, "-c", script.format(direct=name == "direct", path=path)]
    ) as program:
        assert ghost.await_waiting(1, WAIT_SECONDS)
        before = ghost.waits
        program.send_signal(signal.SIGUSR1)
        looks.wait(program.pid, 3)
        assert ghost.waits == before
        ghost.set()
        said, complaint = program.communicate(timeout=WAIT_SECONDS)
    assert said == b"b'bytes'\n", complaint


def test_a_page_that_is_missing_in_memory_does_not_kill_who_handles_the_signal(
    family: Path, house: FakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    ghost = house.make_ghost(house.add("ghost", DATA).ino)
    script = "import signal; signal.signal(2, lambda *_: print('later', flush=True)); " + MAPPED
    with started(python(script, family / "ghost")) as program:
        assert ghost.await_waiting(1, WAIT_SECONDS)
        program.send_signal(signal.SIGINT)
        looks.wait(program.pid, 3)
        ghost.set()
        said, _ = program.communicate(timeout=WAIT_SECONDS)
    assert program.returncode == 0
    assert sorted(said.split()) == [b"98", b"later"]


def test_a_writer_that_waits_because_of_another_file_can_be_interrupted(
    family: Path, house: FakeHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    rows = [house.add(f"ghost{number}", DATA + b"%d" % number) for number in range(COPY_LOCKS + 1)]
    ghost = house.make_ghost(rows[0].ino)
    with started(PROGRAMS["write"](family / rows[0].name)) as first:
        assert ghost.await_waiting(1, WAIT_SECONDS)
        with started(PROGRAMS["write"](family / rows[-1].name)) as second:
            looks.wait(second.pid, 1)
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=WAIT_SECONDS)
        assert ghost.await_waiting(1, WAIT_SECONDS)
        ghost.set()
        first.communicate(timeout=WAIT_SECONDS)
    assert (family / rows[0].name).read_bytes() == b"x" + DATA[1:] + b"0"


# --- many programs ---

MANY = 2 * crew.THREADS_MAX
READ_MANY = f"""
import os, threading, sys
def read(number):
    sys.stdout.buffer.write(open({{path!r}} + str(number), "rb").read())
threads = [threading.Thread(target=read, args=(number,)) for number in range({MANY})]
for thread in threads: thread.start()
"""


def test_more_blocked_reads_than_there_are_threads_leave_the_mount_alive(
    family: Path, house: FakeHouse
) -> None:
    rows = [house.add(f"ghost{number}", b"%d\n" % number) for number in range(MANY)]
    ghosts = [house.make_ghost(row.ino) for row in rows]
    house.add("local", DATA)
    with started(python(READ_MANY, family / "ghost")) as program:
        house.await_waiting(crew.THREADS_MAX - 1, WAIT_SECONDS)
        assert len(os.listdir(family)) == MANY + 1
        assert (family / "local").read_bytes() == DATA
        (family / "new").write_bytes(b"1")
        for ghost in ghosts:
            ghost.set()
        said, _ = program.communicate(timeout=WAIT_SECONDS)
    assert sorted(map(int, said.split())) == list(range(MANY))


def test_a_killed_program_takes_all_its_reads_along(family: Path, house: FakeHouse) -> None:
    rows = [house.add(f"ghost{number}", b"%d\n" % number) for number in range(MANY)]
    for row in rows:
        house.make_ghost(row.ino)
    last = house.make_ghost(house.add("last", DATA).ino)
    with started(python(READ_MANY, family / "ghost")) as program:
        house.await_waiting(crew.THREADS_MAX - 1, WAIT_SECONDS)
    assert program.returncode == -signal.SIGKILL
    with started(PROGRAMS["buffered"](family / "last")) as program:
        assert last.await_waiting(1, WAIT_SECONDS)
        house.await_waiting(1, WAIT_SECONDS)


# --- without the kernel ---


def test_an_interrupt_of_what_nobody_serves_yet_is_to_be_said_again() -> None:
    asked = Askers()
    assert not asked.interrupt(7)
    asker = asked.ask(7, 0)
    assert asked.interrupt(7)
    assert asker.gave_up
    asked.answered(7)
    assert not asked.interrupt(7)


def test_what_was_put_off_is_served_in_order_or_withdrawn() -> None:
    asked = Askers()
    for number in (1, 2, 3):
        asked.ask(number, 0)
        assert asked.put_off(number, b"%d" % number)
    assert not asked.withdraw(2)
    assert asked.interrupt(2)
    assert asked.withdraw(2)
    assert not asked.withdraw(2)
    assert [asked.resume() for _ in range(3)] == [b"1", b"3", None]


def test_only_so_many_are_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(askers, "PUT_OFF_REQUESTS_MAX", 1)
    asked = Askers()
    assert asked.put_off(1, b"1")
    assert not asked.put_off(2, b"2")


def test_a_wait_ends_when_it_is_interrupted_and_nothing_else_can_tell_of_the_asker() -> None:
    asker, arrival = Asker(0), Arrival()
    interrupting = threading.Timer(0, asker.interrupt)
    interrupting.start()
    with asker.served(), pytest.raises(TransferInterrupted):
        arrival.wait(WAIT_SECONDS)
    interrupting.join()
    assert arrival.wait(0) is False


def test_whoever_is_gone_has_given_up() -> None:
    program = subprocess.Popen(["sleep", "60"])
    assert not Asker(program.pid).gave_up
    program.kill()
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    assert Asker(program.pid).gave_up
    program.wait()
    assert Asker(program.pid).gave_up


def test_a_process_that_is_hidden_from_us_has_not_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(askers, "_status", lambda thread: None)
    assert not Asker(1).gave_up

    def refuse(thread: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "kill", refuse)
    assert not Asker(1).gave_up
