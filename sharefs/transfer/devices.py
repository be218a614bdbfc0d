"""Who is online, and what do they say that they hold?

Answers from devices that were not asked, and whatever concerns contents that nobody wants, are
ignored. Who sent something else than it was asked for is not asked about that content again.
"""

from sharefs.errors import NoHolderOnline, RemoteProtocolError
from sharefs.records.content import MANIFEST_CHUNKS_MAX
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.asking import PATIENCE_S
from sharefs.transfer.books import Books
from sharefs.transfer.content import MISFIT, Content, Stage
from sharefs.transfer.offers import manifest_in, verify_whole
from sharefs.transfer.peers import Peer
from sharefs.transfer.stages import Stages
from sharefs.wire.transfer import Dropped, Have, Lack, Later, Offer

LOSSES_MAX = 2
"""A device that did not deliver chunks of a content this often is no longer taken for a holder."""


class Devices:
    """Other members' devices come, go and answer."""

    def __init__(self, books: Books, stages: Stages) -> None:
        self._books = books
        self._stages = stages

    def handle(self, event: events.PeerEvent, now: float) -> None:
        """Somebody came, went or spoke."""
        match event:
            case events.PeerUp():
                self._peer_up(event, now)
            case events.Answered(device, round_trip_s):
                if peer := self._books.peers.get(device):
                    peer.flow.answered(round_trip_s)
                    peer.yielding.answered(round_trip_s, peer.flow.meter.rate_at(now), now)
            case events.PeerDown(device):
                self._books.peers.pop(device, None)
                self._books.peer_timers.set(device, None)
                for content in self._books.contents.values():
                    self._books.leave(content, device)
            case events.Received(device, message):
                self._received(device, message, now)

    def _received(
        self, device: DeviceId, message: Offer | Have | Lack | Later | Dropped, now: float
    ) -> None:
        peer = self._books.peers.get(device)
        content = self._books.contents.get(message.content)
        if peer is None:
            return
        if isinstance(message, Offer) and device not in self._books.distrust.of(message.content):
            self._books.in_vain.offered(message.content, _held(message))
        if content is None:
            return
        peer.heard_at = now
        match message:
            case Offer():
                self._offered(peer, content, message, now)
            case Have():
                self._having(peer, content, message, now)
            case Lack():
                self._lacking(peer, content, message, now)
            case Later():
                peer.flow.excuse(now)
            case Dropped():
                self._dropped(peer, content, message, now)
        self._books.touch(content.id)

    def _peer_up(self, event: events.PeerUp, now: float) -> None:
        peer = self._books.peers.get(event.device)
        if peer is None:
            peer = self._books.peers[event.device] = Peer(event.device, now, event.known)
            self._books.in_vain.clear()
        peer.spaces = frozenset(event.spaces)
        for content in self._books.contents.values():
            if not content.space_for(peer):
                self._books.leave(content, event.device)
            elif event.device not in content.asks:
                self._books.touch(content.id)
                if content.stage is Stage.WAITING:
                    self._stages.queue(content)

    def _offered(self, peer: Peer, content: Content, offer: Offer, now: float) -> None:
        asked = content.asks.get(peer.device)
        if asked is None or peer.device in self._books.distrust.of(content.id):
            return
        if not asked.answered:
            asked.answered = True
            peer.questions -= 1
        chunks = _held(offer)
        peer.answered(holds=chunks != bitmap.NONE)
        if not chunks:
            content.holders.pop(peer.device, None)
            return
        content.learn(peer.device, chunks, now)
        if offer.data or (offer.manifest and content.layout is None):
            self._take_offered(peer.device, content, offer, now)

    def _take_offered(self, device: DeviceId, content: Content, offer: Offer, now: float) -> None:
        try:
            manifest, encoded = manifest_in(content, offer)
            whole = bool(offer.data) and not content.complete and not content.keeping_whole
            if whole:
                verify_whole(manifest, offer.data)
        except RemoteProtocolError:
            self._books.caught(device, content, "sent something else than it was asked for")
            return
        first_seen = content.layout is None
        if first_seen:
            content.lay_out(manifest)
        if not content.fits:
            self._books.fail(content, list(content.waiters), NoHolderOnline(MISFIT))
        elif whole:
            content.keeping_whole = True
            content.keeping_manifest = False
            content.source(device, now).add(len(offer.data), now)
            keep = effects.KeepSmall(content.id, manifest, encoded, offer.data)
            self._books.do(keep)
        elif first_seen:
            content.keeping_manifest = True
            self._books.do(effects.KeepManifest(content.id, manifest, encoded))

    def _having(self, peer: Peer, content: Content, have: Have, now: float) -> None:
        asked = content.asks.get(peer.device)
        if asked is None or peer.device in self._books.distrust.of(content.id):
            return
        count = content.layout.count if content.layout else MANIFEST_CHUNKS_MAX
        holder = content.holders.get(peer.device)
        chunks = holder.chunks if holder else bitmap.NONE
        for index in have.indexes:
            chunks |= 1 << index if index < count else 0
        if holder is None:
            # It had no manifest when it was asked for it.
            asked.with_manifest = False
        if chunks:
            content.learn(peer.device, chunks, now)
            self._books.hungry[peer.device] = None

    def _lacking(self, peer: Peer, content: Content, lack: Lack, now: float) -> None:
        holder = content.holders.get(peer.device)
        if holder is None or content.layout is None:
            return
        for index in lack.indexes:
            if index < content.layout.count:
                holder.chunks &= ~(1 << index)
                self._comes_not(peer, content, index, now)
        self._books.hungry[peer.device] = None
        if not holder.chunks & bitmap.span(0, content.layout.count):
            del content.holders[peer.device]

    def _dropped(self, peer: Peer, content: Content, dropped: Dropped, now: float) -> None:
        for index in dropped.indexes:
            if index in content.cancelled:
                self._comes_not(peer, content, index, now)
        self._books.hungry[peer.device] = None

    def _comes_not(self, peer: Peer, content: Content, index: int, now: float) -> None:
        if peer.device in content.asked_of(index):
            content.unrequest(index, peer.device)
            peer.flow.forget((content.id, index))
            self._books.schedule.give_back(content, index, peer, now)

    def time_out(self, device: DeviceId, now: float) -> None:
        """Take what a device did not deliver in time for lost."""
        peer = self._books.peers[device]
        lost: dict[ContentId, None] = {}
        for content_id, index in peer.flow.give_up(now):
            content = self._books.contents.get(content_id)
            if content and device in content.asked_of(index):
                content.unrequest(index, device)
                lost[content_id] = None
        peer.failures += bool(lost)
        for content_id in lost:
            self._lost(self._books.contents[content_id], device, now)
        self._books.hungry[device] = None

    def _lost(self, content: Content, device: DeviceId, now: float) -> None:
        """A device did not deliver chunks of this content."""
        self._books.touch(content.id)
        holder = content.holders.get(device)
        if holder:
            holder.lost += 1
            if holder.lost >= LOSSES_MAX:
                del content.holders[device]
                # The patience for somebody to appear was spent in waiting for this device.
                content.stuck_since = now - PATIENCE_S


def _held(offer: Offer) -> int:
    """The chunks that a device says that it has."""
    if not offer.holds:
        return bitmap.NONE
    return bitmap.from_bytes(offer.bitmap) if offer.bitmap else bitmap.ALL
