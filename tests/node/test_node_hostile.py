import random
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from sharefs.mesh.events import Channel
from sharefs.node import sending as sending_module
from sharefs.node import serving as serving_module
from sharefs.records.ids import ContentId, DeviceId, Incarnation, PublicKey, SpaceId
from sharefs.spaces.ticket import Address, Door
from sharefs.wire.message import Message, encode_message
from sharefs.wire.session import Bye, Hello, Ping, Pong, Redeemed, Refused
from sharefs.wire.sync import Page, Pull, PullRoster, RosterOperations, Summary
from sharefs.wire.transfer import Ask, Cancel, Chunk, Dropped, Have, Hurry, Lack, Offer, WantChunks
from tests import shapes
from tests.node.node_parties import Party, Raw, until

NOWHERE = SpaceId(bytes(32))
NOTHING = ContentId(bytes(32))


def messages(space: SpaceId, content: ContentId) -> list[Message]:
    """One of each kind that is about a space."""
    stranger = (DeviceId(bytes(16)), Incarnation(bytes(8)), 2**62)
    return [
        Summary(space, bytes(32), (stranger,), bytes(32)),
        PullRoster(space),
        RosterOperations(space, (b"", b"junk")),
        Pull(space, (stranger,), 2**62, 0),
        Page(space, 0, 1, (), True, (stranger,), 1),
        Ask(space, content, True, True),
        Offer(space, content, True, b"\xff", b"junk", b"junk"),
        WantChunks(space, content, (0, 7, 8, 2**31)),
        Hurry(space, content, (0, 2**31)),
        Have(space, content, (0, 2**31)),
        Cancel(space, content, (0, 2**31)),
        Dropped(space, content, (0, 2**31)),
        Chunk(space, content, 2**31),
        Lack(space, content, (0, 2**31)),
    ]


def content_of(party: Party, path: str) -> ContentId:
    content = party.there(path).content
    assert content is not None
    return content


def space_of(party: Party, space: str = "Family") -> SpaceId:
    return party.replica(space).id


def test_garbage_from_a_member_is_dropped(anna: Party, mallory: Raw) -> None:
    draw = random.Random(1)
    anna.write("a.txt", b"hello")
    sound = [
        encode_message(message)
        for message in (
            *messages(space_of(anna), content_of(anna, "a.txt")),
            Hello((), (), (), False),
            Redeemed(NOWHERE, (b"junk",)),
            Refused(NOWHERE, "no"),
            Bye(),
        )
    ]
    for _ in range(600):
        data = bytearray(draw.choice(sound))
        for _ in range(draw.randrange(4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        mallory.send(bytes(data[: draw.randrange(1, len(data) + 1)]))
        mallory.send(draw.randbytes(draw.randrange(1, 60)), payload=draw.randbytes(9))
    mallory.settle()
    assert anna.alive
    anna.write("b.txt", b"still here")
    assert anna.read("a.txt") == b"hello"


def sound_messages(space: SpaceId, content: ContentId) -> list[Message]:
    """Many that are well-formed, about a space and a content that there are."""
    drawn: list[Message] = []

    @settings(max_examples=400, database=None)
    @given(shapes.values(Message))
    def draw(message: Message) -> None:
        fields = {"space": space, "content": content}
        known = {name: value for name, value in fields.items() if hasattr(message, name)}
        drawn.append(replace(message, **known))

    draw()
    return drawn


def test_sound_messages_without_sense_are_dropped(anna: Party, mallory: Raw) -> None:
    anna.write("a.txt", b"hello")
    space = space_of(anna)
    for message in sound_messages(space, content_of(anna, "a.txt")):
        mallory.say(message)
        if isinstance(message, Bye):
            mallory.say(Hello((), (space,), (), False))
    mallory.settle()
    assert anna.alive
    anna.write("b.txt", b"still here")
    assert anna.read("a.txt") == b"hello"


def test_messages_about_wrong_spaces_and_contents_are_not_answered(
    anna: Party, mallory: Raw
) -> None:
    anna.create("Secret")
    anna.write("plan.txt", b"a secret plan", space="Secret")
    secret, family = space_of(anna, "Secret"), space_of(anna)
    plan = anna.there("plan.txt", "Secret").content
    assert plan is not None
    mallory.say(*messages(secret, plan), *messages(NOWHERE, plan), *messages(family, plan))
    mallory.settle()
    assert anna.alive
    assert not [m for m in mallory.heard(Offer) if m.holds]
    assert not mallory.heard(Chunk)
    assert {m.space for m in mallory.heard(RosterOperations)} <= {family}
    assert not any(s.shipments for s in mallory.heard(Page))


def test_addresses_that_are_none_do_no_harm(anna: Party, mallory: Raw) -> None:
    bob = next(iter(anna.node.state.devices.values()))
    for host in (
        "fe80::1%a b",
        "fe80::1%]:1;tcp://x",
        "::1%" + "9" * 200,
        "ö.example",
        "*",
        "-",
        "a" * 255,
    ):
        address = Address(host, 1, 65535)
        door = Door(bob.device, bob.curve_key, (address,))
        mallory.say(Hello((address,), (space_of(anna),), (door,), True))
    mallory.settle()
    assert anna.alive


def contents_file(party: Party, content: ContentId) -> Path:
    return party.home.contents_folder / content.hex()[:2] / content.hex()


@pytest.mark.parametrize("damage", [b"", b"hellO", b"hello and more"])
def test_who_asks_for_a_damaged_file_is_told_that_it_is_not_here(
    anna: Party, mallory: Raw, damage: bytes
) -> None:
    anna.write("a.txt", b"hello")
    content = content_of(anna, "a.txt")
    contents_file(anna, content).write_bytes(damage)
    mallory.say(Ask(space_of(anna), content, True, True))
    offer = mallory.hears(Offer)
    assert offer.data in (b"", b"hello")
    mallory.settle()
    assert anna.alive


def test_chunks_that_are_none_are_lacking(anna: Party, mallory: Raw) -> None:
    anna.write("a.txt", b"hello")
    content = content_of(anna, "a.txt")
    mallory.say(WantChunks(space_of(anna), content, (1, 7, 8, 2**31)))
    lacking: set[int] = set()

    def told() -> bool:
        for lack in mallory.heard(Lack):
            lacking.update(lack.indexes)
        return lacking == {1, 7, 8, 2**31}

    until(told)
    assert anna.alive


def of_many_chunks(party: Party) -> tuple[SpaceId, ContentId, tuple[int, ...]]:
    """A file's space, content, and its chunks' indexes."""
    party.write("big", random.Random(2).randbytes(3_000_000))
    content = content_of(party, "big")
    local = party.node.state.contents.known(content)
    assert local is not None
    assert local.manifest is not None
    return space_of(party), content, tuple(range(len(local.manifest.lengths)))


def bulk_until(party: Party, monkeypatch: pytest.MonkeyPatch, looked: Callable[[], None]) -> Event:
    """Chunks are not taken by the network until this is set."""
    send, taken = party.node.state.mesh.send, Event()

    def refuse(key: PublicKey, channel: Channel, frames: tuple[bytes, ...]) -> bool:
        looked()
        if channel is Channel.BULK and not taken.is_set():
            return False
        return send(key, channel, frames)

    monkeypatch.setattr(party.node.state.mesh, "send", refuse)
    return taken


def test_chunks_are_read_only_as_far_as_they_are_taken(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "HELD_BYTES_MAX", 1_100_000)
    monkeypatch.setattr(serving_module, "PIECE_SIZE_BYTES", 3_000_000)
    space, content, indexes = of_many_chunks(anna)
    serving = anna.node.carriage.serving
    held: list[int] = []
    taken = bulk_until(
        anna,
        monkeypatch,
        lambda: held.extend(line.held_bytes for line in serving._lines.values()),
    )
    for _ in range(20):
        mallory.say(WantChunks(space, content, indexes))
    mallory.settle()
    (line,) = anna.node.loop.call(lambda: list(serving._lines.values()))
    wanted = 20 * len(indexes)
    assert len(line.wanted) + line.held_chunks == wanted, "nothing honest is refused"
    taken.set()
    until(lambda: len(mallory.heard(Chunk)) == wanted)
    assert max(held) <= 1_100_000
    assert not anna.node.loop.call(lambda: dict(serving._lines))


def test_what_is_cancelled_is_not_sent(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "HELD_CHUNKS_MAX", 3)
    space, content, indexes = of_many_chunks(anna)
    taken = bulk_until(anna, monkeypatch, lambda: None)
    mallory.say(WantChunks(space, content, indexes))
    (line,) = until(
        lambda: anna.node.loop.call(lambda: list(anna.node.carriage.serving._lines.values()))
    )
    until(lambda: len(line.ready) == 3, "these were read")
    mallory.say(Cancel(space, content, (0, *indexes[5:])), Cancel(NOWHERE, NOTHING, (1,)))
    mallory.settle()
    taken.set()
    until(lambda: {chunk.index for chunk in mallory.heard(Chunk)} >= {1, 2, 3, 4})
    mallory.settle()
    assert {chunk.index for chunk in mallory.heard(Chunk)} == {1, 2, 3, 4}
    assert [each.indexes for each in mallory.heard(Dropped)] == [(0, *indexes[5:])]
    assert line.held_bytes == line.held_chunks == 0


def test_more_chunks_than_anybody_needs_are_ignored(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "WANTED_CHUNKS_MAX", 10)
    monkeypatch.setattr(serving_module, "HELD_CHUNKS_MAX", 1)
    monkeypatch.setattr(serving_module, "STUCK_SECONDS_MAX", 0.1)
    anna.write("a.txt", b"hello")
    serving = anna.node.carriage.serving
    monkeypatch.setattr(
        anna.node.state.mesh,
        "send",
        lambda key, channel, frames: channel is Channel.CONTROL,
    )
    want = WantChunks(space_of(anna), content_of(anna, "a.txt"), (0,) * 256)
    mallory.say(want)
    until(lambda: serving._lines, "it waits")
    assert all(len(line.wanted) <= 10 for line in serving._lines.values())
    until(lambda: not serving._lines, "it is given up")
    assert anna.alive


def test_who_does_not_read_is_told_nothing_long(
    anna: Party, mallory: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_module, "UNREAD_BYTES_MAX", 20_000)
    monkeypatch.setattr(sending_module, "PING_BYTES", 8_000)
    monkeypatch.setattr(sending_module, "SHORT_MESSAGE_BYTES_MAX", 1_000)
    anna.write("a.txt", random.Random(3).randbytes(8_000))
    ask = Ask(space_of(anna), content_of(anna, "a.txt"), True, True)
    mallory.say(*[ask] * 20)
    mallory.settle()
    assert len(mallory.heard(Offer)) == 2
    for ping in mallory.heard(Ping):
        mallory.say(Pong(ping.number), Pong(ping.number), Pong(ping.number + 1))
    mallory.say(*[ask] * 20)
    mallory.settle()
    assert len(mallory.heard(Offer)) == 4


def test_pages_are_asked_for_once_at_a_time(anna: Party, mallory: Raw) -> None:
    space = space_of(anna)
    mallory.say(*[Pull(space, (), 0, number) for number in range(500)])
    mallory.settle()
    anna.node.loop.call(lambda: None)
    assert mallory.heard(Page)[-1].pass_number == 499
    assert len(mallory.heard(Page)) < 500
