"""How does a person tell the node what to do?

The only room that prints and exits. Results go to standard output and everything else to standard
error, so that output can be piped; a failure is one sentence (what, why, what to do) and an exit
code.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from sharefs.cli import doctoring as doctoring
from sharefs.cli import peering as peering
from sharefs.cli import pinning as pinning
from sharefs.cli import setting as setting
from sharefs.cli import transferring as transferring
from sharefs.cli.commands import Invocation, app
from sharefs.cli.display import complain
from sharefs.errors import DiskFull, UserError

UNEXPECTED_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    invocation = Invocation()
    try:
        try:
            app(args=arguments, prog_name="sharefs", obj=invocation)
        finally:
            # What does not go out now, Python would complain of at its end.
            if sys.stdout is not None:
                sys.stdout.flush()
    except UserError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EPIPE):
            # Python would try again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if error.errno == errno.EPIPE:
                sys.exit(1)
            complain("There is no room for what was to be printed.")
            sys.exit(DiskFull.exit_code)
        complain(_note_unexpected(invocation, error))
        sys.exit(UNEXPECTED_EXIT_CODE)
    except Exception as error:
        complain(_note_unexpected(invocation, error))
        sys.exit(UNEXPECTED_EXIT_CODE)
    sys.exit(0)


def _note_unexpected(invocation: Invocation, error: Exception) -> str:
    """Write the traceback to the log, and return the sentence that says where it is."""
    what = f"Something unexpected happened ({type(error).__name__}), which is a mistake in sharefs"
    report = "".join(traceback.format_exception(error))
    try:
        log_file = invocation.home.log_file
        with log_file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(report)
    except (OSError, UserError):
        return f"{what}. Its log can not be written, so here is what it would hold.\n{report}"
    return f"{what}: {log_file} holds what there is to report."
