"""Which names can an entry have, and which are an application's private business?

Editors and browsers write under a temporary name and rename when they are done. Such names stay on
this device, where the application needs them: other members see the result, under its real name.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from sharefs.errors import NameNotText
from sharefs.records.entry import NAME_SIZE_BYTES_MAX, check_name

_TEMPORARY = re.compile(
    r"""
      \.goutputstream-.*        # GIO, while it saves
    | lu.*\.tmp                 # LibreOffice, while it saves
    | \.~lock\..*\#             # LibreOffice's locks
    | .*\.sw[pxo] | .*~        # vim: swap files, backups
    | \.\#.* | \#.*\#           # Emacs: locks, auto-saves
    | .*\.part | .*\.crdownload # downloads under way
    | \.~.*
    | \.nfs.* | \.fuse_hidden.* # deleted while open, by other filesystems
    """,
    re.VERBOSE | re.DOTALL,
)


_PROBE = "4913"
"""vim makes an empty file of this name, to see whether it may, and removes it."""


def is_probe(name: str) -> bool:
    """Whether an empty file of this name is likely to be gone in a moment. Others are called so,
    too, as in a folder of numbered files: such a one is shared a moment later."""
    return name == _PROBE


def is_temporary(name: str) -> bool:
    """Whether an entry of this name stays on this device."""
    return _TEMPORARY.fullmatch(name) is not None


def unfinished_names(name: str, written: float) -> Iterator[str]:
    """Names for what was written of a file when the node stopped, in seconds since 1970. They stay
    on this device."""
    moment = datetime.fromtimestamp(written, UTC)
    for number in count(1):
        again = "" if number == 1 else f" {number}"
        added = f" (unfinished, {moment:%Y-%m-%d %H.%M}{again}).part"
        kept = name.encode()[: NAME_SIZE_BYTES_MAX - len(added)].decode(errors="ignore")
        yield kept + added


def text_of(name: bytes) -> str:
    """A name as the kernel tells it. Raises NameNotText, NameTooLong."""
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise NameNotText("The name is not UTF-8, so other members could not show it.") from error
    if len(name) > NAME_SIZE_BYTES_MAX:
        check_name(text)
    return text
