"""Which chunk is asked of which device next?

Theory of operation. Chunks of contents that a program is blocked on come first, then read-ahead,
then fetches, and so on; in each, contents in order of arrival, but contents of spaces that are to
go first do so among those of one priority. For readers, the lowest chunk that this device has is
asked for; otherwise the one that the fewest have. A device that has stalled gets nothing while
another, that has not, holds the same chunks. A chunk that is slow to come may be asked of a second
device (`seconds`), when nothing else is left to be asked of that one.

Where there are limits, all devices are looked at together, the most urgent chunks first: else one
that has nothing urgent could take what the limits let through. What nobody waits for makes room on
a full link (`yielding`).

What is asked for, is being stored, or is stored but not saved yet, would be fetched again after a
crash, or takes up memory: there is a limit on the sum. At the limit, nothing more is asked for
before the disk has caught up, but what a program is blocked on.
"""

from collections.abc import Iterable, Mapping, Sequence

from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer import bitmap
from sharefs.transfer.content import Content, Stage
from sharefs.transfer.credit import READ_RESERVE_BYTES
from sharefs.transfer.effects import Send
from sharefs.transfer.events import Priority
from sharefs.transfer.limits import Limits
from sharefs.transfer.peers import Peer
from sharefs.transfer.seconds import LOOK_AGAIN_S, candidates, second_is_sooner
from sharefs.wire.transfer import INDEXES_MAX, Hurry, WantChunks

UNSAFE_BYTES_MAX = 64 * MIB
UNSAFE_BYTES_TO_GO_ON = 48 * MIB
"""At the limit, asking goes on when there is room for several chunks."""


class Schedule:
    """The contents that have chunks to be asked for, in order."""

    def __init__(self, peers: Mapping[DeviceId, Peer]) -> None:
        self.storing_bytes = 0
        """What came and is being verified and written."""
        self.unsaved_bytes = 0
        """What is written, and would be lost in a crash."""
        self._held_back = False
        """Something was not asked for because the limit is reached."""
        self._peers = peers
        self._ready: list[dict[ContentId, Content]] = [{} for _ in Priority]
        self.limits = Limits()
        self.ranks: Mapping[SpaceId, int] = {}
        """Of spaces that do not come in order of arrival."""
        self.look_at: float | None = None
        """When something that the limits hold back may be asked for."""
        self.second_at: float | None = None
        """When some device may turn out to be so slow that another is asked as well."""
        self._under_way: dict[ContentId, Content] = {}
        """Contents of which chunks were asked for."""

    def add(self, content: Content) -> None:
        """A content may have chunks to be asked for."""
        for priority in Priority:
            if content.pending(priority):
                self._ready[priority][content.id] = content

    def discard(self, content: ContentId) -> None:
        """A content is forgotten."""
        for contents in (*self._ready, self._under_way):
            contents.pop(content, None)

    def rank(self, content: Content) -> int:
        """Whether it comes before others of its priority, or after them."""
        return min(self.ranks.get(space, 0) for space in content.spaces)

    def fill(self, peers: Sequence[Peer], now: float) -> list[Send]:
        """Ask devices, in this order, for as much as credit and limits allow."""
        if self.limits and peers:
            self.look_at = None
        turns: list[Iterable[Priority]] = [(p,) for p in Priority] if self.limits else [Priority]
        sends = [send for turn in turns for peer in peers for send in self._fill(peer, turn, now)]
        return sends + [send for peer in peers for send in self._ask_again(peer, now)]

    def _fill(self, peer: Peer, priorities: Iterable[Priority], now: float) -> list[Send]:
        batches: dict[tuple[ContentId, bool], tuple[Content, list[int]]] = {}
        while found := self._next(peer, priorities, now):
            content, index, size_bytes = found
            content.request(index, peer.device)
            self._under_way[content.id] = content
            self._take(content, index, size_bytes, peer, now)
            key = content.id, content.blocks(index)
            batches.setdefault(key, (content, []))[1].append(index)
        return [
            send
            for (_, urgent), (content, indexes) in batches.items()
            for send in _sends(peer, content, indexes, urgent=urgent)
        ]

    def hurry(self, content: Content) -> list[Send]:
        """Ask that what a program is blocked on by now comes before what else was asked for."""
        behind: dict[DeviceId, list[int]] = {}
        blocked = content.wanted[Priority.READ]
        for index in content.requested if blocked else ():
            for device in content.asked_of(index) if blocked >> index & 1 else ():
                if self._peers[device].flow.hurry((content.id, index)):
                    behind.setdefault(device, []).append(index)
        return [
            Send(device, Hurry(space, content.id, tuple(indexes[:INDEXES_MAX])))
            for device, indexes in behind.items()
            if (space := content.space_for(self._peers[device]))
        ]

    def stored(self, size_bytes: int) -> None:
        """Bytes that came wait no more to be verified and written."""
        self.storing_bytes -= size_bytes
        assert self.storing_bytes >= 0, "what is being stored is the sum of its chunks"

    @property
    def unsafe_bytes(self) -> int:
        """What is on its way here, from the first word to a bit that a crash leaves standing."""
        under_way = sum(peer.flow.under_way_bytes for peer in self._peers.values())
        return under_way + self.storing_bytes + self.unsaved_bytes

    def may_go_on(self) -> bool:
        """Whether something was held back that may be asked for now; says so once."""
        if not self._held_back or self.unsafe_bytes > UNSAFE_BYTES_TO_GO_ON:
            return False
        self._held_back = False
        return True

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again, for either reason; says so once."""
        held_back = self.look_at is not None and self.look_at <= now
        slow = self.second_at is not None and self.second_at <= now
        if held_back:
            self.look_at = None
        if slow:
            self.second_at = None
        return held_back or slow

    def _has_room(self, size_bytes: int, *, urgent: bool) -> bool:
        unsafe = self.unsafe_bytes
        full = unsafe + size_bytes > UNSAFE_BYTES_MAX
        self._held_back = self._held_back or full
        if urgent:
            return not unsafe or unsafe + size_bytes <= UNSAFE_BYTES_MAX + READ_RESERVE_BYTES
        return not self._held_back or not unsafe

    def _next(
        self, peer: Peer, priorities: Iterable[Priority], now: float
    ) -> tuple[Content, int, int] | None:
        for priority in priorities:
            ready = self._ready[priority]
            spent: list[ContentId] = []
            found = None
            in_order = sorted(ready.values(), key=self.rank) if self.ranks else ready.values()
            for content in in_order:
                pending = content.pending(priority) if content.stage is Stage.ACTIVE else 0
                if not pending:
                    spent.append(content.id)
                elif (usable := self._usable(content, peer, pending)) and self._open(
                    content, peer, priority, now
                ):
                    found = content, self._pick(content, usable, priority)
                    break
            for content_id in spent:
                del ready[content_id]
            if found:
                content, index = found
                size_bytes = content.length(index)
                urgent = priority is Priority.READ
                room = self._has_room(size_bytes, urgent=urgent)
                if room and peer.flow.admits(size_bytes, urgent=urgent):
                    return content, index, size_bytes
                return None
        return None

    def _pick(self, content: Content, usable: int, priority: Priority) -> int:
        assert content.layout, "chunks have no meaning without a manifest"
        if priority.urgent:
            return bitmap.lowest(usable)
        held = [holder.chunks for holder in content.holders.values()]
        return content.course.next(usable, held, content.layout.count)

    def _ask_again(self, peer: Peer, now: float) -> list[Send]:
        """Ask a device for what another was asked for, and will be slow to send."""
        sends = []
        for content in [each for each in self._under_way.values() if not each.requested]:
            del self._under_way[content.id]
        for content in self._under_way.values():
            for index, size_bytes, urgent in candidates(content, peer):
                if not second_is_sooner(content, index, peer, self._peers, now):
                    self.second_at = self.second_at or now + LOOK_AGAIN_S
                elif self._has_room(size_bytes, urgent=urgent) and self._open(
                    content, peer, content.priority, now
                ):
                    content.request_again(index, peer.device)
                    self._take(content, index, size_bytes, peer, now)
                    sends += _sends(peer, content, [index], urgent=urgent)
        return sends

    def _take(self, content: Content, index: int, size_bytes: int, peer: Peer, now: float) -> None:
        if space := content.space_for(peer):
            self.limits.take(space, peer.device, size_bytes, now)
        if content.priority.yields:
            peer.yielding.take(size_bytes, now)
        peer.flow.ask((content.id, index), size_bytes, now, urgent=content.blocks(index))

    def give_back(self, content: Content, index: int, peer: Peer, now: float) -> None:
        """A chunk that was asked for does not come."""
        if space := content.space_for(peer):
            self.limits.give_back(space, peer.device, content.length(index), now)

    def try_take(self, content: Content, peer: Peer, now: float) -> bool:
        """Whether the limits let a whole content through, which then is taken to travel."""
        space = content.space_for(peer)
        if space is None or self._open_at(space, content.priority, peer, now) > now:
            return False
        self.limits.take(space, peer.device, content.size, now)
        if content.priority.yields:
            peer.yielding.take(content.size, now)
        return True

    def _open_at(self, space: SpaceId, priority: Priority, peer: Peer, now: float) -> float:
        limited = self.limits.open_at(space, peer.device, now) if self.limits else now
        return max(limited, peer.yielding.open_at(now)) if priority.yields else limited

    def _open(self, content: Content, peer: Peer, priority: Priority, now: float) -> bool:
        """Whether a chunk is let through; notes when to look again."""
        space = content.space_for(peer)
        open_at = now if space is None else self._open_at(space, priority, peer, now)
        if open_at > now:
            self.look_at = open_at if self.look_at is None else min(self.look_at, open_at)
        return open_at <= now

    def _usable(self, content: Content, peer: Peer, pending: int) -> int:
        holder = content.holders.get(peer.device)
        if holder is None or not content.useful:
            return bitmap.NONE
        usable = pending & holder.chunks
        if usable and peer.flow.stalled:
            for device, other in content.holders.items():
                if not self._peers[device].flow.stalled:
                    usable &= ~other.chunks
        return usable


def _sends(peer: Peer, content: Content, indexes: list[int], *, urgent: bool) -> list[Send]:
    space = content.space_for(peer)
    assert space is not None, "a holder shares a space with us"
    batches = [indexes[at : at + INDEXES_MAX] for at in range(0, len(indexes), INDEXES_MAX)]
    return [
        Send(peer.device, WantChunks(space, content.id, tuple(batch), urgent=urgent))
        for batch in batches
    ]
