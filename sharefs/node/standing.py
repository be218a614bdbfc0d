"""May the bytes of an entry come? What a person said of it. Pure."""

from enum import StrEnum


class Standing(StrEnum):
    """Programs that read get their bytes in any case."""

    ON = "on"
    PAUSED = "paused"
    """Not now: a fetch waits, and nothing comes by itself."""
    REJECTED = "rejected"
    """Not at all: a fetch is refused, and nothing comes by itself."""


def parse_standing(text: str) -> Standing:
    """Raises ValueError."""
    return Standing(text.strip().lower())
