"""A short run of `make chaos`: three nodes, and all that can happen to them."""

from tests.scenarios.chaos import Chaos, Plan
from tests.scenarios.group import Group

SECONDS = 20.0


def test_nothing_is_lost_and_all_agree_after_chaos(group: Group) -> None:
    assert Chaos(group, Plan(seed=1, seconds=SECONDS, nodes=3)).run() == []
