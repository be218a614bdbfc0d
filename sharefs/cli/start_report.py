"""How does a background process tell how its start went?

By one line of JSON on a pipe that whoever started it reads. The pipe's end without it tells of a
crash.
"""

import contextlib
import os

import msgspec

from sharefs.errors import UserError
from sharefs.web.messages import Failure, failure_of


class StartReport(msgspec.Struct, frozen=True):
    """None means that the node serves."""

    failure: Failure | None


class StartPipe:
    """The end of the pipe that is written to, once."""

    def __init__(self, descriptor: int) -> None:
        # What the node starts must not hold the pipe open after the node has died.
        os.set_inheritable(descriptor, False)
        self._descriptor: int | None = descriptor

    def report(self, error: UserError | None) -> None:
        if self._descriptor is None:
            return
        line = msgspec.json.encode(StartReport(None if error is None else failure_of(error)))
        # Whoever started us may have given up waiting, which is no reason to end.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, line + b"\n")
        os.close(self._descriptor)
        self._descriptor = None
