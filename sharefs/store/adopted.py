"""How does a draft come to stand as a content, and when does it go?"""

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sharefs.errors import HomeNotUsable, LocalDamage, SharefsError
from sharefs.records.content import Manifest, content_id
from sharefs.records.ids import ContentId
from sharefs.store.connection import translated
from sharefs.store.cutting import as_manifest
from sharefs.store.drafts import remove_draft
from sharefs.store.local import LocalContent
from sharefs.store.written import Written

log = logging.getLogger("sharefs.store")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Adopted:
    """A draft that stands as a content, and waits to be registered. `content` is None if empty."""

    written: Written
    size: int
    content: ContentId | None
    local: LocalContent | None


@dataclass(frozen=True, slots=True)
class CutDraft:
    """A draft that was cut, as it was before."""

    written: Written
    before: os.stat_result
    content: ContentId
    manifest: Manifest
    encoded: bytes

    @property
    def is_plain(self) -> bool:
        """Whether all of it is in its own file."""
        return self.written.layer is None

    def check_unchanged(self) -> None:
        """Raises LocalDamage, OSError."""
        before, now = self.before, self.written.status()
        if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            raise LocalDamage("A file was written while it was being published.")


def cut_draft(written: Written) -> Adopted | CutDraft:
    """One with nothing in it is not cut. Raises LocalDamage, OSError."""
    before = written.status()
    if before.st_size == 0:
        return Adopted(written, 0, None, None)
    manifest, encoded = as_manifest(written.chunks(), before.st_size)
    return CutDraft(written, before, content_id(encoded), manifest, encoded)


def attempt(written: Written, call: Callable[[], Result]) -> Result | SharefsError:
    """What it returns, or why it failed: others of a group are not to fail with it."""
    try:
        with translated(written.path):
            return call()
    except SharefsError as error:
        return error


def remove_published(drafts: list[Path]) -> None:
    """Those that were registered."""
    names = None
    if len(drafts) > 1:
        with contextlib.suppress(OSError):
            names = set(os.listdir(drafts[0].parent))
    for draft in drafts:
        try:
            remove_draft(draft, names)
        except HomeNotUsable as error:
            log.warning("a draft that was published stays, and will be published again: %s", error)
