"""How does a person list settings, and choose?

People say names, which are looked up here: choices are kept for ids, and survive renames.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from sharefs.errors import BadArgument, NoSuchEntry
from sharefs.node.nested import entry_of, forget_gone
from sharefs.node.node import Node
from sharefs.node.quantities import parse_hours
from sharefs.node.reports import SettingReport
from sharefs.node.settings import ALL, Scope, Setting, setting_named
from sharefs.records.ids import ROOT
from sharefs.records.shown import Shown

_OPTIONS = {"space": "--space", "person": "--peer", "item": "--path", "hours": "--hours"}


class Choosing:
    """From any thread but the loop."""

    def __init__(
        self,
        node: Node,
        entries_at: Callable[[str], list[Shown]],
        path: Callable[[Shown], PurePath],
    ) -> None:
        self._node = node
        self._entries_at = entries_at
        self._path = path

    def forget_gone(self) -> None:
        """Drop choices for what was deleted for good."""

        def forget() -> None:
            for setting in ALL:
                if "item" in setting.narrowed_by:
                    forget_gone(self._node.state, setting)

        self._node.loop.call(forget)

    def all(self) -> list[SettingReport]:
        """All settings, each with what holds for everything first; not what was deleted."""
        return self._node.loop.call(lambda: [r for setting in ALL for r in self._reports(setting)])

    def choose(
        self, name: str, value: str, space: str, peer: str, path: str, hours: str
    ) -> list[SettingReport]:
        """All of that setting, as they are then. What is empty does not narrow. Raises
        BadArgument, NoSuchSpace, NoSuchEntry, NotInASpace."""
        setting = setting_named(name)
        if not value.strip():
            raise BadArgument(f"Say what {setting.name} is to be: {setting.allowed}.")
        row = self._entry_at(path) if path else None

        def choose() -> None:
            scope = self._scope(space, peer, row, hours)
            _check_narrowed(setting, scope)
            self._node.state.settings.choose(setting, scope, value)

        self._node.loop.call(choose)
        return self._node.loop.call(lambda: list(self._reports(setting)))

    def _entry_at(self, path: str) -> Shown:
        rows = self._entries_at(path)
        if len(rows) != 1:
            raise NoSuchEntry(
                f"{path} is not in one of your spaces: choose a space, or what is in it."
            )
        return rows[0]

    def _scope(self, space: str, peer: str, row: Shown | None, hours: str) -> Scope:
        node = self._node
        id = node.replica_named(space).id.hex() if space else ""
        if row is not None:
            of_entry = node.state.replica_numbered(row.space).id.hex()
            if id and id != of_entry:
                raise BadArgument("That path is in another space: leave --space out.")
            id = of_entry
        return Scope(
            space=id,
            person=self._person_named(peer) if peer else "",
            item=row.item.hex() if row is not None and row.item != ROOT else "",
            hours="{}-{}".format(*_hours(hours)) if hours else "",
        )

    def _person_named(self, name: str) -> str:
        """Whoever is called so in some space, or has this id."""
        members = [m for r in self._node.state.replicas.values() for m in r.roster.members.values()]
        ids = sorted({m.person.hex() for m in members if name in (m.label, m.person.hex())})
        if not ids:
            known = ", ".join(sorted({member.label for member in members}))
            raise BadArgument(f"Nobody in your spaces is called {name}. Members: {known}.")
        if len(ids) > 1:
            raise BadArgument(
                f"{len(ids)} members are called {name}: give one id, {', '.join(ids)}."
            )
        return ids[0]

    # --- reports --------------------------------------------------------------------------------

    def _reports(self, setting: Setting[Any]) -> Iterator[SettingReport]:
        """In the loop."""
        for scope, text in self._node.state.settings.texts(setting).items():
            row = entry_of(self._node.state, scope) if scope.item else None
            if scope.item and row is None:
                continue
            yield SettingReport(
                name=setting.name,
                value=text,
                default=setting.default,
                space=self._space_name(scope.space),
                peer=self._person_name(scope.person),
                path=str(self._path(row)) if row is not None else "",
                hours=scope.hours,
                help=setting.help,
                allowed=setting.allowed,
            )

    def _space_name(self, id: str) -> str:
        rows = self._node.state.ledger.spaces()
        return next((row.name for row in rows if row.id.hex() == id), id)

    def _person_name(self, id: str) -> str:
        for replica in self._node.state.replicas.values():
            for member in replica.roster.members.values():
                if member.person.hex() == id:
                    return member.label
        return id


def _hours(text: str) -> tuple[int, int]:
    try:
        return parse_hours(text)
    except ValueError as error:
        raise BadArgument(
            f"{text!r} are no hours of the day: write them as 8-18 or 22-6."
        ) from error


def _check_narrowed(setting: Setting[Any], scope: Scope) -> None:
    for field, option in _OPTIONS.items():
        # A path tells its space, which nobody has to say.
        told = field == "space" and scope.item
        if getattr(scope, field) and field not in setting.narrowed_by and not told:
            allowed = [_OPTIONS[each] for each in setting.narrowed_by]
            which = f"it takes {' and '.join(allowed)}" if allowed else "it is one for all"
            raise BadArgument(f"{setting.name} can not be chosen with {option}: {which}.")
