from collections.abc import Callable
from typing import cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sharefs.errors import NameNotPossible, NameNotText, NameTooLong, RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.commit import (
    COMMIT_SIZE_BYTES_MAX,
    Commit,
    Seal,
    contradict,
    decode_commit,
    encode_commit,
    seal_of,
    sign_commit,
    verify_commit,
)
from sharefs.records.content import (
    CHUNK_SIZE_BYTES_MAX,
    Manifest,
    chunk_id,
    chunk_sizes,
    content_id,
    decode_manifest,
    encode_manifest,
    make_manifest,
)
from sharefs.records.entry import (
    TARGET_SIZE_BYTES_MAX,
    Entry,
    EntryType,
    check_name,
    check_target,
    decode_entry,
    encode_entry,
)
from sharefs.records.ids import (
    ROOT,
    ContentId,
    DeviceId,
    Incarnation,
    OperationHash,
    PublicKey,
    RecordHash,
    SpaceId,
    creator_of,
    device_id,
    item_id,
    person_id,
)
from sharefs.records.record import (
    RECORD_SIZE_BYTES_MAX,
    Record,
    decode_record,
    encode_record,
    hash_record,
    sees,
)
from tests.shapes import faults, refuses, refuses_or_keeps, values

NAMES = st.text(min_size=1, max_size=60).filter(lambda name: _is_name(name))


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except (NameNotPossible, NameNotText, NameTooLong):
        return False
    return True


def _well_formed(record: Record) -> bool:
    keys = [(device, incarnation) for device, incarnation, _ in record.context]
    in_order = keys == sorted(set(keys))
    return record.item != ROOT and in_order and not sees(record.context, record.coordinate)


def _agrees(entry: Entry) -> bool:
    is_file = entry.type is EntryType.FILE and not entry.deleted
    return (
        _is_name(entry.name)
        and (entry.size > 0) == (entry.content is not None)
        and not (entry.size > 0 and not is_file)
        and bool(entry.target) == (entry.type is EntryType.SYMLINK)
    )


records = cast("st.SearchStrategy[Record]", values(Record)).filter(_well_formed)
commits = cast("st.SearchStrategy[Commit]", values(Commit))
entries = st.builds(
    lambda name, deleted, link, content, size, mtime, executable: Entry(
        1,
        EntryType.SYMLINK if link else EntryType.FILE,
        deleted,
        ROOT,
        name,
        5,
        mtime,
        executable,
        size if content and not deleted and not link else 0,
        content if size and not deleted and not link else None,
        link,
    ),
    NAMES,
    st.booleans(),
    st.text(max_size=20),
    st.none() | st.binary(min_size=32, max_size=32),
    st.integers(0, 2**62),
    st.integers(-(2**62), 2**62),
    st.booleans(),
)
manifests = st.lists(
    st.tuples(st.binary(min_size=32, max_size=32), st.integers(1, CHUNK_SIZE_BYTES_MAX)),
    min_size=1,
    max_size=5,
).map(lambda chunks: make_manifest(chunks))  # type: ignore[arg-type]

Codec = tuple[st.SearchStrategy[object], Callable[[object], bytes], Callable[[bytes], object]]
CODECS = cast(
    "dict[str, Codec]",
    {
        "record": (records, encode_record, decode_record),
        "commit": (commits, encode_commit, decode_commit),
        "entry": (entries, encode_entry, decode_entry),
        "manifest": (
            manifests,
            encode_manifest,
            lambda data: decode_manifest(data, content_id(data)),
        ),
    },
)
each_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


@each_codec
@given(data=st.data())
def test_what_is_encoded_comes_back(codec: Codec, data: st.DataObject) -> None:
    strategy, encoded, decoded = codec
    value = data.draw(strategy)
    assert decoded(encoded(value)) == value


@each_codec
@given(data=st.data())
def test_damaged_bytes_are_refused_or_are_another_value_in_canonical_form(
    codec: Codec, data: st.DataObject
) -> None:
    strategy, encoded, decoded = codec
    refuses_or_keeps(decoded, encoded, data.draw(faults(strategy.map(encoded))))


@each_codec
@given(data=st.data())
def test_a_longer_form_of_the_same_value_is_refused(codec: Codec, data: st.DataObject) -> None:
    strategy, encoded, decoded = codec
    good = encoded(data.draw(strategy))
    fields = msgspec.msgpack.decode(good)
    longer = b"\xdc" + len(fields).to_bytes(2, "big") + good[1:]
    assert msgspec.msgpack.decode(longer) == fields
    refuses(decoded, longer)


@each_codec
@given(data=st.data())
def test_another_version_of_a_format_is_refused(codec: Codec, data: st.DataObject) -> None:
    strategy, encoded, decoded = codec
    good = encoded(data.draw(strategy))
    assert good[1] == 1
    refuses(decoded, good[:1] + b"\x02" + good[2:])


def test_what_is_too_large_is_refused() -> None:
    refuses(decode_record, bytes(RECORD_SIZE_BYTES_MAX + 1))
    refuses(decode_commit, bytes(COMMIT_SIZE_BYTES_MAX + 1))
    with pytest.raises(RemoteProtocolError, match="limit"):
        decode(bytes(11), Commit, 10)


@given(records, st.data())
def test_a_context_out_of_order_is_refused(record: Record, data: st.DataObject) -> None:
    extra = (DeviceId(bytes(16)), Incarnation(bytes(8)), 1)
    for context in ((extra, extra), ((DeviceId(b"\xff" * 16), extra[1], 1), extra)):
        bad = msgspec.structs.replace(record, context=context)
        refuses(decode_record, encode_record(bad))


@given(records)
def test_a_record_is_named_by_all_that_it_says(record: Record) -> None:
    name = hash_record(encode_record(record))
    again = hash_record(encode_record(decode_record(encode_record(record))))
    later = msgspec.structs.replace(record, stamp=record.stamp ^ 1)
    assert len(name) == 32
    assert again == name != hash_record(encode_record(later))


@given(records)
def test_a_record_of_the_top_folder_is_refused(record: Record) -> None:
    refuses(decode_record, encode_record(msgspec.structs.replace(record, item=ROOT)))


@given(records)
def test_a_record_that_saw_itself_is_refused(record: Record) -> None:
    seen = ((record.device, record.incarnation, record.sequence),)
    refuses(decode_record, encode_record(msgspec.structs.replace(record, context=seen)))


@given(cast("st.SearchStrategy[Entry]", values(Entry)))
def test_an_entry_that_contradicts_itself_is_refused(entry: Entry) -> None:
    data = encode_entry(entry)
    if _agrees(entry):
        assert decode_entry(data) == entry
    else:
        refuses(decode_entry, data)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", NameNotPossible),
        (".", NameNotPossible),
        ("..", NameNotPossible),
        ("a/b", NameNotPossible),
        ("a\x00", NameNotPossible),
        ("a\udc80", NameNotText),
        ("ä" * 128, NameTooLong),
        ("a" * 256, NameTooLong),
    ],
)
def test_names_that_not_every_member_can_show_are_refused(
    name: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        check_name(name)


def test_a_manifest_of_another_content_is_refused() -> None:
    data = encode_manifest(make_manifest([(chunk_id(b"x"), 1)]))
    with pytest.raises(RemoteProtocolError, match="name"):
        decode_manifest(data, ContentId(bytes(32)))


@given(manifests, st.integers(1, 33))
def test_a_manifest_with_more_or_fewer_hashes_than_lengths_is_refused(
    manifest: Manifest, count: int
) -> None:
    for hashes in (manifest.hashes[:-count], manifest.hashes + bytes(count)):
        data = encode(Manifest(1, hashes, manifest.lengths))
        refuses(lambda data: decode_manifest(data, content_id(data)), data)


@given(manifests)
def test_a_manifest_is_made_of_its_chunks(manifest: Manifest) -> None:
    assert make_manifest(manifest.chunks()) == manifest


@given(manifests)
def test_a_manifest_s_chunks_lie_end_to_end(manifest: Manifest) -> None:
    offsets = manifest.offsets()
    assert offsets[0] == 0
    assert offsets[-1] == manifest.size == sum(manifest.lengths)
    assert len(offsets) == len(manifest.lengths) + 1
    assert b"".join(manifest.chunk(i) for i in range(len(manifest.lengths))) == manifest.hashes


@given(st.integers(0, 2**45))
def test_chunk_sizes_stay_within_a_message(offset: int) -> None:
    smallest, average, largest, until = chunk_sizes(offset)
    assert smallest < average < largest <= CHUNK_SIZE_BYTES_MAX
    assert offset < until


def test_only_the_device_s_key_signs_a_commit() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    public = PublicKey(key.public_key().public_bytes_raw())
    device, incarnation = DeviceId(bytes(16)), Incarnation(bytes(8))
    hashes = tuple(RecordHash(bytes([number] * 32)) for number in range(3))
    roster = OperationHash(bytes(32))
    commit = sign_commit(key, SpaceId(bytes(32)), device, incarnation, 7, roster, hashes)
    assert commit.last == 9
    verify_commit(decode_commit(encode_commit(commit)), public)
    changes: list[dict[str, object]] = [
        {"space": SpaceId(b"x" * 32)},
        {"device": DeviceId(b"x" * 16)},
        {"incarnation": Incarnation(b"x" * 8)},
        {"first": 8},
        {"roster": OperationHash(b"x" * 32)},
        {"hashes": hashes[:2]},
        {"hashes": hashes[::-1]},
    ]
    for change in changes:
        with pytest.raises(RemoteProtocolError):
            verify_commit(msgspec.structs.replace(commit, **change), public)
    for stranger in (PublicKey(b"\xff" * 32), PublicKey(b"\x01" + bytes(31))):
        with pytest.raises(RemoteProtocolError):
            verify_commit(commit, stranger)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("", NameNotPossible),
        ("a\x00b", NameNotPossible),
        ("x" * (TARGET_SIZE_BYTES_MAX + 1), NameTooLong),
        ("ü" * TARGET_SIZE_BYTES_MAX, NameTooLong),
        ("\udc80", NameNotText),
    ],
)
def test_a_link_points_where_every_member_can_point(target: str, error: type[Exception]) -> None:
    check_target("../any where")
    check_target("x" * TARGET_SIZE_BYTES_MAX)
    with pytest.raises(error):
        check_target(target)


def test_two_seals_contradict_each_other_if_they_say_two_things_of_one_number() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    roster = OperationHash(bytes(32))

    def seal(first: int, *numbers: int, device: bytes = b"d", life: bytes = b"i") -> Seal:
        hashes = tuple(RecordHash(bytes([number] * 32)) for number in numbers)
        author = DeviceId(device * 16), Incarnation(life * 8)
        return seal_of(sign_commit(key, SpaceId(bytes(32)), *author, first, roster, hashes))

    one = seal(5, 1, 2, 3)
    assert (one.first, one.last) == (5, 7)
    assert not contradict(one, seal(5, 1, 2, 3)), "the same again is none"
    assert not contradict(one, seal(8, 9)), "nor is what comes after it"
    assert not contradict(one, seal(4, 9))
    for other in (seal(5, 1, 2, 4), seal(7, 9), seal(4, 9, 9), seal(5, 1, 2)):
        assert contradict(one, other)
        assert contradict(other, one)
    assert not contradict(one, seal(5, 9, device=b"e")), "nor what another device says"
    assert not contradict(one, seal(5, 9, life=b"j"))


def test_people_and_devices_are_named_by_their_keys() -> None:
    keys = [PublicKey(bytes([number] * 32)) for number in range(3)]
    assert len({person_id(key) for key in keys}) == len({device_id(key) for key in keys}) == 3
    assert {len(person_id(key)) for key in keys} == {len(device_id(key)) for key in keys} == {16}


def test_the_creator_is_in_the_item_s_id() -> None:
    device = DeviceId(b"d" * 16)
    assert creator_of(item_id(device, b"n" * 8)) == device
