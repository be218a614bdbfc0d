"""Where does each content stand, and which may be asked about now?"""

from sharefs.records.ids import ContentId
from sharefs.transfer.books import Books
from sharefs.transfer.content import Content, Stage
from sharefs.transfer.line import Line
from sharefs.transfer.sparing import spare_forgotten

IDLE_CONTENTS_MAX = 64


class Stages:
    """The line of those that are queued, the number of the active, and the idle in order."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._line = Line()
        self._active = 0
        self._idle: dict[ContentId, None] = {}

    def admit(self) -> None:
        """Let those in whose turn it is."""
        while (content_id := self._line.pop(self._active)) is not None:
            self.move(self._books.contents[content_id], Stage.ACTIVE)
            self._books.touch(content_id)

    def move(self, content: Content, stage: Stage) -> None:
        """It stands elsewhere now."""
        if content.stage is stage:
            return
        self._active += (stage is Stage.ACTIVE) - (content.stage is Stage.ACTIVE)
        if content.stage is Stage.QUEUED:
            self._line.discard(content.id)
        if content.stage is Stage.IDLE:
            self._idle.pop(content.id, None)
        content.stage = stage

    def queue(self, content: Content) -> None:
        """It is to be asked about when it is its turn."""
        self.move(content, Stage.QUEUED)
        self._books.content_timers.set(content.id, None)
        lane = (content.priority, self._books.schedule.rank(content))
        self._line.push(content.id, lane, urgent=content.urgent)
        if not content.urgent:
            # Its turn may come late: its patience begins then.
            content.stuck_since = None

    def retire(self, content: Content) -> None:
        """Nobody waits: keep what was learnt for a while."""
        self._books.content_timers.set(content.id, None)
        if content.complete or not content.fits or content.stage is Stage.QUEUED:
            self.forget(content)
            return
        self.move(content, Stage.IDLE)
        content.stuck_since = None
        self._idle.pop(content.id, None)
        self._idle[content.id] = None
        if len(self._idle) > IDLE_CONTENTS_MAX:
            self.forget(self._books.contents[next(iter(self._idle))])

    def rest(self, content: Content) -> None:
        """All who wait are held back."""
        self._books.content_timers.set(content.id, None)
        self.move(content, Stage.PAUSED)
        content.stuck_since = None

    def forget(self, content: Content) -> None:
        """Nothing is known of it any more."""
        assert not content.waiters, "nobody who waits is forgotten"
        self.move(content, Stage.IDLE)
        self._idle.pop(content.id, None)
        self._books.content_timers.set(content.id, None)
        self._books.schedule.discard(content.id)
        self._books.schedule.stored(sum(content.storing.values()))
        spare_forgotten(self._books, content)
        for device, asked in content.asks.items():
            if not asked.answered and device in self._books.peers:
                self._books.peers[device].questions -= 1
        del self._books.contents[content.id]
