"""How far ahead of a reader bytes are wanted."""

import pytest

from sharefs.records.content import KIB, MIB
from sharefs.transfer.ahead import AHEAD_SIZE_BYTES_MAX, Ahead, Elsewhere, ReadAhead

SIZE = 1024 * MIB
STEP = 128 * KIB


def _read(plan: ReadAhead, start: int, end: int, step: int = STEP, rate: float = 1e9) -> int:
    """Read on from `start` at a rate. Returns where what was wanted ahead ends."""
    until, now = 0, float(start) / rate
    for at in range(start, end, step):
        match plan.read(at, at + step, now):
            case Ahead(_, begin, furthest):
                assert begin == at + step
                until = furthest
            case Elsewhere():
                until = 0
            case None:
                pass
        now += step / rate
    return until


def test_who_looks_at_the_head_gets_nothing_ahead() -> None:
    assert _read(ReadAhead(SIZE), 0, 64 * KIB, 16 * KIB) == 0


@pytest.mark.parametrize("read_mib", [1, 4, 10])
def test_no_more_is_wanted_ahead_than_was_read(read_mib: int) -> None:
    until = _read(ReadAhead(SIZE), 0, read_mib * MIB)
    assert read_mib * MIB < until <= 2 * read_mib * MIB


def test_a_fast_reader_gets_as_much_as_the_limit_ahead() -> None:
    until = _read(ReadAhead(SIZE), 0, 200 * MIB)
    assert AHEAD_SIZE_BYTES_MAX / 2 <= until - 200 * MIB <= AHEAD_SIZE_BYTES_MAX


def test_a_film_gets_about_two_seconds_ahead() -> None:
    until = _read(ReadAhead(SIZE), 0, 64 * MIB, rate=4.0 * MIB)
    assert 4 * MIB <= until - 64 * MIB <= 8 * MIB


def test_a_random_reader_gets_nothing_ahead() -> None:
    plan = ReadAhead(SIZE)
    for at in (500, 100, 900, 300, 700, 200):
        assert plan.read(at * MIB, at * MIB + 4096, 0.0) == Elsewhere()


def test_a_seek_to_the_end_and_back_lets_go_of_what_was_wanted_and_then_goes_on() -> None:
    plan = ReadAhead(SIZE)
    _read(plan, 0, 16 * MIB)
    assert plan.read(SIZE - 64 * KIB, SIZE, 1.0) == Elsewhere()
    back = plan.read(16 * MIB, 16 * MIB + STEP, 1.0)
    assert isinstance(back, Ahead)
    assert back.run == 1


def test_two_places_are_read_ahead_by_turns() -> None:
    plan = ReadAhead(SIZE)
    ahead = set()
    for at in range(0, 8 * MIB, STEP):
        for place in (0, 500 * MIB):
            answer = plan.read(place + at, place + at + STEP, 0.0)
            if isinstance(answer, Ahead):
                ahead.add(answer.run)
    assert ahead == {1, 2}


def test_reads_out_of_order_are_one_run() -> None:
    plan = ReadAhead(SIZE)
    for at in range(0, 4 * MIB, 2 * STEP):
        plan.read(at + STEP, at + 2 * STEP, 0.0)
        assert plan.read(at, at + STEP, 0.0) != Elsewhere()


def test_nothing_is_wanted_beyond_the_end() -> None:
    assert _read(ReadAhead(3 * MIB), 0, 2 * MIB) == 3 * MIB
