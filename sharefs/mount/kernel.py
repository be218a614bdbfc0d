"""Can there be a mount, and how does it come and go?

Nothing here makes a request to our own mount: were the node killed just then, its thread would wait
for an answer of its own, for ever. What is mounted where is read from /proc.
"""

import errno
import os
import shutil
from pathlib import Path

from sharefs.errors import MountNotPossible
from sharefs.mount.channel import Channel, unmount
from sharefs.mount.core import Core

DEVICE = Path("/dev/fuse")
_TYPE = "fuse.sharefs"
_INSTALL = "install the package fuse3 (sudo apt install fuse3)"


class Mounted:
    """A mount that is served until it is unmounted, by us or by somebody else."""

    def __init__(self, core: Core, channel: Channel) -> None:
        self._core = core
        self._channel = channel
        self.mount_point = channel.mount_point
        self.ended = channel.ended
        """Set when nobody serves it any more."""

    def unmount(self) -> None:
        """Also while programs have files open: they get errors from then on."""
        self._core.close()
        self._channel.stop()


def check_system() -> None:
    """Raises MountNotPossible, with what to do, if this machine can not mount anything."""
    if shutil.which("fusermount3") is None:
        raise MountNotPossible(f"The program fusermount3 is missing: {_INSTALL}.")
    if not DEVICE.exists():
        raise MountNotPossible(
            f"There is no {DEVICE}: load the kernel's module (sudo modprobe fuse); start a"
            f" container with --device {DEVICE} --cap-add SYS_ADMIN."
        )
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise MountNotPossible(f"You may not use {DEVICE}: your user needs read and write access.")


def prepare_mount_point(mount_point: Path, is_default: bool = False) -> Path:
    """Check the mount point, and create it if it is missing and may be; returns it in full.

    A stale mount, left by a node that was killed, is removed first. The default mount point is
    created with its parents, any other only in a folder that exists. Raises MountNotPossible.
    """
    mount_point = Path(os.path.abspath(mount_point))
    if is_dead(mount_point):
        unmount_lazily(mount_point)
    kind = mounted_type(mount_point)
    if kind is not None:
        raise MountNotPossible(
            f"{mount_point} is already a mount ({kind}): choose another with --mount,"
            " or unmount it."
        )
    try:
        _create(mount_point, is_default)
        if any(mount_point.iterdir()):
            raise MountNotPossible(
                f"{mount_point} is not empty, and its files would be hidden:"
                " choose an empty folder."
            )
    except NotADirectoryError as error:
        raise MountNotPossible(f"{mount_point} is not a folder.") from error
    except OSError as error:
        raise MountNotPossible(f"{mount_point} can not be used: {error.strerror}.") from error
    return mount_point


def _create(mount_point: Path, is_default: bool) -> None:
    if mount_point.exists():
        return
    if not is_default and not mount_point.parent.is_dir():
        raise MountNotPossible(
            f"There is no folder {mount_point.parent} to make the mount point in: create it first."
        )
    mount_point.mkdir(parents=is_default, exist_ok=True)


def mount(core: Core, mount_point: Path) -> Mounted:
    """Serve the core at a prepared mount point; returns when the kernel asks. Raises
    MountNotPossible."""
    check_system()
    return Mounted(core, Channel(core, mount_point))


def mounted_type(mount_point: Path) -> str | None:
    """The type of the filesystem that is mounted exactly there, or None."""
    found = None
    with open("/proc/self/mounts", "rb") as lines:
        for line in lines:
            _, where, kind, *_ = line.split(b" ")
            if where.decode("unicode_escape").encode("latin-1") == os.fsencode(mount_point):
                found = kind.decode()
    return found


def is_dead(mount_point: Path) -> bool:
    """Whether a node was mounted there, and has ended without taking its mount away."""
    if mounted_type(mount_point) != _TYPE:
        return False
    try:
        # For a second, the kernel still answers stat from what it remembers of a node that is gone.
        os.statvfs(mount_point)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def unmount_lazily(mount_point: Path) -> None:
    """Take a mount away although it is in use, or nobody serves it. Raises MountNotPossible."""
    done = unmount(mount_point)
    if done.returncode:
        raise MountNotPossible(
            f"The old mount on {mount_point} can not be removed: {done.stderr.strip()}"
        )
