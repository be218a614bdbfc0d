"""Which bytes stand for a message?

A byte for the version of the protocol, then the message in MessagePack. Depth, counts and sizes are
bounded by the types of the messages, the whole by MESSAGE_SIZE_BYTES_MAX.
"""

import msgspec

from sharefs.errors import RemoteProtocolError
from sharefs.records.content import MANIFEST_SIZE_BYTES_MAX
from sharefs.wire import audit, holdings, session, sync, transfer

PROTOCOL_VERSION = 1
MESSAGE_SIZE_BYTES_MAX = MANIFEST_SIZE_BYTES_MAX + 64 * 1024

SessionMessage = (
    session.Hello
    | session.Ping
    | session.Pong
    | session.Bye
    | session.Redeem
    | session.Redeemed
    | session.Refused
)
SyncMessage = (
    sync.Summary
    | sync.PullRoster
    | sync.RosterOperations
    | sync.Pull
    | sync.Page
    | sync.Push
    | sync.Idle
    | audit.AskSums
    | audit.Sums
    | audit.AskRecords
    | audit.Records
    | audit.Tombstones
)
TransferMessage = (
    transfer.Ask
    | transfer.Offer
    | transfer.WantChunks
    | transfer.Hurry
    | transfer.Have
    | transfer.Cancel
    | transfer.Dropped
    | transfer.Chunk
    | transfer.Lack
    | transfer.Later
)
HoldingsMessage = (
    holdings.Held | holdings.AskHeld | holdings.HeldPage | holdings.AskPromise | holdings.Promise
)
Message = SessionMessage | SyncMessage | TransferMessage | HoldingsMessage

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The bytes of a message's first frame."""
    return bytes([PROTOCOL_VERSION]) + _encoder.encode(message)


def decode_message(data: bytes | memoryview) -> Message:
    """Raises RemoteProtocolError for what is no message of this version, within the limits."""
    if len(data) > MESSAGE_SIZE_BYTES_MAX:
        raise RemoteProtocolError(f"a message of {len(data)} bytes")
    if len(data) < 2 or data[0] != PROTOCOL_VERSION:
        raise RemoteProtocolError("a message of another protocol version")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"not a message: {error}") from error
