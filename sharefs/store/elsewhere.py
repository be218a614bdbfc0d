"""Which chunks of a content stand in other contents here, and how are they had from there?

Theory of operation. The places of many chunks are looked up by one statement, and chunks that
follow each other in both files make up a *run*. What is noted of a place is a hint: a run is read,
each of its chunks is verified, and only what is right is written, or shared, and then marked. So a
damaged disk, or a source that was freed meanwhile, costs a fetch, and nobody believes it.

A large content that is almost like a complete one, at the same places, as after a change in place
or at its end, is laid over that (see `layer`), and nothing is copied.

A content of a single chunk is no source: a chunk ends at its file's end or where its bytes say so,
and as good as no file ends where they do.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from sharefs.errors import LocalDamage
from sharefs.records.content import MIB, Manifest, chunk_id
from sharefs.records.ids import ChunkId, ContentId
from sharefs.store.bits import indexes_in
from sharefs.store.connection import Readers
from sharefs.store.groups import among, in_groups
from sharefs.store.local import LocalContent
from sharefs.store.sharing import write_shared

RUN_SIZE_BYTES_MAX = 8 * MIB
"""A run is in memory for a moment, and a program may be blocked on the next one."""

OTHERWISE_SHARE_MAX = 4
"""Of which no more than one part in that many is otherwise, is laid over what it is like."""

Places = dict[ChunkId, tuple[ContentId, int]]
"""A content that has a chunk, and at which offset, in bytes."""


class Run(NamedTuple):
    """Chunks that follow each other in another content."""

    indexes: range
    """In the content that lacks them."""
    source: ContentId
    position: int
    """In bytes, of the first of them in the source."""
    size: int
    """In bytes."""


def places_elsewhere(
    readers: Readers, content: ContentId, manifest: Manifest, missing: Iterable[int]
) -> Places:
    """One place for each of these chunks of a content that another has: where several have it,
    always in the same, so that runs are long."""
    places: Places = {}
    with readers.lent() as connection:
        for group in in_groups(manifest.chunk(index) for index in missing):
            query = (
                f"SELECT id, min(content), position FROM chunk WHERE id {among(group)}"
                " AND content <> ? GROUP BY id"
            )
            for chunk, source, position in connection.execute(query, (*group, content)):
                places[chunk] = (source, position)
    return places


def places_lately(
    content: ContentId, manifest: Manifest, missing: Iterable[int], sources: Iterable[LocalContent]
) -> Places:
    """As `places_elsewhere`, in contents of which no table says yet what has come."""
    wanted = {manifest.chunk(index) for index in missing} if len(manifest.lengths) > 1 else set()
    return {
        chunk: (source.content, position)
        for source in sources
        if wanted and source.manifest is not None and source.content != content
        for chunk, _, position, _ in chunk_rows(source.content, source.manifest, source.bitmap)
        if chunk in wanted
    }


def most_like(manifest: Manifest, places: Places) -> tuple[ContentId, list[int]] | None:
    """The content that has the most chunks at the same places, and which, if little is missing."""
    same: dict[ContentId, list[int]] = defaultdict(list)
    for index, offset in enumerate(manifest.offsets()[:-1]):
        source, position = places.get(manifest.chunk(index), (None, 0))
        if source is not None and position == offset:
            same[source].append(index)

    def size_of(source: ContentId) -> int:
        return sum(manifest.lengths[index] for index in same[source])

    best = max(same, key=size_of, default=None)
    if best is None or size_of(best) < manifest.size - manifest.size // OTHERWISE_SHARE_MAX:
        return None
    return best, same[best]


def runs_of(manifest: Manifest, missing: Iterable[int], places: Places) -> list[Run]:
    """Where these chunks of a content may be had from, in order."""
    runs: list[Run] = []
    for index in missing:
        place = places.get(manifest.chunk(index))
        if place is not None:
            length = manifest.lengths[index]
            last = runs[-1] if runs else None
            if last is not None and _goes_on(last, index, place, length):
                indexes = range(last.indexes.start, index + 1)
                runs[-1] = last._replace(indexes=indexes, size=last.size + length)
            else:
                runs.append(Run(range(index, index + 1), *place, length))
    return runs


def _goes_on(run: Run, index: int, place: tuple[ContentId, int], length: int) -> bool:
    follows = index == run.indexes.stop and place == (run.source, run.position + run.size)
    return follows and run.size + length <= RUN_SIZE_BYTES_MAX


def take(local: LocalContent, source: LocalContent, run: Run) -> list[int]:
    """Have the chunks of a run, as far as they are where they should be; their indexes.

    For the pool. Raises DiskFull, or LocalDamage if they can not be written.
    """
    if not source.local_bytes:
        return []
    try:
        data = source.pread(run.position, run.size)
    except LocalDamage:
        # Maybe of one of them only.
        parts = _one_by_one(local, run) if len(run.indexes) > 1 else []
        return [index for part in parts for index in take(local, source, part)]
    manifest = local.manifest
    if manifest is None or len(data) < run.size:
        return []
    taken: list[int] = []
    view = memoryview(data)
    for indexes in _right(manifest, run.indexes, view):
        begin = sum(manifest.lengths[run.indexes.start : indexes.start])
        size = sum(manifest.lengths[indexes.start : indexes.stop])
        _write(local, indexes, view[begin : begin + size], source, run.position + begin)
        taken += indexes
    return taken


def _one_by_one(local: LocalContent, run: Run) -> list[Run]:
    parts, position = [], run.position
    for index in run.indexes:
        length = local.manifest.lengths[index] if local.manifest else 0
        parts.append(Run(range(index, index + 1), run.source, position, length))
        position += length
    return parts


def _right(manifest: Manifest, indexes: range, data: memoryview) -> list[range]:
    """The chunks that are what they should be, those that follow each other together."""
    right: list[range] = []
    begin = 0
    for index in indexes:
        end = begin + manifest.lengths[index]
        if chunk_id(data[begin:end]) == manifest.chunk(index):
            if right and right[-1].stop == index:
                right[-1] = range(right[-1].start, index + 1)
            else:
                right.append(range(index, index + 1))
        begin = end
    return right


def _write(
    local: LocalContent, indexes: range, data: memoryview, source: LocalContent, position: int
) -> None:
    with source.shareable() as descriptor:
        write = local.writing
        if descriptor is not None:
            write = partial(write_shared, descriptor, position, write)
        local.write_run(indexes, data, write)


def chunk_rows(
    content: ContentId, manifest: Manifest, bits: bytes, base: Manifest | None = None
) -> list[tuple[ChunkId, ContentId, int, int]]:
    """Where those chunks of a content are, but for those that it has from a base."""
    indexes = indexes_in(bits)
    if not indexes or len(manifest.lengths) == 1:
        return []
    offsets = manifest.offsets()
    rows = [
        (manifest.chunk(index), content, offsets[index], manifest.lengths[index])
        for index in indexes
    ]
    if base is not None:
        below = set(zip(base.offsets(), base.chunks(), strict=False))
        rows = [row for row in rows if (row[2], (row[0], row[3])) not in below]
    return rows
