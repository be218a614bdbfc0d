"""What entries are called where several want one name."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharefs.records.ids import DeviceId
from sharefs.records.shown import Shown
from sharefs.tree.names import assign_names, could_be_made, put_in_brackets, split_suffix
from tests.tree.rows import ANNA, BOB, CAROL, row

NOON = int(datetime(2026, 11, 20, 14, 3, 59, tzinfo=UTC).timestamp() * 1000)


def label(device: DeviceId) -> str:
    return {ANNA: "Anna", BOB: "Bob", CAROL: "Carol"}.get(device, "unknown")


def names_of(*rows: Shown) -> list[str]:
    names = assign_names(rows, label)
    return [names[row.ino] for row in rows]


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("report.odt", "report", ".odt"),
        ("report", "report", ""),
        ("a.b.odt", "a.b", ".odt"),
        ("data.tar.gz", "data", ".tar.gz"),
        ("data.v1.tar.zst", "data.v1", ".tar.zst"),
        (".tar.gz", ".tar", ".gz"),
        ("tar.gz", "tar", ".gz"),
        (".bashrc", ".bashrc", ""),
        (".config.toml", ".config", ".toml"),
        ("..x", "..x", ""),
        ("ends.", "ends", "."),
        ("Dr. Who and friends", "Dr. Who and friends", ""),
        ("x." + "y" * 64, "x", "." + "y" * 64),
        ("x." + "y" * 65, "x." + "y" * 65, ""),
    ],
)
def test_a_suffix_is_what_programs_take_for_one(name: str, stem: str, suffix: str) -> None:
    assert split_suffix(name) == (stem, suffix)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("report.odt", "report (Bob).odt"),
        ("data.tar.gz", "data (Bob).tar.gz"),
        (".bashrc", ".bashrc (Bob)"),
        ("x" * 255, "x" * 249 + " (Bob)"),
        ("x" * 251 + ".odt", "x" * 245 + " (Bob).odt"),
        ("é" * 127, "é" * 124 + " (Bob)"),
        ("日" * 85, "日" * 83 + " (Bob)"),
    ],
)
def test_the_contributor_stands_before_the_suffix(name: str, made: str) -> None:
    assert put_in_brackets(name, "Bob") == made
    assert could_be_made(made)


def test_an_only_entry_keeps_its_name() -> None:
    assert names_of(row("report.odt", BOB)) == ["report.odt"]


def test_the_earliest_of_two_contributors_keeps_the_name() -> None:
    later, earlier = row("report.odt", ANNA, created=2), row("report.odt", BOB, created=1)
    assert names_of(later, earlier) == ["report (Anna).odt", "report.odt"]


def test_at_the_same_moment_the_smaller_item_keeps_the_name() -> None:
    bob, anna = row("report.odt", BOB), row("report.odt", ANNA)
    assert names_of(bob, anna) == ["report (Bob).odt", "report.odt"]


def test_three_contributors_have_three_names() -> None:
    rows = [row("a.txt", device, created) for created, device in enumerate((CAROL, ANNA, BOB))]
    assert names_of(*rows) == ["a.txt", "a (Anna).txt", "a (Bob).txt"]


def test_several_of_one_contributor_are_numbered() -> None:
    rows = [row("a.txt", BOB, created) for created in range(4)]
    assert names_of(*rows) == ["a.txt", "a (Bob).txt", "a (Bob 2).txt", "a (Bob 3).txt"]


def test_a_real_name_is_never_taken_by_a_made_one() -> None:
    first, second = row("a.txt", ANNA, 1), row("a.txt", BOB, 2)
    real = row("a (Bob).txt", CAROL, 3)
    assert names_of(first, second, real) == ["a.txt", "a (Bob 2).txt", "a (Bob).txt"]


def test_a_loser_tells_its_writer_and_time() -> None:
    winner = row("report.odt", ANNA, created=1)
    loser = row("report.odt", BOB, created=1, loser=True, stamp=NOON, shown="")
    assert names_of(winner, loser) == [
        "report.odt",
        "report (conflict, Bob, 2026-11-20 14.03).odt",
    ]


def test_a_loser_never_has_the_plain_name() -> None:
    loser = row("report.odt", BOB, loser=True, stamp=NOON)
    assert names_of(loser) == ["report (conflict, Bob, 2026-11-20 14.03).odt"]


def test_two_losers_of_one_minute_are_numbered() -> None:
    losers = [row("a", BOB, created, loser=True, stamp=NOON) for created in (1, 2)]
    assert names_of(*losers) == [
        "a (conflict, Bob, 2026-11-20 14.03)",
        "a (conflict, Bob, 2026-11-20 14.03 2)",
    ]


@pytest.mark.parametrize("stamp", [0, 253_402_300_799_999, 2**62])
def test_any_stamp_makes_a_name(stamp: int) -> None:
    (name,) = names_of(row("a", BOB, loser=True, stamp=stamp))
    assert name.startswith("a (conflict, Bob, ")


@pytest.mark.parametrize(
    "who", ["/", "a/b", "x" * 64, "\N{GRINNING FACE}" * 64, "with\x00nul", "(", "é" * 64]
)
def test_any_label_makes_a_possible_name(who: str) -> None:
    rows = [row("n" * 180 + "." + "y" * 64, BOB, number) for number in range(12)]
    rows += [row("n", BOB, number, loser=True, stamp=NOON) for number in range(12)]
    names = assign_names(rows, lambda device: who)
    assert len(set(names.values())) == len(rows)
    for name in names.values():
        assert len(name.encode()) <= 255
        assert not {"/", "\x00"} & set(name)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.builds(
            row,
            st.sampled_from(["a", "a (Bob)", "a (Bob 2)", "b", "x" * 255, "x" * 254]),
            st.sampled_from([ANNA, BOB, CAROL]),
            st.integers(0, 3),
            loser=st.booleans(),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_names_are_unique_and_do_not_depend_on_the_order(rows: list[Shown], chance) -> None:  # type: ignore[no-untyped-def]
    names = assign_names(rows, label)
    assert len(set(names.values())) == len(rows)
    assert all(len(name.encode()) <= 255 for name in names.values())
    chance.shuffle(rows)
    assert assign_names(rows, label) == names
    plain = {row.name for row in rows if not row.loser}
    assert plain <= set(names.values()), "a name that somebody gave is shown"
