"""How are other members' questions about bytes answered?

Theory of operation. What a member asks for is given if the content belongs to a space that the
member is in. Chunks are read and verified by the pool, and sent in the order in which they were
asked for, but those that a device calls urgent before its others: never before another's. For each
device, only some bytes are under way between the disk and the socket: more is read when ZeroMQ has
taken those. Beyond WANTED_CHUNKS_MAX, what a device asks for is ignored, as an honest one asks for
no more than its credit; whoever does not take what was read for it within STUCK_SECONDS_MAX does
not get it, and asks again. Who was offered only some of a content is told of what comes.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sharefs.errors import LocalDamage
from sharefs.mesh.events import Channel
from sharefs.node.sent import Sent
from sharefs.node.state import State
from sharefs.node.turns import Turns
from sharefs.records.content import CHUNK_SIZE_BYTES_MAX, KIB, MIB, encode_manifest
from sharefs.records.ids import ContentId, DeviceId, PublicKey, SpaceId
from sharefs.store.contents import LocalContent
from sharefs.transfer import bitmap
from sharefs.transfer.credit import Meter
from sharefs.transfer.tidings import TIDINGS_INTERVAL_S, Tidings
from sharefs.wire.message import encode_message
from sharefs.wire.transfer import (
    SMALL_CONTENT_SIZE_BYTES_MAX,
    Ask,
    Cancel,
    Chunk,
    Dropped,
    Hurry,
    Lack,
    Offer,
    WantChunks,
)

log = logging.getLogger("sharefs.node")

WANTED_CHUNKS_MAX = 4096
HELD_BYTES_MAX = 16 * MIB
HELD_CHUNKS_MAX = 64
URGENT_BYTES = 4 * MIB
URGENT_CHUNKS = 4
"""What is urgent may go so far beyond these: it does not wait for a socket to take the others."""
READING_CHUNKS_MAX = 4
"""In the pool at a time: what a program saves just now waits behind these, and not behind all."""
PIECE_SIZE_BYTES = 256 * KIB
"""Of a chunk, so much is sent at a time: what is urgent waits for the end of no more, and less
would take more turns of two loops than it is worth."""
WHOLE_BYTES_PER_S_MIN = 50_000_000
"""Who takes so much gets chunks whole: they are over soon, and to put them together takes time."""
RESEND_SECONDS = 0.005
STUCK_SECONDS_MAX = 3.0


@dataclass(slots=True, eq=False)
class _Wanted:
    """A chunk to be sent."""

    key: PublicKey
    space: SpaceId
    content: ContentId
    index: int
    size: int
    local: LocalContent
    urgent: bool


@dataclass(slots=True, eq=False)
class _Ready:
    """A chunk that was read, and from where on it is to be sent."""

    chunk: _Wanted
    data: memoryview
    start: int = 0

    def piece(self, size_bytes: int) -> tuple[bytes, memoryview]:
        """The next one, of so many bytes at the most, as a message."""
        chunk = self.chunk
        header = encode_message(Chunk(chunk.space, chunk.content, chunk.index, self.start))
        return header, self.data[self.start : self.start + size_bytes]


@dataclass(slots=True, eq=False)
class _Line:
    """What one device waits for. `held` is what is being read, or was read and is not sent."""

    wanted: deque[_Wanted] = field(default_factory=deque)
    reading: list[_Wanted] = field(default_factory=list)
    """What comes from the pool and is not in here was cancelled."""
    ready: deque[_Ready] = field(default_factory=deque)
    held_chunks: int = 0
    held_bytes: int = 0
    stuck_since: float | None = None

    def has_room(self, chunk: _Wanted) -> bool:
        size_bytes = HELD_BYTES_MAX + (URGENT_BYTES if chunk.urgent else 0)
        chunks = HELD_CHUNKS_MAX + (URGENT_CHUNKS if chunk.urgent else 0)
        fits = self.held_bytes + chunk.size <= size_bytes and self.held_chunks < chunks
        return fits or not self.held_chunks

    def hurry(self, hurry: Hurry) -> None:
        """These are urgent, where they are not sent yet."""
        for chunk in (*self.wanted, *self.reading, *(ready.chunk for ready in self.ready)):
            if chunk.content == hurry.content and chunk.index in hurry.indexes:
                chunk.urgent = True
        self.put_in_order()

    def put_in_order(self) -> None:
        """What is urgent first; else as it was."""
        self.wanted = deque(sorted(self.wanted, key=lambda chunk: not chunk.urgent))
        self.ready = deque(sorted(self.ready, key=lambda ready: not ready.chunk.urgent))

    def release(self, chunk: _Wanted) -> None:
        self.held_chunks -= 1
        self.held_bytes -= chunk.size

    def drop(self, cancel: Cancel) -> tuple[int, ...]:
        """Send none of these, unless it is begun. Those of which nothing will come."""

        def is_meant(chunk: _Wanted) -> bool:
            return chunk.content == cancel.content and chunk.index in cancel.indexes

        def is_sent(ready: _Ready) -> bool:
            return not is_meant(ready.chunk) or (ready.start > 0 and not cancel.begun)

        unread = [*self.wanted, *self.reading]
        unsent = [ready.chunk for ready in self.ready if not is_sent(ready)]
        self.wanted = deque(chunk for chunk in self.wanted if not is_meant(chunk))
        # Those give back their room when the pool is done with them.
        self.reading = [chunk for chunk in self.reading if not is_meant(chunk)]
        self.ready = deque(filter(is_sent, self.ready))
        for chunk in unsent:
            self.release(chunk)
        dropped = {chunk.index for chunk in (*filter(is_meant, unread), *unsent)}
        return tuple(sorted(dropped - {r.chunk.index for r in self.ready if is_meant(r.chunk)}))


class Serving:
    """Bytes for other members. In the loop. `promises` says whether a complete content stays so
    whatever happens; `withheld` are those of which nothing is said."""

    def __init__(
        self,
        state: State,
        promises: Callable[[ContentId], bool],
        withheld: Callable[[ContentId], bool],
    ) -> None:
        self._state = state
        self._promises = promises
        self._withheld = withheld
        self._lines: dict[DeviceId, _Line] = {}
        self.turns = Turns(state.loop.at, state.send, self._read)
        self._resending = False
        self._meters: dict[DeviceId, Meter] = {}
        self._tidings = Tidings()
        self._came: dict[ContentId, None] = {}
        """Contents of which there is more to tell than was told."""
        self._reading = 0
        self.lately = Sent()

    def _known(self, space: SpaceId, content: ContentId) -> LocalContent | None:
        """What is here of a content, if it belongs to the space: no member learns of another
        space's. Who has an older version open reads that to its end."""
        replica = self._state.replicas[space]
        superseded = self._state.store.superseded
        if not (replica.shelf.entries_of(content) or superseded.noted(content, replica.number)):
            return None
        return self._state.contents.known_now(content)

    # --- questions ------------------------------------------------------------------------------

    def answer(self, device: DeviceId, ask: Ask) -> None:
        """Say what is here."""
        nothing = Offer(ask.space, ask.content, False, b"", b"", b"")
        local = self._known(ask.space, ask.content)
        if local is None or local.manifest is None or self._withheld(ask.content):
            self._tidings.offered(device, ask.space, ask.content, bitmap.NONE)
            self._state.send(device, nothing)
            return
        small = local.manifest.size <= SMALL_CONTENT_SIZE_BYTES_MAX
        asked = ask.with_data and small and local.complete
        # Where it may not go at once, its chunk is asked for, and goes when it may.
        goes = asked and self.turns.try_take(ask.space, device, local.size)
        data = self._whole(local) if goes else b""
        bits = local.bitmap
        if not local.complete:
            self._tidings.offered(device, ask.space, ask.content, bitmap.from_bytes(bits))
        if not any(bits):
            self._state.send(device, nothing)
            return
        manifest = encode_manifest(local.manifest) if ask.with_manifest else b""
        # An empty bitmap promises every byte, and for good: others may free theirs.
        promised = local.complete and local.synced == bits and self._promises(ask.content)
        offer = Offer(ask.space, ask.content, True, b"" if promised else bits, manifest, data)
        self._state.send(device, offer)
        if data:
            self.lately.add(device, ask.content, len(data), time.monotonic())

    def came(self, content: ContentId) -> None:
        """More of a content is here."""
        if not self._tidings.awaited(content):
            return
        if not self._came:
            self._state.loop.at(time.monotonic() + TIDINGS_INTERVAL_S, self._tell)
        self._came[content] = None

    def _tell(self) -> None:
        came, self._came = self._came, {}
        for content in came:
            local = self._state.contents.known(content)
            if local is None or self._withheld(content):
                continue
            for device, have in self._tidings.news(content, bitmap.from_bytes(local.bitmap)):
                if self._known(have.space, content):
                    self._state.send(device, have)

    def _whole(self, local: LocalContent) -> bytes:
        assert local.manifest is not None, "what is complete has a manifest"
        try:
            return b"".join(map(local.read_chunk, range(len(local.manifest.lengths))))
        except LocalDamage as error:
            self._tell_of_damage(local, str(error))
            return b""

    def _tell_of_damage(self, local: LocalContent, damage: str) -> None:
        log.warning("%s", damage)
        self._state.notice(
            f"{self._state.files_with(local.content)}: this disk gave back other bytes than were"
            " stored. They go to nobody, and are fetched again from others when they are read."
        )

    # --- chunks ---------------------------------------------------------------------------------

    def wanted(self, device: DeviceId, want: WantChunks) -> None:
        """Send chunks, one after the other."""
        key = self._state.key_of(device, want.space)
        local = self._known(want.space, want.content)
        if key is None or local is None or local.manifest is None:
            self._state.send(device, Lack(want.space, want.content, want.indexes))
            return
        have, lengths = bitmap.from_bytes(local.bitmap), local.manifest.lengths
        line = self._lines.setdefault(device, _Line())
        lacking = []
        for index in want.indexes:
            if index >= len(lengths) or not have >> index & 1:
                lacking.append(index)
            elif len(line.wanted) < WANTED_CHUNKS_MAX:
                size = lengths[index]
                place = want.space, want.content, index
                line.wanted.append(_Wanted(key, *place, size, local, want.urgent))
        if want.urgent:
            line.put_in_order()
        if lacking:
            self._state.send(device, Lack(want.space, want.content, tuple(lacking)))
        self._read()

    def hurried(self, device: DeviceId, hurry: Hurry) -> None:
        """Send these before its others."""
        if line := self._lines.get(device):
            line.hurry(hurry)
            self._read()

    def cancelled(self, device: DeviceId, cancel: Cancel) -> None:
        """Do not send these, but what the sockets have already."""
        line = self._lines.get(device)
        dropped = line.drop(cancel) if line else ()
        if dropped:
            self._state.send(device, Dropped(cancel.space, cancel.content, dropped))
            self._read()

    def gone(self, device: DeviceId) -> None:
        """It waits for nothing any more."""
        self._meters.pop(device, None)
        self._tidings.gone(device)
        self._lines.pop(device, None)
        self.turns.gone(device)

    def _read(self) -> None:
        """As much as there is room for, and as the limits let through."""
        while self._reading < READING_CHUNKS_MAX and (found := self._next()):
            device, line, chunk = found
            line.wanted.remove(chunk)
            self.turns.took(device, chunk)
            line.reading.append(chunk)
            line.held_chunks += 1
            line.held_bytes += chunk.size
            # The others come before its next one.
            self._lines[device] = self._lines.pop(device)
            self._read_one(device, line, chunk)

    def _next(self) -> tuple[DeviceId, _Line, _Wanted] | None:
        lines = list(self._lines.items())
        if self.turns:
            lines.sort(key=lambda each: self.turns.rank(each[1].wanted))
        for device, line in lines:
            chunk = self.turns.next_of(device, line.wanted)
            if chunk is not None and line.has_room(chunk):
                return device, line, chunk
        return None

    def _read_one(self, device: DeviceId, line: _Line, chunk: _Wanted) -> None:
        def work() -> None:
            data, damage = b"", ""
            try:
                data = chunk.local.read_chunk(chunk.index)
            except LocalDamage as error:
                damage = str(error)
            self._state.loop.post(lambda: self._was_read(device, line, chunk, data, damage))

        self._reading += 1
        self._state.in_pool(work)

    def _was_read(
        self, device: DeviceId, line: _Line, chunk: _Wanted, data: bytes, damage: str
    ) -> None:
        self._reading -= 1
        is_wanted = chunk in line.reading
        if is_wanted:
            line.reading.remove(chunk)
        if damage:
            self._tell_of_damage(chunk.local, damage)
            self._state.send(device, Lack(chunk.space, chunk.content, (chunk.index,)))
        if is_wanted and not damage:
            line.ready.append(_Ready(chunk, memoryview(data)))
            if chunk.urgent:
                line.put_in_order()
        else:
            line.release(chunk)
        self._read()

    def sent(self, device: DeviceId) -> tuple[int, float]:
        """The bytes of chunks that went to a device since it is online, and so many a second."""
        meter = self._meters.get(device)
        return (meter.total_bytes, meter.bytes_per_s) if meter else (0, 0.0)

    def flush(self) -> None:
        """Between batches: send what was read, as far as the sockets take it."""
        for device, line in list(self._lines.items()):
            self._send(device, line)
        if not self._resending and any(line.ready for line in self._lines.values()):
            self._resending = True
            self._state.loop.at(time.monotonic() + RESEND_SECONDS, self._look_again)

    def _look_again(self) -> None:
        """A queue was full, or a link not up yet; `flush` follows when the batch ends."""
        self._resending = False

    def _send(self, device: DeviceId, line: _Line) -> None:
        while line.ready:
            ready = line.ready[0]
            header, piece = ready.piece(self._piece_bytes(device))
            if not self._state.mesh.send(ready.chunk.key, Channel.BULK, (header, piece)):
                break
            now = time.monotonic()
            self.lately.add(device, ready.chunk.content, len(piece), now)
            self._meters.setdefault(device, Meter(now)).add(len(piece), now)
            line.stuck_since = None
            ready.start += len(piece)
            if ready.start == len(ready.data):
                line.ready.popleft()
                line.release(ready.chunk)
        self._read()
        if not (line.held_chunks or line.wanted) or self._is_stuck(line):
            del self._lines[device]

    def _piece_bytes(self, device: DeviceId) -> int:
        meter = self._meters.get(device)
        is_fast = meter is not None and meter.bytes_per_s >= WHOLE_BYTES_PER_S_MIN
        return CHUNK_SIZE_BYTES_MAX if is_fast else PIECE_SIZE_BYTES

    def _is_stuck(self, line: _Line) -> bool:
        """Whether nothing was taken for long."""
        now = time.monotonic()
        if line.ready and line.stuck_since is None:
            line.stuck_since = now
        return line.stuck_since is not None and now - line.stuck_since > STUCK_SECONDS_MAX
