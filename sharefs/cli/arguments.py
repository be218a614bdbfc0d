"""What may a person give to a command, and what is wrong with what they gave?"""

import os
import re
import sys
from pathlib import Path

from sharefs.errors import BadArgument, TicketNotValid
from sharefs.spaces.limits import (
    PERSON_NAME_SIZE_MAX,
    SPACE_NAME_SIZE_MAX,
    TICKET_PREFIX,
    TICKET_SIZE_BYTES_MAX,
)
from sharefs.spaces.rights import INVITABLE_ROLES

SPACE_NAME_SIZE_BYTES_MAX = 255
"""A space is a folder of the mount, and no folder's name is longer."""
DURATION_S_MAX = 366 * 86_400
TICKET_TEXT_SIZE_MAX = 2 * TICKET_SIZE_BYTES_MAX

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `30m`, `12h`, `7d` or `2w`. Raises BadArgument."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip())
    if match is None:
        raise BadArgument(f"{text!r} is no duration: write one as 90s, 30m, 12h, 7d or 2w.")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= DURATION_S_MAX:
        raise BadArgument(f"{text!r} is no duration of between one second and a year.")
    return float(seconds)


def check_person_name(name: str, what: str) -> str:
    """The name of a person or device, trimmed. Raises BadArgument."""
    name = _check_name(name, what)
    if len(name) > PERSON_NAME_SIZE_MAX:
        raise BadArgument(
            f"The {what} has {len(name)} characters: {PERSON_NAME_SIZE_MAX} are the most."
        )
    return name


def check_space_name(name: str) -> str:
    """The name of a new space, trimmed. Raises BadArgument."""
    name = _check_name(name, "space's name")
    if "/" in name or name in (".", ".."):
        raise BadArgument(f"A space is a folder, and no folder can be called {name!r}.")
    if len(name) > SPACE_NAME_SIZE_MAX or len(name.encode()) > SPACE_NAME_SIZE_BYTES_MAX:
        raise BadArgument(
            f"The space's name is too long: {SPACE_NAME_SIZE_MAX} characters, or"
            f" {SPACE_NAME_SIZE_BYTES_MAX} bytes, are the most."
        )
    return name


def _check_name(name: str, what: str) -> str:
    name = name.strip()
    if not name:
        raise BadArgument(f"The {what} is empty: give it at least one letter.")
    if not name.isprintable():
        raise BadArgument(f"The {what} holds characters that can not be shown: leave them out.")
    return name


def check_role(role: str) -> str:
    """A role that can be invited. Raises BadArgument."""
    roles = [known.value for known in INVITABLE_ROLES]
    if role not in roles:
        raise BadArgument(f"{role!r} is no role to invite for: choose {', '.join(roles)}.")
    return role


def check_listen(text: str | None) -> str | None:
    """An address to listen on, HOST:PORT. Raises BadArgument."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise BadArgument(f"{text!r} is no address: write HOST:PORT, as 127.0.0.1:4000.")
    return text


def read_ticket_text(given: str) -> str:
    """The text of a ticket given as itself, as the path of its file, or as `-` for standard input.

    Raises TicketNotValid.
    """
    if given == "-":
        return sys.stdin.read(TICKET_TEXT_SIZE_MAX).strip()
    if given.strip().startswith(TICKET_PREFIX) and not os.path.lexists(given):
        return given.strip()
    try:
        with open(given, encoding="utf-8") as file:
            return file.read(TICKET_TEXT_SIZE_MAX).strip()
    except UnicodeDecodeError as error:
        raise TicketNotValid(f"The file {given} is no ticket: choose a .sharefs file.") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise TicketNotValid(
            f"{given[:80]!r} is no ticket, which begins with {TICKET_PREFIX}, and no file that can"
            f" be read ({why})."
        ) from error


def absolute(path: Path) -> str:
    """The path from the root: links on the way are followed, but the entry may be one itself."""
    # `..` has no name of its own to keep.
    if path.name in ("", ".."):
        return str(path.resolve())
    return str(path.parent.resolve() / path.name)
