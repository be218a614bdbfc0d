"""How are the figures shown? A row for each, beside its target and its peers."""

from collections.abc import Iterable
from dataclasses import dataclass

from sharefs.cli.display import say_table
from tests.bench.bench_measures import Figures

NOT_MEASURED = "-"


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table. Without a target it is for the record."""

    name: str
    measure: str
    label: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    def target(self) -> str:
        if self.at_most is not None:
            return f"<= {_number(self.at_most)}"
        return NOT_MEASURED if self.at_least is None else f">= {_number(self.at_least)}"

    def met(self, value: float | str | None) -> str:
        """Whether the target was reached; nothing where there is none."""
        if value is None or (self.at_most is None and self.at_least is None):
            return ""
        if isinstance(value, str):
            return "NO"
        above = self.at_least is None or value >= self.at_least
        return "yes" if above and (self.at_most is None or value <= self.at_most) else "NO"


FIGURES = (
    Figure("save p50", "save", "4 KiB saved until seen, p50", "ms", at_most=50),
    Figure("save p99", "save", "4 KiB saved until seen, p99", "ms"),
    Figure("write", "read", "1 GiB written into the mount", "MiB/s"),
    Figure("cold read", "read", "1 GiB ghost read through the mount", "MiB/s", at_least=150),
    Figure("whole after", "read", "1 GiB from its save until read or whole", "s"),
    Figure("warm read", "read", "1 GiB read again", "MiB/s"),
    Figure("tree visible", "tree", "10 000 x 1 KiB copied until seen", "files/s", at_least=1000),
    Figure("tree fetched", "tree", "10 000 x 1 KiB ghosts fetched", "files/s", at_least=300),
    Figure("read one by one", "grep", "1 KiB ghosts read one by one", "files/s"),
    Figure("create", "scan", "files made in the mount", "files/s"),
    Figure("scan", "scan", "scandir + stat of 20 000 ghosts", "entries/s", at_least=10_000),
    Figure("scan again", "scan", "the same again", "entries/s"),
    Figure("memory of writer", "memory", "resident, 100 000 entries, writer", "MiB", at_most=200),
    Figure("memory of reader", "memory", "resident, 100 000 entries, reader", "MiB", at_most=200),
    Figure("wire change", "wire", "received: 1st byte of 1 GiB changed", "MiB", at_most=8),
    Figure("wire insert", "wire", "received: 1 byte put before 1 GiB", "MiB", at_most=8),
)


def show(results: dict[str, Figures], measures: Iterable[str]) -> None:
    """Print the table of what was measured, by the name of the subject."""
    chosen = set(measures)
    names = list(results)
    rows = []
    for figure in FIGURES:
        if figure.measure in chosen:
            ours = results.get("sharefs", {}).get(figure.name)
            cells = [_cell(results[name].get(figure.name)) for name in names]
            row = [figure.label, figure.unit, *cells]
            rows.append([*row[:3], figure.target(), figure.met(ours), *row[3:]])
    say_table(["Figure", "Unit", names[0], "Target", "Met", *names[1:]], rows)


def _cell(value: float | str | None) -> str:
    if value is None:
        return NOT_MEASURED
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")
