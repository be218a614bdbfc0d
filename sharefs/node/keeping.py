"""Which bytes that are read stay here, and which are only shown?

Bytes that belong to another file, too, which is
not stream-only, are kept. What was on disk before stays there until it is freed, and is served.
"""

from collections.abc import Callable

from sharefs.node.scopes import nearest
from sharefs.node.settings import STREAM_ONLY, Scope, Settings
from sharefs.records.ids import ContentId, SpaceId
from sharefs.records.shown import Shown
from sharefs.store.contents import ContentStore, LocalContent
from sharefs.store.fleeting import Fleeting, FleetingContent
from sharefs.store.view import ReadView

Held = LocalContent | FleetingContent


class Keeping:
    """Where bytes are while they are read. Any thread. `id_of` tells a space's id by its number."""

    def __init__(
        self,
        contents: ContentStore,
        view: ReadView,
        settings: Settings,
        id_of: Callable[[int], SpaceId],
    ) -> None:
        self._contents = contents
        self._view = view
        self._settings = settings
        self._id_of = id_of
        self.fleeting = Fleeting()
        self.choice = 0
        """Another number after each change of what is kept."""

    def open(self, row: Shown) -> Held:
        """What is held of the bytes of an entry."""
        assert row.content is not None, "only a content has bytes"
        local = self._contents.open(row.content, row.size)
        if local.complete or not self.is_stream_only(row):
            return local
        return self.fleeting.open(local)

    def known(self, content: ContentId) -> Held | None:
        """What is held of a content of which something was wanted."""
        return self.fleeting.known(content) or self._contents.known(content)

    def is_stream_only(self, row: Shown) -> bool:
        """Whether what comes of an entry is only shown."""
        choices = self._settings.values(STREAM_ONLY)
        if not any(choices.values()) or not self._is_chosen(row, choices):
            return False
        others = self._view.entries_of(row.content) if row.content else []
        return all(self._is_chosen(other, choices) for other in others if other.live)

    def _is_chosen(self, row: Shown, choices: dict[Scope, bool]) -> bool:
        return bool(nearest(choices, self._view, row, self._id_of(row.space)))
