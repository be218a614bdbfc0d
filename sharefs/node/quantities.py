"""How does a person write a size, a rate, or hours of the day? Pure.

Each function raises ValueError for what it can not read: who calls it says what is allowed.
"""

import re

SIZE_BYTES_MAX = 2**60
_OFF = "off"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
# A number alone is refused: who writes a cache of 20 means no 20 bytes.
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?(?:([kmgt])(ib|i|b)?|b)", re.IGNORECASE)
_HOURS = re.compile(r"([0-9]{1,2}) ?- ?([0-9]{1,2}) ?h?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of `20G`, `1.5 MB`, `64KiB` or `300 B`; units are decimal but for those with an i."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"no quantity: {text!r}")
    number, unit, ending = (group.lower() for group in match.groups(""))
    units = _BINARY_UNITS if ending.startswith("i") else _UNITS
    size = round(float(number) * units[unit])
    if not 0 < size <= SIZE_BYTES_MAX:
        raise ValueError(f"no quantity: {text!r}")
    return size


def parse_size_or_off(text: str) -> int | None:
    """As `parse_size`; None for `off`."""
    return None if text.strip().lower() == _OFF else parse_size(text)


def parse_rate_or_off(text: str) -> int | None:
    """Bytes a second of `5M` or `5 MB/s`; None for `off`."""
    return parse_size_or_off(re.sub(r" ?/ ?s$", "", text.strip(), flags=re.IGNORECASE))


def parse_switch(text: str) -> bool:
    """`on` or `off`."""
    word = text.strip().lower()
    if word not in ("on", _OFF):
        raise ValueError(f"no quantity: {text!r}")
    return word == "on"


def parse_rank(text: str) -> int:
    """Below 0 for `high`, 0 for `normal`, above it for `low`."""
    ranks = {"high": -1, "normal": 0, "low": 1}
    if text.strip().lower() not in ranks:
        raise ValueError(f"no rank: {text!r}")
    return ranks[text.strip().lower()]


def parse_hours(text: str) -> tuple[int, int]:
    """From which hour until, without, which hour of the day: of `8-18`, or `22-6`."""
    match = _HOURS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"no quantity: {text!r}")
    first, end = int(match[1]), int(match[2]) % 24
    if first > 23 or int(match[2]) > 24 or first == end:
        raise ValueError(f"no quantity: {text!r}")
    return first, end


def in_hours(hours: tuple[int, int], hour: int) -> bool:
    """Whether an hour of the day, 0 to 23, is among these."""
    first, end = hours
    return (hour - first) % 24 < (end - first) % 24
