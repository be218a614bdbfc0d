"""A background process with a node in memory: FAULT SOCKET_FILE PIPE."""

import os
import signal
import sys
import threading
from pathlib import Path

from sharefs.cli.foreground import serve_reporting
from sharefs.errors import MountNotPossible
from sharefs.web.fake import FakeNode


class FaultyNode(FakeNode):
    """A node that starts as the first argument says."""

    def start(self) -> None:
        match sys.argv[1]:
            case "none":
                pass
            case "mount":
                raise MountNotPossible("The folder is not empty: choose another.")
            case "crash":
                os._exit(3)
            case "bug":
                raise ZeroDivisionError("of all things")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                threading.Event().wait()
            case fault:
                raise AssertionError(fault)


if __name__ == "__main__":
    serve_reporting(
        lambda: FaultyNode(mount="/nowhere", pid=os.getpid()), Path(sys.argv[2]), int(sys.argv[3])
    )
