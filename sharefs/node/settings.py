"""What may a person choose, and what did they choose?

A setting has a name, a parser of its text, a default, and a sentence that says what it does. A
choice is a text for a setting, kept for a *scope*: for everything, or for a space, a person, a file
or folder, or some hours of the day, as far as the setting can be narrowed by these. Choices stay
on this node. They hold at once: whoever acts on one at some other time than when it is used has
`watch` call him.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from sharefs.errors import BadArgument
from sharefs.node.eagerness import parse_eagerness
from sharefs.node.quantities import parse_rank, parse_rate_or_off, parse_size_or_off, parse_switch
from sharefs.node.standing import Standing, parse_standing
from sharefs.records.ids import SpaceId
from sharefs.store.database import Store

log = logging.getLogger("sharefs.node")

DEFAULT = "default"
"""What a person says to take a choice back."""
_PREFIX = "chosen "

Value = TypeVar("Value")


class Scope(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a choice holds for: that in which all of these agree. Ids are in hex, and what is empty
    does not narrow."""

    space: str = ""
    person: str = ""
    item: str = ""
    hours: str = ""


EVERYTHING = Scope()


def of_space(space: SpaceId) -> Scope:
    """What holds for a space."""
    return Scope(space=space.hex())


@dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """Something that can be chosen."""

    name: str
    """Words that a person types."""
    default: str
    parse: Callable[[str], Value]
    """What a text means. Raises ValueError."""
    allowed: str
    """What a text may be: `write ...`."""
    help: str
    narrowed_by: tuple[str, ...] = ()
    """Fields of `Scope`."""


_RATE = "write bytes a second, as 5M, 800K or 1.5MB/s, or off for no limit"

BANDWIDTH_DOWN = Setting(
    "bandwidth down",
    "off",
    parse_rate_or_off,
    _RATE,
    "Fetch no faster than this.",
    ("space", "person", "hours"),
)
BANDWIDTH_UP = Setting(
    "bandwidth up",
    "off",
    parse_rate_or_off,
    _RATE,
    "Send no faster than this.",
    ("space", "person", "hours"),
)

PRIORITY = Setting(
    "priority",
    "normal",
    parse_rank,
    "write high, normal or low",
    "Bytes of spaces of high priority travel before those of others.",
    ("space",),
)

REPLICATION = Setting(
    "replication",
    "on-demand",
    parse_eagerness,
    "write on-demand, eager, eager up to SIZE, or eager for new content of N days",
    "Which files come here before anybody reads them.",
    ("space",),
)

STREAM_ONLY = Setting(
    "stream-only",
    "off",
    parse_switch,
    "write on or off",
    "Show what is read, and keep nothing of it on this disk, nor serve it to others.",
    ("space", "item"),
)

FETCHING = Setting(
    "fetching",
    Standing.ON.value,
    parse_standing,
    "write on, paused or rejected",
    "Whether files are fetched when nobody reads them: `sharefs transfers` pauses and rejects.",
    ("space", "item"),
)

PINNED = Setting(
    "pinned",
    "off",
    parse_switch,
    "write on or off",
    "Keep it here always, also what comes later: as `sharefs pin` does.",
    ("space", "item"),
)

CACHE = Setting(
    "cache",
    "off",
    parse_size_or_off,
    "write a size, as 20G, or off for no limit",
    "Keep no more here: what others hold, and was used longest ago, goes first.",
)

ALL: tuple[Setting[Any], ...] = (
    BANDWIDTH_DOWN,
    BANDWIDTH_UP,
    PRIORITY,
    REPLICATION,
    STREAM_ONLY,
    FETCHING,
    PINNED,
    CACHE,
)


def setting_named(name: str) -> Setting[Any]:
    """Raises BadArgument, with the names there are."""
    for setting in ALL:
        if setting.name == " ".join(name.lower().split()):
            return setting
    names = ", ".join(setting.name for setting in ALL)
    raise BadArgument(f"There is no setting called {name!r}. Settings: {names}.")


def parse(setting: Setting[Value], text: str) -> Value:
    """What a text means to a setting. Raises BadArgument, with what is allowed."""
    try:
        return setting.parse(text)
    except ValueError as error:
        raise BadArgument(
            f"{text!r} is no value of {setting.name}: {setting.allowed}."
            f" {DEFAULT!r} takes a choice back."
        ) from error


@dataclass(frozen=True, slots=True)
class _Choice:
    text: str
    value: object


class Settings:
    """The choices of this node. Read from any thread, changed in the loop.

    `post` has a call run in the loop's next batch.
    """

    def __init__(self, store: Store, post: Callable[[Callable[[], None]], None]) -> None:
        self._store = store
        self._post = post
        self._choices: dict[tuple[str, Scope], _Choice] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        for key, text in store.ledger.settings(_PREFIX).items():
            self._load(key.removeprefix(_PREFIX), text)

    def _load(self, key: str, text: str) -> None:
        try:
            name, scope = msgspec.json.decode(key, type=tuple[str, Scope])
            self._choices[name, scope] = _Choice(text, parse(setting_named(name), text))
        except (msgspec.DecodeError, BadArgument) as error:
            log.warning("a choice that an other version kept is not used: %s", error)

    def value(self, setting: Setting[Value], scope: Scope = EVERYTHING) -> Value:
        """What holds: the choice for this scope, else the one for everything, else the default."""
        for each in (scope, EVERYTHING):
            choice = self._choices.get((setting.name, each))
            if choice is not None:
                return cast(Value, choice.value)
        return setting.parse(setting.default)

    def values(self, setting: Setting[Value]) -> dict[Scope, Value]:
        """All that was chosen."""
        return {
            scope: cast(Value, choice.value)
            for (name, scope), choice in list(self._choices.items())
            if name == setting.name
        }

    def texts(self, setting: Setting[Any]) -> dict[Scope, str]:
        """What holds for everything, and what was chosen for less, as texts."""
        chosen = {
            scope: choice.text
            for (name, scope), choice in sorted(self._choices.items(), key=_order)
            if name == setting.name
        }
        return {EVERYTHING: setting.default} | chosen

    def choose(self, setting: Setting[Any], scope: Scope, text: str) -> None:
        """In the loop, in a transaction; `default` takes a choice back. Raises BadArgument."""
        text = " ".join(text.split())
        key = _PREFIX + msgspec.json.encode((setting.name, scope)).decode()
        if text.lower() == DEFAULT:
            choice = None
            self._store.ledger.drop_setting(key)
        else:
            choice = _Choice(text, parse(setting, text))
            self._store.ledger.set_setting(key, text)
        self._store.after_commit(lambda: self._changed(setting.name, scope, choice))

    def _changed(self, name: str, scope: Scope, choice: _Choice | None) -> None:
        # Replaced whole, as other threads may be reading it.
        choices = dict(self._choices)
        choices.pop((name, scope), None)
        if choice is not None:
            choices[name, scope] = choice
        self._choices = choices
        for call in self._watchers.get(name, []):
            self._post(call)

    def watch(self, call: Callable[[], None], *settings: Setting[Any]) -> None:
        """Have it called, in the loop, after each change of one of these."""
        for setting in settings:
            self._watchers.setdefault(setting.name, []).append(call)


def _order(entry: tuple[tuple[str, Scope], _Choice]) -> tuple[str, ...]:
    (name, scope), _ = entry
    return name, scope.space, scope.person, scope.item, scope.hours
