import random

import pytest

from sharefs.mesh.events import Channel
from sharefs.node import serving as serving_module
from sharefs.node.pieces import COMING_CHUNKS_MAX, Pieces
from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, DeviceId, PublicKey
from sharefs.wire.message import decode_message
from sharefs.wire.transfer import Chunk
from tests.node.node_parties import Party, agree

CONTENT = ContentId(b"f" * 32)
FILM_SIZE_BYTES = 3 * MIB
ANNA, BOB = DeviceId(b"anna" * 4), DeviceId(b"bob." * 4)


class Wire:
    """The sizes of what a party sends of chunks."""

    def __init__(self, party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._send = party.node.state.mesh.send
        monkeypatch.setattr(party.node.state.mesh, "send", self.send)

    def send(
        self, key: PublicKey, channel: Channel, frames: tuple[bytes | memoryview, ...]
    ) -> bool:
        sent = self._send(key, channel, frames)
        if sent and channel is Channel.BULK and isinstance(decode_message(frames[0]), Chunk):
            self.sizes.append(len(frames[1]))
        return sent


def chunks_of(party: Party) -> int:
    """How many the film has."""
    content = party.there("film").content
    assert content is not None
    local = party.node.state.contents.known(content)
    assert local is not None
    assert local.manifest is not None
    return len(local.manifest.lengths)


def sent_of_film(anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what Anna sends when Bob reads a film of hers."""
    film = random.Random(8).randbytes(FILM_SIZE_BYTES)
    wire = Wire(anna, monkeypatch)
    anna.write("film", film)
    agree("film", anna, bob)
    is_same = bob.read("film") == film
    assert is_same
    return wire.sizes


def test_over_a_slow_link_a_chunk_comes_in_pieces(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "PIECE_SIZE_BYTES", 100_000)
    monkeypatch.setattr(serving_module, "WHOLE_BYTES_PER_S_MIN", float("inf"))
    sizes = sent_of_film(anna, bob, monkeypatch)
    assert max(sizes) == 100_000
    assert sum(sizes) == FILM_SIZE_BYTES


def test_over_a_fast_link_chunks_come_whole_once_it_is_known_to_be_fast(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "PIECE_SIZE_BYTES", 1000)
    monkeypatch.setattr(serving_module, "WHOLE_BYTES_PER_S_MIN", 0.0)
    sizes = sent_of_film(anna, bob, monkeypatch)
    # Of whom nothing is known gets the first piece.
    assert len(sizes) == 1 + chunks_of(anna)


# --- one chunk, piece by piece -----------------------------------------------------------------


def take(pieces: Pieces, device: DeviceId, start: int, data: bytes, index: int = 0) -> bytes | None:
    """Of a chunk of nine bytes."""
    whole = pieces.take(device, (CONTENT, index), start, memoryview(data), 9)
    return None if whole is None else bytes(whole)


def test_pieces_make_a_chunk_in_order_only() -> None:
    pieces = Pieces()
    assert take(pieces, ANNA, 0, b"abc") is None
    assert take(pieces, ANNA, 6, b"ghi") is None, "the middle is missing"
    assert take(pieces, ANNA, 3, b"def") is None
    assert take(pieces, ANNA, 3, b"def") is None, "it was there"
    assert take(pieces, ANNA, 6, b"ghi") == b"abcdefghi"
    assert take(pieces, ANNA, 0, b"ABCDEFGHI") == b"ABCDEFGHI"


def test_who_begins_anew_begins_anew() -> None:
    pieces = Pieces()
    take(pieces, ANNA, 0, b"abcd")
    take(pieces, ANNA, 0, b"ABC")
    assert take(pieces, ANNA, 3, b"DEFGHI") == b"ABCDEFGHI"
    take(pieces, ANNA, 0, b"abc")
    pieces.gone(ANNA)
    assert take(pieces, ANNA, 3, b"DEFGHI") is None


def test_two_who_send_one_chunk_are_not_mixed() -> None:
    pieces = Pieces()
    take(pieces, ANNA, 0, b"abc")
    take(pieces, BOB, 0, b"ABC")
    take(pieces, ANNA, 3, b"def")
    assert take(pieces, BOB, 6, b"GHI") is None
    assert take(pieces, BOB, 3, b"DEFGHI") == b"ABCDEFGHI"
    assert take(pieces, ANNA, 6, b"ghi") == b"abcdefghi"


def test_more_than_was_asked_for_is_not_the_chunk() -> None:
    pieces = Pieces()
    take(pieces, ANNA, 0, b"abcdef")
    assert take(pieces, ANNA, 6, b"ghijk") == b"abcdefghijk", "whose name will tell"
    assert take(pieces, ANNA, 0, b"abcdefghijk") == b"abcdefghijk"


def test_of_many_begun_chunks_only_the_last_are_kept_in_memory() -> None:
    pieces = Pieces()
    for index in range(COMING_CHUNKS_MAX + 1):
        take(pieces, ANNA, 0, b"abc", index)
    assert take(pieces, ANNA, 3, b"defghi", 0) is None
    assert take(pieces, ANNA, 3, b"defghi", 1) == b"abcdefghi"
