"""Where is the node's mount, and what became of the one before?

A node that was killed leaves a mount at which everything fails. The home remembers where it is, so
that whoever asks is told, and whatever the next node does takes it away.
"""

import logging
from pathlib import Path

from sharefs.errors import MountNotPossible
from sharefs.mount import kernel
from sharefs.store.home import Home

log = logging.getLogger("sharefs.node")


def prepare(home: Home, wanted: Path) -> Path:
    """The mount point in full, ready to be mounted at. Raises MountNotPossible, HomeNotUsable."""
    kernel.check_system()
    if home.last_mount() != wanted:
        try:
            take_away_dead(home)
        except MountNotPossible as error:
            # It may be of use to nobody, but is in nobody's way.
            log.warning("%s", error)
    mount_point = kernel.prepare_mount_point(wanted, is_default=wanted == home.mount_default)
    home.note_mount(mount_point)
    return mount_point


def dead_mount(home: Home) -> Path | None:
    """Where a node that was killed has left its mount."""
    before = home.last_mount()
    return before if before is not None and kernel.is_dead(before) else None


def take_away_dead(home: Home) -> Path | None:
    """What was taken away, if anything. Raises MountNotPossible."""
    dead = dead_mount(home)
    if dead is not None:
        kernel.unmount_lazily(dead)
    return dead
