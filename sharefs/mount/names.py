"""Which names can an entry have, and which are an application's private business?

Editors and browsers write under a temporary name and rename when they are done. Such names stay on
this device, where the application needs them: other members see the result, under its real name.
"""

import re

from sharefs.errors import NameNotText
from sharefs.records.entry import check_name

_TEMPORARY = re.compile(
    r"""
      \.goutputstream-.*        # GIO, while it saves
    | lu.*\.tmp                 # LibreOffice, while it saves
    | \.~lock\..*\#             # LibreOffice's locks
    | .*\.sw[pxo] | 4913 | .*~  # vim: swap files, its probe of a folder, backups
    | \.\#.* | \#.*\#           # Emacs: locks, auto-saves
    | .*\.part | .*\.crdownload # downloads under way
    | \.~.*
    | \.nfs.* | \.fuse_hidden.* # deleted while open, by other filesystems
    """,
    re.VERBOSE | re.DOTALL,
)


def is_temporary(name: str) -> bool:
    """Whether an entry of this name stays on this device."""
    return _TEMPORARY.fullmatch(name) is not None


def split_path(path: bytes) -> list[str]:
    """The names on a path from the mount's root.

    Raises NameNotText, NameTooLong.
    """
    try:
        names = [name for name in path.decode().split("/") if name]
    except UnicodeDecodeError as error:
        raise NameNotText("The name is not UTF-8, so other members could not show it.") from error
    if len(path) > len(names) + 255:  # Only then can a name be too long.
        for name in names:
            check_name(name)
    return names
