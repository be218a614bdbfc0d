"""The filesystem unmounted, over ports in memory."""

import os

from sharefs.mount.core import Core

WAIT_SECONDS = 20


def write(core: Core, folder: int, name: str, data: bytes) -> None:
    handle = core.create(folder, name, 0o644, os.O_WRONLY | os.O_TRUNC)
    core.write(handle, 0, data)
    core.release(handle)


def read(core: Core, folder: int, name: str) -> bytes:
    handle = core.open_at(folder, name, os.O_RDONLY)
    try:
        return core.read(handle, 0, 1 << 20)
    finally:
        core.release(handle)


def names(core: Core, folder: int) -> set[str]:
    return {name for name, _ in core.children(folder)}
