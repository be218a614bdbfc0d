"""Which chunks make up a file's bytes?

FastCDC finds the cut points, so that an insert moves only the chunks around it. Chunks are larger
further back in a file, in steps, and bounded, so that a manifest stays small and a chunk fits a
message.

Rejected: chunks as large as befits the size of the whole file. A file that grew across a step had
not one chunk in common with its older version, and while a file is being written nobody knows how
large it will be.
"""

from itertools import accumulate
from typing import Annotated, Literal, NamedTuple

from blake3 import blake3
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import ChunkId, ContentId

KIB = 1024
MIB = 1024 * KIB

CHUNK_SIZE_BYTES_MAX = 8 * MIB
MANIFEST_CHUNKS_MAX = 1024 * KIB
MANIFEST_SIZE_BYTES_MAX = 48 * MIB
_CONTEXT = "sharefs 2026-11 manifest 1"


class ChunkSizes(NamedTuple):
    """The parameters of FastCDC, in bytes; chunks that begin at `until` or later have others."""

    smallest: int
    average: int
    largest: int
    until: int


_STEPS = ((128 * MIB, 256 * KIB), (4096 * MIB, MIB), (2**63, 4 * MIB))
"""Up to which offset chunks have which average size."""


def chunk_sizes(offset: int) -> ChunkSizes:
    """How a chunk that begins at `offset` is cut: with the bytes, this alone says where it ends."""
    until, average = next(step for step in _STEPS if offset < step[0])
    return ChunkSizes(average // 4, average, min(average * 4, CHUNK_SIZE_BYTES_MAX), until)


class Manifest(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The list of a content's chunks, in order. Invariant: as many hashes (32 bytes each) as
    lengths."""

    version: Literal[1]
    hashes: Annotated[bytes, Meta(max_length=32 * MANIFEST_CHUNKS_MAX)]
    lengths: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=CHUNK_SIZE_BYTES_MAX)], ...],
        Meta(min_length=1, max_length=MANIFEST_CHUNKS_MAX),
    ]

    @property
    def size(self) -> int:
        return sum(self.lengths)

    def chunk(self, index: int) -> ChunkId:
        """The name of the chunk at `index`."""
        return ChunkId(self.hashes[32 * index : 32 * index + 32])

    def chunks(self) -> list[tuple[ChunkId, int]]:
        """(hash, length in bytes) of each."""
        return [(self.chunk(index), length) for index, length in enumerate(self.lengths)]

    def offsets(self) -> list[int]:
        """Where each chunk begins, in bytes, and at last where the content ends."""
        return list(accumulate(self.lengths, initial=0))


def make_manifest(chunks: list[tuple[ChunkId, int]]) -> Manifest:
    """From (hash, length in bytes) pairs, in order."""
    return Manifest(1, b"".join(hash for hash, _ in chunks), tuple(length for _, length in chunks))


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes, which `content_id` names."""
    return encode(manifest)


def content_id(encoded_manifest: bytes) -> ContentId:
    """Name a content by its manifest."""
    return ContentId(blake3(encoded_manifest, derive_key_context=_CONTEXT).digest())


def chunk_id(data: bytes | memoryview) -> ChunkId:
    """Name a chunk by its bytes."""
    return ChunkId(blake3(data).digest())


def decode_manifest(data: bytes, expected: ContentId) -> Manifest:
    """Raises RemoteProtocolError unless `data` is the manifest that `expected` names."""
    if content_id(data) != expected:
        raise RemoteProtocolError("a manifest does not match the content's name")
    manifest = decode(data, Manifest, MANIFEST_SIZE_BYTES_MAX)
    if len(manifest.hashes) != 32 * len(manifest.lengths):
        raise RemoteProtocolError("a manifest has not as many hashes as lengths")
    return manifest
