"""How is a node run in this process?

The node and its local API start and end together. Signals to end are taken by a thread of their
own: a handler would run in the main thread, in the middle of its wait, and could wait for itself.
"""

import faulthandler
import gc
import logging
import logging.handlers
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sharefs.cli.start_report import StartPipe
from sharefs.errors import HomeNotUsable, UserError
from sharefs.web.ports import Node
from sharefs.web.server import ApiServer

LOG_SIZE_BYTES_MAX = 8 * 1024 * 1024
LOG_FILES_MAX = 2
COLLECTED_OBJECTS_MIN = 20_000
"""When so many more came than went, the collector looks at them."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunnableNode(Node, Protocol):
    """A node that can be run, once."""

    def start(self) -> None:
        """Returns when the mount serves. Raises UserErrors."""
        ...

    def wait(self) -> None:
        """Returns when `stop` has been called."""
        ...

    def close(self) -> None:
        """Unmount and end, whether or not `start` has succeeded."""
        ...


def serve(node: RunnableNode, socket_file: Path, ready: Callable[[], None]) -> None:
    """Run the node with its API until it is stopped. `ready` is called when both serve."""
    _stop_on_signals(node)
    server = ApiServer(node, socket_file)
    try:
        node.start()
        server.start()
        _spare_the_collector()
        ready()
        node.wait()
    finally:
        # The API goes first: what it would ask is about to go.
        server.stop()
        node.close()


def serve_reporting(make_node: Callable[[], RunnableNode], socket_file: Path, pipe: int) -> None:
    """As `serve`, in a background process: reports on the pipe, and raises too."""
    start = StartPipe(pipe)
    # A background process must not keep a disk busy on which it happened to be started.
    os.chdir("/")
    try:
        serve(make_node(), socket_file, lambda: start.report(None))
    except UserError as error:
        start.report(error)
        raise


def log_to(log_file: Path, also_to_terminal: bool) -> None:
    """Send the log to its file, and warnings to a terminal too. Raises HomeNotUsable."""
    try:
        to_file = logging.handlers.RotatingFileHandler(
            log_file, maxBytes=LOG_SIZE_BYTES_MAX, backupCount=LOG_FILES_MAX - 1, encoding="utf-8"
        )
    except OSError as error:
        raise HomeNotUsable(
            f"The log {log_file} can not be written ({error.strerror}): choose another home."
        ) from error
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(to_file)
    root.setLevel(logging.WARNING)
    logging.getLogger("sharefs").setLevel(logging.INFO)
    if also_to_terminal:
        to_terminal = logging.StreamHandler()
        to_terminal.setLevel(logging.WARNING)
        root.addHandler(to_terminal)
    # A crash in a library of C leaves at least its threads' stacks.
    faulthandler.enable()


def _spare_the_collector() -> None:
    """Little of what a node makes refers to itself: as Python sets it, the collector of garbage
    finds next to nothing, in a tenth of the time that many small files take."""
    gc.freeze()
    gc.set_threshold(COLLECTED_OBJECTS_MIN)


def _stop_on_signals(node: Node) -> None:
    # Threads inherit the mask, so that only the thread that waits here ever takes these signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def wait_for_signals() -> None:
        while True:
            number = signal.sigwait(STOP_SIGNALS)
            logging.getLogger(__name__).info("stopping, by %s", signal.Signals(number).name)
            node.stop()

    threading.Thread(target=wait_for_signals, name="sharefs-signals", daemon=True).start()
