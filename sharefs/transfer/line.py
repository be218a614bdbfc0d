"""Which contents wait to be asked about, and which is next?

Contents that a program reads go before those that are merely fetched, and have room of their own,
so that a fetch of ten thousand files never holds up a read. The others have lanes by priority, and
by the ranks of their spaces.
"""

from sharefs.records.ids import ContentId

ACTIVE_CONTENTS_MAX = 64
ACTIVE_CONTENTS_WITH_READS_MAX = 128


Lane = tuple[int, int]
"""A priority, and the rank of a space: the least goes first."""


class Line:
    """Queues in order of arrival: one for contents that are read, and lanes for the others."""

    def __init__(self) -> None:
        self._urgent: dict[ContentId, None] = {}
        self._lanes: dict[Lane, dict[ContentId, None]] = {}
        self._lane_of: dict[ContentId, Lane] = {}

    def push(self, content: ContentId, lane: Lane, *, urgent: bool) -> None:
        """Join, keeping the place if already there and no more urgent than before."""
        if content in self._urgent:
            return
        before = self._lane_of.get(content)
        if urgent:
            self.discard(content)
            self._urgent[content] = None
        elif before is None or lane < before:
            self.discard(content)
            self._lane_of[content] = lane
            self._lanes.setdefault(lane, {})[content] = None

    def discard(self, content: ContentId) -> None:
        """Leave."""
        self._urgent.pop(content, None)
        lane = self._lane_of.pop(content, None)
        if lane is not None:
            del self._lanes[lane][content]
            if not self._lanes[lane]:
                del self._lanes[lane]

    def pop(self, active: int) -> ContentId | None:
        """The next content to ask about while `active` are being asked about or fetched."""
        if self._urgent and active < ACTIVE_CONTENTS_WITH_READS_MAX:
            content = next(iter(self._urgent))
        elif self._lanes and active < ACTIVE_CONTENTS_MAX:
            content = next(iter(self._lanes[min(self._lanes)]))
        else:
            return None
        self.discard(content)
        return content
