"""Which bytes stand for a value?

MessagePack arrays, smallest form of everything, no maps: one value has one encoding. What is
hashed or signed is decoded only if it encodes again to the very same bytes.
"""

from typing import TypeVar

import msgspec

from sharefs.errors import RemoteProtocolError

Value = TypeVar("Value", bound=msgspec.Struct)

_encoder = msgspec.msgpack.Encoder()


def encode(value: object) -> bytes:
    """Encode canonically."""
    return _encoder.encode(value)


def decode(data: bytes, shape: type[Value], size_bytes_max: int) -> Value:
    """Decode what came from outside; depth and counts are bounded by `shape`'s types.

    Raises RemoteProtocolError for what is too large, of another shape or version, or not canonical.
    """
    if len(data) > size_bytes_max:
        raise RemoteProtocolError(f"{shape.__name__} of {len(data)} bytes, limit {size_bytes_max}")
    try:
        value = msgspec.msgpack.decode(data, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"not a {shape.__name__}: {error}") from error
    if _encoder.encode(value) != data:
        raise RemoteProtocolError(f"{shape.__name__} is not in canonical form")
    return value
