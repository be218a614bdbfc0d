"""How do transfers look on a terminal while they go on?

Apart from the command, since what draws takes its time to load.
"""

from contextlib import suppress
from time import sleep as _pause

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sharefs.cli import display
from sharefs.cli.travelling import HEADINGS, NOTHING, cells
from sharefs.node.reports import TransferReport
from sharefs.web.client import Client

REFRESH_SECONDS = 0.5
BAR_WIDTH = 8
BAR_TERMINAL_WIDTH_MIN = 100
PATH_WIDTH_MIN = 16
OTHERS_WIDTH = 90
"""Of all columns but the path's, as a rule."""
_WIDTHS = (3, 8, 5, 8, 10, 5, 0)


def watch(client: Client) -> None:
    """Show them until Ctrl-C. Raises UserErrors."""
    with (
        suppress(KeyboardInterrupt),
        Live(console=Console(force_terminal=True), auto_refresh=False) as live,
    ):
        while True:
            live.update(picture(client.transfers(), *live.console.size), refresh=True)
            _pause(REFRESH_SECONDS)


def picture(reports: list[TransferReport], width: int, height: int) -> RenderableType:
    """What is shown of transfers on a terminal of this size."""
    if not reports:
        return Text(NOTHING)
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    path_width = max(width - OTHERS_WIDTH, PATH_WIDTH_MIN)
    for heading, column_width in zip(HEADINGS, (path_width, *_WIDTHS), strict=True):
        table.add_column(heading, no_wrap=True, min_width=column_width)
    # A line for the headings, one for what is left out, and one below.
    shown = reports[: max(1, height - 3)]
    for report in shown:
        path, *others = (_on_a_line(cell) for cell in cells(report))
        way, state, done, *rest = map(Text, others)
        if report.direction == "in" and report.size and width >= BAR_TERMINAL_WIDTH_MIN:
            done = Text.assemble(f"{done.plain:>5} ", _bar(report.done / report.size))
        table.add_row(Text(_end_of(path, path_width)), way, state, done, *rest)
    more = len(reports) - len(shown)
    return Group(table, Text(f"and {more} more")) if more else table


def _bar(share: float) -> Text:
    full = round(BAR_WIDTH * share)
    return Text.assemble(("━" * full, "green"), ("━" * (BAR_WIDTH - full), "dim"))


def _end_of(path: str, width: int) -> str:
    """The part that tells most."""
    return path if len(path) <= width else f"…{path[1 - width :]}"


def _on_a_line(cell: str) -> str:
    return display.printable(cell).replace("\n", "\\n")
