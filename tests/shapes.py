"""Which values does a type allow, and what can go wrong with their bytes? Hypothesis strategies."""

from collections.abc import Callable

import msgspec.inspect as shape
import pytest
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError

ITEMS_MAX = 4
BYTES_MAX = 80


def values(kind: object) -> st.SearchStrategy[object]:
    """Every value that a message type allows, with few items in each list."""
    return _values(shape.type_info(kind))


def _values(info: shape.Type) -> st.SearchStrategy[object]:
    match info:
        case shape.StructType(cls=cls, fields=fields):
            return st.builds(cls, *(_values(field.type) for field in fields))
        case shape.UnionType(types=types):
            return st.one_of([_values(each) for each in types])
        case shape.VarTupleType(item_type=item, min_length=least, max_length=most):
            size = (least or 0, min(most or ITEMS_MAX, (least or 0) + ITEMS_MAX))
            return st.lists(_values(item), min_size=size[0], max_size=size[1]).map(tuple)
        case shape.TupleType(item_types=items):
            return st.tuples(*map(_values, items))
        case _:
            return _plain_values(info)


def _plain_values(info: shape.Type) -> st.SearchStrategy[object]:
    match info:
        case shape.IntType(ge=least, le=most):
            return st.integers(least, most)
        case shape.BytesType(min_length=least, max_length=most):
            low = least or 0
            return st.binary(min_size=low, max_size=min(most or BYTES_MAX, low + BYTES_MAX))
        case shape.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=min(most or ITEMS_MAX, ITEMS_MAX))
        case shape.LiteralType(values=each) | shape.EnumType(cls=each):
            return st.sampled_from(list(each))
        case shape.BoolType():
            return st.booleans()
        case shape.NoneType():
            return st.none()
        case _:
            raise AssertionError(f"no values for {info}")


def faults(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes near good ones: cut short, longer, with bytes changed; too deep; or nothing like it."""
    return st.one_of(
        st.binary(max_size=200),
        st.integers(1, 100_000).map(lambda depth: b"\x91" * depth),
        good.flatmap(lambda data: st.integers(0, max(0, len(data) - 1)).map(lambda n: data[:n])),
        st.tuples(good, st.binary(min_size=1, max_size=8)).map(lambda pair: pair[0] + pair[1]),
        st.tuples(good, st.integers(0, 10_000), st.binary(min_size=1, max_size=5)).map(
            lambda parts: _overwrite(*parts)
        ),
    )


def _overwrite(data: bytes, place: int, piece: bytes) -> bytes:
    place %= len(data) or 1
    return data[:place] + piece + data[place + len(piece) :]


def refuses_or_keeps(
    decode: Callable[[bytes], object], encode: Callable[[object], bytes], data: bytes
) -> None:
    """Claim: bytes decode to what encodes to them, or raise RemoteProtocolError, nothing else."""
    try:
        value = decode(data)
    except RemoteProtocolError:
        return
    assert encode(value) == data


def refuses(decode: Callable[[bytes], object], data: bytes) -> None:
    """Claim: RemoteProtocolError, nothing else."""
    with pytest.raises(RemoteProtocolError):
        decode(data)
