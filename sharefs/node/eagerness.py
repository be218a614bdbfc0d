"""Which contents is a space to keep here by itself? Pure."""

import re
from dataclasses import dataclass

from sharefs.node.quantities import parse_size

DAYS_MAX = 36_500
_DAY_MS = 24 * 3600 * 1000
_UP_TO = re.compile(r"eager up to (.+)", re.IGNORECASE)
_NEW = re.compile(r"eager for new content of ([0-9]{1,5}) days?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Eagerness:
    """`size_bytes_max` and `days` are None for no bound. Not eager: what is read comes, and stays
    a ghost otherwise."""

    eager: bool = False
    size_bytes_max: int | None = None
    days: int | None = None

    def wants(self, size: int, stamp: int, now_ms: int) -> bool:
        """Whether a content of this size is to be here, which was written at that stamp."""
        return (
            self.eager
            and (self.size_bytes_max is None or size <= self.size_bytes_max)
            and stamp >= self.since_ms(now_ms)
        )

    def since_ms(self, now_ms: int) -> int:
        """From when on contents are wanted."""
        return 0 if self.days is None else now_ms - self.days * _DAY_MS


def parse_eagerness(text: str) -> Eagerness:
    """What a person says of replication. Raises ValueError."""
    text = " ".join(text.split())
    if text.lower() in ("on-demand", "on demand"):
        return Eagerness()
    if text.lower() == "eager":
        return Eagerness(True)
    if match := _UP_TO.fullmatch(text):
        return Eagerness(True, size_bytes_max=parse_size(match[1]))
    match = _NEW.fullmatch(text)
    if match is None or not 0 < int(match[1]) <= DAYS_MAX:
        raise ValueError(f"no replication: {text!r}")
    return Eagerness(True, days=int(match[1]))
