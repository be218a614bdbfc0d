"""Which failures are deliberate, and whose fault is each?

Three families. A `UserError` is something a person can see and act on: a class per failure,
with its sentence (what happened, why, what to do) and exit code. A `RemoteProtocolError` is a
peer's fault: the peer is dropped. A `LocalProtocolError` is our bug: stop. Foreign exceptions
are translated into these once, at the edge of the shell that met them. Only `cli` prints them;
only `mount` knows their errno.
"""

from typing import ClassVar


class SharefsError(Exception):
    """Whatever sharefs raises on purpose."""


class RemoteProtocolError(SharefsError):
    """A peer sent what no honest peer sends: drop what it sent, and the peer."""


class LocalProtocolError(SharefsError):
    """Our own code broke a rule of its own: a bug."""


class UserError(SharefsError):
    """A failure that a person sees: one sentence or two, and an exit code for scripts."""

    exit_code: ClassVar[int] = 1


# --- what a program meets in the mount (the errno table is `mount`'s) ---------------------------


class NoSuchEntry(UserError):
    """There is nothing under that name."""

    exit_code = 3


class EntryExists(UserError):
    """The name is taken."""


class NotAFolder(UserError):
    """A folder was expected."""


class IsAFolder(UserError):
    """A file was expected."""


class FolderNotEmpty(UserError):
    """Only an empty folder can be removed, or replaced."""


class NotAllowed(UserError):
    """The member's role, or what the entry is, does not allow it."""

    exit_code = 4


class ReadOnlySpace(UserError):
    """The member's role in this space is to read."""

    exit_code = 4


class NameTooLong(UserError):
    """A name has at most 255 bytes of UTF-8."""


class NameNotText(UserError):
    """A name must be UTF-8, or other members could not show it."""


class NameNotPossible(UserError):
    """A name that no folder can hold: empty, `.`, `..`, or with a slash or a NUL."""


class CrossSpaceMove(UserError):
    """A move between two spaces is a copy and a delete: the caller must do both."""


class NoHolderOnline(UserError):
    """Nobody who holds these bytes is online."""

    exit_code = 5


class TransferInterrupted(UserError):
    """The wait for bytes was given up by whoever asked for them."""


class TransferCancelled(UserError):
    """A person cancelled the transfer of these bytes."""


class TransferPaused(UserError):
    """A person wants these bytes not to come for now."""


class TransferRejected(UserError):
    """A person wants these bytes never to come by themselves."""


class DiskFull(UserError):
    """No room on the local disk: what was verified stays, and the rest goes on later."""

    exit_code = 6


class LocalDamage(UserError):
    """The local disk gave back something else than what was stored there."""


# --- what a person meets at the command line ----------------------------------------------------


class NotInitialised(UserError):
    """There is no identity in this home yet."""


class AlreadyInitialised(UserError):
    """This home has an identity, which `init` would replace: it refuses."""


class NodeNotRunning(UserError):
    """The command needs the node of this home, which is not up."""

    exit_code = 7


class NodeAlreadyRunning(UserError):
    """One home has one node."""


class NodeFailed(UserError):
    """The node met what it did not expect, or does not answer in time: its log says more."""

    exit_code = 70


class HomeNotUsable(UserError):
    """The home can not be created, read or written."""


class DatabaseTooNew(UserError):
    """A later sharefs wrote this database: it is left untouched."""


class DatabaseDamaged(UserError):
    """SQLite can not make sense of the database file."""


class AddressNotUsable(UserError):
    """The address to listen on is taken, or not ours."""


class MountNotPossible(UserError):
    """The mount point, or the system, does not allow a mount."""


class TicketNotValid(UserError):
    """The ticket is garbled, expired, used, revoked, or not for us."""

    exit_code = 8


class AlreadyMember(UserError):
    """The ticket leads to a space this person is in."""

    exit_code = 8


class InviterNotReachable(UserError):
    """Nobody who could admit us answers at the addresses in the ticket."""

    exit_code = 5


class NoSuchSpace(UserError):
    """No space of that name here."""

    exit_code = 3


class NotInASpace(UserError):
    """The path is not inside the mount of this node."""

    exit_code = 3


class LastCopy(UserError):
    """No other holder is known to have every byte, so the local ones stay."""

    exit_code = 9


class Pinned(UserError):
    """It is to stay here: `sharefs unpin` lets it go."""

    exit_code = 9


class NoConflict(UserError):
    """Nothing there has two versions."""

    exit_code = 3


class BadArgument(UserError):
    """A command got a value that it can not use."""

    exit_code = 2
