"""Which chunks does a file have that may not be what it was?"""

import os
from pathlib import Path

from sharefs.errors import LocalDamage
from sharefs.records.content import Manifest, chunk_id
from sharefs.store.layer import Layer


def chunks_in(path: Path, manifest: Manifest, layer: Layer | None) -> list[int]:
    """Those that are there, and are what they should be."""
    try:
        with path.open("rb", buffering=0) as file:
            descriptor, offsets = file.fileno(), manifest.offsets()
            return [
                index
                for index, begin in enumerate(offsets[:-1])
                if _is_there(descriptor, manifest, index, begin, layer)
            ]
    except OSError:
        return []


def _is_there(
    descriptor: int, manifest: Manifest, index: int, begin: int, layer: Layer | None
) -> bool:
    length = manifest.lengths[index]
    try:
        if layer is not None:
            data = layer.read(descriptor, begin, length)
        elif os.lseek(descriptor, begin, os.SEEK_DATA) >= begin + length:
            # Where nothing was written yet there is a hole, and nothing to read.
            return False
        else:
            data = os.pread(descriptor, length, begin)
    except (OSError, LocalDamage):
        return False
    return chunk_id(data) == manifest.chunk(index)
