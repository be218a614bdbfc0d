"""What does a version of a file, folder or symbolic link say?"""

from enum import IntEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sharefs.errors import NameNotPossible, NameNotText, NameTooLong, RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import ContentId, Count, ItemId
from sharefs.records.record import BODY_SIZE_BYTES_MAX

KIND_ENTRY = "entry"
NAME_SIZE_BYTES_MAX = 255
TARGET_SIZE_BYTES_MAX = 4095
TIME_NS_MAX = 2**62
"""The year 2116; and as long before 1970."""


class EntryType(IntEnum):
    """What an entry is, for as long as it lives."""

    FILE = 0
    FOLDER = 1
    SYMLINK = 2


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The body of a record of kind `entry`. A tombstone keeps parent and name, so that it can come
    back."""

    version: Literal[1]
    type: EntryType
    deleted: bool
    parent: ItemId
    name: Annotated[str, Meta(max_length=NAME_SIZE_BYTES_MAX)]
    created: Count
    """Milliseconds, the first version's stamp, carried along: who was first keeps the name."""
    mtime_ns: Annotated[int, Meta(ge=-TIME_NS_MAX, le=TIME_NS_MAX)]
    executable: bool
    size: Count
    """Bytes; 0 for folders and links."""
    content: ContentId | None
    """None for an empty file, a folder, a link and a tombstone."""
    target: Annotated[str, Meta(max_length=TARGET_SIZE_BYTES_MAX)]
    """Where a symbolic link points; empty for the others."""


def encode_entry(entry: Entry) -> bytes:
    """The canonical bytes, a record's body."""
    return encode(entry)


def decode_entry(body: bytes) -> Entry:
    """Raises RemoteProtocolError for what no honest member writes, impossible names included."""
    entry = decode(body, Entry, BODY_SIZE_BYTES_MAX)
    try:
        check_name(entry.name)
    except (NameNotPossible, NameNotText, NameTooLong) as error:
        raise RemoteProtocolError(str(error)) from error
    is_file = entry.type is EntryType.FILE and not entry.deleted
    if (entry.size > 0) != (entry.content is not None) or (entry.size > 0 and not is_file):
        raise RemoteProtocolError("an entry's size and content do not agree")
    if bool(entry.target) != (entry.type is EntryType.SYMLINK):
        raise RemoteProtocolError("only a symbolic link has a target")
    return entry


def time_kept(mtime_ns: int) -> int:
    """The nearest time that an entry can have."""
    return max(-TIME_NS_MAX, min(mtime_ns, TIME_NS_MAX))


def check_target(target: str) -> None:
    """Raises NameTooLong, NameNotText or NameNotPossible for where no link can point."""
    try:
        encoded = target.encode()
    except UnicodeEncodeError as error:
        raise NameNotText("The link's target is not UTF-8.") from error
    if len(encoded) > TARGET_SIZE_BYTES_MAX:
        raise NameTooLong(f"A link's target has at most {TARGET_SIZE_BYTES_MAX} bytes.")
    if not target or "\x00" in target:
        raise NameNotPossible("A link points somewhere.")


def check_name(name: str) -> None:
    """Raises NameTooLong, NameNotText or NameNotPossible for a name that not every member can
    show."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise NameNotText("The name is not UTF-8, so other members could not show it.") from error
    if len(encoded) > NAME_SIZE_BYTES_MAX:
        raise NameTooLong(f"The name has {len(encoded)} bytes; {NAME_SIZE_BYTES_MAX} are possible.")
    if name in {"", ".", ".."} or "/" in name or "\x00" in name:
        raise NameNotPossible(f"{name!r} can not be the name of an entry.")
