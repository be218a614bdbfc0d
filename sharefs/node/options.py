"""What can a node be told when it starts?"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What `up` was told. None stands for the default, or what was used before."""

    listen: str | None = None
    """`HOST:PORT`; port 0 for any. Bulk goes over the next port."""
    mount: Path | None = None
    discovery: bool = True
    announce: str | None = None
    """`HOST:PORT` where others reach what listens here; bulk over the next port."""
