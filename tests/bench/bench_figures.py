"""How are the figures shown? A row for each, beside its target, its stretch target and its peers.

A target may be a multiple of what a peer has reached in the same run: it is known only when that
peer was measured, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sharefs.cli.display import say_table
from tests.bench.bench_subjects import Figures

NOT_MEASURED = "-"


@dataclass(frozen=True, slots=True)
class Times:
    """A multiple of a figure of a peer."""

    factor: float
    peer: str
    figure: str = ""
    """Where it is not the same one."""


Goal = float | Times


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table. Without a target it is for the record."""

    name: str
    measure: str
    label: str
    unit: str
    target: tuple[Goal, ...] = ()
    """All of them are to be reached."""
    stretch: tuple[Goal, ...] = ()
    less_is_better: bool = False

    def bound(self, goals: tuple[Goal, ...], results: Mapping[str, Figures]) -> float | None:
        """What all goals together ask for; nothing unless all peers were measured."""
        values = [self._value(goal, results) for goal in goals]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return min(known) if self.less_is_better else max(known)

    def _value(self, goal: Goal, results: Mapping[str, Figures]) -> float | None:
        if not isinstance(goal, Times):
            return goal
        reached = results.get(goal.peer, {}).get(goal.figure or self.name)
        return reached * goal.factor if isinstance(reached, int | float) else None

    def reached(self, value: float | str | None, bound: float | None) -> str:
        """Whether a bound was reached; nothing where that is not known."""
        if value is None or bound is None:
            return ""
        if isinstance(value, str):
            return "NO"
        return "yes" if (value <= bound if self.less_is_better else value >= bound) else "NO"

    def goal_cells(
        self, goals: tuple[Goal, ...], value: float | str | None, results: Mapping[str, Figures]
    ) -> list[str]:
        """What is to be reached, and whether it was."""
        bound = self.bound(goals, results)
        if bound is not None:
            sign = "<=" if self.less_is_better else ">="
            return [f"{sign} {_number(bound)}", self.reached(value, bound)]
        parts = [f"{g.factor:g} x {g.peer}" for g in goals if isinstance(g, Times)]
        return [", ".join(parts) or NOT_MEASURED, ""]


READ_1_GIB = "1 GiB ghost read by `cat`, one source"
FIGURES = (
    Figure(
        "cold read",
        "read",
        READ_1_GIB,
        "MiB/s",
        (Times(1.5, "sshfs"), Times(1.5, "rclone")),
        (Times(2.5, "sshfs"),),
    ),
    Figure("warm read", "read", "the same again", "MiB/s"),
    Figure(
        "fetch",
        "fetch",
        "`sharefs fetch` of 1 GiB, one source",
        "MiB/s",
        (Times(2, "sshfs"),),
        (Times(0.6, "rsync"),),
    ),
    Figure("three sources", "sources", "from three sources of 40 MB/s", "MB/s", (114.0,)),
    Figure(
        "sources left",
        "trouble",
        "one lies, one dies half-way: of what is left",
        "x",
        (0.9,),
    ),
    Figure("link", "link", "through 100 Mbit/s and 20 ms", "MB/s", (11.25,), (11.875,)),
    Figure("read beside", "beside", "a read beside a fetch there, p50", "ms"),
    Figure("first byte", "first", "first byte of a 1 GiB ghost, p50", "ms", (30.0,), (10.0,), True),
    Figure("far byte", "first", "a read at 90 % of it, p50", "ms", (30.0,), (10.0,), True),
    Figure("write", "write", "1 GiB copied into the mount", "MiB/s"),
    Figure(
        "published",
        "write",
        "the same until published (the disk: synced)",
        "MiB/s",
        (Times(0.5, "disk"),),
        (Times(0.8, "disk"),),
    ),
    Figure(
        "change", "change", "1 byte of 1 GiB changed until published", "s", (1.0,), (0.2,), True
    ),
    Figure("save p50", "save", "4 KiB saved until seen, p50", "ms", (20.0,), (5.0,), True),
    Figure("save p99", "save", "4 KiB saved until seen, p99", "ms", (100.0,), (30.0,), True),
    Figure("busy save p50", "busy", "the same with 1 GiB in flight, p50", "ms"),
    Figure("busy save p99", "busy", "the same with 1 GiB in flight, p99", "ms", (150.0,), (), True),
    Figure("wire insert", "wire", "1 byte put before 1 GiB: received", "MiB", (4.0,), (2.0,), True),
    Figure("wire change", "wire", "1st byte of 1 GiB changed: received", "MiB", (8.0,), (), True),
    Figure("twice", "kills", "1 GiB over 20 kills: fetched twice", "%", (1.0,), (0.1,), True),
    Figure("written again", "kills", "the same, of what was verified and written", "%"),
    Figure("received again", "kills", "the same, by what the kernel received", "%"),
    Figure(
        "tree visible", "tree", "10 000 x 1 KiB copied until seen", "files/s", (2000.0,), (5000.0,)
    ),
    Figure(
        "tree fetched", "tree", "10 000 x 1 KiB ghosts fetched", "files/s", (1000.0,), (3000.0,)
    ),
    Figure("read one by one", "grep", "1 KiB ghosts read one by one", "files/s"),
    Figure("create", "scan", "files made in the mount", "files/s"),
    Figure("scan", "scan", "scandir + stat of 20 000 ghosts", "entries/s", (10_000.0,)),
    Figure("scan again", "scan", "the same again", "entries/s"),
    Figure(
        "memory of writer",
        "memory",
        "resident, 100 000 entries, writer",
        "MiB",
        (200.0,),
        (),
        True,
    ),
    Figure(
        "memory of reader",
        "memory",
        "resident, 100 000 entries, reader",
        "MiB",
        (200.0,),
        (),
        True,
    ),
    Figure("peak", "", "memory of a node at most, of all above", "MB", (200.0,), (120.0,), True),
)


def show(results: Mapping[str, Figures], measures: Iterable[str]) -> None:
    """Print the table of what was measured, by the name of the subject."""
    chosen = {"", *measures}
    names = list(results)
    rows = []
    for figure in FIGURES:
        if figure.measure in chosen and any(figure.name in results[name] for name in names):
            ours = results.get("sharefs", {}).get(figure.name)
            cells = [_cell(results[name].get(figure.name)) for name in names]
            target = figure.goal_cells(figure.target, ours, results)
            stretch = figure.goal_cells(figure.stretch, ours, results)
            rows.append([figure.label, figure.unit, cells[0], *target, *stretch, *cells[1:]])
    columns = ["Figure", "Unit", names[0], "Target", "Met", "Stretch", "Met", *names[1:]]
    say_table(columns, rows)


def _cell(value: float | str | None) -> str:
    if value is None:
        return NOT_MEASURED
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")
