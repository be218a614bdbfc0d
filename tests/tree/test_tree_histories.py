"""The incremental view equals the one computed from scratch, whatever happened in what order."""

import random
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharefs.records.record import Record
from tests.tree.histories import DEVICES, ORDINARY, Replica, Step, Verb, World, steps

LIMITS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@LIMITS
@given(steps(ORDINARY, 30))
def test_the_view_follows_from_the_heads_after_every_step(history: list[Step]) -> None:
    World().run(history)


@LIMITS
@given(steps(tuple(Verb), 30))
def test_the_view_follows_from_the_heads_when_members_lie(history: list[Step]) -> None:
    World().run(history)


@LIMITS
@given(steps(ORDINARY, 30), st.randoms(use_true_random=False))
def test_replicas_with_the_same_records_show_the_same(
    history: list[Step], chance: random.Random
) -> None:
    world = World()
    world.run(history)
    for replica in world.replicas:
        deliver_in_disorder(replica, world.records, chance)
    fresh = Replica(DEVICES[0])
    deliver_in_disorder(fresh, world.records, chance)
    views = [replica.view() for replica in (*world.replicas, fresh)]
    assert all(view == views[0] for view in views)


def deliver_in_disorder(replica: Replica, records: Sequence[Record], chance: random.Random) -> None:
    queue = [*records, *chance.sample(records, len(records) // 3)]
    chance.shuffle(queue)
    while queue:
        batch = [queue.pop() for _ in range(min(len(queue), chance.choice((1, 1, 2, 7))))]
        replica.receive(*batch)
        replica.check()
