"""Several machines that fetch from each other: what one got, the others may ask it for."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, effects, events
from sharefs.transfer.effects import Effect
from sharefs.transfer.events import Event, Priority
from sharefs.transfer.machine import Transfer
from sharefs.transfer.tidings import TIDINGS_INTERVAL_S, Tidings
from sharefs.wire.transfer import Ask, Cancel, Dropped, Have, Hurry, Lack, Later, Offer, WantChunks
from tests.transfer.transfer_network import SPACE, File

STORE_S = 0.002
STEPS_MAX = 400_000


@dataclass
class Chunk:
    """Some bytes on their way."""

    content: ContentId
    index: int


Said = Ask | Offer | WantChunks | Hurry | Cancel | Dropped | Have | Lack | Later | Chunk


@dataclass
class Member:
    """A device that fetches and serves."""

    device: DeviceId
    machine: Transfer
    up_bytes_per_s: float
    latency_s: float = 0.01
    have: dict[ContentId, int] = field(default_factory=dict)
    tidings: Tidings = field(default_factory=Tidings)
    came: dict[ContentId, None] = field(default_factory=dict)
    free_at: float = 0.0
    lies: bool = False
    online: bool = True
    timer: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    reports: list[effects.Report] = field(default_factory=list)
    queue: dict[tuple[DeviceId, ContentId, int], int] = field(default_factory=dict)
    """Chunks that are to be sent, by the number of the want."""


class Swarm:
    """All of them know each other."""

    def __init__(self, *files: File) -> None:
        self.now = 100.0
        self.files = {file.id: file for file in files}
        self.members: dict[DeviceId, Member] = {}
        self.satisfied: dict[int, float] = {}
        self.failed: list[int] = []
        self.haves = 0
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._waiter = 0

    def join(self, name: str, up_bytes_per_s: float, *held: File) -> Member:
        device = DeviceId(name.encode() * (16 // len(name)))
        member = Member(device, Transfer(device), up_bytes_per_s)
        member.have = {file.id: bitmap.span(0, file.count) for file in held}
        for other in self.members.values():
            self.do(other, events.PeerUp(device, (SPACE,)))
            self.do(member, events.PeerUp(other.device, (SPACE,)))
        self.members[device] = member
        return member

    def leave(self, member: Member) -> None:
        del self.members[member.device]
        member.online = False
        for other in self.members.values():
            other.tidings.gone(member.device)
            self.do(other, events.PeerDown(member.device))

    def fetch(self, member: Member, file: File, priority: Priority = Priority.FETCH) -> int:
        self._waiter += 1
        have = member.have.get(file.id, 0)
        self.do(
            member,
            events.Wanted(
                self._waiter,
                SPACE,
                file.id,
                file.size,
                None,
                bitmap.to_bytes(have, file.count) if have else b"",
                0,
                file.size,
                priority,
            ),
        )
        return self._waiter

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay_s, self._number, action))

    def run(self, seconds: float = 600.0) -> None:
        until, steps = self.now + seconds, 0
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            steps += 1
            assert steps < STEPS_MAX, "they do not come to rest"
        self.now = until

    def do(self, member: Member, event: Event) -> None:
        for effect in member.machine.handle(event, self.now):
            self._carry_out(member, effect)

    def _carry_out(self, member: Member, effect: Effect) -> None:
        match effect:
            case effects.Send(device, message):
                self._say(member, device, message)
            case effects.KeepManifest(content, _, _):
                bits = member.have.setdefault(content, 0)
                kept = events.ManifestKept(
                    content, bitmap.to_bytes(bits, self.files[content].count)
                )
                self.at(STORE_S, lambda: self.do(member, kept))
            case effects.Satisfied(waiter):
                self.satisfied[waiter] = self.now
            case effects.Failed(waiter, _):
                self.failed.append(waiter)
            case effects.SetTimer(at):
                member.timer += 1
                self.at(max(0.0, at - self.now), partial(self._fire, member, member.timer))
            case effects.Report():
                member.reports.append(effect)
            case effects.KeepSmall():
                raise AssertionError("these files are large")

    def _fire(self, member: Member, number: int) -> None:
        if number == member.timer:
            self.do(member, events.TimerFired())

    def _say(self, member: Member, device: DeviceId, message: Said, after_s: float = 0.0) -> None:
        self.at(after_s + member.latency_s, lambda: self._hear(member.device, device, message))

    def _hear(self, sender: DeviceId, device: DeviceId, message: Said) -> None:
        member = self.members.get(device)
        if member is None or sender not in self.members:
            return
        match message:
            case Ask():
                self._answer(member, sender, message)
            case WantChunks():
                self._serve(member, sender, message)
            case Hurry():
                pass
            case Cancel():
                self._drop(member, sender, message)
            case Chunk():
                self._arrived(member, self.members[sender], message)
            case _:
                self.haves += isinstance(message, Have)
                self.do(member, events.Received(sender, message))

    def _answer(self, member: Member, sender: DeviceId, ask: Ask) -> None:
        file, bits = self.files[ask.content], member.have.get(ask.content, 0)
        whole = bits == bitmap.span(0, file.count)
        if not whole:
            member.tidings.offered(sender, SPACE, file.id, bits)
        said = b"" if whole else bitmap.to_bytes(bits, file.count)
        encoded = file.encoded if ask.with_manifest and bits else b""
        self._say(member, sender, Offer(SPACE, file.id, bool(bits), said, encoded, b""))

    def _serve(self, member: Member, sender: DeviceId, want: WantChunks) -> None:
        for index in want.indexes:
            if not member.have.get(want.content, 0) >> index & 1:
                self._say(member, sender, Lack(SPACE, want.content, (index,)))
                continue
            member.free_at = max(self.now, member.free_at)
            began = member.free_at - self.now
            member.free_at += (
                self.files[want.content].manifest.lengths[index] / member.up_bytes_per_s
            )
            chunk = Chunk(want.content, index)
            number = self._number
            member.queue[sender, want.content, index] = number
            self.at(began, partial(self._begin, member, sender, chunk, member.free_at, number))

    def _drop(self, member: Member, sender: DeviceId, cancel: Cancel) -> None:
        keys = [(sender, cancel.content, index) for index in cancel.indexes]
        dropped = tuple(key[2] for key in keys if member.queue.pop(key, None) is not None)
        if dropped:
            self._say(member, sender, Dropped(SPACE, cancel.content, dropped))

    def _begin(
        self, member: Member, sender: DeviceId, chunk: Chunk, free_at: float, number: int
    ) -> None:
        key = (sender, chunk.content, chunk.index)
        if member.queue.get(key) != number or not member.online:
            return
        del member.queue[key]
        member.sent_bytes += self.files[chunk.content].manifest.lengths[chunk.index]
        self._say(member, sender, chunk, free_at - self.now)

    def _arrived(self, member: Member, sender: Member, chunk: Chunk) -> None:
        size = self.files[chunk.content].manifest.lengths[chunk.index]
        member.received_bytes += size
        worth = member.machine.expects(sender.device, chunk.content, chunk.index)
        self.do(member, events.ChunkArrived(sender.device, chunk.content, chunk.index, size))
        if worth:
            kind = events.ChunkBad if sender.lies else events.ChunkStored
            self.at(
                STORE_S,
                lambda: self._stored(member, kind(sender.device, chunk.content, chunk.index)),
            )

    def _stored(self, member: Member, event: events.ChunkBad | events.ChunkStored) -> None:
        if isinstance(event, events.ChunkStored):
            member.have[event.content] |= 1 << event.index
            if member.tidings.awaited(event.content):
                if not member.came:
                    self.at(TIDINGS_INTERVAL_S, lambda: self._tell(member))
                member.came[event.content] = None
        self.do(member, event)

    def _tell(self, member: Member) -> None:
        came, member.came = member.came, {}
        for content in came:
            for device, have in member.tidings.news(content, member.have[content]):
                self._say(member, device, have)


def rate(swarm: Swarm, file: File, waiter: int, began: float) -> float:
    """In MiB a second."""
    return file.size / (swarm.satisfied[waiter] - began) / MIB
