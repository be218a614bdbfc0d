"""Are the bytes that the database speaks of on the disk, and are they right?

A chunk that is noted and not there, or not what its manifest says, is noted no more: it is fetched
again like any other. The file stays, with whatever else is in it. A file of which nothing is noted
is known again if its bytes are what its name says.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sharefs.errors import LocalDamage, RemoteProtocolError
from sharefs.records.content import (
    Manifest,
    chunk_id,
    content_id,
    decode_manifest,
    encode_manifest,
)
from sharefs.records.ids import ContentId
from sharefs.store.bits import all_bits, indexes_of
from sharefs.store.connection import translated
from sharefs.store.cutting import cut
from sharefs.store.database import Store
from sharefs.store.drafts import Drafts
from sharefs.store.elsewhere import chunk_rows
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient
from sharefs.store.layer import Layer

TOLD_BYTES_MIN = 50_000
"""Of earlier versions: less is nothing to tell of."""
_NAME = re.compile("[0-9a-f]{64}")
_NOTED = "it is noted what is here."
_FETCHED = "they are noted as missing, and come from other members when they are needed."


@dataclass(frozen=True, slots=True)
class _Noted:
    """What the database says of a content whose manifest is good."""

    id: ContentId
    path: Path
    manifest: Manifest
    bits: bytes
    size: int
    local: int
    over: bool
    """Whether it lies over another content."""
    layer: Layer | None
    """How, if what tells of that is there."""

    @property
    def length(self) -> int:
        """Of the file, -1 without one."""
        try:
            return self.path.stat().st_size
        except OSError:
            return -1


def check_contents(patient: Patient, quick: bool) -> Iterator[Finding]:
    """`quick` reads no bytes, and compares lengths only."""
    rows = patient.reader.execute(
        "SELECT id, size, local, bitmap, data, base FROM content LEFT JOIN manifest"
        " ON manifest.content = content.id ORDER BY id"
    )
    for id, size, local, bitmap, data, base in rows:
        path = _path(patient, id)
        manifest = _manifest(id, data)
        if manifest is None:
            yield _without_manifest(patient, id, path)
            continue
        everything = all_bits(len(manifest.lengths))
        bits = everything if bitmap is None else bitmap.ljust(len(everything), b"\0")
        layer = None if base is None else _layer(patient, path, base)
        noted = _Noted(
            id, path, manifest, bits[: len(everything)], size, local, base is not None, layer
        )
        finding = _check(patient, noted, quick)
        if finding is not None:
            yield finding


def _path(patient: Patient, content: ContentId) -> Path:
    name = content.hex()
    return patient.home.contents_folder / name[:2] / name


def _manifest(id: ContentId, data: bytes | None) -> Manifest | None:
    try:
        return None if data is None else decode_manifest(data, id)
    except RemoteProtocolError:
        return None


def _layer(patient: Patient, path: Path, base: ContentId) -> Layer | None:
    row = patient.reader.execute(
        "SELECT bitmap, data FROM content JOIN manifest ON content = id WHERE id = ?", (base,)
    ).fetchone()
    bitmap, data = row or (None, None)
    try:
        below = _Below(base, _path(patient, base), _manifest(base, data), bitmap)
        return Layer.load(path, below)
    except OSError:
        return None


class _Below:
    """A content over which another lies, as it is on the disk."""

    def __init__(
        self, content: ContentId, path: Path, manifest: Manifest | None, bitmap: bytes | None
    ) -> None:
        self.content = content
        self.manifest = manifest
        self.leaners: set[object] = set()
        self._path = path
        self._bitmap = bitmap
        self._offsets = [0] if manifest is None else manifest.offsets()
        self.size = path.stat().st_size

    def is_noted(self, start: int, end: int) -> bool:
        """Whether these bytes are here, as far as can be told without reading them."""
        if self.manifest is None or end > self.size:
            return False
        bits = self._bitmap
        indexes = indexes_of(self._offsets, start, end)
        return bits is None or all(bits[i >> 3] >> (i & 7) & 1 for i in indexes)

    def pread(self, offset: int, size: int) -> bytes:
        """As pread(2). Raises OSError."""
        with self._path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def verify(self, offset: int, size: int) -> None:
        """The chunks above are verified instead."""


def _named(patient: Patient, content: ContentId) -> str:
    return patient.paths_of_content(content)


def _without_manifest(patient: Patient, id: ContentId, path: Path) -> Finding:
    """If the file is whole, it tells its manifest itself."""
    finding = Finding(
        "bytes",
        _named(patient, id),
        "The list of its chunks is damaged.",
        "it is made anew from its bytes, if they are all here; else they are set aside, and come"
        " from other members when they are needed.",
    )

    def make_anew(store: Store) -> None:
        store.connection.execute("DELETE FROM content WHERE id = ?", (id,))
        manifest = _recognised(path, id)
        if manifest is not None:
            _write(store, id, manifest, all_bits(len(manifest.lengths)))
        else:
            _set_aside(patient, path)

    return patient.mend_content(finding, id, make_anew)


def _check(patient: Patient, noted: _Noted, quick: bool) -> Finding | None:
    length = noted.length
    bits = _right_bits(noted, length, quick)
    as_noted = bits == noted.bits and _agrees(patient, noted)
    as_noted &= not noted.over or noted.layer is not None
    if as_noted and (length == noted.manifest.size or (length < 0 and not any(bits))):
        return None
    lost = _bytes_of(noted.manifest, _less(noted.bits, bits))
    sentence = _told(noted, length, lost, _bytes_of(noted.manifest, _less(bits, noted.bits)))
    finding = Finding("bytes", _named(patient, noted.id), sentence, _FETCHED if lost else _NOTED)
    return patient.mend_content(
        finding, noted.id, partial(_correct, patient=patient, noted=noted, bits=bits, length=length)
    )


def _told(noted: _Noted, length: int, lost: int, gained: int) -> str:
    where = f"{noted.path.parent.name}/{noted.path.name[:12]}…"
    if length < 0:
        return f"Its bytes are not on this disk any more: the file {where} is gone."
    if length != noted.manifest.size:
        return (
            f"The file {where} of its bytes is {length} bytes long, not {noted.manifest.size};"
            f" {lost} bytes are lost."
        )
    if lost:
        return f"{lost} of its bytes in {where} are not those that were stored there."
    if gained:
        return f"{gained} of its bytes are in {where}, and this device does not know it."
    return "The database says otherwise how many of its bytes are here than its bits tell."


def _right_bits(noted: _Noted, length: int, quick: bool) -> bytes:
    """Of the chunks that are in the file; `quick` takes the noted ones for right."""
    bits = bytearray(len(noted.bits))
    if length < 0:
        return bytes(bits)
    begin = 0
    with translated(noted.path):
        descriptor = os.open(noted.path, os.O_RDONLY)
    try:
        for index, size in enumerate(noted.manifest.lengths):
            there = begin + size <= length
            if there and (_is_known if quick else _is_right)(noted, index, begin, descriptor):
                bits[index >> 3] |= 1 << (index & 7)
            begin += size
    finally:
        os.close(descriptor)
    return bytes(bits)


def _less(bits: bytes, others: bytes) -> bytes:
    return bytes(a & ~b for a, b in zip(bits, others, strict=True))


def _is_known(noted: _Noted, index: int, begin: int, descriptor: int) -> bool:
    """As it is noted of the content, and of that which has the bytes that are not its own."""
    if not noted.bits[index >> 3] >> (index & 7) & 1:
        return False
    if noted.layer is None:
        return not noted.over
    below = noted.layer.base
    assert isinstance(below, _Below), "it was laid over that here"
    runs = noted.layer.runs(begin, begin + noted.manifest.lengths[index])
    return all(own or below.is_noted(start, end) for own, start, end in runs)


def _is_right(noted: _Noted, index: int, begin: int, descriptor: int) -> bool:
    try:
        length = noted.manifest.lengths[index]
        if noted.layer is not None:
            data = noted.layer.read(descriptor, begin, length)
        else:
            data = os.pread(descriptor, length, begin)
    except OSError:
        # A sector that can not be read any more.
        return False
    return chunk_id(data) == noted.manifest.chunk(index)


def _agrees(patient: Patient, noted: _Noted) -> bool:
    """Whether sizes and the places of chunks follow from manifest and bits. A chunk that is here no
    more may still have its place."""
    below = _manifest_below(patient, noted)
    everything = all_bits(len(noted.manifest.lengths))
    needed, allowed = (
        set(chunk_rows(noted.id, noted.manifest, bits, below)) for bits in (noted.bits, everything)
    )
    rows = patient.reader.execute(
        "SELECT id, content, position, length FROM chunk WHERE content = ?", (noted.id,)
    )
    sizes = (noted.manifest.size, _bytes_of(noted.manifest, noted.bits))
    return sizes == (noted.size, noted.local) and needed <= set(rows) <= allowed


def _manifest_below(patient: Patient, noted: _Noted) -> Manifest | None:
    if noted.layer is None:
        return None
    base = noted.layer.base.content
    return _manifest(base, patient.one("SELECT data FROM manifest WHERE content = ?", base))


def _bytes_of(manifest: Manifest, bits: bytes) -> int:
    return sum(n for i, n in enumerate(manifest.lengths) if bits[i >> 3] >> (i & 7) & 1)


def _correct(store: Store, patient: Patient, noted: _Noted, bits: bytes, length: int) -> None:
    if length > noted.manifest.size:
        _set_aside(patient, noted.path, copy=True)
    if length >= 0 and length != noted.manifest.size:
        # A file of another length would be begun anew, with nothing of what is right in it.
        with translated(noted.path):
            os.truncate(noted.path, noted.manifest.size)
    store.connection.execute("DELETE FROM content WHERE id = ?", (noted.id,))
    if length >= 0:
        base = None if noted.layer is None else noted.layer.base.content
        _write(store, noted.id, noted.manifest, bits, base, _manifest_below(patient, noted))


def _write(
    store: Store,
    id: ContentId,
    manifest: Manifest,
    bits: bytes,
    base: ContentId | None = None,
    below: Manifest | None = None,
) -> None:
    complete = bits == all_bits(len(manifest.lengths))
    store.connection.execute(
        "INSERT INTO content (id, size, local, suspect, bitmap, base) VALUES (?, ?, ?, 0, ?, ?)",
        (id, manifest.size, _bytes_of(manifest, bits), None if complete else bits, base),
    )
    store.connection.execute("INSERT INTO manifest VALUES (?, ?)", (id, encode_manifest(manifest)))
    store.connection.executemany(
        "INSERT INTO chunk VALUES (?, ?, ?, ?)", chunk_rows(id, manifest, bits, below)
    )


# --- files that nothing is noted of -------------------------------------------------------------


def check_files(patient: Patient, quick: bool) -> Iterator[Finding]:
    """Files that hold all of a content of which nothing is noted."""
    for path in _unknown_files(patient):
        id = ContentId(bytes.fromhex(path.name))
        # A second name of a draft's: it was being published when the node was killed.
        published = path.stat().st_nlink > 1
        manifest = None if quick or published else _recognised(path, id)
        if manifest is not None:
            yield patient.mend_content(
                Finding(
                    "stray",
                    _named(patient, id),
                    f"All {manifest.size} bytes of it are in {path}, and this device does not know"
                    " that it has them.",
                    "they are noted.",
                ),
                id,
                partial(_write, id=id, manifest=manifest, bits=all_bits(len(manifest.lengths))),
            )


def _unknown_files(patient: Patient) -> Iterator[Path]:
    for path in _files(patient.home.contents_folder):
        if not _NAME.fullmatch(path.name):
            continue
        if patient.one("SELECT 1 FROM content WHERE id = ?", bytes.fromhex(path.name)) is None:
            yield path


def _files(folder: Path) -> Iterator[Path]:
    with translated(folder):
        for part in sorted(os.scandir(folder), key=lambda part: part.name):
            if part.is_dir():
                yield from (Path(each.path) for each in os.scandir(part.path) if each.is_file())


def _recognised(path: Path, id: ContentId) -> Manifest | None:
    """The manifest of a file, if that is what its name says."""
    try:
        size = path.stat().st_size
        manifest, encoded = cut(path, size) if size else (None, b"")
    except (OSError, LocalDamage):
        return None
    return manifest if content_id(encoded) == id else None


def _set_aside(patient: Patient, path: Path, copy: bool = False) -> None:
    target = patient.home.set_aside_folder / f"content-{path.name}"
    with translated(target):
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if copy:
            shutil.copyfile(path, target)
        elif path.exists():
            path.rename(target)


# --- what is worth knowing ----------------------------------------------------------------------


def check_drafts(patient: Patient) -> Iterator[Finding]:
    """Files that a program wrote, and of which it is not known where they belong."""
    for path in Drafts(patient.home.drafts_folder).strays():
        yield Finding(
            "draft",
            "",
            f"{path} was being written when the node stopped, and its name is lost: look what it"
            " is, and move it to where it belongs.",
            "",
        )


def remarks(patient: Patient) -> Iterator[str]:
    """What is there, and is no damage."""
    (size,) = patient.reader.execute(
        "SELECT coalesce(sum(local), 0) FROM content WHERE NOT EXISTS"
        " (SELECT 1 FROM entry WHERE entry.content = content.id AND entry.content IS NOT NULL)"
    ).fetchone()
    if size >= TOLD_BYTES_MIN:
        yield (
            f"{size / 10**6:.1f} MB are of earlier or deleted versions. The node lets go of them by"
            " itself, some days after nobody needs them any more."
        )
    unknown = [path for path, _ in zip(_unknown_files(patient), range(1000), strict=False)]
    for path in unknown[:3]:
        yield f"Nothing is known here of what {path} is. It stays."
    if len(unknown) > 3:
        yield f"There are {len(unknown) - 3} more such files, or more."
    left = Drafts(patient.home.drafts_folder).noted()
    whole = sum(each.whole for each in left)
    if whole:
        yield f"The node shares {_counted(whole)} that programs saved, when it starts."
    if half := len(left) - whole:
        yield f"Of {_counted(half)}, programs had written a part when the node ended. It stays."


def _counted(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
