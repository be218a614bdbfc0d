"""What is measured? Each measure by its name, with the setting that it wants.

In an order in which none spoils the next one: some disks are slow for minutes after many files were
made and deleted, so that measures of many files come last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import bench_large, bench_links, bench_small
from tests.bench.bench_parts import Scale
from tests.bench.bench_subjects import Figures


@dataclass(frozen=True, slots=True)
class Measure:
    """From what a subject opens to figures."""

    take: Callable[[Any, Path, Scale], Figures]
    setting: str = "pair"


MEASURES = {
    "read": Measure(bench_large.read),
    "fetch": Measure(bench_large.fetch),
    "first": Measure(bench_large.first),
    "write": Measure(bench_large.write),
    "change": Measure(bench_large.change),
    "wire": Measure(bench_large.wire),
    "sources": Measure(bench_links.sources, "sources"),
    "trouble": Measure(bench_links.trouble, "trouble"),
    "link": Measure(bench_links.link, "link"),
    "beside": Measure(bench_links.beside, "link"),
    "kills": Measure(bench_links.kills, "kills"),
    "save": Measure(bench_small.save),
    "busy": Measure(bench_small.busy),
    "tree": Measure(bench_small.tree),
    "grep": Measure(bench_small.grep),
    "scan": Measure(bench_small.scan),
    "memory": Measure(bench_small.memory),
}
