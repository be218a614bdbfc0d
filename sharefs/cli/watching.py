"""How do transfers look on a terminal while they go on?

Apart from the command, since what draws takes its time to load.
"""

from contextlib import suppress
from time import sleep as _pause

from rich.cells import set_cell_size
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
DEVICES_PART = 3
"""Devices get at most a third of what the figures leave, and the path the rest."""
_HEADINGS = [Text(heading) for heading in HEADINGS]


def watch(client: Client) -> None:
    """Show them until Ctrl-C. Raises UserErrors."""
    with (
        suppress(KeyboardInterrupt),
        Live(console=Console(force_terminal=True), auto_refresh=False) as live,
    ):
        while True:
            live.update(picture(client.transfers(), *live.console.size), refresh=True)
            _pause(REFRESH_SECONDS)


def print_once(reports: list[TransferReport]) -> None:
    """All of them, on a terminal."""
    console = Console()
    console.print(picture(reports, console.width, len(reports) + 3))


def picture(reports: list[TransferReport], width: int, height: int) -> RenderableType:
    """What is shown of transfers on a terminal of this size."""
    if not reports:
        return Text(NOTHING)
    # A line for the headings, one for what is left out, and one below.
    shown = reports[: max(1, height - 3)]
    rows = [_row(report, width) for report in shown]
    widths = [
        max(cell.cell_len for cell in column) for column in zip(_HEADINGS, *rows, strict=True)
    ]
    # There is a space between two columns.
    left = width - sum(widths[1:-1]) - len(widths) + 1
    devices_width_max = max(left // DEVICES_PART, _HEADINGS[-1].cell_len)
    if widths[-1] > devices_width_max:
        for report, row in zip(shown, rows, strict=True):
            row[-1] = Text(", ".join(display.on_a_line(source.name) for source in report.sources))
        widest = max(row[-1].cell_len for row in (_HEADINGS, *rows))
        widths[-1] = min(widest, devices_width_max)
    widths[0] = min(widths[0], left - widths[-1])
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for heading, column_width in zip(_HEADINGS, widths, strict=True):
        table.add_column(heading, no_wrap=True, width=max(column_width, heading.cell_len))
    for path, *others in rows:
        table.add_row(_shortened(path, widths[0]), *others)
    more = len(reports) - len(shown)
    return Group(table, Text(f"and {more} more")) if more else table


def _row(report: TransferReport, width: int) -> list[Text]:
    path, way, state, done, *rest = (Text(display.on_a_line(cell)) for cell in cells(report))
    if report.direction == "in" and report.size and width >= BAR_TERMINAL_WIDTH_MIN:
        done = Text.assemble(f"{done.plain:>5} ", _bar(report.done / report.size))
    return [path, way, state, done, *rest]


def _bar(share: float) -> Text:
    full = round(BAR_WIDTH * share)
    return Text.assemble(("━" * full, "green"), ("━" * (BAR_WIDTH - full), "dim"))


def _shortened(path: Text, width: int) -> Text:
    """Without its middle, which tells least."""
    if path.cell_len <= width:
        return path
    room = width - 1
    end = Text(set_cell_size(path.plain[::-1], room - room // 3)[::-1])
    return Text.assemble(set_cell_size(path.plain, room // 3), "…", end)
