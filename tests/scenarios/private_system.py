"""How does a scenario get a system in which something is missing, or too small?

A namespace of mounts of its own: what is mounted there, nobody else sees, and it goes with the last
process in it.
"""

import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.scenarios.group import Outcome, run

_UNSHARE = ["unshare", "--mount", "--propagation", "private"]


@cache
def _unshare() -> list[str]:
    """The command that makes a namespace, empty where that is not allowed."""
    for command in ([*_UNSHARE], [*_UNSHARE, "--map-root-user"]):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except OSError:
            return []
    return []


needs_private_system = pytest.mark.skipif(
    not _unshare(), reason="namespaces of mounts are not allowed here"
)
needs_small_disk = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can mount a small disk for a node to fill"
)


def in_private_system(script: str, folder: Path, command: Sequence[str | Path]) -> Outcome:
    """Run a script in `folder`, as root of a namespace, and then the command in what it made."""
    return run([*_unshare(), "bash", "-euc", f'{script}\nexec "$@"', "bash", *command], cwd=folder)


def mount_small_disk(folder: Path, size: int) -> None:
    """A disk of so many bytes at `folder`; the same again to change its size."""
    options = f"size={size}"
    if os.path.ismount(folder):
        options += ",remount"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def unmount_small_disk(folder: Path) -> None:
    """Take it away with all that is on it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
