"""Bugs that the histories of whole nodes have to find, each within few of them."""

from collections.abc import Callable

import pytest

from sharefs.errors import SharefsError
from sharefs.mount.core import Core
from sharefs.node.exchange import Exchange
from sharefs.node.replica import Replica
from sharefs.records.ids import Frontier
from sharefs.spaces.roster import Roster
from sharefs.store.connection import Writer
from sharefs.transfer import devices
from tests.sim import whole_node
from tests.sim.faults import Faults
from tests.sim.surroundings import simulated
from tests.sim.whole_history import WholeHistory
from tests.sim.whole_node import whole

HISTORIES_MAX = 100
FAULTS = Faults(crash=0.2, power_cut=0.7)
A_LIAR = Faults(liar=True, forge=0.3, replay=0.3, oversize=0.1, withhold=0.3, equivocate=0.6)


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


LIES: dict[str, tuple[object, str, Callable[..., object]]] = {
    "signatures that nobody verifies": (whole_node._RememberedKey, "verify", lambda *_: None),
    "bytes that nobody verifies": (devices, "verify_whole", lambda *_: None),
    "rights that nobody asks for": (Roster, "may", lambda *_: True),
    "a contradiction that nobody looks for": (
        Replica,
        "_check_for_contradiction",
        lambda *_: None,
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    for owner, name, planted in BUGS[bug]:
        monkeypatch.setattr(owner, name, planted)
    with simulated(), whole(), pytest.raises((AssertionError, SharefsError)):
        _run_many(FAULTS)


@pytest.mark.parametrize("bug", LIES)
def test_a_lie_that_is_believed_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    monkeypatch.setattr(*LIES[bug])
    with simulated(), whole(), pytest.raises((AssertionError, SharefsError)):
        _run_many(A_LIAR)


def _run_many(faults: Faults) -> None:
    for seed in range(HISTORIES_MAX):
        WholeHistory(seed, faults).run()
