"""Which errno does a program get for which failure? The only table of them."""

import errno
import logging

from sharefs import errors

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """A request that no filesystem of ours grants, and that has no words but its errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


ERRNOS: dict[type[errors.SharefsError], int] = {
    errors.NoSuchEntry: errno.ENOENT,
    errors.EntryExists: errno.EEXIST,
    errors.NotAFolder: errno.ENOTDIR,
    errors.IsAFolder: errno.EISDIR,
    errors.FolderNotEmpty: errno.ENOTEMPTY,
    errors.NotAllowed: errno.EACCES,
    errors.ReadOnlySpace: errno.EROFS,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NameNotText: errno.EILSEQ,
    errors.NameNotPossible: errno.EINVAL,
    errors.CrossSpaceMove: errno.EXDEV,
    errors.NoHolderOnline: errno.EHOSTDOWN,
    errors.TransferInterrupted: errno.EINTR,
    errors.TransferCancelled: errno.ECANCELED,
    errors.DiskFull: errno.ENOSPC,
    errors.LocalDamage: errno.EIO,
    errors.NoSuchSpace: errno.ENOENT,
    errors.NodeNotRunning: errno.ENOTCONN,
}

_DISK_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EINVAL, errno.EROFS, errno.EMFILE, errno.ENFILE}
)
"""What the local disk says of a draft that its writer can act on."""


def errno_of(error: BaseException) -> int:
    """The errno to answer with; what nobody foresaw is EIO, and is logged with its traceback."""
    if isinstance(error, Refusal):
        return error.errno
    if isinstance(error, OSError) and error.errno in _DISK_ERRNOS:
        return error.errno
    for kind in type(error).__mro__:
        if kind in ERRNOS:
            return ERRNOS[kind]
    _log.error("an operation of the mount failed", exc_info=error)
    return errno.EIO
