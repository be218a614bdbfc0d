import struct

import pytest

from sharefs.mount import protocol
from sharefs.mount.attributes import Attributes

OWNER = protocol.Owner(7, 8)


def entry(ino: int) -> Attributes:
    return Attributes(ino, 0o100644, 1, 5, 1, -1, 1_500_000_000)


NAMES = [(b"n" * (number % 250 + 1), entry(number + 2)) for number in range(400)]


def listed(data: bytes, plus: bool) -> list[tuple[bytes, int, int]]:
    """Names, inodes and positions, as the kernel reads them."""
    found, at = [], 0
    while at < len(data):
        at += 128 if plus else 0
        ino, position, length, kind = struct.unpack_from("<QQII", data, at)
        assert kind == 0o10
        found.append((data[at + 24 :][:length], ino, position))
        at += (24 + length + 7) // 8 * 8
    assert at == len(data)
    return found


def plain(found: Attributes) -> bytes:
    return protocol.entry(found.ino + 1000, found, OWNER, 1)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("size", [512, 4096, 1 << 20])
def test_a_listing_comes_in_pieces_and_whole(plus: bool, size: int) -> None:
    names: list[bytes] = []
    while len(names) < len(NAMES):
        first = len(names)
        data = protocol.listing(NAMES[first:], first, size, plain if plus else None)
        assert 0 < len(data) <= size
        piece = listed(data, plus)
        assert [position for _, _, position in piece] == [
            first + number + 1 for number in range(len(piece))
        ]
        names += [name for name, _, _ in piece]
    assert names == [name for name, _ in NAMES]
    assert protocol.listing([], len(NAMES), size, plain if plus else None) == b""


def test_the_dots_of_a_listing_are_not_looked_up() -> None:
    data = protocol.listing([(b".", entry(2)), (b"a", entry(3))], 0, 4096, plain)
    assert data[:128] == bytes(128)
    assert struct.unpack_from("<Q", data, 128 + 24 + 8) == (1003,)


def test_a_time_before_1970_is_told() -> None:
    data = protocol.attributes(entry(2), OWNER, 1)
    assert len(data) == 104
    seconds = struct.unpack_from("<qqq", data, 16 + 24)
    nanoseconds = struct.unpack_from("<III", data, 16 + 48)
    assert (seconds, nanoseconds) == ((-1, -1, 1), (999_999_999, 999_999_999, 500_000_000))


def test_what_a_kernel_does_not_offer_is_not_asked_for() -> None:
    old = protocol.init(31, 131072, int(protocol.Feature.ASYNC_READ), 64)
    assert len(old) == 64
    assert struct.unpack_from("<IIII", old) == (7, 31, 131072, 1)
    new = protocol.init(45, 131072, (1 << 64) - 1, 64)
    first, second = protocol.FEATURES & 0xFFFFFFFF, protocol.FEATURES >> 32
    assert struct.unpack_from("<IIII", new) == (7, protocol.MINOR, 131072, first)
    assert struct.unpack_from("<I", new, 32) == (second,)


def test_what_a_kernel_offers_is_read_from_either_half() -> None:
    extended = int(protocol.Feature.INIT_EXT)
    body = memoryview(struct.pack("<IIIII44x", 7, 45, 4096, extended | 1, 1 << 4))
    assert protocol.read_init(body) == (45, 4096, extended | 1 | 1 << 36)
    short = memoryview(struct.pack("<IIII", 7, 31, 4096, 1))
    assert protocol.read_init(short) == (31, 4096, 1)
