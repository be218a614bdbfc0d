"""Which limits hold now?

A choice for some hours of the day takes the place of the one for all hours, for the same space and
person, while these last; of several, the strictest. Looked at again when a choice or a roster
changes, and at least each LOOK_SECONDS, as clocks may be set.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from sharefs.node.quantities import in_hours, parse_hours
from sharefs.node.settings import BANDWIDTH_DOWN, BANDWIDTH_UP, PRIORITY, Scope, Setting
from sharefs.node.state import State
from sharefs.records.ids import DeviceId, SpaceId
from sharefs.transfer.limits import Limit

LOOK_SECONDS = 20.0

Told = Callable[[tuple[Limit, ...], Mapping[SpaceId, int]], None]


class Limiting:
    """In the loop. `down` and `up` are told of limits, and of the ranks of spaces."""

    def __init__(self, state: State, down: Told, up: Told) -> None:
        self._state = state
        self._told = {BANDWIDTH_DOWN.name: down, BANDWIDTH_UP.name: up}
        self._last: dict[str, object] = {}
        state.settings.watch(self.look, BANDWIDTH_DOWN, BANDWIDTH_UP, PRIORITY)

    def start(self) -> None:
        """Begin to look at the clock."""
        self._state.loop.at(time.monotonic() + LOOK_SECONDS, self.start)
        self.look()

    def look(self) -> None:
        """Something may hold that did not before."""
        ranks = self._ranks()
        hour = time.localtime().tm_hour
        for setting in (BANDWIDTH_DOWN, BANDWIDTH_UP):
            limits = tuple(self._limits(setting, hour))
            if self._last.get(setting.name, ((), {})) != (limits, ranks):
                self._last[setting.name] = (limits, ranks)
                self._told[setting.name](limits, ranks)

    def _ranks(self) -> dict[SpaceId, int]:
        chosen = self._state.settings.values(PRIORITY)
        ids = {id.hex(): id for id in self._state.replicas}
        return {ids[s.space]: rank for s, rank in chosen.items() if s.space in ids and rank}

    def _limits(self, setting: "Setting[int | None]", hour: int) -> Iterator[Limit]:
        spaces = {id.hex(): id for id in self._state.replicas}
        for scope, rate in rates_at(hour, self._state.settings.values(setting)).items():
            if rate is None or (scope.space and scope.space not in spaces):
                continue
            devices = self._devices_of(scope.person) if scope.person else None
            yield Limit(rate, spaces.get(scope.space), devices)

    def _devices_of(self, person: str) -> frozenset[DeviceId]:
        return frozenset(
            device
            for replica in self._state.replicas.values()
            for member in replica.roster.members.values()
            if member.person.hex() == person
            for device in member.devices
        )


def rates_at(hour: int, chosen: Mapping[Scope, int | None]) -> dict[Scope, int | None]:
    """What was chosen as it holds at an hour of the day, by scopes without hours."""
    always: dict[Scope, int | None] = {}
    timed: dict[Scope, list[int | None]] = {}
    for scope, rate in chosen.items():
        whole_day = Scope(scope.space, scope.person, scope.item)
        if not scope.hours:
            always[whole_day] = rate
        elif in_hours(parse_hours(scope.hours), hour):
            timed.setdefault(whole_day, []).append(rate)
    strictest = {
        scope: min((rate for rate in rates if rate is not None), default=None)
        for scope, rates in timed.items()
    }
    return always | strictest
