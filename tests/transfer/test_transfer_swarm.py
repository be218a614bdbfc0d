from random import Random

import pytest

from sharefs.records.content import MIB
from sharefs.records.ids import ContentId, DeviceId
from sharefs.transfer import bitmap, events
from sharefs.transfer.tidings import TOLD_CONTENTS_MAX, TOLD_DEVICES_MAX, Tidings
from sharefs.wire.transfer import INDEXES_MAX, Have
from tests.transfer.swarm import Swarm, rate
from tests.transfer.transfer_network import ANNA, SPACE, large_file


def test_three_who_fetch_one_file_from_one_give_each_other_most_of_it() -> None:
    file = large_file(1, 400)
    swarm = Swarm(file)
    source = swarm.join("s", 40 * MIB, file)
    fetching = [swarm.join(name, 100 * MIB) for name in "abc"]
    began = swarm.now
    waiters = [swarm.fetch(member, file) for member in fetching]
    swarm.run()
    assert all(rate(swarm, file, waiter, began) > 30 for waiter in waiters)
    assert source.sent_bytes < 1.4 * file.size
    assert all(member.received_bytes < 1.02 * file.size for member in fetching)


def test_who_comes_later_takes_from_all_who_have_some() -> None:
    file = large_file(1, 400)
    swarm = Swarm(file)
    swarm.join("s", 20 * MIB, file)
    first = swarm.join("a", 20 * MIB)
    swarm.fetch(first, file)
    swarm.run(5.0)
    late = swarm.join("b", 20 * MIB)
    waiter, began = swarm.fetch(late, file), swarm.now
    swarm.run()
    assert rate(swarm, file, waiter, began) > 20
    assert late.received_bytes < 1.02 * file.size


def test_who_has_it_all_and_leaves_leaves_a_group_that_completes_itself() -> None:
    file = large_file(1, 100)
    swarm = Swarm(file)
    source = swarm.join("s", 40 * MIB, file)
    fetching = [swarm.join(name, 100 * MIB) for name in "abc"]
    waiters = [swarm.fetch(member, file) for member in fetching]
    everything = bitmap.span(0, file.count)
    while (
        fetching[0].have.get(file.id, 0)
        | fetching[1].have.get(file.id, 0)
        | fetching[2].have.get(file.id, 0)
        != everything
    ):
        swarm.run(0.01)
    assert not swarm.satisfied
    swarm.leave(source)
    swarm.run()
    assert swarm.satisfied.keys() == set(waiters)


def test_a_liar_among_them_is_left_out_and_told_of() -> None:
    file = large_file(1, 200)
    swarm = Swarm(file)
    swarm.join("s", 40 * MIB, file)
    liar = swarm.join("l", 100 * MIB)
    liar.lies = True
    fetching = [swarm.join(name, 100 * MIB) for name in "ab"]
    waiters = [swarm.fetch(member, file) for member in (liar, *fetching)]
    swarm.run()
    assert swarm.satisfied.keys() == set(waiters)
    for member in fetching:
        assert {report.device for report in member.reports} == {liar.device}


@pytest.mark.parametrize("seed", range(12))
def test_whoever_comes_and_goes_those_who_stay_get_everything(seed: int) -> None:
    draw = Random(seed)
    files = [large_file(number, draw.randint(20, 80)) for number in range(2)]
    swarm = Swarm(*files)
    swarm.join("s", 30 * MIB, *files)
    waiters: list[int] = []
    for name in "abcdef":
        member = swarm.join(name, draw.choice([2, 20, 200]) * MIB)
        member.latency_s = draw.choice([0.001, 0.03, 0.2])
        stays = draw.random() < 0.6
        told = [swarm.fetch(member, file) for file in files]
        waiters += told if stays else []
        swarm.run(draw.random())
        if draw.random() < 0.3:
            # It frees what it has while others ask it for that.
            member.have[files[0].id] = 0
            swarm.do(member, events.Freed(files[0].id))
        if not stays:
            swarm.leave(member)
    swarm.run()
    assert not [waiter for waiter in waiters if waiter not in swarm.satisfied]


# --- what is told ---------------------------------------------------------------------------------

CONTENT = ContentId(bytes(32))


def news(tidings: Tidings, here: int) -> list[tuple[DeviceId, Have]]:
    return list(tidings.news(CONTENT, here))


def test_what_came_is_told_once_and_in_parts() -> None:
    tidings = Tidings()
    tidings.offered(ANNA, SPACE, CONTENT, bitmap.span(0, 10))
    many = bitmap.span(0, 10 + 2 * INDEXES_MAX)
    told = [have.indexes for _, have in news(tidings, many)]
    assert [index for part in told for index in part] == list(range(10, 10 + 2 * INDEXES_MAX))
    assert max(map(len, told)) == INDEXES_MAX
    assert not news(tidings, many)


def test_what_went_and_came_again_is_told_again() -> None:
    tidings = Tidings()
    tidings.offered(ANNA, SPACE, CONTENT, 0b11)
    assert not news(tidings, 0b01)
    assert [have.indexes for _, have in news(tidings, 0b11)] == [(1,)]


def test_who_is_gone_is_told_nothing() -> None:
    tidings = Tidings()
    tidings.offered(ANNA, SPACE, CONTENT, 0)
    assert tidings.awaited(CONTENT)
    tidings.gone(ANNA)
    assert not tidings.awaited(CONTENT)
    assert not news(tidings, 0b11)


def test_the_latest_who_asked_are_remembered() -> None:
    tidings = Tidings()
    for number in range(TOLD_DEVICES_MAX + 1):
        tidings.offered(DeviceId(bytes([number]) * 16), SPACE, CONTENT, 0)
    told = [device[0] for device, _ in news(tidings, 1)]
    assert told == list(range(1, TOLD_DEVICES_MAX + 1))
    for number in range(TOLD_CONTENTS_MAX):
        tidings.offered(ANNA, SPACE, ContentId(number.to_bytes(2, "big") * 16), 0)
    assert len(tidings._told) == TOLD_CONTENTS_MAX
