from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sharefs.records.ids import DeviceId, Incarnation, ItemId
from sharefs.records.record import (
    STAMP_MAX,
    Record,
    context_of,
    decode_record,
    encode_record,
    sees,
    stamp_after,
)

ITEM = ItemId(b"i" * 24)
NOBODY = Incarnation(bytes(8))
Step = tuple[int, int, int, int]


def write(device: int, sequence: int, superseded: list[Record], now_ms: int) -> Record:
    return Record(
        1,
        ITEM,
        "entry",
        name(device),
        NOBODY,
        sequence,
        context_of(superseded),
        stamp_after(superseded, now_ms),
        b"",
    )


def name(device: int) -> DeviceId:
    return DeviceId(bytes([device] * 16))


def heads_of(records: list[Record]) -> list[Record]:
    heads = [r for r in records if not any(other.dominates(r) for other in records)]
    return sorted(heads, key=lambda record: record.rank)


class Group:
    """Devices with what each has received. One writes upon some of the heads it knows, and always
    upon its own: else a later context that covers its new version, and with it every smaller
    sequence of the device, would cover its other head too, which nobody had seen."""

    def __init__(self, upon_own: bool = True) -> None:
        self.known: list[list[Record]] = [[] for _ in range(3)]
        self.all: list[Record] = []
        self.seen: dict[Record, set[Record]] = {}
        """What each version was truly made from, its forebears' forebears included."""
        self._upon_own = upon_own

    def step(self, device: int, source: int, choice: int, now_ms: int) -> None:
        if source != device:
            new = [record for record in self.known[source] if record not in self.known[device]]
            self.known[device] += new
            return
        superseded = [
            head
            for at, head in enumerate(heads_of(self.known[device]))
            if choice >> at & 1 or (self._upon_own and head.device == name(device))
        ]
        sequence = 1 + sum(record.device == name(device) for record in self.all)
        record = write(device, sequence, superseded, now_ms)
        self.known[device].append(record)
        self.all.append(record)
        self.seen[record] = set(superseded).union(*(self.seen[each] for each in superseded))


steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 15), st.integers(0, 100)),
    max_size=14,
)


def group_after(taken: list[Step], upon_own: bool = True) -> Group:
    group = Group(upon_own)
    for step in taken:
        group.step(*step)
    return group


def history(taken: list[Step]) -> list[Record]:
    return group_after(taken).all


histories = steps.map(history)


@given(steps)
def test_domination_is_having_been_made_from_it(taken: list[Step]) -> None:
    group = group_after(taken)
    for later in group.all:
        for earlier in group.all:
            assert later.dominates(earlier) == (earlier in group.seen[later])


def test_a_device_with_two_heads_would_lose_one() -> None:
    taken = [(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 2, 3)]
    careless = group_after(taken, upon_own=False)
    [head] = heads_of(careless.all)
    assert careless.all[0] not in careless.seen[head]


@given(histories)
def test_what_dominates_ranks_higher(records: list[Record]) -> None:
    for a in records:
        for b in records:
            assert not a.dominates(b) or a.rank > b.rank


@given(histories)
def test_ranks_are_a_total_order(records: list[Record]) -> None:
    ranks = [record.rank for record in records]
    assert len(set(ranks)) == len(ranks)
    assert not records or max(records, key=lambda record: record.rank) in heads_of(records)


@given(histories, st.randoms(use_true_random=False))
def test_heads_do_not_depend_on_the_order_of_arrival(records: list[Record], random: Random) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    kept: list[Record] = []
    for record in shuffled:
        if not any(other.dominates(record) for other in kept):
            kept = [other for other in kept if not record.dominates(other)] + [record]
    assert heads_of(kept) == heads_of(records)


@given(histories)
def test_a_version_upon_all_heads_ends_the_conflict(records: list[Record]) -> None:
    heads = heads_of(records)
    resolved = write(9, 1000, heads, 0)
    assert heads_of([*records, resolved]) == [resolved]


@given(histories)
def test_what_a_device_writes_is_well_formed(records: list[Record]) -> None:
    for record in records:
        assert decode_record(encode_record(record)) == record
        assert not sees(record.context, record.coordinate)


def test_a_clock_at_the_end_of_time_still_lets_others_write() -> None:
    late = write(1, 1, [], STAMP_MAX)
    upon = write(2, 1, [late], 5)
    assert decode_record(encode_record(upon)) == upon
    assert upon.dominates(late)
