"""Bugs that the simulator has to find, each within few histories."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sharefs.node import desk
from sharefs.node.collection import Collection
from sharefs.node.exchange import Exchange
from sharefs.node.replica import Replica
from sharefs.records.entry import Entry
from sharefs.records.ids import DeviceId, Frontier, Incarnation, ItemId
from sharefs.records.record import ContextEntry, Record
from sharefs.sync import machine
from sharefs.sync.effects import Apply, Effect, Send
from sharefs.sync.machine import Sync
from sharefs.tree import operations, tree
from sharefs.tree.dead import is_dead
from sharefs.wire.sync import Idle, Page, Push, Summary
from tests.sim.data_history import DataHistory, quickly
from tests.sim.faults import Faults
from tests.sim.memory_store import Disk
from tests.sim.surroundings import simulated
from tests.tree.memory_shelf import MemoryShelf

HISTORIES_MAX = 1000
POWER_CUTS = Faults(crash=0.2, power_cut=0.7)


def _never_tell_again(self: Sync, now: float) -> list[Effect]:
    effects = TIMER_FIRED(self, now)
    return [e for e in effects if not isinstance(e, Send)]


def _never_answer(self: Sync, peer: DeviceId, space: machine._Space, message: Idle) -> list[Effect]:
    return []


def _never_audit(
    self: Sync, peer: DeviceId, space: machine._Space, told: Summary, now: float
) -> list[Effect]:
    return []


def _last_arrival_wins(heads: list[Record]) -> list[tuple[Record, Entry]]:
    found = dict(ENTRIES(heads))
    return [(record, found[record]) for record in reversed(heads) if record in found]


def _merge_at_every_page(
    self: Sync, peer: DeviceId, space: machine._Space, page: Page, now: float
) -> list[Effect]:
    told = dict(space.peers.get(peer, {}))
    effects = PAGE_RECEIVED(self, peer, space, page, now)
    return [replace(e, frontier=told) if isinstance(e, Apply) else e for e in effects]


def _advance_over_gaps(
    self: Sync, peer: DeviceId, space: machine._Space, push: Push, now: float
) -> list[Effect]:
    commit = push.shipment.commit
    merged = {(commit.device, commit.incarnation): commit.last}
    return [Apply(peer, push.space, (push.shipment,), merged)]


def _tell_before_it_is_durable(self: Exchange) -> None:
    told, self._committed = self._committed, []
    self._flushed(told, self._marks())


def _show_what_may_be_lost(self: Replica) -> Frontier:
    return dict(self.frontier)


def _was_never_made(self: Replica, incarnation: Incarnation, sequence: int) -> bool:
    made = self.frontier.get((self._device, incarnation), 0)
    return incarnation == self.incarnation and sequence > made


def _go_on_counting(self: Disk, with_token: bool) -> None:
    RESTORE(self, with_token=True)


def _parents_only(superseded: list[Record]) -> tuple[ContextEntry, ...]:
    return tuple(sorted(record.coordinate for record in superseded))


def _dead_by_its_own_heads(
    self: tree.Tree, changed: dict[ItemId, list[Record]], before: dict[ItemId, list[Record]]
) -> None:
    for item, heads in changed.items():
        if is_dead(heads) or is_dead(before.get(item, [])):
            self._shelf.set_dead(item, is_dead(heads))


def _forget_at_once(self: Collection, replica: Replica) -> Frontier:
    return replica.shown_frontier()


TIMER_FIRED = Sync._timer_fired
PAGE_RECEIVED = Sync._page_received
ENTRIES = tree.entries_among
RESTORE = Disk.restore

BUGS: dict[str, list[tuple[object, str, Callable[..., object]]]] = {
    "a resend removed": [(Sync, "_timer_fired", _never_tell_again)],
    "a digest that differs and is not answered": [(Sync, "_idle_received", _never_answer)],
    "an audit that is never held": [(Sync, "_audit_if_differing", _never_audit)],
    "last arrival wins": [(tree, "entries_among", _last_arrival_wins)],
    "the frontier bumped per author, by a push": [(Sync, "_push_received", _advance_over_gaps)],
    "the frontier bumped per author, by a page": [(Sync, "_page_received", _merge_at_every_page)],
    "a sequence reused after a crash": [
        (Exchange, "_flush", _tell_before_it_is_durable),
        (Replica, "shown_frontier", _show_what_may_be_lost),
        # Else it is made good: who claims more than was told reveals it (I3).
        (Replica, "was_never_told", _was_never_made),
    ],
    "a sequence reused after a restore": [(Disk, "restore", _go_on_counting)],
    "the immediate parents as context": [
        (desk, "context_of", _parents_only),
        (operations, "context_of", _parents_only),
    ],
    "a tombstone that goes before all have it": [(Collection, "stable", _forget_at_once)],
    "a folder that goes while something lives in it": [
        (tree.Tree, "_note_dead", _dead_by_its_own_heads),
        # Else what is in it holds it.
        (MemoryShelf, "is_parent", lambda *_: False),
    ],
    "a loser that its own device silently replaces": [
        (operations, "unseen_losers", lambda *_: []),
    ],
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    for owner, name, planted in BUGS[bug]:
        monkeypatch.setattr(owner, name, planted)
    with simulated(), quickly(), pytest.raises(AssertionError):
        _run_many(POWER_CUTS if "crash" in bug else None)


def _run_many(faults: Faults | None) -> None:
    for seed in range(HISTORIES_MAX):
        DataHistory(seed, faults).run()
