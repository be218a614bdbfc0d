"""How do the effects of `transfer` come about?

Theory of operation. A chunk that arrives is verified and written by the pool, and the machine is
told. What was written is synced to disk every SYNC_INTERVAL_SECONDS or SYNC_SIZE_BYTES, and only
then are its bits saved, so that a crash never leaves a bit without its bytes. The machine is told
how much is not saved, and asks for no more than may be lost. Somebody else may rely on a content
that is all here when its bits are on disk.
"""

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from sharefs.errors import (
    DiskFull,
    NotAllowed,
    RemoteProtocolError,
    TransferInterrupted,
    UserError,
)
from sharefs.node.copying import Copying
from sharefs.node.freeing import Freeing
from sharefs.node.holders import Holders
from sharefs.node.pieces import Pieces
from sharefs.node.serving import Serving
from sharefs.node.state import State
from sharefs.node.waiters import Done, Waiters
from sharefs.records.content import MIB, chunk_id
from sharefs.records.ids import ContentId, DeviceId, SpaceId, creator_of
from sharefs.records.shown import Shown
from sharefs.store.contents import LocalContent
from sharefs.store.fleeting import FleetingContent
from sharefs.transfer import effects, events
from sharefs.transfer.events import Priority
from sharefs.transfer.limits import Limit
from sharefs.transfer.machine import Transfer
from sharefs.transfer.snapshot import Progress, Standing
from sharefs.wire.message import TransferMessage
from sharefs.wire.transfer import (
    Ask,
    Cancel,
    Chunk,
    Dropped,
    Have,
    Hurry,
    Lack,
    Later,
    Offer,
    WantChunks,
)

log = logging.getLogger("sharefs.node")

SYNC_INTERVAL_SECONDS = 0.5
SYNC_SIZE_BYTES = 16 * MIB
"""Well below what may be unsaved (UNSAFE_BYTES_MAX), so that more comes while the disk syncs."""
LIKELY_MAX = 8
_STREAM_ONLY = "It is stream-only here: it is shown, and not kept."


class Carriage:
    """Bytes to and from other members. In the loop, but for what says otherwise."""

    def __init__(self, state: State, holders: Holders, freeing: Freeing) -> None:
        self._state = state
        self._holders = holders
        self._machine = Transfer(state.me, state.person_name)
        self._timer_at: float | None = None
        self._unsynced = 0
        self._syncing = 0
        """Bytes that the sync under way will have made safe."""
        self._sync_running = False
        self._saves = itertools.count()
        self._not_durable: dict[ContentId, int] = {}
        """Contents whose bits were saved, but maybe not for a power cut; by which save."""
        self._effects: deque[effects.Effect] = deque()
        self._doing: effects.Effect | None = None
        self._running = False
        self.freed: Callable[[ContentId], None] = lambda _: None
        """Told of what is not to be here any more."""
        self._pieces = Pieces()
        self.waiters = Waiters(state, self._run, self.snapshot)
        self.serving = Serving(state, self.is_durable, freeing.is_freeing)
        self._copying = Copying(state, self._run, self._machine.blocked, self.serving.came)

    def start(self) -> None:
        """Begin the rounds of syncing."""
        self._sync_round()

    # --- wanting --------------------------------------------------------------------------------

    def new_waiter(self) -> int:
        """A number for a want. From any thread."""
        return self.waiters.new()

    def want(
        self, waiter: int, row: Shown, start: int, end: int, priority: Priority, done: Done
    ) -> None:
        """Have these bytes of an entry here; `done` is told in the loop. Raises UserErrors."""
        assert row.content is not None, "only a content has bytes"
        held = self.waiters.orders.holds(row, priority)
        local = self._state.keeping.open(row)
        self._state.uses.note(row.content, time.time())
        space = self._state.replica_numbered(row.space).id
        if isinstance(local, FleetingContent):
            # What was in memory may have made room.
            self._run(events.StillHere(row.content, local.bitmap))
        else:
            self._state.contents.expect(local)
        looks = isinstance(local, LocalContent) and self._lacks_unseen(local)
        coming = self._copying.coming(row.content)
        self.waiters.add(waiter, row, priority, done)
        self._run(
            events.Wanted(
                waiter,
                space,
                row.content,
                row.size,
                local.manifest,
                local.bitmap,
                start,
                end,
                priority,
                self._likely(row),
                held,
                coming,
                looks,
            )
        )
        if looks:
            self._copying.look(row.content)

    def _lacks_unseen(self, local: LocalContent) -> bool:
        """Whether chunks are missing, and nobody has looked where they may be had from."""
        looked = local.manifest is None or self._copying.is_looked_at(local.content)
        return not (looked or local.complete)

    def _likely(self, row: Shown) -> tuple[DeviceId, ...]:
        """Those who hold it, as far as is known; if nobody is here who has all of it, those who
        have some of it first, and those who might have it."""
        known = self._holders.of(row)
        if not any(map(self._holders.is_online, known)):
            partly = self._holders.partly(row)
            here = filter(self._holders.is_online, partly)
            known = [*here, *known, row.version.device, creator_of(row.item), *partly]
        return tuple(dict.fromkeys(known[:LIKELY_MAX]))

    def hindrance(self, row: Shown) -> UserError | None:
        """Why an entry does not come by itself, if a person said so. Any thread."""
        if self._state.keeping.is_stream_only(row):
            return NotAllowed(_STREAM_ONLY)
        try:
            self.waiters.orders.holds(row, Priority.REPLICATION)
        except UserError as error:
            return error
        return None

    def fetch(self, waiter: int, row: Shown, done: Done) -> None:
        """Have all of an entry here. Raises NotAllowed for what is stream-only."""
        if self._state.keeping.is_stream_only(row):
            raise NotAllowed(_STREAM_ONLY)
        self.want(waiter, row, 0, row.size, Priority.FETCH, done)

    def unwant(self, waiter: int) -> None:
        """Nobody waits any more."""
        self.waiters.drop(waiter)

    def limit(self, limits: tuple[Limit, ...], ranks: Mapping[SpaceId, int]) -> None:
        """So fast may bytes come from now on, and in this order of spaces."""
        self._run(events.LimitsChanged(limits, ranks))

    def snapshot(self) -> list[Progress]:
        """What is on its way."""
        return list(self._machine.snapshot(time.monotonic()))

    def progress_of(self, content: ContentId) -> Progress | None:
        """How far a content is, if somebody waits for it."""
        return self._machine.progress(content, time.monotonic())

    # --- what happens ---------------------------------------------------------------------------

    def peer_up(self, device: DeviceId, spaces: tuple[SpaceId, ...], known: events.Known) -> None:
        """It can be asked."""
        self._run(events.PeerUp(device, spaces, known))

    def peer_answered(self, device: DeviceId, round_trip_s: float) -> None:
        """So near is it."""
        self._run(events.Answered(device, round_trip_s))

    def standing(self, device: DeviceId) -> Standing | None:
        """How good the way to a device is, if it is online."""
        return self._machine.standing(device)

    def peer_down(self, device: DeviceId) -> None:
        """It can not."""
        self.serving.gone(device)
        self._pieces.gone(device)
        self._run(events.PeerDown(device))

    def received(
        self, device: DeviceId, message: TransferMessage, payload: memoryview | None
    ) -> None:
        """A member's device said something about bytes. Raises RemoteProtocolError."""
        match message:
            case Ask():
                self.serving.answer(device, message)
            case WantChunks():
                self.serving.wanted(device, message)
            case Hurry():
                self.serving.hurried(device, message)
            case Cancel():
                self.serving.cancelled(device, message)
            case Chunk():
                self._chunk_arrived(device, message, payload)
            case Offer() | Have() | Lack() | Later() | Dropped():
                self._run(events.Received(device, message))

    def _chunk_arrived(self, device: DeviceId, message: Chunk, payload: memoryview | None) -> None:
        content, index = message.content, message.index
        if payload is None:
            raise RemoteProtocolError("a chunk without bytes")
        expected = self._machine.expects(device, content, index)
        local = self._state.keeping.known(content)
        if not expected or local is None or local.manifest is None:
            self._run(events.ChunkArrived(device, content, index, len(payload)))
            if expected:
                # Who read it is gone, and nothing is kept of it.
                self._run(events.ChunkBad(self._state.me, content, index))
            return
        length = local.manifest.lengths[index]
        whole = self._pieces.take(device, (content, index), message.start, payload, length)
        if whole is None:
            self._run(events.PieceArrived(device, content, len(payload)))
        else:
            before = len(whole) - len(payload)
            self._run(events.ChunkArrived(device, content, index, len(whole), before))
            self._verify(device, content, index, whole, local)

    def _verify(
        self,
        device: DeviceId,
        content: ContentId,
        index: int,
        data: memoryview,
        local: LocalContent | FleetingContent,
    ) -> None:
        """A chunk is whole."""
        assert local.manifest is not None, "what is asked for has a manifest"
        name = local.manifest.chunk(index)

        def store() -> events.Event:
            try:
                if chunk_id(data) != name:
                    return events.ChunkBad(device, content, index)
                local.write_chunk(index, data)
            except UserError as error:
                return events.StoreFailed(content, error)
            return events.ChunkStored(device, content, index)

        def work() -> None:
            event = store()
            size = len(data) if isinstance(local, LocalContent) else 0
            self._state.loop.post(lambda: self._stored(event, size))

        self._state.in_pool(work)

    def _stored(self, event: events.Event, size: int) -> None:
        if isinstance(event, events.ChunkStored):
            self.serving.came(event.content)
            self._count_unsynced(size)
        elif isinstance(event, events.StoreFailed):
            self._state.notice(f"Bytes could not be kept: {event.error}")
        self._run(event)

    # --- durable --------------------------------------------------------------------------------

    def _sync_round(self) -> None:
        self._state.loop.at(time.monotonic() + SYNC_INTERVAL_SECONDS, self._sync_round)
        self._sync()

    def _count_unsynced(self, size: int) -> None:
        self._unsynced += size
        self._run(events.Unsaved(self._syncing + self._unsynced))
        if self._unsynced >= SYNC_SIZE_BYTES:
            self._sync()

    def _sync(self) -> None:
        if self._sync_running:
            return
        self._syncing, self._unsynced = self._unsynced, 0
        contents = self._state.contents.unsaved()
        if not contents:
            self._all_synced()
            return
        self._sync_running = True

        def work() -> None:
            synced = self._state.contents.sync(contents)
            self._state.loop.post(lambda: self._save_bits(synced))

        self._state.in_pool(work)

    def _save_bits(self, synced: list[tuple[ContentId, bytes]]) -> None:
        self._sync_running = False
        number = next(self._saves)
        for content, bits in synced:
            self._state.contents.save_bits(content, bits)
            self._not_durable[content] = number
        if synced:
            self._make_durable([content for content, _ in synced], number)
        self._all_synced()
        # A slow disk: as much as makes a batch came while the last one was synced.
        if self._unsynced >= SYNC_SIZE_BYTES:
            self._sync()

    def _all_synced(self) -> None:
        if self._syncing:
            self._syncing = 0
            self._run(events.Unsaved(self._unsynced))

    def _make_durable(self, contents: list[ContentId], number: int) -> None:
        def durable() -> None:
            for content in contents:
                if self._not_durable.get(content) == number:
                    del self._not_durable[content]

        def sync() -> None:
            with suppress(DiskFull):
                self._state.store.make_durable()

        self._state.store.after_durable(lambda: self._state.loop.post(durable))
        self._state.loop.post(lambda: self._state.in_pool(sync))

    def is_durable(self, content: ContentId) -> bool:
        """Whether even a power cut would leave the bits that say what is here of a content."""
        return content not in self._not_durable and self._state.contents.is_saved(content)

    def recover(self) -> None:
        """In the pool, after the database was restored: contents that came since lie there still,
        and may be the only copy."""
        for path in self._state.contents.unknown_files():
            try:
                local = self._state.contents.recognise(path)
            except UserError as error:
                log.warning("%s is not known, and can not be read: %s", path, error)
                continue
            if local is not None:
                self._state.loop.post(partial(self._state.contents.keep_recognised, local))

    def sync_now(self) -> None:
        """Before the node goes down: what was fetched is not fetched again."""
        self._save_bits(self._state.contents.sync(self._state.contents.unsaved()))

    # --- the machine ----------------------------------------------------------------------------

    def _run(self, event: events.Event) -> None:
        self._effects += self._machine.handle(event, time.monotonic())
        if self._running:
            return
        self._running = True
        try:
            while self._effects:
                self._doing = self._effects.popleft()
                self._do(self._doing)
        finally:
            self._running = False
        self._doing = None

    def rolled_back(self) -> None:
        """By a full disk. If that interrupted us, what is left is done in the next batch."""
        interrupted, self._doing = self._doing, None
        if isinstance(interrupted, effects.KeepManifest | effects.KeepSmall):
            error = DiskFull("The disk is full: make room on it.")
            failed = events.StoreFailed(interrupted.content, error)
            self._state.loop.post(lambda: self._run(failed))

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Send(device, message):
                self._state.send(device, message)
            case effects.KeepManifest():
                self._keep_manifest(effect)
            case effects.KeepSmall():
                self._keep_small(effect)
            case effects.Satisfied():
                self.waiters.settled(effect.waiter, None)
            case effects.Failed():
                self.waiters.settled(effect.waiter, effect.error)
            case effects.Report():
                self._state.notice(effect.sentence)
            case effects.SetTimer():
                self._set_timer(effect.at)

    def _keep_manifest(self, effect: effects.KeepManifest) -> None:
        fleeting = self._state.keeping.fleeting.known(effect.content)
        if fleeting is not None:
            fleeting.begin(effect.manifest)
            self._run(events.ManifestKept(effect.content, fleeting.bitmap))
            return
        try:
            self._state.contents.keep_manifest(effect.content, effect.manifest, effect.encoded)
        except UserError as error:
            self._run(events.StoreFailed(effect.content, error))
            return

        self._copying.look(effect.content)

    def _keep_small(self, effect: effects.KeepSmall) -> None:
        """Small contents are many: each is one write, and their bits are saved with the others'."""
        held: LocalContent | FleetingContent | None
        held = self._state.keeping.fleeting.known(effect.content)
        try:
            if held is not None:
                held.begin(effect.manifest)
            else:
                self._state.contents.keep_manifest(effect.content, effect.manifest, effect.encoded)
                held = self._state.contents.open(effect.content, len(effect.data))
            start = 0
            for index, length in enumerate(effect.manifest.lengths):
                held.write_chunk(index, effect.data[start : start + length])
                start += length
        except UserError as error:
            self._run(events.StoreFailed(effect.content, error))
            return
        self._run(events.ContentStored(effect.content))
        if isinstance(held, LocalContent):
            self._count_unsynced(len(effect.data))

    def let_fleeting_go(self) -> None:
        """It may be another choice now which bytes are kept: who reads begins again."""
        self._state.keeping.choice += 1
        changed = TransferInterrupted("What is kept of it was chosen anew: read it again.")
        for content in self._state.keeping.fleeting.forget():
            self._run(events.StoreFailed(content, changed))

    def _set_timer(self, at: float) -> None:
        self._timer_at = at

        def fire() -> None:
            if self._timer_at == at:
                self._timer_at = None
                self._run(events.TimerFired())

        self._state.loop.at(at, fire)

    def forget(self, content: ContentId) -> None:
        """It was freed."""
        self._copying.forget(content)
        self._run(events.Freed(content))
        self.freed(content)
