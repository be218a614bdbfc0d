"""What a person chose becomes limits, of what comes and of what goes."""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sharefs.node import limiting, turns
from sharefs.node.limiting import rates_at
from sharefs.node.settings import Scope
from sharefs.node.turns import Turns
from sharefs.records.ids import ContentId, DeviceId, SpaceId
from sharefs.transfer.limits import Limit
from sharefs.wire.transfer import Later
from tests.node.node_parties import Party, agree, until

ANNA, BOB = DeviceId(b"a" * 16), DeviceId(b"b" * 16)
FAMILY, WORK = SpaceId(b"f" * 32), SpaceId(b"w" * 32)
CONTENT = ContentId(b"c" * 32)


# --- which hold ---------------------------------------------------------------------------------


def test_hours_take_the_place_of_the_whole_day_while_they_last() -> None:
    family = Scope(space="f")
    chosen = {
        Scope(): 5,
        Scope(hours="8-18"): 1,
        family: 3,
        Scope(space="f", hours="22-6"): None,
    }
    assert rates_at(7, chosen) == {Scope(): 5, family: 3}
    assert rates_at(8, chosen) == {Scope(): 1, family: 3}
    assert rates_at(23, chosen) == {Scope(): 5, family: None}


def test_of_hours_that_overlap_the_strictest_holds() -> None:
    chosen = {Scope(hours="8-18"): 7, Scope(hours="9-10"): None, Scope(hours="9-12"): 2}
    assert rates_at(9, chosen) == {Scope(): 2}
    assert rates_at(12, chosen) == {Scope(): 7}


def test_a_member_is_limited_by_all_their_devices(anna: Party, bob: Party) -> None:
    heard: list[tuple[Limit, ...]] = []
    made = anna.node.loop.call(
        lambda: limiting.Limiting(anna.node.state, lambda limits, _: heard.append(limits), _none)
    )
    anna.service.set_setting("bandwidth down", "5M", "Family", "Bob", "", "")
    space, limited = anna.replica().id, frozenset({bob.device})
    until(lambda: heard == [(Limit(5_000_000, space, limited),)])
    anna.service.set_setting("bandwidth down", "default", "Family", "Bob", "", "")
    until(lambda: heard[1:] == [()])
    assert made is not None


def _none(*_: object) -> None:
    """Nobody is to be told."""


def test_what_comes_and_what_goes_is_limited(anna: Party, bob: Party) -> None:
    for who, setting in ((bob, "bandwidth down"), (anna, "bandwidth up")):
        who.service.set_setting(setting, "300K", "", "", "", "")
        began = time.monotonic()
        for version in range(2):
            anna.write("film.mkv", bytes(300_000) + f"{setting} {version}".encode())
            agree("film.mkv", anna, bob)
            bob.read("film.mkv")
        # The second pays for the first.
        assert time.monotonic() - began > 0.8
        who.service.set_setting(setting, "off", "", "", "", "")


# --- whose turn it is ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk:
    space: SpaceId
    size: int = 1000
    content: ContentId = CONTENT
    number: int = 0
    urgent: bool = False


class Clock:
    """Time that passes from timer to timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.fired = 0
        monkeypatch.setattr(turns, "time", self)

    def monotonic(self) -> float:
        return self.now

    def at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), call))

    def run(self, seconds: float) -> None:
        until_ = self.now + seconds
        while self._timers and self._timers[0][0] <= until_:
            self.now, _, call = heapq.heappop(self._timers)
            self.fired += 1
            call()
        self.now = until_


class Sender:
    """Sends what it may, as `Serving` does, to devices that wait for much."""

    def __init__(self, clock: Clock, **waiting: list[Chunk]) -> None:
        self.clock = clock
        self.waiting = {DeviceId(name.encode() * 16): deque(w) for name, w in waiting.items()}
        self.sent: list[tuple[DeviceId, Chunk]] = []
        self.told: list[tuple[DeviceId, Later]] = []
        self.turns = Turns(
            clock.at, lambda device, later: self.told.append((device, later)), self.go
        )

    def tell(self, device: DeviceId, later: Later) -> None:
        self.told.append((device, later))

    def go(self) -> None:
        for device in sorted(self.waiting, key=lambda each: self.turns.rank(self.waiting[each])):
            waiting = self.waiting[device]
            while chunk := self.turns.next_of(device, waiting):
                waiting.remove(chunk)
                self.turns.took(device, chunk)
                self.sent.append((device, chunk))
                self.waiting[device] = self.waiting.pop(device)

    def bytes_of(self, what: object) -> int:
        return sum(chunk.size for device, chunk in self.sent if what in (device, chunk.space))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def many(space: SpaceId, count: int = 1000) -> list[Chunk]:
    return [Chunk(space, number=number) for number in range(count)]


def test_devices_share_a_limit(clock: Clock) -> None:
    sender = Sender(clock, a=many(FAMILY), b=many(FAMILY))
    sender.turns.change((Limit(10_000),), {})
    clock.run(10.0)
    assert sender.bytes_of(ANNA) == pytest.approx(50_000, rel=0.05)
    assert sender.bytes_of(BOB) == pytest.approx(50_000, rel=0.05)
    assert clock.fired < 250


def test_what_waits_for_its_limit_holds_up_no_other_space(clock: Clock) -> None:
    sender = Sender(clock, a=[*many(FAMILY), *many(WORK, 20)])
    sender.turns.change((Limit(1_000, FAMILY),), {})
    clock.run(5.0)
    assert sender.bytes_of(WORK) == 20_000
    assert sender.bytes_of(FAMILY) == pytest.approx(5_000, rel=0.3)


def test_a_space_that_goes_first_is_sent_first(clock: Clock) -> None:
    sender = Sender(clock, a=many(FAMILY, 50), b=[*many(FAMILY, 50), *many(WORK, 50)])
    sender.turns.change((Limit(10_000),), {WORK: -1})
    clock.run(4.9)
    assert sender.bytes_of(WORK) > 45_000 - 2_000


def test_who_calls_everything_urgent_gets_no_more_than_others_do(clock: Clock) -> None:
    sender = Sender(clock, a=[Chunk(FAMILY, urgent=True)] * 1000, b=many(FAMILY))
    sender.turns.change((Limit(10_000),), {})
    clock.run(10.0)
    assert sender.bytes_of(ANNA) == pytest.approx(50_000, rel=0.05)
    assert sender.bytes_of(BOB) == pytest.approx(50_000, rel=0.05)


def test_what_is_urgent_goes_before_a_space_that_goes_first(clock: Clock) -> None:
    sender = Sender(clock, a=[*[Chunk(FAMILY, urgent=True)] * 5, *many(WORK, 5)])
    sender.turns.change((), {WORK: -1})
    sender.go()
    assert [chunk.space for _, chunk in sender.sent] == [FAMILY] * 5 + [WORK] * 5


def test_who_waits_long_is_told_each_second(clock: Clock) -> None:
    sender = Sender(clock, a=[Chunk(FAMILY, 10_000), Chunk(FAMILY, 10_000)])
    sender.turns.change((Limit(1_000),), {})
    clock.run(20.0)
    assert len(sender.sent) == 2
    assert 9 <= len(sender.told) <= 11
    assert sender.told[0] == (ANNA, Later(FAMILY, CONTENT))


def test_without_limits_all_goes_in_order_and_nobody_is_told(clock: Clock) -> None:
    chunks = [*many(FAMILY, 3), *many(WORK, 3)]
    sender = Sender(clock, a=chunks)
    sender.go()
    assert [chunk for _, chunk in sender.sent] == chunks
    assert not sender.told
