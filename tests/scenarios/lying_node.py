"""How does a node look that sends false bytes? As sharefs, but for a bit in every chunk."""

from collections.abc import Callable

from sharefs.cli import main
from sharefs.store.local import LocalContent
from tests.scenarios.group import Node


def up_lying(node: Node) -> None:
    """Start a node that is to serve false bytes."""
    node.begin_as("tests.scenarios.lying_node")


def _lying(
    read_chunk: Callable[[LocalContent, int], bytes],
) -> Callable[[LocalContent, int], bytes]:
    def read_false_chunk(local: LocalContent, index: int) -> bytes:
        data = read_chunk(local, index)
        return bytes([data[0] ^ 1]) + data[1:]

    return read_false_chunk


if __name__ == "__main__":
    LocalContent.read_chunk = _lying(LocalContent.read_chunk)  # type: ignore[method-assign, assignment]
    main()
