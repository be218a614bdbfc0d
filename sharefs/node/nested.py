"""What does a choice for a folder mean to what is in it?

It holds for all in it: what was chosen further down is forgotten. Only a *sticky* value is not: it
stays until a person chooses the default for its own path, or for one in it. Choices for what was
deleted say nothing, and stay for as long as it may come back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sharefs.node.scopes import nearest, scopes
from sharefs.node.settings import DEFAULT, EVERYTHING, Scope, Setting
from sharefs.node.state import State
from sharefs.records.ids import ROOT, ItemId
from sharefs.records.shown import Shown

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What became of a choice."""

    changed: bool
    """False if all was so before."""
    stayed: frozenset[Scope]
    """For these it does not hold, as what was chosen there is sticky."""


class Nested(Generic[Value]):
    """A setting that can be chosen for files and folders. No entry stands for everything."""

    def __init__(self, state: State, setting: Setting[Value], sticky: Value | None = None) -> None:
        self._state = state
        self._setting = setting
        self._sticky = sticky
        self._default = setting.parse(setting.default)

    def of(self, row: Shown) -> Value:
        """What holds for an entry. Any thread."""
        chosen = self._state.settings.values(self._setting)
        if not chosen:
            return self._default
        space = self._state.replica_numbered(row.space).id
        value = nearest(chosen, self._state.view, row, space)
        return self._default if value is None else value

    def chosen(self) -> Iterator[tuple[Shown | None, Value]]:
        """What was chosen, but for what is deleted. In the loop."""
        for scope, value in self._state.settings.values(self._setting).items():
            row = entry_of(self._state, scope)
            if row is not None or scope == EVERYTHING:
                yield row, value

    def choose(self, rows: Sequence[Shown | None], text: str) -> Chosen:
        """Have it hold for entries, and for what is in them. In the loop, in a transaction."""
        before = self._state.settings.values(self._setting)
        chosen = dict(before)
        value = self._setting.parse(text)
        # A folder comes before what is in it, for which there may then be nothing left to say.
        inside = sorted((self.around(row) for row, _ in self.chosen()), key=len)
        stays: dict[Scope, bool] = {}
        for row in rows:
            own = self.around(row)
            stays[own[0]] = not self._put(chosen, own, value, named=True)
            for around in inside:
                if own[0] in around[1:] and around[0] in chosen:
                    stays[around[0]] = not self._put(chosen, around, value, named=False)
        for scope in before | chosen:
            if before.get(scope) != chosen.get(scope):
                kept = text if scope in chosen else DEFAULT
                self._state.settings.choose(self._setting, scope, kept)
        return Chosen(chosen != before, frozenset(each for each in stays if stays[each]))

    def _put(
        self, chosen: dict[Scope, Value], around: Sequence[Scope], value: Value, *, named: bool
    ) -> bool:
        """False for what is sticky, and stays."""
        own, *above = around
        taken_back = named and value in (self._sticky, self._default)
        if self._first(chosen, around) == self._sticky and not taken_back:
            return False
        chosen.pop(own, None)
        if self._first(chosen, above) != value or (named and value == self._sticky):
            chosen[own] = value
        return True

    def _first(self, chosen: Mapping[Scope, Value], around: Sequence[Scope]) -> Value:
        return next((chosen[scope] for scope in around if scope in chosen), self._default)

    def around(self, row: Shown | None) -> list[Scope]:
        """What may be chosen for it and for all that it is in, the nearest first."""
        if row is None:
            return [EVERYTHING]
        space = self._state.replica_numbered(row.space).id
        return list(scopes(self._state.view, row, space))


def entry_of(state: State, scope: Scope) -> Shown | None:
    """The file, folder or space's top folder that a choice is for, or what is left of it in a
    conflict; None for what is deleted. In the loop."""
    return next((row for row in _rows(state, scope) if row.live), None)


def forget_gone(state: State, setting: Setting[Any]) -> None:
    """Drop what was chosen for what was deleted so long ago that nothing is left of it. In the
    loop, in a transaction."""
    for scope in state.settings.values(setting):
        if scope.item and not _rows(state, scope):
            state.settings.choose(setting, scope, DEFAULT)


def _rows(state: State, scope: Scope) -> list[Shown]:
    """The winner first."""
    item = ItemId(bytes.fromhex(scope.item)) if scope.item else ROOT
    for id, replica in state.replicas.items():
        if id.hex() == scope.space and (winner := replica.shelf.winner(item)) is not None:
            return [winner, *replica.shelf.losers(item)]
    return []
