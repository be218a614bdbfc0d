"""What a device does not want any more is not sent to it, what it wants again comes once, and what
it calls urgent comes before its others."""

import random
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from sharefs.mesh.events import Channel
from sharefs.node import serving as serving_module
from sharefs.node.serving import _Line
from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, PublicKey, SpaceId
from sharefs.wire.message import decode_message
from sharefs.wire.session import Hello
from sharefs.wire.transfer import Cancel, Chunk, Dropped, Hurry, WantChunks
from tests.node.node_parties import Party, Raw, agree, raw_member, until

Asked = tuple[SpaceId, ContentId, tuple[int, ...]]


@pytest.fixture
def asked(anna: Party) -> Asked:
    """A file of some chunks."""
    anna.write("film.mkv", random.Random(7).randbytes(5 * MIB))
    content = anna.there("film.mkv").content
    assert content is not None
    local = anna.node.state.contents.known(content)
    assert local is not None
    assert local.manifest is not None
    assert len(local.manifest.lengths) > 4
    return anna.replica().id, content, tuple(range(len(local.manifest.lengths)))


@pytest.fixture
def mallory(anna: Party, bob: Party, asked: Asked) -> Iterator[Raw]:
    agree("film.mkv", anna, bob)
    raw = raw_member(bob, anna)
    raw.say(Hello((), (anna.replica().id,), (), False))
    raw.settle()
    yield raw
    raw.close()


class Socket:
    """Takes so many pieces, and then none before it is opened."""

    def __init__(self, party: Party, monkeypatch: pytest.MonkeyPatch, pieces: int = 0) -> None:
        self.pieces = pieces
        self._send = party.node.state.mesh.send
        monkeypatch.setattr(party.node.state.mesh, "send", self.send)

    def send(self, key: PublicKey, channel: Channel, frames: tuple[bytes, ...]) -> bool:
        if channel is Channel.BULK and isinstance(decode_message(frames[0]), Chunk):
            if not self.pieces:
                return False
            self.pieces -= 1
        return self._send(key, channel, frames)

    def open(self) -> None:
        self.pieces = 10_000


def line_at(party: Party) -> _Line:
    (line,) = until(
        lambda: party.node.loop.call(lambda: list(party.node.carriage.serving._lines.values()))
    )
    return line


def begun(mallory: Raw) -> Counter[int]:
    """How often each chunk came from its beginning."""
    return Counter(chunk.index for chunk in mallory.heard(Chunk) if not chunk.start)


def test_what_is_cancelled_and_wanted_again_comes_once(
    anna: Party, mallory: Raw, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, content, indexes = asked
    socket = Socket(anna, monkeypatch)
    mallory.say(WantChunks(space, content, indexes))
    line = line_at(anna)
    until(lambda: len(line.ready) == len(indexes))
    mallory.say(Cancel(space, content, indexes), WantChunks(space, content, indexes))
    mallory.settle()
    assert [each.indexes for each in mallory.heard(Dropped)] == [indexes]
    socket.open()
    until(lambda: set(begun(mallory)) == set(indexes))
    mallory.settle()
    assert set(begun(mallory).values()) == {1}
    until(lambda: not line.held_chunks)
    assert not line.held_bytes


def test_what_is_cancelled_while_it_is_read_is_not_sent_and_comes_once_if_it_is_wanted_again(
    anna: Party, mallory: Raw, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, content, indexes = asked
    local = anna.node.state.contents.known(content)
    assert local is not None
    goes_on, read = threading.Event(), type(local).read_chunk

    def read_when_told(self: object, index: int) -> bytes:
        goes_on.wait(10)
        return read(self, index)  # type: ignore[arg-type]

    monkeypatch.setattr(type(local), "read_chunk", read_when_told)
    mallory.say(WantChunks(space, content, indexes))
    line = line_at(anna)
    until(lambda: line.reading)
    mallory.say(Cancel(space, content, indexes))
    assert mallory.hears(Dropped).indexes == indexes
    mallory.say(WantChunks(space, content, indexes[:2]))
    mallory.settle()
    goes_on.set()
    until(lambda: set(begun(mallory)) == set(indexes[:2]))
    mallory.settle()
    assert begun(mallory) == Counter(indexes[:2])
    until(lambda: not line.held_chunks)
    assert not line.held_bytes


@pytest.mark.parametrize("duplicate", [False, True])
def test_of_a_chunk_that_is_partly_sent_the_rest_comes_unless_another_has_sent_it(
    duplicate: bool,
    anna: Party,
    mallory: Raw,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving_module, "PIECE_SIZE_BYTES", 1000)
    monkeypatch.setattr(serving_module, "WHOLE_BYTES_PER_S_MIN", float("inf"))
    space, content, indexes = asked
    socket = Socket(anna, monkeypatch, pieces=3)
    mallory.say(WantChunks(space, content, indexes))
    line = line_at(anna)
    until(lambda: len(mallory.heard(Chunk)) == 3 and len(line.ready) == len(indexes))
    first = line.ready[0].chunk.index
    mallory.say(Cancel(space, content, indexes, duplicate))
    dropped = mallory.hears(Dropped).indexes
    assert set(indexes) - set(dropped) == (set() if duplicate else {first})
    size = line.ready[0].chunk.size if line.ready else 0
    socket.open()
    # She goes on reading meanwhile: what nobody reads is not taken for long.
    until(lambda: mallory.heard(Chunk) and not line.held_chunks)
    mallory.settle()
    pieces = -(-size // 1000) if not duplicate else 3
    until(lambda: len(mallory.heard(Chunk)) == pieces)
    assert begun(mallory) == Counter([first])


def order(mallory: Raw) -> list[int]:
    """The chunks, as they came."""
    return [chunk.index for chunk in mallory.heard(Chunk) if not chunk.start]


@pytest.mark.parametrize("held_chunks_max", [1, 64])
def test_what_is_urgent_goes_before_what_else_its_device_waits_for(
    held_chunks_max: int,
    anna: Party,
    mallory: Raw,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving_module, "HELD_CHUNKS_MAX", held_chunks_max)
    space, content, indexes = asked
    socket = Socket(anna, monkeypatch)
    *others, before_last, last = indexes
    mallory.say(WantChunks(space, content, tuple(others)))
    line = line_at(anna)
    until(lambda: len(line.ready) == min(held_chunks_max, len(others)))
    mallory.say(WantChunks(space, content, (last,), urgent=True))
    mallory.say(WantChunks(space, content, (before_last,), urgent=True))
    until(lambda: len(line.ready) == 2 + min(held_chunks_max, len(others)))
    socket.open()
    until(lambda: len(order(mallory)) == len(indexes))
    # The pool reads two at a time.
    assert set(order(mallory)[:2]) == {last, before_last}
    assert set(order(mallory)) == set(indexes)


def test_what_becomes_urgent_goes_before_even_what_is_partly_sent(
    anna: Party, mallory: Raw, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "PIECE_SIZE_BYTES", 100_000)
    monkeypatch.setattr(serving_module, "WHOLE_BYTES_PER_S_MIN", float("inf"))
    space, content, indexes = asked
    socket = Socket(anna, monkeypatch, pieces=1)
    mallory.say(WantChunks(space, content, indexes))
    line = line_at(anna)
    until(lambda: len(mallory.heard(Chunk)) == 1 and len(line.ready) == len(indexes))
    first, *others, last = (ready.chunk.index for ready in line.ready)
    mallory.say(Hurry(space, content, (last,)))
    mallory.settle()
    socket.open()
    until(lambda: len(order(mallory)) == len(indexes))
    assert order(mallory) == [first, last, *others]
    assert mallory.heard(Chunk)[1].index == last


def test_what_becomes_urgent_while_it_waits_to_be_read_is_read_next(
    anna: Party, mallory: Raw, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "HELD_CHUNKS_MAX", 1)
    space, content, indexes = asked
    socket = Socket(anna, monkeypatch)
    mallory.say(WantChunks(space, content, indexes))
    line = line_at(anna)
    until(lambda: len(line.ready) == 1)
    mallory.say(Hurry(space, content, indexes[-1:]))
    until(lambda: len(line.ready) == 2)
    socket.open()
    until(lambda: len(order(mallory)) == len(indexes))
    assert order(mallory) == [indexes[-1], *indexes[:-1]]
