"""What is shared in the demo? Files of this machine, and one large file that is made up."""

import hashlib
import os
import random
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
FILM_SIZE_BYTES = 256 * MIB
FILES_MAX = 400
FILES_SIZE_BYTES_MAX = 16 * MIB
FILE_SIZE_BYTES_MAX = MIB
FILES_ENOUGH = 100

Listing = dict[str, tuple[int, int]]
"""Path, from the top of a tree, to (size in bytes, modification time in nanoseconds)."""


@dataclass(frozen=True, slots=True)
class Props:
    """What Anna has in her own folder before she shares it."""

    documents: Path
    film: Path
    source: str
    """Where the documents were copied from."""


def make_props(folder: Path) -> Props:
    """Copy a slice of the machine's files, and make the film."""
    folder.mkdir(parents=True)
    source = _documents()
    documents = folder / "Documents"
    room_bytes = FILES_SIZE_BYTES_MAX
    for count, path in enumerate(_plain_files(source)):
        room_bytes -= path.stat().st_size
        if count == FILES_MAX or room_bytes < 0:
            break
        copy = documents / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    film = folder / "film.mkv"
    frames = random.Random(2026)
    with film.open("wb") as file:
        for _ in range(FILM_SIZE_BYTES // MIB):
            file.write(frames.randbytes(MIB))
    return Props(documents, film, str(source))


def _documents() -> Path:
    """The system's documentation; where that was left out, the library of Python."""
    documentation = Path("/usr/share/doc")
    enough = sum(1 for _ in zip(_plain_files(documentation), range(FILES_ENOUGH), strict=False))
    return documentation if enough == FILES_ENOUGH else Path(sysconfig.get_path("stdlib"))


def _plain_files(top: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = Path(parent, name)
            if path.is_symlink() or not os.access(path, os.R_OK):
                continue
            if 0 < path.stat().st_size <= FILE_SIZE_BYTES_MAX:
                yield path


def listing(top: Path) -> Listing:
    """Every file below a folder, as `stat` tells it; nothing is read."""
    found: Listing = {}
    for parent, _, files in os.walk(top):
        for name in files:
            path = Path(parent, name)
            status = path.lstat()
            found[str(path.relative_to(top))] = (status.st_size, status.st_mtime_ns)
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(count: float) -> str:
    """Bytes, for people."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
