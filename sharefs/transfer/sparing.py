"""Which chunks that were asked for need not come any more?

Theory of operation. When somebody wants a chunk no more (a reader went elsewhere, a person paused,
a version was superseded), it is cancelled, unless it is wanted again within LINGER_S: a reader lets
go of what he reads ahead, and wants most of it anew, all the time. Its holder drops it if nothing
of it was handed to a socket, and says so. Until then it counts as under way: it may well come, and
is kept; and who wants it anew waits for one or the other, so that it does not come twice. Of what
is forgotten before that, all is cancelled at once, as nobody will know of whom it was asked.
"""

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import effects
from sharefs.transfer.books import Books
from sharefs.transfer.content import Content
from sharefs.transfer.timers import Timers
from sharefs.wire.transfer import INDEXES_MAX, Cancel

LINGER_S = 0.05


class Sparing:
    """The contents of which something may be under way in vain."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._timers: Timers[ContentId] = Timers()

    def earliest(self) -> float | None:
        """When to look at one again."""
        return self._timers.earliest()

    def look(self, content: Content, now: float) -> None:
        """Somebody may not want some of it any more."""
        if content.id not in self._timers and _in_vain(content):
            self._timers.set(content.id, now + LINGER_S)

    def fire(self, now: float) -> None:
        """Cancel what is not wanted still."""
        while (content_id := self._timers.pop_due(now)) is not None:
            if content := self._books.contents.get(content_id):
                self._cancel(content)

    def _cancel(self, content: Content) -> None:
        indexes = _in_vain(content)
        content.cancelled.update(indexes)
        _tell(self._books, content, indexes)


def spare_forgotten(books: Books, content: Content) -> None:
    """A content is being forgotten: expect nothing of it any more."""
    _tell(books, content, [index for index in content.requested if index not in content.cancelled])
    for index in content.requested:
        for device in content.asked_of(index):
            books.peers[device].flow.forget((content.id, index))
            books.hungry[device] = None


def _tell(books: Books, content: Content, indexes: list[int]) -> None:
    cancelled: dict[DeviceId, list[int]] = {}
    for index in indexes:
        for device in content.asked_of(index):
            cancelled.setdefault(device, []).append(index)
    for device, some in cancelled.items():
        space = content.space_for(books.peers[device])
        assert space is not None, "who shares no space any more was asked for nothing"
        for at in range(0, len(some), INDEXES_MAX):
            cancel = Cancel(space, content.id, tuple(some[at : at + INDEXES_MAX]))
            books.do(effects.Send(device, cancel))


def _in_vain(content: Content) -> list[int]:
    needed = content.needed()
    return [
        index
        for index in content.requested
        if not needed >> index & 1 and index not in content.cancelled
    ]
