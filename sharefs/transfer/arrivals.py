"""Which chunks came, and what did the disk make of them?

A chunk is *requested* from one device, then *storing* (verified and written by `node`), then here.
What comes late is still kept.
"""

from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.books import Books
from sharefs.transfer.content import Content
from sharefs.transfer.schedule import UNSAFE_BYTES_MAX
from sharefs.transfer.stages import Stages
from sharefs.wire.transfer import Cancel


class Arrivals:
    """Bytes on their way from a socket to the disk."""

    def __init__(self, books: Books, stages: Stages) -> None:
        self._books = books
        self._stages = stages

    def expects(self, device: DeviceId, content_id: ContentId, index: int) -> bool:
        """Whether a chunk that has just come is worth verifying and writing. What was not
        asked for is kept only from whom we would ask."""
        content = self._books.contents.get(content_id)
        if content is None or not content.useful or not content.knows(index):
            return False
        asked = device in content.asked_of(index)
        much = self._books.schedule.unsafe_bytes > UNSAFE_BYTES_MAX
        new = index not in content.storing and not content.have >> index & 1
        return new and (asked or not (much or device in self._books.distrust.of(content_id)))

    def handle(self, event: events.ChunkEvent, now: float) -> None:
        """A chunk came, or was verified."""
        content = self._books.contents.get(event.content)
        match event:
            case events.ChunkArrived():
                self._chunk_arrived(event, content, now)
            case events.PieceArrived():
                self._piece_arrived(event, content, now)
            case events.ChunkStored(_, _, index):
                if content and content.knows(index):
                    self._chunk_stored(content, index)
            case events.ChunkBad(device, _, index):
                if content and content.knows(index):
                    self._books.schedule.stored(content.release(index))
                    self._books.touch(content.id)
                    if device != self._books.me:
                        self._books.caught(
                            device, content, "sent a chunk that does not match its name"
                        )

    def _piece_arrived(
        self, event: events.PieceArrived, content: Content | None, now: float
    ) -> None:
        if peer := self._books.peers.get(event.device):
            peer.heard_at = now
            peer.flow.came(event.size_bytes, now)
            if content:
                content.source(event.device, now).add(event.size_bytes, now)

    def _chunk_stored(self, content: Content, index: int) -> None:
        self._books.schedule.stored(content.stored(index))
        if content.complete:
            content.keeping_whole = False
        if content.waiters and (content.stuck_since is not None or content.satisfied()):
            self._books.touch(content.id)

    def _chunk_arrived(
        self, event: events.ChunkArrived, content: Content | None, now: float
    ) -> None:
        worth = content is not None and self.expects(event.device, event.content, event.index)
        peer = self._books.peers.get(event.device)
        if peer:
            peer.heard_at = now
            fresh_bytes = event.size_bytes - event.before_bytes
            peer.flow.arrived((event.content, event.index), fresh_bytes, now)
            self._books.hungry[event.device] = None
        if content is None or not worth:
            return
        for other in content.asked_of(event.index):
            if other != event.device:
                self._cancel(content, event.index, other)
        content.store(event.index, event.size_bytes)
        self._books.schedule.storing_bytes += event.size_bytes
        content.source(event.device, now).add(event.size_bytes - event.before_bytes, now)
        if holder := content.holders.get(event.device):
            holder.lost = 0

    def _cancel(self, content: Content, index: int, device: DeviceId) -> None:
        """A chunk need not be sent any more."""
        peer = self._books.peers[device]
        peer.flow.forget((content.id, index))
        self._books.hungry[device] = None
        if space := content.space_for(peer):
            self._books.do(effects.Send(device, Cancel(space, content.id, (index,), begun=True)))

    def stored(self, event: events.StoreEvent) -> None:
        """What the disk made of a content."""
        content = self._books.contents.get(event.content)
        if content is None:
            return
        match event:
            case events.ManifestKept(_, have, coming):
                content.keeping_manifest = False
                content.keep(bitmap.from_bytes(have), bitmap.from_bytes(coming))
                self._books.touch(content.id)
            case events.ContentStored():
                self._books.satisfy(content, list(content.waiters))
                self._stages.forget(content)
            case events.StoreFailed(_, error):
                self._books.fail(content, list(content.waiters), error)
                self._stages.forget(content)
            case events.StillHere(_, have):
                content.keep_only(bitmap.from_bytes(have))
            case events.Freed():
                self._books.schedule.stored(sum(content.storing.values()))
                content.clear_have()
                self._books.touch(content.id)
