"""Large ghosts, and new files, behind the real kernel: past its cache, mapped through it."""

import random
import sys
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from sharefs.mount import kernel
from sharefs.mount.core import Core
from sharefs.mount.files import PAST_CACHE_SIZE_BYTES_MIN
from tests.mount.fake_ports import FakeHouse, FakeReader
from tests.mount.test_mount_kernel import run

DATA = random.Random(1).randbytes(PAST_CACHE_SIZE_BYTES_MIN + 12_345)


@pytest.fixture
def family(core: Core, fuse: None, tmp_path: Path) -> Iterator[Path]:
    mounted = kernel.mount(core, kernel.prepare_mount_point(tmp_path / "mount"))
    yield mounted.mount_point / "Family"
    mounted.unmount()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets that the kernel asks for."""
    offsets: list[int] = []
    plain = FakeReader.read

    def read(self: FakeReader, offset: int, size: int) -> bytes:
        offsets.append(offset)
        return plain(self, offset, size)

    monkeypatch.setattr(FakeReader, "read", read)
    return offsets


def _read_twice(path: Path) -> bytes:
    code = (
        "import os,sys;f=os.open(sys.argv[1],0);os.pread(f,9,5000);print(os.pread(f,9,5000).hex())"
    )
    return bytes.fromhex(run(f"{sys.executable} -c '{code}' {path}", Path("/")))


def test_a_large_ghost_is_read_as_programs_ask_and_no_page_of_it_is_kept(
    house: FakeHouse, family: Path, asked: list[int]
) -> None:
    row = house.add("film", DATA)
    house.make_ghost(row.ino).set()
    assert _read_twice(family / "film") == DATA[5000:5009]
    assert asked == [5000, 5000]


@pytest.mark.parametrize("ghost", [True, False], ids=["small ghost", "large local file"])
def test_other_files_are_kept_in_the_kernels_cache(
    house: FakeHouse, family: Path, asked: list[int], ghost: bool
) -> None:
    data = DATA[: PAST_CACHE_SIZE_BYTES_MIN - 1] if ghost else DATA
    row = house.add("notes", data)
    if ghost:
        house.make_ghost(row.ino).set()
    assert _read_twice(family / "notes") == data[5000:5009]
    assert len([offset for offset in asked if offset <= 5000]) == 1


def test_programs_of_all_kinds_get_a_large_ghosts_bytes(house: FakeHouse, family: Path) -> None:
    row = house.add("film", DATA)
    house.make_ghost(row.ino).set()
    mapped = (
        'import mmap,sys;f=open(sys.argv[1],"rb");'
        "m=mmap.mmap(f.fileno(),0,mmap.MAP_SHARED,mmap.PROT_READ);"
        "sys.stdout.write(m[-999:].hex())"
    )
    assert bytes.fromhex(run(f"{sys.executable} -c '{mapped}' film", family)) == DATA[-999:]
    assert run("cat film | md5sum", family).split()[0] == md5(DATA).hexdigest()
    run(
        "cp film copy && cmp film copy && dd if=film of=copy2 bs=1M status=none && cmp copy copy2",
        family,
    )


@pytest.fixture
def attributes_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    plain = Core.getxattr

    def getxattr(self: Core, ino: int, name: str) -> bytes:
        names.append(name)
        return plain(self, ino, name)

    monkeypatch.setattr(Core, "getxattr", getxattr)
    return names


def test_a_new_file_that_is_only_written_is_written_with_no_question_before(
    family: Path, attributes_asked: list[str], tmp_path: Path
) -> None:
    (tmp_path / "film").write_bytes(DATA)
    run(f"cp {tmp_path}/film film && printf small > note", family)
    assert attributes_asked == []
    assert run(f"cmp {tmp_path}/film film && cat note", family) == "small"


_WRITER_AND_READERS = """
import mmap, os, sys
path = sys.argv[1]
writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
os.write(writer, b"a" * 9000)
reader = os.open(path, os.O_RDONLY)
mapped = mmap.mmap(reader, 9000, mmap.MAP_SHARED, mmap.PROT_READ)
assert mapped[:] == os.pread(reader, 9999, 0) == b"a" * 9000
os.pwrite(writer, b"b" * 5000, 2000)
expected = b"a" * 2000 + b"b" * 5000 + b"a" * 2000
assert mapped[:] == expected, "mapped"
assert os.pread(reader, 9999, 0) == expected, "read"
os.ftruncate(writer, 3000)
os.pwrite(writer, b"c" * 100, 9000)
expected = expected[:3000] + bytes(6000) + b"c" * 100
assert os.pread(reader, 9999, 0) == expected, "longer"
assert os.fstat(reader).st_size == 9100
appending = os.open(path, os.O_WRONLY | os.O_APPEND)
os.write(appending, b"d")
os.pwrite(writer, b"e", 9101)
assert os.pread(reader, 99, 9099) == b"cde"
print(mapped[:5000] == expected[:5000])
"""


def test_others_see_at_once_what_is_written_past_the_cache(family: Path) -> None:
    done = run(f"{sys.executable} -c '{_WRITER_AND_READERS}' new", family)
    assert done.strip() == "True"
