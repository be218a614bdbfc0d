"""A network in a queue: holders with delays and faults, and one machine that fetches from them."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from blake3 import blake3

from sharefs.errors import UserError
from sharefs.records.content import (
    KIB,
    MIB,
    Manifest,
    chunk_id,
    content_id,
    encode_manifest,
    make_manifest,
)
from sharefs.records.ids import ChunkId, ContentId, DeviceId, SpaceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.effects import Effect
from sharefs.transfer.events import Event, Priority
from sharefs.transfer.machine import Transfer
from sharefs.transfer.peers import short_name
from sharefs.wire.transfer import (
    SMALL_CONTENT_SIZE_BYTES_MAX,
    Ask,
    Cancel,
    Dropped,
    Hurry,
    Lack,
    Offer,
    WantChunks,
)

SPACE = SpaceId(b"s" * 32)
ME = DeviceId(b"m" * 16)
ANNA = DeviceId(b"a" * 16)
BOB = DeviceId(b"b" * 16)
NAMES = {ANNA: "Anna", BOB: "Bob"}
STEPS_MAX = 200_000


@dataclass(frozen=True)
class File:
    """A content; only a small one has real bytes."""

    id: ContentId
    size: int
    manifest: Manifest
    encoded: bytes
    data: bytes = b""

    @property
    def count(self) -> int:
        return len(self.manifest.lengths)


def small_file(number: int, size: int = KIB) -> File:
    data = blake3(number.to_bytes(8, "little")).digest(size)
    return _file([(chunk_id(data), size)], data)


def large_file(number: int, chunks: int, chunk_size: int = MIB) -> File:
    seed = number.to_bytes(8, "little")
    hashes = blake3(seed).digest(32 * chunks)
    return _file([(ChunkId(hashes[32 * i : 32 * i + 32]), chunk_size) for i in range(chunks)])


def _file(chunks: list[tuple[ChunkId, int]], data: bytes = b"") -> File:
    manifest = make_manifest(chunks)
    encoded = encode_manifest(manifest)
    return File(content_id(encoded), manifest.size, manifest, encoded, data)


@dataclass
class Holder:
    """A device, what it holds, and what is wrong with it."""

    device: DeviceId
    held: dict[ContentId, tuple[File, int]] = field(default_factory=dict)
    latency_s: float = 0.001
    bytes_per_s: float = 100 * MIB
    free_at: float = 0.0
    lies: bool = False
    """Sends chunks, and small contents, that do not match."""
    mute: bool = False
    """Takes everything, answers nothing."""
    withholds_chunks: bool = False
    queue: dict[tuple[ContentId, int], list["Sending"]] = field(default_factory=dict)
    """Chunks that are to be sent, or being sent."""
    loses: list[type] = field(default_factory=list)
    """Each entry: one answer to a message of that type gets lost."""

    def hold(self, *files: File, chunks: int = bitmap.ALL) -> "Holder":
        for file in files:
            self.held[file.id] = (file, chunks)
        return self


@dataclass(eq=False)
class Sending:
    """A chunk that goes out in this time, unless it is cancelled."""

    begins_at: float
    ends_at: float
    cancelled: bool = False

    def cancel(self, now: float, *, begun: bool) -> None:
        self.cancelled |= now < (self.ends_at if begun else self.begins_at)


class Network:
    """Runs until nothing is left to happen, or a time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.machine = Transfer(ME, lambda device: NAMES.get(device) or short_name(device))
        self.holders: dict[DeviceId, Holder] = {}
        self.satisfied: dict[int, float] = {}
        self.failed: dict[int, tuple[float, UserError]] = {}
        self.reports: list[effects.Report] = []
        self.asks: list[tuple[float, DeviceId, Ask]] = []
        self.wants: list[tuple[float, DeviceId, ContentId, int]] = []
        self.cancels: list[tuple[float, DeviceId, int]] = []
        self.urgent: list[tuple[DeviceId, int]] = []
        """Chunks that were asked for as such."""
        self.hurries: list[tuple[DeviceId, int]] = []
        self.came: list[tuple[float, int]] = []
        """The chunks, whether of use or not."""
        self.bytes_in_vain = 0
        """Of chunks that were here already."""
        self.bytes_from: dict[DeviceId, int] = {}
        self.copies: dict[ContentId, int] = {}
        """Chunks that another local content has."""
        self.disk_error: UserError | None = None
        self.store_s = 0.001
        self.save_s = 0.0
        """From when a chunk is stored until a crash would not lose it."""
        self.unsafe_bytes_most = 0
        self._unsafe_bytes = 0
        self._unsaved_bytes = 0
        self.steps = 0
        self._timer = 0
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._waiter = 0

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._number, action))

    def run(self, seconds: float = 120.0) -> None:
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            self.steps += 1
            assert self.steps < STEPS_MAX, "the machine does not come to rest"
        self.now = until

    def up(self, holder: Holder) -> Holder:
        self.holders[holder.device] = holder
        self.do(events.PeerUp(holder.device, (SPACE,)))
        return holder

    def down(self, device: DeviceId) -> None:
        del self.holders[device]
        self.do(events.PeerDown(device))

    def want(
        self,
        file: File,
        start: int = 0,
        end: int | None = None,
        priority: Priority = Priority.FETCH,
        *,
        known: bool = False,
        have: int = 0,
        likely: tuple[DeviceId, ...] = (),
        space: SpaceId = SPACE,
        held: bool = False,
        coming: int = 0,
        looks: bool = False,
    ) -> int:
        self._waiter += 1
        self.do(
            events.Wanted(
                self._waiter,
                space,
                file.id,
                file.size,
                file.manifest if known else None,
                bitmap.to_bytes(have, file.count) if have else b"",
                start,
                file.size if end is None else end,
                priority,
                likely,
                held,
                coming,
                looks,
            )
        )
        return self._waiter

    def do(self, event: Event) -> None:
        for effect in self.machine.handle(event, self.now):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case effects.Send(device, message):
                self._send(device, message)
            case effects.KeepManifest(content, manifest, _):
                self._keep_manifest(content, len(manifest.lengths))
            case effects.KeepSmall(content, _, _, _):
                self.at(self.store_s, lambda: self._store(content, events.ContentStored(content)))
            case effects.Satisfied(waiter):
                self._settled(waiter)
                self.satisfied[waiter] = self.now
            case effects.Failed(waiter, error):
                self._settled(waiter)
                self.failed[waiter] = (self.now, error)
            case effects.Report():
                self.reports.append(effect)
            case effects.SetTimer(at):
                self._timer += 1
                self.at(max(0.0, at - self.now), partial(self._fire, self._timer))

    def _settled(self, waiter: int) -> None:
        assert waiter not in self.satisfied, "a waiter is told once"
        assert waiter not in self.failed, "a waiter is told once"

    def _fire(self, number: int) -> None:
        if number == self._timer:
            self.do(events.TimerFired())

    def _keep_manifest(self, content: ContentId, count: int) -> None:
        coming = self.copies.get(content, 0)
        kept = events.ManifestKept(content, b"", bitmap.to_bytes(coming, count))
        self.at(self.store_s, lambda: self._store(content, kept))
        for index in bitmap.indexes(coming):
            stored = events.ChunkStored(ME, content, index)
            self.at(2 * self.store_s, partial(self.do, stored))

    def _store(self, content: ContentId, event: Event) -> None:
        self.do(events.StoreFailed(content, self.disk_error) if self.disk_error else event)

    def _unsaved(self, size: int) -> None:
        if self.save_s:
            self._unsaved_bytes += size
            self.do(events.Unsaved(self._unsaved_bytes))

    def _saved(self, size: int) -> None:
        self._unsafe_bytes -= size
        self._unsaved(-size)

    def _send(self, device: DeviceId, message: Ask | WantChunks | Hurry | Cancel) -> None:
        match message:
            case Ask():
                self.asks.append((self.now, device, message))
            case Hurry(_, _, indexes):
                self.hurries += [(device, index) for index in indexes]
            case WantChunks(_, content, indexes):
                self.urgent += [(device, index) for index in indexes if message.urgent]
                self.wants += [(self.now, device, content, index) for index in indexes]
                file, _ = self.holders[device].held.get(content, (None, 0))
                self._unsafe_bytes += sum(file.manifest.lengths[i] for i in indexes) if file else 0
                self.unsafe_bytes_most = max(self.unsafe_bytes_most, self._unsafe_bytes)
            case Cancel(_, content, indexes):
                self.cancels += [(self.now, device, index) for index in indexes]
        holder = self.holders.get(device)
        if holder and not holder.mute:
            self.at(holder.latency_s, lambda: self._answer(holder, message))

    def _answer(self, holder: Holder, message: Ask | WantChunks | Hurry | Cancel) -> None:
        if type(message) in holder.loses:
            holder.loses.remove(type(message))
            return
        held = holder.held.get(message.content)
        if isinstance(message, Ask):
            offer = _offer(holder, message, held)
            self._arrive(holder, len(offer.data), events.Received(holder.device, offer))
        elif isinstance(message, Hurry):
            """It is one of those that send all in the order in which it was asked for."""
        elif isinstance(message, Cancel):
            self._drop(holder, message)
        elif held:
            for index in message.indexes:
                if not held[1] >> index & 1:
                    lack = Lack(SPACE, message.content, (index,))
                    self._arrive(holder, 0, events.Received(holder.device, lack))
                elif not holder.withholds_chunks:
                    self._send_chunk(holder, held[0], index)

    def _send_chunk(self, holder: Holder, file: File, index: int) -> None:
        size = file.manifest.lengths[index]
        arrived = events.ChunkArrived(holder.device, file.id, index, size)
        sending = self._arrive(holder, size, arrived)
        holder.queue.setdefault((file.id, index), []).append(sending)

    def _drop(self, holder: Holder, cancel: Cancel) -> None:
        dropped = []
        for index in cancel.indexes:
            sendings = holder.queue.get((cancel.content, index), [])
            for sending in sendings:
                sending.cancel(self.now, begun=cancel.begun)
            if sendings and all(sending.cancelled for sending in sendings):
                dropped.append(index)
        if dropped and Dropped not in holder.loses:
            said = Dropped(SPACE, cancel.content, tuple(dropped))
            self.at(holder.latency_s, lambda: self._hear(holder, said))

    def _hear(self, holder: Holder, said: Dropped) -> None:
        if self.holders.get(holder.device) is holder:
            self.do(events.Received(holder.device, said))

    def _arrive(self, holder: Holder, size: int, event: Event) -> Sending:
        begins_at = max(self.now, holder.free_at)
        holder.free_at = begins_at + size / holder.bytes_per_s
        delay_s = holder.free_at - self.now + holder.latency_s
        sending = Sending(begins_at, holder.free_at)
        self.at(delay_s, lambda: self._deliver(holder, event, sending))
        return sending

    def _deliver(self, holder: Holder, event: Event, sending: Sending) -> None:
        if self.holders.get(holder.device) is not holder:
            return
        if not isinstance(event, events.ChunkArrived):
            self.do(event)
            return
        holder.queue[event.content, event.index].remove(sending)
        if sending.cancelled:
            self._unsafe_bytes -= event.size_bytes
            return
        self.came.append((self.now, event.index))
        worth = self.machine.expects(event.device, event.content, event.index)
        self.bytes_in_vain += 0 if worth else event.size_bytes
        self.do(event)
        if worth:
            kind = events.ChunkBad if holder.lies else events.ChunkStored
            after = kind(holder.device, event.content, event.index)
            if not holder.lies:
                self.at(self.store_s, lambda: self._unsaved(event.size_bytes))
                self.at(self.store_s + self.save_s, lambda: self._saved(event.size_bytes))
            self.at(self.store_s, lambda: self._store(event.content, after))
            count = self.bytes_from.get(holder.device, 0)
            self.bytes_from[holder.device] = count + event.size_bytes


def _offer(holder: Holder, ask: Ask, held: tuple[File, int] | None) -> Offer:
    if held is None:
        return Offer(SPACE, ask.content, False, b"", b"", b"")
    file, chunks = held
    whole = chunks == bitmap.ALL
    data = b""
    if ask.with_data and whole and file.size <= SMALL_CONTENT_SIZE_BYTES_MAX:
        data = bytes(file.size) if holder.lies else file.data
    bits = b"" if whole else bitmap.to_bytes(chunks, file.count)
    return Offer(SPACE, file.id, True, bits, file.encoded if ask.with_manifest else b"", data)
