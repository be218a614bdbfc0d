"""Which contents wait to be asked about, and which is next?

Contents that a program reads go before those that are merely fetched, and have room of their own,
so that a fetch of ten thousand files never holds up a read.
"""

from sharefs.records.ids import ContentId

ACTIVE_CONTENTS_MAX = 64
ACTIVE_CONTENTS_WITH_READS_MAX = 128


class Line:
    """Two queues in order of arrival."""

    def __init__(self) -> None:
        self._urgent: dict[ContentId, None] = {}
        self._patient: dict[ContentId, None] = {}

    def push(self, content: ContentId, *, urgent: bool) -> None:
        """Join, keeping the place if already there and no more urgent than before."""
        if urgent:
            self._patient.pop(content, None)
            self._urgent[content] = None
        elif content not in self._urgent:
            self._patient[content] = None

    def discard(self, content: ContentId) -> None:
        """Leave."""
        self._urgent.pop(content, None)
        self._patient.pop(content, None)

    def pop(self, active: int) -> ContentId | None:
        """The next content to ask about while `active` are being asked about or fetched."""
        if self._urgent and active < ACTIVE_CONTENTS_WITH_READS_MAX:
            lane = self._urgent
        elif self._patient and active < ACTIVE_CONTENTS_MAX:
            lane = self._patient
        else:
            return None
        content = next(iter(lane))
        del lane[content]
        return content
