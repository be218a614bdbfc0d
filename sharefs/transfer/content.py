"""What is known of one content that is wanted: what is here, on its way, and who holds it?

Invariant: `busy` is the chunks that are here, asked for, or being stored, so that
`wanted[priority] & ~busy` is what is still to be asked for. `seconds` and `cancelled` are of chunks
in `requested`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import or_

from sharefs.records.content import Manifest
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer import bitmap
from sharefs.transfer.credit import Meter
from sharefs.transfer.events import Priority, Wanted
from sharefs.transfer.peers import Peer
from sharefs.transfer.rarity import Course, seed_of

MISFIT = "The list of the content's chunks does not add up to its size: it can not be fetched."


class Stage(Enum):
    """Where a content stands."""

    IDLE = "idle"
    """Nobody waits for it; what is known of it is kept for a while."""
    QUEUED = "queued"
    ACTIVE = "active"
    """Devices are being asked about it, or its chunks are coming."""
    WAITING = "waiting"
    """Nobody online has what is missing: somebody may appear."""
    PAUSED = "paused"
    """All who wait are held back."""


class Layout:
    """Where the chunks of a content begin and end."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.count = len(manifest.lengths)
        self._offsets = manifest.offsets()

    def length(self, index: int) -> int:
        """The size of a chunk, in bytes."""
        return self.manifest.lengths[index]

    def chunks(self, start: int, end: int) -> int:
        """The set of the chunks that hold the bytes `start` .. `end`."""
        if start >= end:
            return bitmap.NONE
        first = bisect_right(self._offsets, start) - 1
        return bitmap.span(first, bisect_left(self._offsets, end, lo=first))


@dataclass(slots=True)
class Waiter:
    """Somebody who waits. `missing` is what is not yet here of the range, once that is known."""

    number: int
    start: int
    end: int
    priority: Priority
    held: bool = False
    """A person paused it: nothing is asked for on its behalf."""
    missing: int = bitmap.NONE


@dataclass(slots=True)
class Asked:
    """What a device was asked, and when first."""

    at: float
    with_manifest: bool
    with_data: bool
    answered: bool = False
    repeated: bool = False


@dataclass(slots=True)
class Holder:
    """A device that has chunks of the content; `lost` counts the times it did not deliver."""

    chunks: int
    lost: int = 0


class Content:
    """A content, its waiters and its holders."""

    def __init__(self, content: ContentId, space: SpaceId, size: int, me: DeviceId) -> None:
        self.id = content
        self.size = size
        self.course = Course(seed_of(me, content))
        self.spaces: dict[SpaceId, None] = {space: None}
        self.likely: dict[DeviceId, None] = {}
        self.stage = Stage.IDLE
        self.layout: Layout | None = None
        self.keeping_manifest = False
        self.keeping_whole = False
        self.have = bitmap.NONE
        self.have_bytes = 0
        self.busy = bitmap.NONE
        self.requested: dict[int, DeviceId] = {}
        self.seconds: dict[int, DeviceId] = {}
        """Of some of these chunks, whom they were asked of as well."""
        self.cancelled: set[int] = set()
        """Those of these chunks that were cancelled: they come, or their holder drops them."""
        self.storing: dict[int, int] = {}
        """Chunks being verified and written, with the bytes they take up in memory."""
        self.waiters: dict[int, Waiter] = {}
        self.wanted = [bitmap.NONE for _ in Priority]
        self.asks: dict[DeviceId, Asked] = {}
        self.holders: dict[DeviceId, Holder] = {}
        self._ever_held = bitmap.NONE
        """The chunks that somebody has, or had."""
        self.stuck_since: float | None = None
        self.sources: dict[DeviceId, Meter] = {}

    # --- what is wanted -------------------------------------------------------------------------

    @property
    def priority(self) -> Priority:
        """Of the one who waits most urgently."""
        waiting = (waiter.priority for waiter in self.waiters.values() if not waiter.held)
        return min(waiting, default=Priority.BACKGROUND)

    @property
    def urgent(self) -> bool:
        """Whether a program is, or will soon be, blocked."""
        return any(waiter.priority.urgent for waiter in self.waiters.values())

    @property
    def complete(self) -> bool:
        return self.layout is not None and self.have == bitmap.span(0, self.layout.count)

    @property
    def useful(self) -> bool:
        """Whether chunks may be asked for."""
        return self.layout is not None and not self.keeping_manifest and not self.keeping_whole

    @property
    def fits(self) -> bool:
        """Whether the manifest, if known, has the size that the entry has."""
        return self.layout is None or self.layout.manifest.size == self.size

    def knows(self, index: int) -> bool:
        """Whether there is such a chunk."""
        return self.layout is not None and 0 <= index < self.layout.count

    def add_waiter(self, wanted: Wanted) -> None:
        """Somebody waits for a range."""
        assert wanted.waiter not in self.waiters, "a waiter's number is used once"
        start, end = max(0, wanted.start), min(wanted.end, self.size)
        waiter = Waiter(wanted.waiter, start, end, wanted.priority, wanted.held)
        self.waiters[waiter.number] = waiter
        self.spaces[wanted.space] = None
        self.likely.update(dict.fromkeys(wanted.likely))
        self._want(waiter)

    def _want(self, waiter: Waiter) -> None:
        if self.layout:
            waiter.missing = self.layout.chunks(waiter.start, waiter.end) & ~self.have
            if not waiter.held:
                self.wanted[waiter.priority] |= waiter.missing

    def drop_waiter(self, number: int) -> None:
        """Somebody waits no more: want only what the others miss."""
        del self.waiters[number]
        self.want_again()

    def hold(self, number: int, *, held: bool) -> None:
        """Somebody is held back, or is so no more."""
        self.waiters[number].held = held
        self.want_again()

    @property
    def paused(self) -> bool:
        """Whether all who wait are held back."""
        return all(waiter.held for waiter in self.waiters.values())

    def want_again(self) -> None:
        """Work out anew what is wanted, after something went from here, or from the waiters."""
        self.wanted = [bitmap.NONE for _ in Priority]
        for waiter in self.waiters.values():
            self._want(waiter)

    def blocks(self, index: int) -> bool:
        """Whether a program is blocked on a chunk."""
        return bool(self.wanted[Priority.READ] >> index & 1)

    def needed(self) -> int:
        """All chunks that somebody waits for."""
        return reduce(or_, self.wanted)

    def pending(self, priority: Priority) -> int:
        """The chunks to ask for at a priority."""
        return self.wanted[priority] & ~self.busy

    def satisfied(self) -> list[int]:
        """Those who wait for nothing any more."""
        if self.layout is None or self.keeping_whole:
            return []
        return [number for number, waiter in self.waiters.items() if not waiter.missing]

    # --- what is here ---------------------------------------------------------------------------

    def lay_out(self, manifest: Manifest) -> None:
        """The manifest is known now."""
        self.layout = Layout(manifest)
        self.want_again()

    def add_have(self, chunks: int) -> None:
        """These can be read."""
        assert self.layout, "chunks have no meaning without a manifest"
        new = chunks & bitmap.span(0, self.layout.count) & ~self.have
        if not new:
            return
        self.have |= new
        self.busy |= new
        self.have_bytes += self._length_of(new)
        self.wanted = [wanted & ~new for wanted in self.wanted]
        for waiter in self.waiters.values():
            waiter.missing &= ~new

    def length(self, index: int) -> int:
        """The size of a chunk, in bytes."""
        assert self.layout, "chunks have no meaning without a manifest"
        return self.layout.length(index)

    def _length_of(self, chunks: int) -> int:
        assert self.layout, "chunks have no meaning without a manifest"
        if chunks == bitmap.span(0, self.layout.count):
            return self.size
        return sum(map(self.layout.length, bitmap.indexes(chunks)))

    def keep(self, have: int, coming: int) -> None:
        """Chunks that are here, and chunks that are being copied from other local contents."""
        if self.layout is None:
            # It was forgotten meanwhile, and is wanted anew.
            return
        self.add_have(have)
        for index in bitmap.indexes(coming & bitmap.span(0, self.layout.count) & ~self.busy):
            self.store(index, 0)

    def keep_only(self, chunks: int) -> None:
        """Others that were here are not any more. Those who waited for them have had them."""
        gone = self.have & ~chunks
        if gone:
            self.have &= ~gone
            self.busy &= ~gone
            self.have_bytes -= self._length_of(gone)

    def clear_have(self) -> None:
        """Nothing is here any more, and nothing is being stored."""
        self.storing.clear()
        self.have = bitmap.NONE
        self.have_bytes = 0
        self.busy = bitmap.NONE
        for index in self.requested:
            self.busy |= 1 << index
        self.want_again()

    def request(self, index: int, device: DeviceId) -> None:
        """A chunk is being asked for."""
        assert not self.busy >> index & 1, "what is coming is not asked for again"
        self.requested[index] = device
        self.busy |= 1 << index

    def request_again(self, index: int, device: DeviceId) -> None:
        """A chunk that was asked for is being asked of somebody else as well."""
        assert index in self.requested, "a second comes after the first"
        assert index not in self.seconds, "a chunk is asked of two holders at the most"
        self.seconds[index] = device

    def asked_of(self, index: int) -> list[DeviceId]:
        """Who is to send a chunk."""
        asked = (self.requested.get(index), self.seconds.get(index))
        return [device for device in asked if device is not None]

    def awaited_from(self, device: DeviceId) -> list[int]:
        """The chunks that a device is to send."""
        asked = (*self.requested.items(), *self.seconds.items())
        return [index for index, source in asked if source == device]

    def unrequest(self, index: int, device: DeviceId) -> bool:
        """A device will not send a chunk. Whether it was to, and nobody else is."""
        if self.seconds.get(index) == device:
            del self.seconds[index]
        elif self.requested.get(index) == device:
            if index not in self.seconds:
                self.release(index)
                return True
            self.requested[index] = self.seconds.pop(index)
        return False

    def _unask(self, index: int) -> None:
        self.requested.pop(index, None)
        self.seconds.pop(index, None)
        self.cancelled.discard(index)

    def store(self, index: int, size_bytes: int) -> None:
        """A chunk is being stored."""
        self._unask(index)
        self.storing[index] = size_bytes
        self.busy |= 1 << index

    def stored(self, index: int) -> int:
        """A chunk can be read. Returns the bytes of memory that it no longer takes."""
        size_bytes = self.storing.pop(index, 0)
        self._unask(index)
        self.add_have(1 << index)
        return size_bytes

    def release(self, index: int) -> int:
        """A chunk is to be asked for again. Returns the bytes of memory that it no longer takes."""
        size_bytes = self.storing.pop(index, 0)
        self._unask(index)
        if not self.have >> index & 1:
            self.busy &= ~(1 << index)
        return size_bytes

    # --- who holds it ---------------------------------------------------------------------------

    def space_for(self, peer: Peer) -> SpaceId | None:
        """The space under which a device may be asked about it."""
        return next((space for space in self.spaces if space in peer.spaces), None)

    def learn(self, device: DeviceId, chunks: int, now: float) -> None:
        """A device holds these. If that is more than was ever held, who waits waits on: that device
        is fetching it, maybe from somebody whom we do not see."""
        holder = self.holders.setdefault(device, Holder(chunks))
        holder.chunks = chunks
        if chunks & ~self._ever_held and self.stuck_since is not None:
            self.stuck_since = now
        self._ever_held |= chunks

    def source(self, device: DeviceId, now: float) -> Meter:
        """What came from a device."""
        if device not in self.sources:
            self.sources[device] = Meter(now)
        return self.sources[device]

    def reachable(self) -> bool:
        """Whether everything that is missing is here soon, or can be asked of somebody."""
        if self.layout is None:
            return False
        return self.keeping_manifest or self.keeping_whole or not self.unreachable()

    def doomed(self) -> list[int]:
        """Those who wait only for what nobody has."""
        waiting = [waiter for waiter in self.waiters.values() if not waiter.held]
        if self.layout is None:
            return [waiter.number for waiter in waiting]
        out = self.unreachable()
        return [waiter.number for waiter in waiting if not waiter.missing & ~out]

    def unreachable(self) -> int:
        """What somebody waits for, is not coming, and no holder has."""
        chunks = self.needed() & ~self.busy
        for holder in self.holders.values():
            chunks &= ~holder.chunks
        return chunks
