"""Which bytes did nobody have, a moment ago?

The kernel asks again, page by page, for what a program's read did not get, and a program asks for
what comes next: each would wait for a holder to appear as long as the first read did. Remembered
for a few seconds only, and until any device comes up, or somebody who is online turns out to hold
these bytes: it fetched them meanwhile, or answers at last what it was asked. What a person
cancelled is remembered so, too, for a moment.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

from sharefs.errors import NoHolderOnline, UserError
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap
from sharefs.transfer.content import Content

IN_VAIN_S = 5.0
REFUSED_S = 1.0
IN_VAIN_CONTENTS_MAX = 1024


@dataclass(frozen=True, slots=True)
class _Vain:
    chunks: int
    until: float
    error: UserError
    likely: frozenset[DeviceId] = frozenset()
    """Who was taken for a holder then."""

    @property
    def is_refused(self) -> bool:
        return not isinstance(self.error, NoHolderOnline)


class InVain:
    """The latest contents that were waited for in vain."""

    def __init__(self) -> None:
        self._latest: dict[ContentId, _Vain] = {}

    def add(self, content: Content, error: NoHolderOnline, now: float) -> None:
        """Those who wait for what of this content can not be had are being told."""
        chunks = content.unreachable() if content.holders and content.layout else bitmap.ALL
        likely = frozenset(content.likely)
        self._note(content.id, _Vain(chunks, now + IN_VAIN_S, error, likely))

    def refuse(self, content: ContentId, error: UserError, now: float) -> None:
        """Those who wait for this content are being told that it does not come."""
        self._note(content, _Vain(bitmap.ALL, now + REFUSED_S, error))

    def _note(self, content: ContentId, vain: _Vain) -> None:
        self._latest.pop(content, None)
        self._latest[content] = vain
        if len(self._latest) > IN_VAIN_CONTENTS_MAX:
            del self._latest[next(iter(self._latest))]

    def clear(self) -> None:
        """Somebody came up, who may have any of it."""
        self._latest.clear()

    def offered(self, content: ContentId, chunks: int) -> None:
        """Somebody said that it has these."""
        vain = self._latest.get(content)
        if vain is not None and not vain.is_refused:
            self._latest[content] = replace(vain, chunks=vain.chunks & ~chunks)

    def error(
        self, content: Content, waiter: int, online: Container[DeviceId], now: float
    ) -> UserError | None:
        """Why it is no use that a waiter waits, if all that it misses was waited for just now."""
        vain = self._latest.get(content.id)
        if vain is None or now >= vain.until:
            return None
        if not vain.is_refused and any(d in online for d in content.likely.keys() - vain.likely):
            return None
        missing = bitmap.ALL if content.layout is None else content.waiters[waiter].missing
        return vain.error if missing and not missing & ~vain.chunks else None
