"""How is a node started in the background, and how is it stopped?

`start` runs `sharefs up --foreground` as a process of its own session and waits for its StartReport
on a pipe, so that the person reads the node's own sentence when it fails. `stop` waits for the
process to end, which is when its mount is gone. A double fork and a file of the process's number
were rejected: the node's lock and its API tell both, and can not be stale.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from sharefs.cli.start_report import StartReport
from sharefs.errors import HomeNotUsable, NodeFailed, NodeNotRunning
from sharefs.web.client import Client
from sharefs.web.messages import error_of

START_S_MAX = 90.0
"""Opening a large database after a crash takes its time."""
STOP_S_MAX = 60.0
"""Publishing what programs have just closed takes its time, too."""
END_S_MAX = 15.0
"""How long a node that failed to start may take to clean up, before it is killed."""
PIPE = "{pipe}"
REPORT_SIZE_BYTES_MAX = 64 * 1024


def start(command: Sequence[str], log_file: Path) -> "subprocess.Popen[bytes]":
    """Run the command in the background until it reports that it serves. Raises what it reports.

    PIPE in the command becomes the number of the descriptor to report on. After a failure
    nothing of the process is left.
    """
    reader, writer = os.pipe()
    said_before = log_file.stat().st_size if log_file.exists() else 0
    try:
        process = _spawn(
            [str(writer) if part == PIPE else part for part in command], writer, log_file
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    served = False
    try:
        report = _read_report(reader, log_file)
        if report is None:
            raise NodeFailed(
                f"The node ended while it was starting: {_reason(process, log_file, said_before)}."
                f" {log_file} tells more."
            )
        if report.failure is not None:
            raise error_of(report.failure)
        served = True
        return process
    finally:
        os.close(reader)
        if not served:
            _end(process)


def _spawn(command: Sequence[str], writer: int, log_file: Path) -> "subprocess.Popen[bytes]":
    try:
        with log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writer],
                start_new_session=True,
            )
    except OSError as error:
        raise HomeNotUsable(
            f"The node can not be started with {log_file} as its log ({error.strerror}):"
            " choose another home."
        ) from error


def _read_report(reader: int, log_file: Path) -> StartReport | None:
    """None if the process ended without one."""
    deadline = time.monotonic() + START_S_MAX
    data = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not data.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise NodeFailed(
                f"The node did not start within {START_S_MAX:.0f} seconds: {log_file} may say why."
            )
        piece = os.read(reader, REPORT_SIZE_BYTES_MAX)
        if not piece:
            return None
        data += piece
    return msgspec.json.decode(data, type=StartReport)


def _reason(process: "subprocess.Popen[bytes]", log_file: Path, said_before: int) -> str:
    """Why the process ended: the last that it said, or else how."""
    try:
        code = process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        return "it closed its pipe, and went on"
    if code < 0:
        return f"it was ended by signal {-code} ({signal.strsignal(-code)})"
    with suppress(OSError), log_file.open("rb") as log:
        log.seek(max(said_before, log_file.stat().st_size - REPORT_SIZE_BYTES_MAX))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        said = [line for line in lines if line]
        if said:
            return said[-1].rstrip(".")
    return f"it said nothing (exit code {code})"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let the process clean up, or else kill it with whatever it started."""
    process.terminate()
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def node_command(home: Path | None, options: Sequence[str]) -> list[str]:
    """The command line of a node in the background."""
    at = [] if home is None else ["--home", os.fspath(home)]
    return [
        sys.executable,
        "-m",
        "sharefs",
        *at,
        "up",
        "--foreground",
        "--report",
        PIPE,
        *options,
    ]


def stop(client: Client, log_file: Path) -> None:
    """Stop the node that the client speaks to, and wait until it has ended. Raises UserErrors."""
    status = client.status()
    try:
        # A descriptor of the process and not its number, which may be given to another at any time.
        process = os.pidfd_open(status.pid)
    except ProcessLookupError as error:
        raise NodeNotRunning("The node is not running: start it with `sharefs up`.") from error
    try:
        # It may be gone before it has answered.
        with suppress(NodeNotRunning):
            client.stop()
        client.close()
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(STOP_S_MAX * 1000):
            raise NodeFailed(
                f"The node (process {status.pid}) is still at work after {STOP_S_MAX:.0f} seconds:"
                f" {log_file} may say why. It ends when it is done."
            )
    finally:
        os.close(process)
    if os.path.ismount(status.mount):
        raise NodeFailed(
            f"The node has ended, but {status.mount} is still mounted: close what uses it, and"
            " run `fusermount3 -u -z` on it."
        )
