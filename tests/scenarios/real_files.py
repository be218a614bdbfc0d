"""Which files do the scenarios share?"""

import hashlib
import os
import random
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

MIB = 1024 * 1024
_NAMES = ("notes", "Überblick", "写真", "a b", "x'y", "Ω", ".hidden", "README")
_SUFFIXES = (".txt", ".odt", ".tar.gz", "", ".jpg")
_OLD_S = 1_300_000_000


def write_random(path: Path, size: int, seed: int) -> Path:
    """A file in which no two parts are alike: a cipher's stream, the fastest such there is."""
    stream = Cipher(AES(seed.to_bytes(16)), CTR(bytes(16))).encryptor()
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(stream.update(bytes(min(MIB, size - start))))
    return path


def write_tree(top: Path, files: int, seed: int) -> None:
    """Folders with small files of all kinds: empty, executable, old, links to others."""
    chance = random.Random(seed)
    folders = [top]
    top.mkdir()
    for number in range(files // 25):
        folder = chance.choice(folders[-8:]) / f"{chance.choice(_NAMES)} {number}"
        folder.mkdir()
        folders.append(folder)
    for number in range(files):
        name = f"{chance.choice(_NAMES)}-{number}{chance.choice(_SUFFIXES)}"
        path = chance.choice(folders) / name
        if number % 97 == 0:
            path.symlink_to(name + " somewhere")
            continue
        path.write_bytes(chance.randbytes(0 if number % 31 == 0 else chance.randrange(8192)))
        path.chmod(0o755 if number % 7 == 0 else 0o644)
        time_ns = (_OLD_S + chance.randrange(400_000_000)) * 10**9 + chance.randrange(10**9)
        os.utime(path, ns=(time_ns, time_ns))
    for folder in reversed(folders):
        os.utime(folder, (_OLD_S, _OLD_S))


def describe(top: Path) -> dict[str, tuple[str | int, ...]]:
    """Every entry below `top` by its path: kind, and size, time and execute bit of files."""
    found: dict[str, tuple[str | int, ...]] = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = Path(folder, name)
            status = path.lstat()
            if path.is_symlink():
                found[str(path.relative_to(top))] = ("link", os.readlink(path))
            elif path.is_dir():
                found[str(path.relative_to(top))] = ("folder",)
            else:
                found[str(path.relative_to(top))] = (
                    "file",
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_mode & 0o100,
                )
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
