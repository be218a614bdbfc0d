import pytest

from sharefs.node.quantities import (
    in_hours,
    parse_hours,
    parse_rate_or_off,
    parse_size,
    parse_size_or_off,
    parse_switch,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300 B", 300),
        ("20G", 20 * 10**9),
        ("1.5 MB", 1_500_000),
        ("64KiB", 65_536),
        ("1gi", 2**30),
        ("2t", 2 * 10**12),
        (" 7 k ", 7000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0 B", "20", "-1", "G", "5X", "5Mbit", "1e3", "5 iB", "off", "9" * 12 + "T"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_size(text)


def test_off_is_no_limit() -> None:
    assert parse_size_or_off("Off") is None
    assert parse_rate_or_off("off") is None
    assert parse_rate_or_off("5M/s") == parse_rate_or_off("5 MB / s") == 5_000_000


def test_a_switch_is_on_or_off() -> None:
    assert parse_switch("On")
    assert not parse_switch("off")
    with pytest.raises(ValueError, match="no quantity"):
        parse_switch("maybe")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("8-18", range(8, 18)),
        ("22-6", [22, 23, *range(6)]),
        ("18-24h", range(18, 24)),
        ("0 - 1", [0]),
    ],
)
def test_hours_may_go_past_midnight(text: str, hours: list[int]) -> None:
    parsed = parse_hours(text)
    assert sorted(hour for hour in range(24) if in_hours(parsed, hour)) == sorted(hours)


@pytest.mark.parametrize("text", ["", "8", "8-25", "24-3", "5-5", "0-24", "a-b"])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_hours(text)
