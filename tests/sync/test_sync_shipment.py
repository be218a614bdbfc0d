"""What arrives is what its author signed, or is refused."""

import msgspec
import pytest

from sharefs.errors import RemoteProtocolError
from sharefs.records.commit import Commit, sign_commit
from sharefs.records.ids import (
    DeviceId,
    Incarnation,
    OperationHash,
    SpaceId,
    device_id,
    item_id,
)
from sharefs.records.record import Record, encode_record, hash_record
from sharefs.spaces.identity import public_key, signing_key
from sharefs.sync.shipment import (
    advanced_by,
    entries_of,
    frontier_of,
    is_beyond,
    is_whole,
    open_shipment,
    ship,
)
from sharefs.wire.sync import Shipment

KEY = signing_key(bytes(32))
DEVICE = device_id(public_key(KEY))
FIRST = Incarnation(bytes(8))
SPACE = SpaceId(bytes(32))


def record(sequence: int, device: DeviceId = DEVICE) -> Record:
    item = item_id(DEVICE, bytes(8))
    return Record(1, item, "entry", device, FIRST, sequence, (), 1, b"body")


def signed(first: int, *records: Record) -> Commit:
    hashes = tuple(hash_record(encode_record(record)) for record in records)
    return sign_commit(KEY, SPACE, DEVICE, FIRST, first, OperationHash(bytes(32)), hashes)


def shipped(first: int, *records: Record) -> Shipment:
    return ship(signed(first, *records), [(r.sequence, encode_record(r)) for r in records])


def test_what_was_signed_is_opened() -> None:
    records = [record(5), record(6), record(7)]
    opened = open_shipment(shipped(5, *records), public_key(KEY))
    assert opened == [(record, encode_record(record)) for record in records]


def test_dominated_records_may_be_missing() -> None:
    whole = shipped(5, record(5), record(6))
    holed = Shipment(whole.commit, whole.records[1:])
    assert [r.sequence for r, _ in open_shipment(holed, public_key(KEY))] == [6]
    assert is_whole(whole)
    assert not is_whole(holed)
    assert not is_whole(Shipment(whole.commit, (whole.records[0], whole.records[0])))


def test_another_key_opens_nothing() -> None:
    other = public_key(signing_key(bytes([1] * 32)))
    with pytest.raises(RemoteProtocolError):
        open_shipment(shipped(5, record(5)), other)


@pytest.mark.parametrize(
    "false",
    [
        Shipment(signed(5, record(5)), ((1, encode_record(record(5))),)),
        Shipment(signed(5, record(5)), ((0, encode_record(record(6))),)),
        Shipment(signed(5, record(5)), ((0, b"no record"),)),
        Shipment(signed(4, record(5)), ((0, encode_record(record(5))),)),
        shipped(5, record(5, DeviceId(bytes(16)))),
        Shipment(
            msgspec.structs.replace(signed(5, record(5)), first=6),
            ((0, encode_record(record(5))),),
        ),
    ],
)
def test_what_was_not_signed_so_is_refused(false: Shipment) -> None:
    with pytest.raises(RemoteProtocolError):
        open_shipment(false, public_key(KEY))


def test_a_frontier_travels_sorted_and_comes_back() -> None:
    other = DeviceId(bytes(16))
    frontier = {(DEVICE, FIRST): 3, (other, FIRST): 5}
    assert entries_of(frontier) == ((other, FIRST, 5), (DEVICE, FIRST, 3))
    assert frontier_of(entries_of(frontier)) == frontier
    assert frontier_of(((other, FIRST, 5), (other, FIRST, 3))) == {(other, FIRST): 5}


def test_beyond_is_any_record_that_the_other_lacks() -> None:
    ours = {(DEVICE, FIRST): 3}
    assert not is_beyond({}, ours)
    assert not is_beyond({(DEVICE, FIRST): 3}, ours)
    assert is_beyond({(DEVICE, FIRST): 4}, ours)
    assert is_beyond({(DEVICE, Incarnation(bytes([1] * 8))): 1}, ours)


def test_whole_commits_advance_their_author_up_to_the_first_gap() -> None:
    first, second, third = (shipped(n, record(n), record(n + 1)) for n in (1, 3, 5))
    holed = Shipment(second.commit, second.records[:1])
    author = (DEVICE, FIRST)
    assert advanced_by((first, second, third), {}) == {author: 6}
    assert advanced_by((first, holed, third), {}) == {author: 2}
    assert advanced_by((first, holed, third), {author: 4}) == {author: 6}
    assert advanced_by((second, third), {}) == {}
    assert advanced_by((second, third), {author: 3}) == {author: 6}
    assert advanced_by((first, second), {author: 6}) == {}
