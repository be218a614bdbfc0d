from contextlib import suppress
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError
from sharefs.records.content import CHUNK_SIZE_BYTES_MAX
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.wire import message, session, sync, transfer
from sharefs.wire.message import (
    MESSAGE_SIZE_BYTES_MAX,
    PROTOCOL_VERSION,
    Message,
    decode_message,
    encode_message,
)
from tests.shapes import faults, refuses, values

SPACE = SpaceId(b"s" * 32)
CONTENT = ContentId(b"c" * 32)
KINDS = (
    *message.SessionMessage.__args__,
    *message.SyncMessage.__args__,
    *message.TransferMessage.__args__,
    *message.HoldingsMessage.__args__,
)
messages = cast("st.SearchStrategy[Message]", values(Message))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_each_message_comes_back_as_it_was_sent(kind: type, data: st.DataObject) -> None:
    sent = cast(Message, data.draw(values(kind)))
    assert decode_message(encode_message(sent)) == sent
    assert decode_message(memoryview(encode_message(sent))) == sent


def test_every_kind_of_message_has_its_own_tag() -> None:
    tags = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(tags)) == len(tags)


@given(faults(messages.map(encode_message)))
def test_bytes_that_are_no_message_are_refused_and_nothing_else(data: bytes) -> None:
    for attempt in (data, bytes([PROTOCOL_VERSION]) + data[1:]):
        with suppress(RemoteProtocolError):
            decode_message(attempt)


@given(messages, st.integers(0, 255).filter(lambda version: version != PROTOCOL_VERSION))
def test_another_version_is_refused(sent: Message, version: int) -> None:
    refuses(decode_message, bytes([version]) + encode_message(sent)[1:])


@given(messages, st.integers(1, 2**62))
def test_every_truncation_is_refused(sent: Message, seed: int) -> None:
    data = encode_message(sent)
    refuses(decode_message, data[: seed % len(data)])


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    refuses(decode_message, bytes(MESSAGE_SIZE_BYTES_MAX + 1))


def test_deep_and_hollow_announcements_are_refused() -> None:
    for body in (
        b"\x91" * 1_000_000,
        b"\x81" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x92\x02\xcf" + b"\xff" * 8,
        b"\x92\x02\xcb\x7f\xf0" + bytes(6),
        b"\x92\xd3" + b"\xff" * 8 + b"\x01",
        b"\x94\x22\xc4\x20" + SPACE + b"\xc4\x20" + CONTENT + b"\xdd\x7f\xff\xff\xff",
    ):
        refuses(decode_message, bytes([PROTOCOL_VERSION]) + body)


def _raw(tag: int, *fields: object) -> bytes:
    return bytes([PROTOCOL_VERSION]) + msgspec.msgpack.encode([tag, *fields])


@pytest.mark.parametrize(
    "data",
    [
        _raw(34, SPACE, CONTENT, [0] * (transfer.INDEXES_MAX + 1)),
        _raw(34, SPACE, CONTENT, [2**31 + 1]),
        _raw(34, SPACE, CONTENT, [-1]),
        _raw(34, SPACE[:-1], CONTENT, [1]),
        _raw(34, SPACE, CONTENT, [1], 5),
        _raw(34, SPACE, CONTENT, [1], False, 5),
        _raw(35, SPACE, CONTENT, 1, CHUNK_SIZE_BYTES_MAX),
        _raw(33, SPACE, CONTENT, True, b"", b"", bytes(transfer.SMALL_CONTENT_SIZE_BYTES_MAX + 1)),
        _raw(33, SPACE, CONTENT, 1, b"", b"", b""),
        _raw(
            16,
            SPACE,
            bytes(32),
            [[bytes(16), bytes(8), 1]] * (sync.FRONTIER_ENTRIES_MAX + 1),
            bytes(32),
        ),
        _raw(7, SPACE, "x" * (session.SENTENCE_SIZE_MAX + 1)),
        _raw(7, SPACE, b"bytes"),
        _raw(99, SPACE),
        _raw(2, True),
        _raw(2, 1.0),
        bytes([PROTOCOL_VERSION]) + b"\x93\x07\xc4\x20" + SPACE + b"\xa3\xed\xa0\x80",
    ],
)
def test_what_exceeds_its_limit_or_type_is_refused(data: bytes) -> None:
    refuses(decode_message, data)


def test_the_limits_themselves_are_allowed() -> None:
    frontier = tuple(
        (DeviceId(bytes(16)), bytes(8), 2**62) for _ in range(sync.FRONTIER_ENTRIES_MAX)
    )
    summary = sync.Summary(SPACE, bytes(32), frontier, bytes(32))  # type: ignore[arg-type]
    assert decode_message(encode_message(summary)) == summary
    indexes = (2**31,) * transfer.INDEXES_MAX
    lack = transfer.Lack(SPACE, CONTENT, indexes)
    assert decode_message(encode_message(lack)) == lack
