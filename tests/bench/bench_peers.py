"""Beside what is sharefs measured? Programs that people use for the same, each as it comes.

All traffic stays on 127.0.0.1. sshfs and rclone speak to an sshd of our own, with keys of its own.
"""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench_nodes import SHAREFS
from tests.bench.bench_plain import DISK, RSYNC, TCP
from tests.bench.bench_subjects import Pair, Subject, do, mounted, running, wait_for

PRIVILEGE_SEPARATION = Path("/run/sshd")
"""The empty folder without which an sshd of root does not start; Debian's service makes it."""
SYNCTHING_DELAY_S = 1
"""The least that Syncthing waits after a change."""


@dataclass(frozen=True, slots=True)
class _Sshd:
    port: int
    key: Path


@contextmanager
def _open_sshd(folder: Path) -> Iterator[_Sshd]:
    folder.mkdir(parents=True)
    key, host_key = folder / "key", folder / "host_key"
    for path in (key, host_key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    port = _free_port()
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    made = os.geteuid() == 0 and not PRIVILEGE_SEPARATION.exists()
    if made:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    log = folder / "sshd.log"
    try:
        with running([_sshd_program(), "-D", "-e", "-f", str(settings)], log) as process:
            wait_for(lambda: _listens(port), process, log)
            yield _Sshd(port, key)
    finally:
        if made:
            PRIVILEGE_SEPARATION.rmdir()


def _sshd_program() -> str:
    """Often not on the path of users; sshd wants to be called by its whole path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "sshd"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _open_sshfs(folder: Path) -> Iterator[Pair]:
    near, far = folder / "near", folder / "far"
    near.mkdir(parents=True)
    with _open_sshd(folder / "sshd") as sshd:
        options = {
            "IdentityFile": sshd.key,
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        command = [
            "sshfs",
            "-f",
            "-p",
            str(sshd.port),
            f"{getpass.getuser()}@127.0.0.1:{near}",
            str(far),
        ]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        with mounted(command, far, folder / "sshfs.log") as process:
            yield Pair(near, far, (process.pid,), bring=lambda path: _copied(path, folder))


def _copied(path: Path, folder: Path) -> Path:
    do("cp", path, folder / "copied")
    return folder / "copied"


@contextmanager
def _open_rclone(folder: Path) -> Iterator[Pair]:
    near, far = folder / "near", folder / "far"
    near.mkdir(parents=True)
    with _open_sshd(folder / "sshd") as sshd:
        remote = (
            f":sftp,host=127.0.0.1,port={sshd.port},user={getpass.getuser()},key_file={sshd.key}:"
        )
        command = ["rclone", "mount", f"{remote}{near}", str(far), "--config", "/dev/null"]
        command += ["--vfs-cache-mode", "full", "--cache-dir", str(folder / "cache")]
        # By default a folder that was listed stays as it is for five minutes.
        command += ["--dir-cache-time", "1s"]
        with mounted(command, far, folder / "rclone.log") as process:
            yield Pair(near, far, (process.pid,), bring=lambda path: _copied(path, folder))


@contextmanager
def _open_bindfs(folder: Path) -> Iterator[Pair]:
    near, far = folder / "near", folder / "far"
    near.mkdir(parents=True)
    with mounted(["bindfs", "-f", str(near), str(far)], far, folder / "bindfs.log"):
        yield Pair(near, far)


class _Syncthing:
    """A Syncthing with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        self.log = folder / "syncthing.log"
        self.listen, self.gui = (f"127.0.0.1:{_free_port()}" for _ in range(2))
        self._home = folder / "home"
        self.shared.mkdir(parents=True)
        self._run("generate", f"--home={self._home}", "--no-default-folder")
        self.id = self._run(f"--home={self._home}", "--device-id").strip()
        configuration = ET.parse(self._home / "config.xml").getroot()
        self._key = configuration.findtext("gui/apikey", "")

    def _run(self, *arguments: str) -> str:
        result = subprocess.run(
            ["syncthing", *arguments], check=True, capture_output=True, text=True, timeout=60
        )
        return result.stdout

    def configure(self, other: "_Syncthing") -> None:
        """Share the folder with the other, and speak to nobody else."""
        path = self._home / "config.xml"
        tree = ET.parse(path)
        top = tree.getroot()
        for device in (self, other):
            found = top.find(f"device[@id='{device.id}']")
            element = ET.SubElement(top, "device", id=device.id) if found is None else found
            for address in element.findall("address"):
                element.remove(address)
            ET.SubElement(element, "address").text = f"tcp://{device.listen}"
        folder = ET.SubElement(
            top,
            "folder",
            id="bench",
            path=str(self.shared),
            fsWatcherEnabled="true",
            fsWatcherDelayS=str(SYNCTHING_DELAY_S),
        )
        for device in (self, other):
            ET.SubElement(folder, "device", id=device.id)
        _set(top, "gui/address", self.gui)
        settings = {
            "listenAddress": f"tcp://{self.listen}",
            "globalAnnounceEnabled": "false",
            "localAnnounceEnabled": "false",
            "relaysEnabled": "false",
            "natEnabled": "false",
            "startBrowser": "false",
            "crashReportingEnabled": "false",
            "urAccepted": "-1",
            "autoUpgradeIntervalH": "0",
        }
        for name, value in settings.items():
            _set(top, f"options/{name}", value)
        tree.write(path)

    def command(self) -> list[str]:
        return [
            "syncthing",
            "serve",
            f"--home={self._home}",
            "--no-browser",
            "--no-restart",
            "--no-upgrade",
        ]

    def connected(self) -> bool:
        """Whether it has met the other, and has looked through its folder."""
        with suppress(OSError, ValueError):
            connections = self._ask("system/connections")["connections"]
            idle = self._ask("db/status?folder=bench")["state"] == "idle"
            return idle and any(connection["connected"] for connection in connections.values())
        return False

    def _ask(self, what: str) -> dict:  # type: ignore[type-arg]
        request = urllib.request.Request(
            f"http://{self.gui}/rest/{what}", headers={"X-API-Key": self._key}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)  # type: ignore[no-any-return]


def _set(top: ET.Element, path: str, value: str) -> None:
    parent, _, name = path.rpartition("/")
    above = top.find(parent)
    assert above is not None, "a generated configuration has all its parts"
    element = above.find(name)
    (ET.SubElement(above, name) if element is None else element).text = value


@contextmanager
def _open_syncthing(folder: Path) -> Iterator[Pair]:
    near, far = _Syncthing(folder / "one"), _Syncthing(folder / "two")
    near.configure(far)
    far.configure(near)
    with ExitStack() as stack:
        quiet = {"STNODEFAULTFOLDER": "1", "STNOUPGRADE": "1"}
        processes = [
            stack.enter_context(running(each.command(), each.log, quiet)) for each in (near, far)
        ]
        for each, process in zip((near, far), processes, strict=True):
            wait_for(each.connected, process, each.log)
        # It starts itself anew in a child, so both are asked.
        yield Pair(
            near.shared,
            far.shared,
            (processes[1].pid,),
            (processes[0].pid,),
            ghosts=False,
            fetch=lambda path: 0,
        )


def _version(program: str) -> str:
    result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    pattern = rf"^{program}\s+(?:version\s+)?v?(\S+)"
    found = re.search(pattern, result.stdout + result.stderr, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else "of unknown version"


SUBJECTS = (
    SHAREFS,
    DISK,
    RSYNC,
    TCP,
    Subject(
        "sshfs",
        ("sshfs", "sshd", "ssh-keygen"),
        lambda: _version("sshfs"),
        {"pair": _open_sshfs},
        "its server's plain folder is the near one",
    ),
    Subject(
        "rclone",
        ("rclone", "sshd", "ssh-keygen"),
        lambda: _version("rclone"),
        {"pair": _open_rclone},
        "mount of sftp, full cache, folders listed anew after 1 s",
    ),
    Subject(
        "bindfs",
        ("bindfs",),
        lambda: _version("bindfs"),
        {"pair": _open_bindfs},
        "mirrors a folder of this machine: FUSE, with no network",
    ),
    Subject(
        "syncthing",
        ("syncthing",),
        lambda: _version("syncthing"),
        {"pair": _open_syncthing},
        f"copies everything, {SYNCTHING_DELAY_S} s after a change",
    ),
)
