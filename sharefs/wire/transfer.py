"""How do bytes travel? Questions and answers on the control sockets, chunks on the bulk sockets."""

from typing import Annotated

from msgspec import Meta, Struct

from sharefs.records.content import CHUNK_SIZE_BYTES_MAX, MANIFEST_SIZE_BYTES_MAX
from sharefs.records.ids import ContentId, SpaceId

INDEXES_MAX = 256
SMALL_CONTENT_SIZE_BYTES_MAX = 64 * 1024
"""A content up to this size travels with the answer to the first question."""

ChunkIndex = Annotated[int, Meta(ge=0, le=2**31)]
ChunkOffset = Annotated[int, Meta(ge=0, le=CHUNK_SIZE_BYTES_MAX - 1)]
Bitmap = Annotated[bytes, Meta(max_length=128 * 1024)]
"""A bit a chunk, the lowest bit of the first byte first; empty means every chunk."""


class Ask(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=32):
    """Do you hold this content?"""

    space: SpaceId
    content: ContentId
    with_manifest: bool
    with_data: bool
    """Add the bytes themselves if the content is small."""


class Offer(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=33):
    """I hold it, or some of it, or none (`holds` False). Manifest and data may be empty."""

    space: SpaceId
    content: ContentId
    holds: bool
    bitmap: Bitmap
    manifest: Annotated[bytes, Meta(max_length=MANIFEST_SIZE_BYTES_MAX)]
    data: Annotated[bytes, Meta(max_length=SMALL_CONTENT_SIZE_BYTES_MAX)]


class WantChunks(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=34):
    """Send these chunks, in this order, after what was asked for before."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]
    urgent: bool = False
    """Before all that we asked for and did not call so: a program is blocked on them."""


class Hurry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=47):
    """If these still wait their turn, send them before what we did not call urgent."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]


class Have(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=41):
    """I hold these as well, since you asked."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]


class Cancel(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=40):
    """Do not send these chunks any more, if they are not on their way yet."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]
    begun: bool = False
    """Nor the rest of those of which a part is on its way: they came from somebody else."""


class Dropped(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=46):
    """Of what you cancelled, these will not come; the others are on their way."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]


class Chunk(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=35):
    """A piece of a chunk; its bytes are the message's second frame. Those of one chunk come in
    order, and the last ends where the chunk does."""

    space: SpaceId
    content: ContentId
    index: ChunkIndex
    start: ChunkOffset = 0
    """In the chunk."""


class Later(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=45):
    """Chunks of this that you asked for wait here for their turn: do not give them up."""

    space: SpaceId
    content: ContentId


class Lack(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=36):
    """I do not have these chunks (any more)."""

    space: SpaceId
    content: ContentId
    indexes: Annotated[tuple[ChunkIndex, ...], Meta(max_length=INDEXES_MAX)]
