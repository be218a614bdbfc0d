import random
import threading
from collections.abc import Callable, Iterator

import pytest

from sharefs.mesh.events import Channel
from sharefs.node.pieces import COMING_CHUNKS_MAX, Pieces
from sharefs.node.serving import PIECE_SIZE_BYTES_MIN as LONG
from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, DeviceId, PublicKey, SpaceId
from sharefs.store import landing as landing_module
from sharefs.store.landing import Landing
from sharefs.transfer import effects, events
from sharefs.wire.message import decode_message
from sharefs.wire.transfer import Chunk, WantChunks
from tests.node.node_parties import Party, agree, meet, until

FILM = random.Random(8).randbytes(3 * MIB)
CONTENT = ContentId(b"f" * 32)
SPACE = SpaceId(b"s" * 32)
ANNA, BOB = DeviceId(b"anna" * 4), DeviceId(b"bob." * 4)


@pytest.fixture(autouse=True)
def all_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_module, "DIRECT_CONTENT_SIZE_BYTES_MIN", 0)


class Wire:
    """What a party sends of chunks; nothing more after the first piece of one that has several, if
    it is cut there."""

    def __init__(self, party: Party) -> None:
        self.sent: list[Chunk] = []
        self.cut = self.is_cut = False
        mesh = party.node.state.mesh
        send = mesh.send

        def counted(
            key: PublicKey, channel: Channel, frames: tuple[bytes | memoryview, ...]
        ) -> bool:
            message = decode_message(frames[0]) if channel is Channel.BULK else None
            if isinstance(message, Chunk):
                if self.is_cut:
                    return True
                self.sent.append(message)
                self.is_cut = self.cut and not message.start and len(frames[1]) >= LONG
            return send(key, channel, frames)

        mesh.send = counted  # type: ignore[method-assign]


def wants_of(party: Party) -> list[WantChunks]:
    """What the party is asked for, from now on."""
    heard: list[WantChunks] = []
    serving = party.node.carriage.serving
    wanted = serving.wanted

    def listen(device: DeviceId, want: WantChunks) -> None:
        heard.append(want)
        wanted(device, want)

    serving.wanted = listen  # type: ignore[method-assign]
    return heard


def come(party: Party) -> int:
    """How many bytes of chunks that are not whole are there."""
    landing = party.node.carriage._pieces._landing
    return sum(place.size for place in landing._places.values())


def killed_amid_a_chunk(anna: Party, bob: Party) -> int:
    """Bob had some pieces of a chunk when he was killed: how many bytes."""
    anna.write("film", FILM)
    agree("film", anna, bob)
    wire = Wire(anna)
    wire.cut = True
    reading = threading.Thread(target=bob.fails, args=("film",))
    reading.start()
    until(lambda: wire.is_cut)
    had = until(lambda: come(bob) == LONG and LONG)
    bob.kill()
    reading.join()
    wire.cut = wire.is_cut = False
    return had


def test_of_a_chunk_that_was_coming_only_the_rest_comes_after_a_kill(
    anna: Party, bob: Party
) -> None:
    had = killed_amid_a_chunk(anna, bob)
    heard = wants_of(anna)
    bob.up()
    meet(anna, bob)
    assert bob.read("film") == FILM
    assert [want.start for want in heard if want.start] == [had]
    until(lambda: not come(bob), "nothing is kept of what is here")


def test_a_head_that_went_bad_is_nobodys_fault_and_comes_again(anna: Party, bob: Party) -> None:
    killed_amid_a_chunk(anna, bob)
    arrivals = bob.home.arrivals_file
    data = bytearray(arrivals.read_bytes())
    for place in range(0, len(data), landing_module.PLACE_SIZE_BYTES):
        data[place + landing_module.PAGE_SIZE_BYTES + 100] ^= 1
    arrivals.write_bytes(data)
    heard = wants_of(anna)
    bob.up()
    meet(anna, bob)
    assert bob.read("film") == FILM
    begun = [want.indexes for want in heard if want.start]
    assert len(begun) == 1
    assert sum(begun[0][0] in want.indexes for want in heard) == 2, "once more, from its beginning"
    assert not list(bob.node.state.notices)


def test_what_came_whole_and_was_not_written_yet_does_not_come_again(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.write("film", FILM)
    agree("film", anna, bob)
    wire = Wire(anna)
    monkeypatch.setattr(bob.node.state, "in_pool", lambda work: None)
    monkeypatch.setattr(bob.node.carriage, "_keep_manifest", keeping(bob))
    reading = threading.Thread(target=bob.fails, args=("film",))
    reading.start()
    until(lambda: wire.sent and come(bob) == len(FILM))
    bob.kill()
    reading.join()
    monkeypatch.undo()
    heard = wants_of(anna)
    bob.up()
    meet(anna, bob)
    assert bob.read("film") == FILM
    assert not heard


def keeping(party: Party) -> Callable[[object], None]:
    """As `Carriage._keep_manifest`, at once."""

    def keep(effect: object) -> None:
        assert isinstance(effect, effects.KeepManifest)
        party.node.state.contents.keep_manifest(effect.content, effect.manifest, effect.encoded)
        party.node.carriage._run(events.ManifestKept(effect.content))

    return keep


def test_what_was_freed_is_forgotten(anna: Party, bob: Party) -> None:
    killed_amid_a_chunk(anna, bob)
    bob.up()
    meet(anna, bob)
    assert come(bob)
    content = bob.there("film").content
    assert content is not None
    bob.node.loop.call(lambda: bob.node.carriage.forget(content))
    assert not come(bob)
    assert bob.read("film") == FILM


# --- one chunk, piece by piece -----------------------------------------------------------------


@pytest.fixture
def pieces(tmp_path: object) -> Iterator[Pieces]:
    made = Pieces(Landing(tmp_path / "arrivals"))  # type: ignore[operator]
    yield made
    made.close()


def take(pieces: Pieces, device: DeviceId, start: int, data: bytes, index: int = 0) -> bytes | None:
    """Of a chunk of nine bytes."""
    whole = pieces.take(device, (CONTENT, index), start, memoryview(data), 9, True)
    return None if whole is None else bytes(whole.data) + (b" *" if whole.inherited else b"")


def test_pieces_make_a_chunk_in_order_only(pieces: Pieces) -> None:
    assert take(pieces, ANNA, 0, b"abc") is None
    assert take(pieces, ANNA, 6, b"ghi") is None, "the middle is missing"
    assert take(pieces, ANNA, 3, b"def") is None
    assert take(pieces, ANNA, 6, b"ghi") == b"abcdefghi"
    assert take(pieces, ANNA, 0, b"ABCDEFGHI") == b"ABCDEFGHI"


def test_who_begins_anew_begins_anew(pieces: Pieces) -> None:
    take(pieces, ANNA, 0, b"abcd")
    take(pieces, ANNA, 0, b"ABC")
    assert take(pieces, ANNA, 3, b"DEFGHI") == b"ABCDEFGHI"


def test_two_who_send_one_chunk_are_not_mixed(pieces: Pieces) -> None:
    take(pieces, ANNA, 0, b"abc")
    take(pieces, BOB, 0, b"ABC")
    take(pieces, ANNA, 3, b"def")
    assert take(pieces, BOB, 6, b"GHI") is None
    assert take(pieces, BOB, 3, b"DEFGHI") == b"ABCDEFGHI"
    pieces.done((CONTENT, 0))
    assert take(pieces, ANNA, 6, b"ghi") == b"abcdefghi"


def test_what_one_left_another_goes_on_with(pieces: Pieces) -> None:
    take(pieces, ANNA, 0, b"abc")
    pieces.gone(ANNA)
    want = WantChunks(SPACE, CONTENT, (1, 0, 2))
    rest, others = pieces.wants(want)
    assert (rest.indexes, rest.start) == ((0,), 3)
    assert (others.indexes, others.start) == ((1, 2), 0)
    assert take(pieces, BOB, 4, b"EFGHI") is None
    assert take(pieces, BOB, 3, b"DEFGHI") == b"abcDEFGHI *"


def test_more_than_was_asked_for_is_not_the_chunk(pieces: Pieces) -> None:
    take(pieces, ANNA, 0, b"abcdef")
    assert take(pieces, ANNA, 6, b"ghijk") == b"ghijk", "whose name will tell"


def test_of_many_begun_chunks_only_the_last_are_kept_in_memory(pieces: Pieces) -> None:
    for index in range(COMING_CHUNKS_MAX + 1):
        take(pieces, ANNA, 0, b"abc", index)
    assert len(pieces._coming[ANNA]) == COMING_CHUNKS_MAX
    assert pieces.left() == [(CONTENT, 0)]
