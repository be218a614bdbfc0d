"""Does a message arrive, when, and how often?

Devices are known by their keys. A link is up or down for both ends, but one end may notice later,
and one direction may be deaf. What is on its way when a link goes down is lost.
"""

from collections.abc import Callable
from typing import Protocol

from sharefs.records.ids import PublicKey
from tests.sim.agenda import Agenda
from tests.sim.faults import PEACE, Faults

Frames = tuple[bytes, ...]


class Port(Protocol):
    """A device's end of the network."""

    @property
    def awake(self) -> bool:
        """Whether a process is there to be told."""
        ...

    def admits(self, peer: PublicKey) -> bool:
        """Whether it is awake, and takes a link."""
        ...

    def linked(self, peer: PublicKey) -> None: ...

    def unlinked(self, peer: PublicKey) -> None: ...

    def arrived(self, peer: PublicKey, channel: int, frames: Frames) -> None: ...


class Network:
    """The links between all devices."""

    def __init__(self, agenda: Agenda, faults: Faults) -> None:
        self.faults = faults
        self.ports: dict[PublicKey, Port] = {}
        self.sent = 0
        self.old: list[tuple[PublicKey, PublicKey, int, Frames]] = []
        """Some of what was sent, for whoever replays it."""
        self.rewrite: Callable[[PublicKey, Frames], Frames] = lambda sender, frames: frames
        """What a liar makes of what its honest process says."""
        self._agenda = agenda
        self._links: dict[tuple[PublicKey, PublicKey], int] = {}
        """Those that are up, from either end, each with a number of its own."""
        self._deaf: set[tuple[PublicKey, PublicKey]] = set()
        """Directions, sender first."""
        self._unnoticed: set[tuple[PublicKey, PublicKey]] = set()
        """Who has not noticed yet that the link to whom is gone."""
        self._free: dict[tuple[PublicKey, PublicKey], float] = {}
        """When the last message on a direction arrives."""
        self._slow: tuple[PublicKey, PublicKey] | None = None
        self._count = 0

    # --- links ----------------------------------------------------------------------------------

    def is_up(self, one: PublicKey, other: PublicKey) -> bool:
        return (one, other) in self._links

    def link(self, one: PublicKey, other: PublicKey) -> None:
        """Both notice at once; and that a link before this one is gone, if they had not yet."""
        if self.is_up(one, other):
            return
        if not (self.ports[one].admits(other) and self.ports[other].admits(one)):
            return
        self._notice(one, other)
        self._notice(other, one)
        self._count += 1
        self._links[one, other] = self._links[other, one] = self._count
        self.ports[one].linked(other)
        self.ports[other].linked(one)

    def cut(self, one: PublicKey, other: PublicKey) -> None:
        if not self.is_up(one, other):
            return
        del self._links[one, other], self._links[other, one]
        self._deaf -= {(one, other), (other, one)}
        for end, peer in ((one, other), (other, one)):
            self._unnoticed.add((end, peer))
            late = self.faults.late_notice_seconds * self._agenda.chance.random()
            self._agenda.later(late, lambda end=end, peer=peer: self._notice(end, peer))  # type: ignore[misc]

    def _notice(self, end: PublicKey, peer: PublicKey) -> None:
        if (end, peer) in self._unnoticed and not self.is_up(end, peer):
            self._unnoticed.discard((end, peer))
            if self.ports[end].awake:
                self.ports[end].unlinked(peer)

    def gone(self, key: PublicKey) -> None:
        """A process ended; a new one knows nothing of the links there were."""
        for other in self.ports:
            if other != key:
                self.cut(key, other)
                self._unnoticed.discard((key, other))

    def disturb(self, one: PublicKey, other: PublicKey) -> None:
        """A link gets worse."""
        chance = self._agenda.chance
        if chance.random() < self.faults.one_way and self.is_up(one, other):
            self._deaf.add((one, other))
        elif self.faults.slow_seconds and chance.random() < 0.3:
            self._slow = (one, other)
        else:
            self.cut(one, other)

    def heal(self) -> None:
        """No faults from now on, and all links are up."""
        self.faults = PEACE
        self._slow = None
        self._deaf.clear()
        for one in self.ports:
            for other in self.ports:
                if one != other:
                    self.link(one, other)

    # --- messages -------------------------------------------------------------------------------

    def send(self, sender: PublicKey, to: PublicKey, channel: int, frames: Frames) -> bool:
        """Whether there seems to be a link; the sender learns no more."""
        link = self._links.get((sender, to))
        if link is None:
            return (sender, to) in self._unnoticed
        self.sent += 1
        faults, chance = self.faults, self._agenda.chance
        if faults.withhold:
            frames = self.rewrite(sender, frames)
        if faults.liar and len(self.old) < 64:
            self.old.append((sender, to, channel, frames))
        for _ in range(2 if faults.repeat and chance.random() < faults.repeat else 1):
            if faults.loss and chance.random() < faults.loss:
                continue
            when = self._agenda.now + self._delay(sender, to)
            if not faults.reorder:
                when = self._free[sender, to] = max(when, self._free.get((sender, to), 0.0))
            self._agenda.at(when, lambda: self._arrive(sender, to, link, channel, frames))
        return True

    def _delay(self, sender: PublicKey, to: PublicKey) -> float:
        slow = self.faults.slow_seconds if self._slow in ((sender, to), (to, sender)) else 0.0
        return (self.faults.delay_seconds + slow) * self._agenda.chance.random()

    def _arrive(
        self, sender: PublicKey, to: PublicKey, link: int, channel: int, frames: Frames
    ) -> None:
        if self._links.get((sender, to)) == link and (sender, to) not in self._deaf:
            self.ports[to].arrived(sender, channel, frames)
