"""What the simulated network hears when all is well."""

from sharefs.sync import machine
from sharefs.wire.message import decode_message
from sharefs.wire.sync import Idle
from tests.sim.data_history import DataHistory, quickly
from tests.sim.faults import PEACE
from tests.sim.network import Frames
from tests.sim.surroundings import simulated

PEACE_SECONDS = 20.0


def test_a_network_at_peace_says_under_100_bytes_a_round() -> None:
    with simulated(), quickly():
        history = DataHistory(1, PEACE)
        history.run()
        said: list[Frames] = []
        for device in history.devices:
            device.overheard = said
        history.agenda.run_until(history.agenda.now + PEACE_SECONDS)
    links = len(history.devices) * (len(history.devices) - 1)
    rounds = int(PEACE_SECONDS / machine.SUMMARY_INTERVAL_SECONDS)
    assert links * (rounds - 1) <= len(said) <= links * (rounds + 1)
    assert all(isinstance(decode_message(header), Idle) for (header,) in said)
    assert all(len(header) < 100 for (header,) in said)
