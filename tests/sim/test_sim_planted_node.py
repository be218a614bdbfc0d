"""Bugs that the histories of whole nodes have to find, each within few of them."""

from collections.abc import Callable

import pytest

from sharefs.errors import SharefsError
from sharefs.mount.core import Core
from sharefs.node.exchange import Exchange
from sharefs.node.replica import Replica
from sharefs.records.ids import Frontier
from sharefs.store.connection import Writer
from tests.sim.faults import Faults
from tests.sim.surroundings import simulated
from tests.sim.whole_history import WholeHistory
from tests.sim.whole_node import whole

HISTORIES_MAX = 100
FAULTS = Faults(crash=0.2, power_cut=0.7)


def _tell_before_it_is_durable(self: Exchange) -> None:
    told, self._committed = self._committed, []
    self._flushed(told, self._marks())


def _show_what_may_be_lost(self: Replica) -> Frontier:
    return dict(self.frontier)


def _at_once(self: Writer, call: Callable[[], None]) -> None:
    call()


BUGS: dict[str, list[tuple[object, str, Callable[..., object]]]] = {
    "a sequence reused after a power cut": [
        (Exchange, "_flush", _tell_before_it_is_durable),
        (Replica, "shown_frontier", _show_what_may_be_lost),
    ],
    "a draft removed before its record is durable": [(Writer, "after_durable", _at_once)],
    "drafts of a killed node that nobody publishes": [(Core, "restore", lambda *_: None)],
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    for owner, name, planted in BUGS[bug]:
        monkeypatch.setattr(owner, name, planted)
    with simulated(), whole(), pytest.raises((AssertionError, SharefsError)):
        _run_many()


def _run_many() -> None:
    for seed in range(HISTORIES_MAX):
        WholeHistory(seed, FAULTS).run()
