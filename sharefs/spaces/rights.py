"""What may each role do?"""

from enum import Enum
from types import MappingProxyType


class Right(Enum):
    """One thing that a role allows."""

    READ = "read"
    CONTRIBUTE = "contribute"
    """Add entries, and change them as the space's policy says."""
    INVITE = "invite"


class Role(Enum):
    """The built-in sets of rights; custom sets are to come."""

    OWNER = "owner"
    ADMIN = "admin"
    CONTRIBUTOR = "contributor"
    READER = "reader"


RIGHTS = MappingProxyType(
    {
        Role.OWNER: frozenset({Right.READ, Right.CONTRIBUTE, Right.INVITE}),
        Role.ADMIN: frozenset({Right.READ, Right.CONTRIBUTE, Right.INVITE}),
        Role.CONTRIBUTOR: frozenset({Right.READ, Right.CONTRIBUTE}),
        Role.READER: frozenset({Right.READ}),
    }
)

INVITABLE_ROLES = (Role.ADMIN, Role.CONTRIBUTOR, Role.READER)
