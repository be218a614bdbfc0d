"""Which bytes of which contents are here, and are they what they should be?

Theory of operation. A content is one plain file, sparse until it is complete. A `LocalContent`
keeps a bit for each chunk that was verified and written; `sync` has the disk sync the file, and
gives the bits that were set before; the loop saves those in the database. So a crash may lose
bits, but leaves no bit without its bytes. After an unclean stop what the files of partial contents
have is verified all the same, marked or not, when the content is next opened: only what a power cut
kept from the disk, or was still on its way, is fetched again.

There is one LocalContent of a content at a time. `_unsaved` holds those whose bits the database
does not have yet. A file that no bits are known for is not trusted: it is made anew.

A content that was made here by changing a large one lies over that, and one that is fetched may lie
over what it is almost like: see `layer`. What others lie over is not freed.

A finished draft is linked to its content's place, and removed only when the transaction that
registers the content is durable: a crash in between leaves a draft that is published again.
"""

import contextlib
import logging
import re
import threading
from collections import deque
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from sharefs.errors import (
    LocalDamage,
    NotAllowed,
    RemoteProtocolError,
    SharefsError,
    UserError,
)
from sharefs.records.content import MIB, Manifest, content_id, decode_manifest
from sharefs.records.ids import ContentId
from sharefs.store.adopted import Adopted, CutDraft, attempt, cut_draft, remove_published
from sharefs.store.bits import beyond
from sharefs.store.connection import TOUCHED_COLUMNS, Insertion, translated
from sharefs.store.cutting import as_manifest, chunks_from, cut
from sharefs.store.database import Store
from sharefs.store.elsewhere import (
    Run,
    chunk_rows,
    most_like,
    places_elsewhere,
    places_lately,
    runs_of,
    take,
)
from sharefs.store.groups import among, in_groups
from sharefs.store.layer import Layer, base_of, marks_of
from sharefs.store.local import LocalContent
from sharefs.store.syncing import Syncing
from sharefs.store.warm import Warm
from sharefs.store.written import COPY_SIZE_BYTES, Written

__all__ = ["Adopted", "ContentStore", "LocalContent", "cut"]

RECENT_CONTENTS_MAX = 256
LAYER_SIZE_BYTES_MIN = 4 * MIB
"""Of what is smaller, a copy costs no more than a layer."""
LAYER_SHARE_MAX = 4
"""What has more than one part in that many of its own is copied when it is changed."""
_NAME = re.compile("[0-9a-f]{64}")
_SAVE_CONTENT = Insertion(
    "INSERT INTO content (id, size, local, suspect, bitmap, base)",
    6,
    "ON CONFLICT DO UPDATE SET local = excluded.local, suspect = 0, bitmap = excluded.bitmap,"
    " base = excluded.base",
)
_SAVE_MANIFEST = Insertion("INSERT OR IGNORE INTO manifest", 2)
_SAVE_CHUNK = Insertion("INSERT OR IGNORE INTO chunk", 4)

log = logging.getLogger("sharefs.store")


class ContentStore:
    """The folder of contents. Any thread, but for the methods that say otherwise."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._lock = threading.Lock()
        self._unsaved_lock = threading.Lock()
        self._in_use: WeakValueDictionary[ContentId, LocalContent] = WeakValueDictionary()
        self._recent: deque[LocalContent] = deque(maxlen=RECENT_CONTENTS_MAX)
        self._unsaved: dict[ContentId, LocalContent] = {}
        self._warm = Warm()
        self._syncing = Syncing(folder)

    # --- what is here ---------------------------------------------------------------------------

    def open(self, content: ContentId, size: int) -> LocalContent:
        """What is here of a content, be it nothing; `size` is used if the content is new here.

        Verifies first what an unclean stop left in doubt, which takes as long as reading it.
        """
        local = self._get(content, size)
        local.settle()
        return local

    def _get(self, content: ContentId, size: int, known: bool = True) -> LocalContent:
        """Whether it is `known` that the database may have it."""
        local = self._in_use.get(content)
        if local is None:
            with self._lock:
                local = self._get_locked(content, size, known)
        return local

    def _get_locked(self, content: ContentId, size: int, known: bool = True) -> LocalContent:
        local = self._in_use.get(content)
        if local is None:
            local = (self._load(content) if known else None) or self._new(content, size)
            self._in_use[content] = local
            self._recent.append(local)
        return local

    def known(self, content: ContentId) -> LocalContent | None:
        """As `open`, but None for what nothing is known of."""
        if content not in self._in_use and self._saved_bytes(content) is None:
            return None
        local = self.open(content, 0)
        return local if local.manifest is not None else None

    def known_now(self, content: ContentId) -> LocalContent | None:
        """As `known`, but None for what has to be verified first: for the loop, which must not
        wait for that."""
        if content not in self._in_use and self._saved_bytes(content) is None:
            return None
        local = self._get(content, 0)
        return None if local.suspect or local.manifest is None else local

    def local_bytes(self, content: ContentId) -> int:
        """How many bytes of a content are here."""
        local = self._in_use.get(content)
        return local.local_bytes if local is not None else self._saved_bytes(content) or 0

    def elsewhere(self, content: ContentId) -> list[Run]:
        """Where missing chunks may be had from other contents here; but what is almost like one of
        those begins with what that has. For the pool. Raises DiskFull, LocalDamage."""
        local = self.known(content)
        if local is None or local.manifest is None:
            return []
        missing = local.missing(0, local.size)
        places = places_elsewhere(self._store.readers, content, local.manifest, missing)
        if len(missing) == len(local.manifest.lengths) and local.size >= LAYER_SIZE_BYTES_MIN:
            like = most_like(local.manifest, places)
            if like is not None and self._lie_over(local, *like):
                missing = local.missing(0, local.size)
        lately = places_lately(content, local.manifest, missing, self._unsaved_contents())
        return runs_of(local.manifest, missing, lately | places)

    def _lie_over(self, local: LocalContent, base: ContentId, same: list[int]) -> bool:
        below = self.open(base, 0)
        firm = below.complete and below.layer is None and below.synced == below.bitmap
        return firm and local.lie_over(below, same)

    def take(self, content: ContentId, run: Run) -> list[int]:
        """Have some of those; the indexes of those that were what they should be. For the pool.

        Raises DiskFull, or LocalDamage if they can not be written.
        """
        local = self.known(content)
        return [] if local is None else take(local, self.open(run.source, 0), run)

    def verify_suspects(self) -> None:
        """After an unclean stop: verify now, in the pool, what `open` would verify later."""
        with self._store.readers.lent() as connection:
            rows = connection.execute("SELECT id FROM content WHERE suspect = 1").fetchall()
        for (content,) in rows:
            self.open(content, 0)

    def unsaved(self) -> list[ContentId]:
        """Those whose bits are not, or not as they are now, in the database."""
        return [local.content for local in self._unsaved_contents()]

    def _unsaved_contents(self) -> list[LocalContent]:
        with self._unsaved_lock:
            return list(self._unsaved.values())

    def is_saved(self, content: ContentId) -> bool:
        """Whether the database has its bits as they are now."""
        return content not in self._unsaved

    def sync(self, contents: Iterable[ContentId]) -> list[tuple[ContentId, bytes]]:
        """`LocalContent.sync` of many, for `save_bits`. Those that fail are left out."""
        locals = [local for id in contents if (local := self._in_use.get(id)) is not None]
        unsynced = [each.unsynced() if each.layer is None else None for each in locals]
        count = len(unsynced) - unsynced.count(None)
        together = self._syncing.sync_all(count, self._syncing.device)
        synced = []
        for local, state in zip(locals, unsynced, strict=True):
            with contextlib.suppress(UserError):
                if together and state is not None:
                    synced.append((local.content, local.note_synced(*state)))
                else:
                    synced.append((local.content, local.sync()))
        return synced

    def _path(self, content: ContentId) -> Path:
        name = content.hex()
        return self._folder / name[:2] / name

    def _new(self, content: ContentId, size: int) -> LocalContent:
        return LocalContent(self._path(content), content, size, self._note_unsaved, self._warm)

    def _load(self, content: ContentId) -> LocalContent | None:
        with self._store.readers.lent() as connection:
            row = connection.execute(
                "SELECT suspect, bitmap, data, base FROM content JOIN manifest"
                " ON manifest.content = content.id WHERE id = ?",
                (content,),
            ).fetchone()
        if row is None:
            return None
        suspect, bitmap, encoded, base = row
        try:
            manifest = decode_manifest(encoded, content)
        except RemoteProtocolError:
            # The database is damaged there: the content is fetched again.
            return None
        local = self._new(content, manifest.size)
        below = None if base is None else self._get_locked(base, 0)
        local.restore(manifest, bitmap, suspect == 1, below)
        return local

    def _saved_bytes(self, content: ContentId) -> int | None:
        with self._store.readers.lent() as connection:
            row = connection.execute(
                "SELECT local FROM content WHERE id = ?", (content,)
            ).fetchone()
        return row[0] if row else None

    def _note_unsaved(self, local: LocalContent) -> None:
        with self._unsaved_lock:
            self._unsaved[local.content] = local

    # --- a fetched content ----------------------------------------------------------------------

    def keep_manifest(self, content: ContentId, manifest: Manifest, encoded: bytes) -> None:
        """Chunks of it may be written from now on. Loop only, in a transaction."""
        local = self.open(content, manifest.size)
        if local.manifest is None:
            local.begin(manifest, encoded)
            self._save([(local, local.synced)])

    def expect(self, local: LocalContent) -> None:
        """Chunks of what may have been freed will come: without a row, a kill would lose them. Loop
        only, in a transaction."""
        if local.told < 0 and local.manifest is not None:
            self._save([(local, local.synced)])

    def save_bits(self, content: ContentId, bitmap: bytes) -> None:
        """Save what `sync` gave. Loop only, in a transaction."""
        local = self._in_use.get(content)
        # If it was freed meanwhile, it has nothing of this bitmap any more.
        if local is not None and local.manifest is not None and content in self._unsaved:
            self._save([(local, local.synced_among(bitmap))])

    # --- a content made here --------------------------------------------------------------------

    def adopt(self, many: Iterable[Written]) -> list[Adopted | SharefsError]:
        """Cut finished drafts, sync them, and let them stand as contents, for the pool.

        Each stays until `register` is durable. Instead of those that can not stand, the reasons:
        DiskFull, LocalDamage, HomeNotUsable.
        """
        cut = [attempt(written, partial(cut_draft, written)) for written in many]
        found = [each for each in cut if isinstance(each, CutDraft)]
        plain = [each.before for each in found if each.is_plain]
        synced = bool(plain) and self._syncing.sync_all(len(plain), plain[0].st_dev)
        known = self._known_among(each.content for each in found)
        return [
            attempt(each.written, partial(self._stand, each, synced, each.content in known))
            if isinstance(each, CutDraft)
            else each
            for each in cut
        ]

    def _stand(self, cut: CutDraft, synced: bool, known: bool) -> Adopted:
        written, size = cut.written, cut.before.st_size
        if not synced or not cut.is_plain:
            written.sync()
        cut.check_unchanged()
        local = self._get(cut.content, size, known)
        local.settle()
        if local.manifest is None:
            local.begin(cut.manifest, cut.encoded)
        local.adopt(written.path, written.layer)
        return Adopted(written, size, cut.content, local)

    def _known_among(self, contents: Iterable[ContentId]) -> set[ContentId]:
        """Those that the database has."""
        known: set[ContentId] = set()
        with self._store.readers.lent() as connection:
            for group in in_groups(contents):
                query = f"SELECT id FROM content WHERE id {among(group)}"
                known.update(id for (id,) in connection.execute(query, group))
        return known

    def hold(self, adopted: Adopted) -> None:
        """Loop only: it may have been freed since, as an older version's content. Raises as
        `adopt`."""
        if adopted.local is not None:
            adopted.local.adopt(adopted.written.path, adopted.written.layer)

    def register(self, *adopted: Adopted) -> None:
        """Loop only, in the transaction of the records that publish what was held in it: when that
        is durable, the drafts are removed."""
        locals = [each.local for each in adopted if each.local is not None]
        self._save([(local, local.synced) for local in locals])
        self._store.after_durable(lambda: remove_published([each.written.path for each in adopted]))

    def give_back(self, adopted: Adopted) -> None:
        """It could not be registered: only the draft has its bytes again. Loop only."""
        if adopted.local is not None and self._saved_bytes(adopted.local.content) is None:
            adopted.local.discard()

    # --- after the database was restored --------------------------------------------------------

    def unknown_files(self) -> list[Path]:
        """Where contents may be that the database does not know. Raises HomeNotUsable."""
        with translated(self._folder):
            files = [path for path in self._folder.glob("*/*") if _NAME.fullmatch(path.name)]
        # What lies over another comes after that.
        files.sort(key=lambda path: (marks_of(path).exists(), path))
        return [file for file in files if self._saved_bytes(_content_at(file)) is None]

    def recognise(self, path: Path) -> LocalContent | None:
        """Cut such a file, and trust it if it is whole; `keep_recognised` is to follow. For the
        pool. Raises LocalDamage, HomeNotUsable."""
        content = _content_at(path)
        candidates = [Written(path)]
        if marks_of(path).exists():
            candidates.append(self.written_at(path))
        for written in candidates:
            with translated(path):
                written.open()
                try:
                    status = written.status()
                    if not status.st_size:
                        return None
                    chunks = chunks_from(written.reading(), 0, status.st_size)
                    manifest, encoded = as_manifest(chunks, status.st_size)
                    written.sync()
                finally:
                    written.close()
            if content_id(encoded) == content:
                local = self.open(content, status.st_size)
                local.begin(manifest, encoded)
                return local if local.trust(status.st_ino, written.layer) else None
        return None

    def keep_recognised(self, local: LocalContent) -> None:
        """Loop only, in a transaction."""
        self._save([(local, local.synced)])

    def is_used(self, content: ContentId) -> bool:
        """Whether anybody has the content at hand: a reader, a transfer, or who publishes it."""
        with self._lock:
            # What was used last is kept at hand for nobody in particular.
            self._recent = deque(
                (local for local in self._recent if local.content != content),
                maxlen=RECENT_CONTENTS_MAX,
            )
            return content in self._in_use

    # --- what lies over another -----------------------------------------------------------------

    def lay_over(self, written: Written, content: ContentId) -> bool:
        """Make an empty draft the same as a content by laying it over that; False, and nothing
        done, where that can not be, or is not worth it. Raises LocalDamage, DiskFull."""
        local = self.known(content)
        if local is None or not local.complete or local.size < LAYER_SIZE_BYTES_MIN:
            return False
        above = local.layer
        if above is not None and above.own_size > local.size // LAYER_SHARE_MAX:
            return False
        base = local if above is None else local.base
        assert base is not None, "a layer has a base"
        with translated(written.path):
            if not written.lie_over(base):
                return False
            if above is not None:
                written.truncate(min(local.size, above.kept))
                written.truncate(local.size)
                for start, end in above.changed(local.size):
                    for offset in range(start, end, COPY_SIZE_BYTES):
                        size = min(COPY_SIZE_BYTES, end - offset)
                        written.write(offset, local.pread(offset, size))
        return True

    def written_at(self, path: Path) -> Written:
        """A draft that an earlier node left. Raises LocalDamage, HomeNotUsable."""
        content = base_of(path)
        if content is None:
            return Written(path)
        base = self.known(content)
        if base is None:
            raise LocalDamage(f"What {path} was made from is not here any more.")
        with translated(path):
            layer = Layer.load(path, base)
        return Written(path, layer=layer)

    def is_leaned_on(self, content: ContentId) -> bool:
        """Whether it has to stay, because others lie over it."""
        local = self._in_use.get(content)
        if local is not None and len(local.leaners):
            return True
        return any(self._get(leaner, 0).layer for leaner in self._leaners(content))

    def let_stand_alone(self, content: ContentId) -> None:
        """Have the contents that lie over it, and are of a version that stands, take what they need
        of it, so that it can be freed. For the pool. Raises DiskFull, LocalDamage."""
        for leaner in self._leaners(content):
            if self._store.view.entries_of(leaner):
                self.open(leaner, 0).stand_alone()

    def _leaners(self, content: ContentId) -> list[ContentId]:
        with self._store.readers.lent() as connection:
            rows = connection.execute(
                "SELECT id FROM content WHERE base = ? AND base IS NOT NULL", (content,)
            ).fetchall()
        return [id for (id,) in rows]

    # --- the database, in the loop --------------------------------------------------------------

    def free(self, content: ContentId) -> int:
        """Forget the bytes; how many they were. Loop only, in a transaction.

        Raises NotAllowed if others lie over them; see `let_stand_alone`.
        """
        if content not in self._in_use and self._saved_bytes(content) is None:
            return 0
        leaners = [self._get(leaner, 0) for leaner in self._leaners(content)]
        self._save([(local, local.synced) for local in leaners if local.layer is None])
        if self.is_leaned_on(content):
            raise NotAllowed(
                "A program is changing it, or an older version that is kept for some days has some"
                " of its bytes, so it stays here."
            )
        local = self._get(content, 0)
        self._store.connection.execute("DELETE FROM content WHERE id = ?", (content,))
        self._touch([content])
        freed = local.discard()
        local.told, local.noted = -1, b""
        with self._unsaved_lock:
            self._unsaved.pop(content, None)
        return freed

    def _save(self, saved: list[tuple[LocalContent, bytes]]) -> None:
        """Which bits of which contents are synced."""
        later = self._store.later
        told = []
        for local, bits in saved:
            here = local.bytes_among(bits)
            complete = here == local.size
            base = local.base
            over = None if base is None else base.content
            row = (local.content, local.size, here, 0, None if complete else bits, over)
            later(_SAVE_CONTENT, (row,))
            later(_SAVE_MANIFEST, ((local.content, local.encoded),))
            if local.manifest is not None:
                below = None if base is None else base.manifest
                new = bits if complete else beyond(bits, local.noted)
                later(_SAVE_CHUNK, chunk_rows(local.content, local.manifest, new, below))
            told.append((local, bits, here))
        # Many entries may have one content, and each of them is published.
        self._touch([local.content for local, _, here in told if here != local.told])

        def committed() -> None:
            with self._unsaved_lock:
                for local, bits, here in told:
                    local.told, local.noted = here, bits
                    if local.bitmap == bits:
                        self._unsaved.pop(local.content, None)

        self._store.after_commit(committed)

    def _touch(self, contents: list[ContentId]) -> None:
        """Their entries are shown with the bytes that are here."""
        self._store.holding.note_contents(contents)
        for group in in_groups(contents):
            query = f"SELECT {TOUCHED_COLUMNS} FROM entry WHERE content {among(group)}"
            rows = self._store.connection.execute(f"{query} AND content IS NOT NULL", group)
            self._store.touched.update(rows)


def _content_at(path: Path) -> ContentId:
    return ContentId(bytes.fromhex(path.name))
