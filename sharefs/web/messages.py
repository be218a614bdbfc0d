"""What do clients send, and what do they get beside the node's reports?"""

from msgspec import Struct

from sharefs.errors import NodeFailed, UserError
from sharefs.node.reports import FetchProgress


class NewSpace(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/spaces."""

    name: str


class Invitation(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/tickets."""

    space: str
    role: str
    expires_s: float


class TicketText(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/memberships, and the answer to POST /v1/tickets."""

    ticket: str


class Paths(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/fetch, /v1/free and /v1/transfers/VERB: absolute paths inside the mount."""

    paths: list[str]


class Pin(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/pin: absolute paths inside the mount, to be here always from now on, or no more."""

    paths: list[str]
    on: bool


class Choice(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/resolve: the absolute path of an entry in conflict, and what is kept of it:
    `winner`, `loser`, `both`, or a version."""

    path: str
    keep: str


class SettingChange(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/settings: a setting's name and text, and what it holds for: empty for everything.
    The value `default` takes a choice back."""

    name: str
    value: str
    space: str = ""
    peer: str = ""
    path: str = ""
    hours: str = ""


class Failure(Struct, frozen=True):
    """A UserError on its way to whoever asked."""

    error: str
    """The name of its class in `sharefs.errors`."""
    sentence: str
    exit_code: int


class FetchLine(Struct, frozen=True, omit_defaults=True):
    """One line of the stream that answers POST /v1/fetch: one of the two."""

    progress: FetchProgress | None = None
    failure: Failure | None = None


def failure_of(error: UserError) -> Failure:
    """What a client is told of an error."""
    return Failure(type(error).__name__, str(error), error.exit_code)


def error_of(failure: Failure) -> UserError:
    """The error that a failure tells of, of the same class where this version knows it."""
    known = {kind.__name__: kind for kind in UserError.__subclasses__()}
    return known.get(failure.error, NodeFailed)(failure.sentence)
