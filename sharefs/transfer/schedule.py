"""Which chunk is asked of which device next?

Theory of operation. Chunks of contents that a program is blocked on come first, then read-ahead,
then fetches; in each, contents in order of arrival, and the lowest chunk that this device has. A
device that has stalled gets nothing while another, that has not, holds the same chunks. Nothing
is asked for while too much that came waits to be stored.
"""

from collections.abc import Mapping

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap
from sharefs.transfer.content import Content, Stage
from sharefs.transfer.effects import Send
from sharefs.transfer.events import Priority
from sharefs.transfer.peers import Peer
from sharefs.wire.transfer import INDEXES_MAX, WantChunks

STORING_BYTES_MAX = 64 * 1024 * 1024


class Schedule:
    """The contents that have chunks to be asked for, in order."""

    def __init__(self, peers: Mapping[DeviceId, Peer]) -> None:
        self.storing_bytes = 0
        self.held_back = False
        """Something was not asked for because too much waits to be stored."""
        self._peers = peers
        self._ready: list[dict[ContentId, Content]] = [{} for _ in Priority]

    def add(self, content: Content) -> None:
        """A content may have chunks to be asked for."""
        for priority in Priority:
            if content.pending(priority):
                self._ready[priority][content.id] = content

    def discard(self, content: ContentId) -> None:
        """A content is forgotten."""
        for ready in self._ready:
            ready.pop(content, None)

    def fill(self, peer: Peer, now: float) -> list[Send]:
        """Ask a device for as much as its credit allows."""
        batches: dict[ContentId, tuple[Content, list[int]]] = {}
        while not self._is_held_back():
            found = self._next(peer)
            if found is None:
                break
            content, index, size_bytes = found
            content.request(index, peer.device)
            peer.flow.ask((content.id, index), size_bytes, now)
            batches.setdefault(content.id, (content, []))[1].append(index)
        return [
            send for content, indexes in batches.values() for send in _sends(peer, content, indexes)
        ]

    def stored(self, size_bytes: int) -> bool:
        """Bytes that came wait no more. Whether devices may be asked again that could not be."""
        self.storing_bytes -= size_bytes
        assert self.storing_bytes >= 0, "what is being stored is the sum of its chunks"
        go_on = self.held_back and self.storing_bytes <= STORING_BYTES_MAX // 2
        self.held_back = self.held_back and not go_on
        return go_on

    def _is_held_back(self) -> bool:
        if self.storing_bytes > STORING_BYTES_MAX:
            self.held_back = True
        return self.held_back

    def _next(self, peer: Peer) -> tuple[Content, int, int] | None:
        for priority in Priority:
            ready = self._ready[priority]
            spent: list[ContentId] = []
            found = None
            for content in ready.values():
                pending = content.pending(priority) if content.stage is Stage.ACTIVE else 0
                if not pending:
                    spent.append(content.id)
                elif usable := self._usable(content, peer, pending):
                    found = content, bitmap.lowest(usable)
                    break
            for content_id in spent:
                del ready[content_id]
            if found:
                content, index = found
                size_bytes = content.layout.length(index) if content.layout else 0
                if peer.flow.admits(size_bytes, urgent=priority is Priority.READ):
                    return content, index, size_bytes
                return None
        return None

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


def _sends(peer: Peer, content: Content, indexes: list[int]) -> list[Send]:
    space = content.space_for(peer)
    assert space is not None, "a holder shares a space with us"
    return [
        Send(peer.device, WantChunks(space, content.id, tuple(indexes[at : at + INDEXES_MAX])))
        for at in range(0, len(indexes), INDEXES_MAX)
    ]
