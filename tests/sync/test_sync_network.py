"""Replicas become equal whatever the network does, and never claim what they lack."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sharefs.records.commit import Commit
from sharefs.records.ids import DeviceId, Frontier, item_id
from sharefs.sync import machine
from sharefs.sync.effects import Apply, Effect, Send
from sharefs.sync.machine import Sync
from sharefs.sync.shipment import entries_of, frontier_of
from sharefs.wire.audit import Records
from sharefs.wire.message import encode_message
from sharefs.wire.sync import Idle, Page, Pull, Push, Summary
from tests.sync.sync_network import SPACE, Ledger, Network

CHAOS_SECONDS = 60.0
HEALING_SECONDS = 30.0
PEACE_SECONDS = 20.0
LOST_SENDER_SEEDS = (330, 1476, 1771)


def survive(seed: int) -> Network:
    network = Network(seed, 3 + seed % 2)
    network.chaos(CHAOS_SECONDS)
    network.sent.clear()
    network.heal(HEALING_SECONDS)
    network.check_equal()
    return network


@pytest.mark.parametrize("seed", range(60))
def test_replicas_converge_after_the_network_heals(seed: int) -> None:
    survive(seed)


@pytest.mark.parametrize("seed", LOST_SENDER_SEEDS)
def test_what_a_sender_left_that_lost_its_disk_is_found_by_an_audit(seed: int) -> None:
    """The last page of a pass that was cut off brought records that no frontier claims, and nobody
    will ever claim them."""
    network = survive(seed)
    assert any(isinstance(message, Records) for message in network.sent)


def test_a_network_at_peace_says_under_100_bytes_a_round() -> None:
    network = survive(1)
    network.sent.clear()
    rounds = int(PEACE_SECONDS / machine.SUMMARY_INTERVAL_SECONDS)
    network.run_until(network.now + PEACE_SECONDS)
    links = len(network.nodes) * (len(network.nodes) - 1)
    assert links * (rounds - 1) <= len(network.sent) <= links * (rounds + 1)
    assert all(isinstance(message, Idle) for message in network.sent)
    assert all(len(encode_message(message)) < 100 for message in network.sent)


def test_what_a_sender_gets_during_a_pass_is_not_passed_by() -> None:
    overtake()


def overtake() -> None:
    """Dora pulls from Carol, who has a commit but not its record; then Carol gets the record."""
    network = Network(0, 4)
    anna, bob, carol, dora = network.nodes
    item = item_id(anna.device, bytes(8))
    for number in range(4):
        anna.author([(item_id(anna.device, number.to_bytes(8)), [])])
    for page in whole_pass(anna.ledger, bob.ledger.frontier):
        bob.ledger.take(page)
    bob.author([(item, bob.ledger.heads[item])])
    for page in whole_pass(bob.ledger, carol.ledger.frontier)[:2]:
        carol.ledger.take(page)
    first = carol.ledger.page(Pull(SPACE, (), 0, 1))
    dora.ledger.take(first)
    assert not first.complete, "the pass goes on"
    for page in whole_pass(anna.ledger, carol.ledger.frontier):
        carol.ledger.take(page)
    for page in whole_pass(carol.ledger, {}, first.cursor):
        dora.ledger.take(page)
    for node in network.nodes:
        network.check(node)


def whole_pass(sender: Ledger, frontier: Frontier, cursor: int = 0) -> list[Page]:
    pages: list[Page] = []
    while not pages or not pages[-1].complete:
        cursor = pages[-1].cursor if pages else cursor
        pages.append(sender.page(Pull(SPACE, entries_of(frontier), cursor, 1)))
    return pages


# --- the tests, tested --------------------------------------------------------------------------


def _merge_at_every_page(
    self: Sync, peer: DeviceId, space: machine._Space, page: Page, now: float
) -> list[Effect]:
    effects = PAGE_RECEIVED(self, peer, space, page, now)
    claimed = frontier_of(page.frontier)
    return [replace(e, frontier=claimed) if isinstance(e, Apply) else e for e in effects]


def _advance_over_gaps(
    self: Sync, peer: DeviceId, space: machine._Space, push: Push, now: float
) -> list[Effect]:
    commit = push.shipment.commit
    merged = {(commit.device, commit.incarnation): commit.last}
    return [Apply(peer, push.space, (push.shipment,), merged)]


def _no_rounds(self: Sync, now: float) -> list[Effect]:
    effects = TIMER_FIRED(self, now)
    return [e for e in effects if not isinstance(e, Send)]


def _stay_in_place(self: Ledger, commit: Commit, grown: bool) -> None:
    if (commit.device, commit.incarnation, commit.first) not in self.commits:
        KEEP_COMMIT(self, commit, grown)


def _go_on_after_a_rollback(self: Sync, event: object) -> list[Effect]:
    return []


def _never_answer(self: Sync, peer: DeviceId, space: machine._Space, message: Idle) -> list[Effect]:
    return []


def _never_audit(
    self: Sync, peer: DeviceId, space: machine._Space, told: Summary, now: float
) -> list[Effect]:
    return []


TIMER_FIRED = Sync._timer_fired
PAGE_RECEIVED = Sync._page_received
KEEP_COMMIT = Ledger.keep_commit


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (Sync, "_page_received", _merge_at_every_page),
        (Sync, "_push_received", _advance_over_gaps),
        (Sync, "_timer_fired", _no_rounds),
        (Sync, "_idle_received", _never_answer),
        (Sync, "_audit_if_differing", _never_audit),
        (Sync, "_rolled_back", _go_on_after_a_rollback),
        (Ledger, "keep_commit", _stay_in_place),
    ],
)
def test_a_planted_bug_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, bug: Callable[..., object]
) -> None:
    monkeypatch.setattr(owner, name, bug)
    with pytest.raises(AssertionError):
        survive_all()


def survive_all() -> None:
    overtake()
    for seed in (*LOST_SENDER_SEEDS, *range(200)):
        survive(seed)
