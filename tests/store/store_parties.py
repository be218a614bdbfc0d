"""What the tests of the store are made with."""

import os
from pathlib import Path

from sharefs.errors import SharefsError
from sharefs.records.commit import Commit
from sharefs.records.content import Manifest, chunk_id, content_id, encode_manifest, make_manifest
from sharefs.records.entry import KIND_ENTRY, EntryType
from sharefs.records.ids import (
    ROOT,
    ChunkId,
    ContentId,
    Coordinate,
    DeviceId,
    Incarnation,
    ItemId,
    OperationHash,
    RecordHash,
    Signature,
    SpaceId,
)
from sharefs.records.record import ContextEntry, Record, encode_record
from sharefs.records.shown import Shown
from sharefs.store.adopted import Adopted
from sharefs.store.contents import ContentStore
from sharefs.store.database import Store, open_database
from sharefs.store.local import LocalContent
from sharefs.store.written import Written

ANNA = DeviceId(b"anna" * 4)
BOB = DeviceId(b"bob." * 4)
LIFE = Incarnation(b"life0001")
FAMILY = SpaceId(b"f" * 32)
WORK = SpaceId(b"w" * 32)


def open_store(folder: Path) -> Store:
    folder.mkdir(exist_ok=True)
    return open_database(folder / "sharefs.db", folder / "token")


def open_contents(folder: Path, store: Store) -> ContentStore:
    (folder / "contents").mkdir(exist_ok=True)
    return ContentStore(folder / "contents", store)


def adopted_by(contents: ContentStore, written: Written) -> Adopted:
    (adopted,) = contents.adopt([written])
    if isinstance(adopted, SharefsError):
        raise adopted
    return adopted


def item(number: int) -> ItemId:
    return ItemId(ANNA + number.to_bytes(8))


def shown(ino: int, name: str = "", **fields: object) -> Shown:
    name = name or f"name {ino}"
    values: dict[str, object] = {
        "ino": ino,
        "space": 1,
        "item": item(ino),
        "version": Coordinate(ANNA, LIFE, ino),
        "loser": False,
        "type": EntryType.FILE,
        "deleted": False,
        "live": True,
        "parent": ROOT,
        "anchor": ROOT,
        "place": ROOT,
        "merged": None,
        "name": name,
        "shown": name,
        "created": 1,
        "stamp": 2,
        "mtime_ns": 3,
        "executable": False,
        "size": 0,
        "content": None,
        "target": "",
        "local": 0,
    }
    return Shown(**{**values, **fields})  # type: ignore[arg-type]


def record(sequence: int, of: ItemId, context: tuple[ContextEntry, ...] = ()) -> Record:
    return Record(1, of, KIND_ENTRY, ANNA, LIFE, sequence, context, sequence, b"body")


def encoded(of: Record) -> bytes:
    return encode_record(of)


def commit(first: int, count: int, device: DeviceId = ANNA) -> Commit:
    hashes = tuple(RecordHash(bytes(32)) for _ in range(count))
    roster = OperationHash(bytes(32))
    return Commit(1, FAMILY, device, LIFE, first, roster, hashes, Signature(bytes(64)))


def content_of(chunks: list[bytes]) -> tuple[ContentId, Manifest, bytes]:
    manifest = make_manifest([(ChunkId(chunk_id(chunk)), len(chunk)) for chunk in chunks])
    data = encode_manifest(manifest)
    return content_id(data), manifest, data


def random_chunks(count: int, size: int = 1000) -> list[bytes]:
    return [os.urandom(size) for _ in range(count)]


class Disk:
    """A home whose node is stopped, killed and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()
        with self.store.transaction():
            self.store.ledger.add_space(FAMILY, "Family")

    def start(self) -> None:
        self.store: Store = open_store(self.folder)
        self.contents: ContentStore = open_contents(self.folder, self.store)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def kill(self) -> None:
        self.store.abandon()
        self.start()

    def begin(self, chunks: list[bytes]) -> LocalContent:
        """A content to be fetched."""
        content, manifest, encoded = content_of(chunks)
        with self.store.transaction():
            self.contents.keep_manifest(content, manifest, encoded)
        return self.contents.open(content, 0)

    def save(self) -> None:
        synced = self.contents.sync(self.contents.unsaved())
        with self.store.transaction():
            for content, bitmap in synced:
                self.contents.save_bits(content, bitmap)

    def draft(self, data: bytes) -> Path:
        path = self.folder / f"draft {os.urandom(4).hex()}"
        path.write_bytes(data)
        return path

    def adopt(self, draft: Path) -> Adopted:
        written = Written(draft)
        written.open()
        try:
            return adopted_by(self.contents, written)
        finally:
            written.close()

    def publish(self, data: bytes) -> ContentId:
        return self.register(self.adopt(self.draft(data)))

    def register(self, adopted: Adopted) -> ContentId:
        with self.store.transaction():
            self.contents.register(adopted)
        self.store.make_durable()
        assert adopted.content is not None
        return adopted.content

    def file(self, content: ContentId) -> Path:
        return self.folder / "contents" / content.hex()[:2] / content.hex()
