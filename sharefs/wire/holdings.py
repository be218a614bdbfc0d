"""How do devices tell each other which contents they hold, and promise to keep them?

A *statement* speaks of some sequences of an author, and says in which of them the sender holds the
contents of all versions that are heads there, whole or in part: of these and of no others. So it
may be repeated, and what came last is true. The digest, of all that the sender holds in the space,
tells whether anything was lost.
"""

from typing import Annotated

from msgspec import Meta, Struct

from sharefs.records.ids import ContentId, Count, DeviceId, Incarnation, SpaceId

STATEMENTS_MAX = 256
STEPS_MAX = 4096
"""Of a message, or of either kind in one statement; two are an interval."""
PROMISES_MAX = 256

Steps = Annotated[tuple[Count, ...], Meta(max_length=STEPS_MAX)]
Digest = Annotated[bytes, Meta(min_length=16, max_length=16)]


class Statement(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of an author's versions from `first` to `last`, those in the intervals are held, which are
    written as `records.intervals` says. None is in both."""

    device: DeviceId
    incarnation: Incarnation
    first: Count
    last: Count
    whole: Steps
    partial: Steps
    """Of these, some chunks are here, and not all."""


Statements = Annotated[tuple[Statement, ...], Meta(max_length=STATEMENTS_MAX)]


class Spoken(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far the sender's own versions are, and what all it holds adds up to."""

    incarnation: Incarnation
    upto: Count
    digest: Digest


class Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A sequence of an author: authors are in the order of their ids."""

    device: DeviceId
    incarnation: Incarnation
    sequence: Count


class Held(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=48):
    """What the sender holds is other than it said before; without statements: compare."""

    space: SpaceId
    statements: Statements
    spoken: Spoken | None
    """None if more follows at once."""


class AskHeld(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=49):
    """What do you hold, beyond this place?"""

    space: SpaceId
    after: Place | None


class HeldPage(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=50):
    """All that the sender holds between two places; without `until`, to the end. What lies there
    and is not mentioned, it does not hold."""

    space: SpaceId
    after: Place | None
    until: Place | None
    statements: Statements
    spoken: Spoken | None
    """With the last page."""


class AskPromise(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=51):
    """Which of these do you have whole, and keep? The sender is about to free them."""

    space: SpaceId
    number: Count
    """The asker's own, of this question."""
    contents: Annotated[tuple[ContentId, ...], Meta(max_length=PROMISES_MAX)]


class Promise(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=52):
    """Those whose bits are set, in the order of the question, the lowest bit first."""

    space: SpaceId
    number: Count
    kept: Annotated[bytes, Meta(max_length=PROMISES_MAX // 8)]
