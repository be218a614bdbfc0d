"""Of what is changed, copied, renamed or packed again, only what is new travels."""

import random
import zipfile
from pathlib import Path

import pytest

from tests.scenarios.group import Group, Node, shell, until
from tests.scenarios.real_files import MIB, write_random
from tests.scenarios.traffic import traffic

SIZE_BYTES = 32 * MIB
NEW_BYTES_MAX = 3 * MIB
"""Two or three chunks, which have a quarter of a MiB on average and one at the most, and what is
said besides."""
EDITS = {
    "a byte put in before all others": "{ echo -n x; cat film; } > film.new; mv film.new film",
    "a byte changed inside": "printf x | dd of=film bs=1 seek=20000000 conv=notrunc status=none",
    "bytes appended": "head -c 100000 /dev/urandom >> film",
    "cut off": "truncate -s 20000000 film",
    "a part taken out": "{ head -c 9000000 film; tail -c +9500000 film; } > film.new"
    "; mv film.new film",
}


@pytest.fixture(scope="module")
def family(lasting_group: Group) -> list[Node]:
    return lasting_group.family("Anna", "Bob")


def film_of_both(anna: Node, bob: Node) -> Path:
    """A file that Bob has all of; where he has it."""
    film = anna.at("Family", "film")
    write_random(film, SIZE_BYTES, random.randrange(2**32))
    await_same(anna, bob, "film")
    bob.ask("fetch", bob.at("Family", "film"))
    return bob.at("Family", "film")


def await_same(anna: Node, bob: Node, name: str) -> None:
    """Bob is shown the version that Anna has."""
    ours, theirs = anna.at("Family", name), bob.at("Family", name)

    def described(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_size, status.st_mtime_ns

    until(lambda: theirs.exists() and described(theirs) == described(ours), 20)


def fetched_bytes(anna: Node, bob: Node, name: str) -> int:
    """What travels until Bob has all of it, which is then the same."""
    await_same(anna, bob, name)
    before = traffic(bob.pid).received
    bob.ask("fetch", bob.at("Family", name))
    after = traffic(bob.pid).received
    shell(f"cmp '{anna.at('Family', name)}' '{bob.at('Family', name)}'", bob.base)
    return after - before


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_of_a_changed_file_only_what_is_new_travels(family: list[Node], edit: str) -> None:
    anna, bob = family
    theirs = film_of_both(anna, bob)
    anna.shell(edit)
    await_same(anna, bob, "film")
    assert bob.xattr(theirs, "state") != "local", "it is a ghost again, or has what it had"
    assert fetched_bytes(anna, bob, "film") <= NEW_BYTES_MAX


def test_of_a_file_that_was_read_in_part_what_came_does_not_come_again(family: list[Node]) -> None:
    anna, bob = family
    write_random(anna.at("Family", "half"), SIZE_BYTES, 21)
    await_same(anna, bob, "half")
    bob.shell(f"tail -c {SIZE_BYTES // 2} half > /dev/null")
    assert bob.xattr(bob.at("Family", "half"), "state") == "partial"
    anna.shell("{ echo -n x; cat half; } > half.new; mv half.new half")
    assert fetched_bytes(anna, bob, "half") <= SIZE_BYTES // 2 + NEW_BYTES_MAX


def test_a_renamed_file_and_a_copy_cost_nothing(family: list[Node]) -> None:
    anna, bob = family
    film_of_both(anna, bob)
    anna.shell("cp film copy; mv film renamed")
    assert fetched_bytes(anna, bob, "copy") <= MIB // 4
    assert fetched_bytes(anna, bob, "renamed") <= MIB // 4


def test_of_a_copy_that_is_changed_only_that_travels(family: list[Node]) -> None:
    anna, bob = family
    film_of_both(anna, bob)
    anna.shell("{ head -c 1000000 film; echo cut; tail -c +1000000 film; } > other")
    assert fetched_bytes(anna, bob, "other") <= NEW_BYTES_MAX


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_of_an_archive_that_is_packed_again_only_what_is_new_travels(
    family: list[Node], compression: int
) -> None:
    anna, bob = family
    chance = random.Random(compression)
    parts = {f"{number}.dat": chance.randbytes(4 * MIB) for number in range(8)}
    pack(anna.at("Family", "album.zip"), parts, compression)
    await_same(anna, bob, "album.zip")
    bob.ask("fetch", bob.at("Family", "album.zip"))
    parts["3.dat"] = chance.randbytes(2 * MIB)
    del parts["5.dat"]
    pack(anna.at("Family", "album 2.zip"), {"0 new.txt": b"new", **parts}, compression)
    assert fetched_bytes(anna, bob, "album 2.zip") <= 2 * MIB + 3 * NEW_BYTES_MAX


def pack(path: Path, parts: dict[str, bytes], compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in sorted(parts.items()):
            archive.writestr(name, data)
