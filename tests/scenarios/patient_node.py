"""How does a node look that tells what is new once, and then nothing? As sharefs, but for what
makes up for messages that were lost: that does not come within a test."""

from sharefs.cli import main
from sharefs.sync import machine
from tests.scenarios.group import Node

LATER_SECONDS = 3600.0


def up_patient(node: Node) -> None:
    """Start such a node."""
    node.begin_as("tests.scenarios.patient_node")


if __name__ == "__main__":
    machine.SUMMARY_INTERVAL_SECONDS = machine.SUMMARY_DELAY_SECONDS = LATER_SECONDS
    main()
