"""Who knows what we hold, and do we know what others hold?

Theory of operation. Who comes up is told what all that we hold in a space adds up to, as is
everybody from time to time; what changes is told soon after, and gathered meanwhile. After whatever
a device says, what we know of it is to add up to what it says. Where it does not, as when it held
other things when we met last, or something was lost, there is a *doubt*: all that it holds is asked
for, page by page. What does not add up after the last page, because it changed meanwhile, or the
device does not tell the truth, is asked for once more, later and later.

What devices say of themselves is believed: nobody frees anything before he was promised it.
"""

from dataclasses import dataclass

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, SpaceId
from sharefs.wire.holdings import AskHeld, Held, HeldPage, Place

TELL_SECONDS = 0.3
COMPARE_SECONDS = 60.0
ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 5.0
AGAIN_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A device is online, and shares these spaces. Again when they change."""

    device: DeviceId
    spaces: tuple[SpaceId, ...]


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A device is offline."""

    device: DeviceId


@dataclass(frozen=True, slots=True)
class Changed:
    """We hold other things in a space, or wrote there."""

    space: SpaceId


@dataclass(frozen=True, slots=True)
class Received:
    """A device said what it holds, or asks what we hold."""

    device: DeviceId
    message: Held | AskHeld | HeldPage


@dataclass(frozen=True, slots=True)
class Compared:
    """The answer to Keep: whether what we know of a device adds up to what it said."""

    device: DeviceId
    space: SpaceId
    agrees: bool


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the last SetTimer has come."""


Event = PeerUp | PeerDown | Changed | Received | Compared | TimerFired


@dataclass(frozen=True, slots=True)
class TellSum:
    """Tell a device what all that we hold adds up to."""

    device: DeviceId
    space: SpaceId


@dataclass(frozen=True, slots=True)
class TellChanges:
    """Tell these what changed since it was last told; nobody, if there are none."""

    space: SpaceId
    devices: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Send it."""

    device: DeviceId
    message: AskHeld


@dataclass(frozen=True, slots=True)
class Answer:
    """Send the page that was asked for."""

    device: DeviceId
    question: AskHeld


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep what a device said, and compare."""

    device: DeviceId
    message: Held | HeldPage


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Wake the machine at this time; the last one counts."""

    at: float


Effect = TellSum | TellChanges | Ask | Answer | Keep | SetTimer
_Key = tuple[DeviceId, SpaceId]


@dataclass(slots=True)
class _Doubt:
    """What we know of a device does not add up. At `at` we ask, or ask again."""

    at: float
    after: Place | None = None
    asked: bool = False
    ended: bool = False
    """The last page is being kept."""
    failures: int = 0


class Telling:
    """The one machine of a node for this."""

    def __init__(self) -> None:
        self._peers: dict[DeviceId, tuple[SpaceId, ...]] = {}
        self._due: dict[SpaceId, float] = {}
        """When changes are told."""
        self._doubts: dict[_Key, _Doubt] = {}
        self._compare_at: float | None = None
        self._timer_at: float | None = None
        self._effects: list[Effect] = []

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What is to be done, in this order."""
        match event:
            case PeerUp(device, spaces):
                self._peer_up(device, spaces, now)
            case PeerDown(device):
                self._peers.pop(device, None)
                self._doubts = {key: d for key, d in self._doubts.items() if key[0] != device}
            case Changed(space):
                self._due.setdefault(space, now + TELL_SECONDS)
            case Received(device, message):
                self._received(device, message, now)
            case Compared():
                self._compared(event, now)
            case TimerFired():
                self._fire(now)
        self._set_timer()
        done, self._effects = self._effects, []
        return done

    def _peer_up(self, device: DeviceId, spaces: tuple[SpaceId, ...], now: float) -> None:
        self._peers[device] = spaces
        self._effects += [TellSum(device, space) for space in spaces]
        if self._compare_at is None:
            self._compare_at = now + COMPARE_SECONDS

    # --- what others say ------------------------------------------------------------------------

    def _received(self, device: DeviceId, message: Held | AskHeld | HeldPage, now: float) -> None:
        match message:
            case AskHeld():
                self._effects.append(Answer(device, message))
            case Held():
                self._effects.append(Keep(device, message))
            case HeldPage():
                self._page(device, message, now)

    def _page(self, device: DeviceId, page: HeldPage, now: float) -> None:
        doubt = self._doubts.get((device, page.space))
        if doubt is None or not doubt.asked or page.after != doubt.after:
            return
        if page.until is not None and _order(page.until) <= _order(page.after):
            raise RemoteProtocolError("a page that leads nowhere")
        self._effects.append(Keep(device, page))
        doubt.after, doubt.ended = page.until, page.until is None
        if not doubt.ended:
            self._ask(device, page.space, doubt, now)

    def _compared(self, event: Compared, now: float) -> None:
        key = (event.device, event.space)
        doubt = self._doubts.get(key)
        if event.agrees:
            self._doubts.pop(key, None)
        elif doubt is None:
            self._doubts[key] = _Doubt(now)
            self._ask(*key, self._doubts[key], now)
        elif doubt.ended:
            wait = min(AGAIN_SECONDS * 2**doubt.failures, AGAIN_SECONDS_MAX)
            self._doubts[key] = _Doubt(now + wait, failures=min(doubt.failures + 1, 10))

    def _ask(self, device: DeviceId, space: SpaceId, doubt: _Doubt, now: float) -> None:
        doubt.asked, doubt.at = True, now + ANSWER_SECONDS
        self._effects.append(Ask(device, AskHeld(space, doubt.after)))

    # --- time -----------------------------------------------------------------------------------

    def _fire(self, now: float) -> None:
        self._timer_at = None
        for space in [space for space, at in self._due.items() if at <= now]:
            del self._due[space]
            self._effects.append(TellChanges(space, self._in_space(space)))
        for key, doubt in self._doubts.items():
            if doubt.at <= now:
                self._ask(*key, doubt, now)
        if self._compare_at is not None and self._compare_at <= now:
            self._compare_at = now + COMPARE_SECONDS if self._peers else None
            for device, spaces in self._peers.items():
                self._effects += [TellSum(device, space) for space in spaces]

    def _in_space(self, space: SpaceId) -> tuple[DeviceId, ...]:
        return tuple(device for device, spaces in self._peers.items() if space in spaces)

    def _set_timer(self) -> None:
        dues = [*self._due.values(), *(doubt.at for doubt in self._doubts.values())]
        if self._compare_at is not None:
            dues.append(self._compare_at)
        at = min(dues, default=None)
        if at is not None and (self._timer_at is None or at < self._timer_at):
            self._timer_at = at
            self._effects.append(SetTimer(at))


def _order(place: Place | None) -> tuple[bytes, bytes, int]:
    return (place.device, place.incarnation, place.sequence) if place else (b"", b"", -1)
