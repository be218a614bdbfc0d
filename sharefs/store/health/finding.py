"""What is not as it should be, and what can be done?"""

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "database",
    "roster",
    "commit",
    "record",
    "frontier",
    "view",
    "bytes",
    "stray",
    "holding",
    "draft",
]


class Finding(Struct, frozen=True):
    """One thing that is not as it should be."""

    kind: Kind
    path: str
    """Which of the user's files it is about, from the mount's root; empty for none of them."""
    sentence: str
    """What was found."""
    remedy: str
    """What mending does; empty if nothing can be done here."""
    mended: bool = False
