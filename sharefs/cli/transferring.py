"""How does a person watch what travels, and stop it?"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep as _pause
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sharefs.cli import arguments, display
from sharefs.cli.commands import AsJson, LocalHome, app, client_of
from sharefs.errors import BadArgument
from sharefs.node.reports import TransferReport, TransferVerb
from sharefs.web.client import Client

REFRESH_SECONDS = 0.5
BAR_WIDTH = 8
BAR_TERMINAL_WIDTH_MIN = 100
PATH_WIDTH_MIN = 16
OTHERS_WIDTH = 90
"""Of all columns but the path's, as a rule."""

transfers = typer.Typer(
    help="Show what is travelling, from and to whom, how far and how fast; stop it, or let it go"
    " on. On a terminal, until Ctrl-C.",
    rich_markup_mode=None,
)
app.add_typer(transfers, name="transfers", invoke_without_command=True)

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", readable=False, help="Files or folders in the mount."),
]
All = Annotated[bool, typer.Option("--all", help="Everything, instead of paths.")]


@transfers.callback()
def show(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Print it once, on a terminal too.")] = False,
    as_json: AsJson = False,
    home: LocalHome = None,
) -> None:
    if context.invoked_subcommand is not None:
        return
    with client_of(context) as client:
        if display.on_terminal() and not (once or as_json):
            _watch(client)
            return
        reports = client.transfers()
    if as_json:
        display.say_json(reports)
    elif reports:
        display.say_table(_HEADINGS, [_cells(report) for report in reports])
    else:
        display.complain(_NOTHING)


@transfers.command()
def pause(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """Fetch nothing of these for now, also after a restart, until `resume`.

    A `fetch` of them waits, and nothing of them comes by itself. Programs that read them get their
    bytes all the same, and what others fetch from you is sent.
    """
    count = _order(context, TransferVerb.PAUSE, paths, everything)
    display.say("Paused." if everything else f"Paused: {display.plural(count, 'path')}.")


@transfers.command()
def resume(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """Take back a `pause`; with paths, a `reject`, too."""
    count = _order(context, TransferVerb.RESUME, paths, everything)
    display.say("Resumed." if everything else f"Resumed: {display.plural(count, 'path')}.")


@transfers.command()
def cancel(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """End the transfers to this device that are under way.

    A `fetch` of them fails, and a program that waits for their bytes gets the error ECANCELED.
    What came stays. They come again when they are fetched, read, or changed.
    """
    count = _order(context, TransferVerb.CANCEL, paths, everything)
    display.say(f"Cancelled: {display.plural(count, 'transfer')}.")


@transfers.command()
def reject(context: typer.Context, paths: Paths = None, home: LocalHome = None) -> None:
    """Never fetch these, nor their later versions, until `resume`.

    A `fetch` of them is refused, and nothing of them comes by itself. Programs that read them get
    their bytes all the same.
    """
    count = _order(context, TransferVerb.REJECT, paths, False)
    display.say(f"Rejected: {display.plural(count, 'path')}.")


def _order(
    context: typer.Context, verb: TransferVerb, paths: Sequence[Path] | None, everything: bool
) -> int:
    if bool(paths) == everything:
        whole = "" if verb is TransferVerb.REJECT else ", or --all"
        raise BadArgument(f"Say what to {verb}: files or folders{whole}.")
    with client_of(context) as client:
        return client.order(verb, [arguments.absolute(path) for path in paths or []]).count


# --- what it looks like ---------------------------------------------------------------------------

_HEADINGS = ["Path", "Way", "State", "Done", "Size", "Speed", "Left", "Devices"]
_WIDTHS = (3, 8, 5, 8, 10, 5, 0)
_NOTHING = "Nothing is travelling."


def _watch(client: Client) -> None:
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
        return Text(_NOTHING)
    table = Table(box=None, header_style="bold", pad_edge=False, expand=True)
    path_width = max(width - OTHERS_WIDTH, PATH_WIDTH_MIN)
    for heading, column_width in zip(_HEADINGS, (path_width, *_WIDTHS), strict=True):
        table.add_column(heading, no_wrap=True, min_width=column_width)
    # A line for the headings, one for what is left out, and one below.
    shown = reports[: max(1, height - 3)]
    for report in shown:
        path, *others = (_on_a_line(cell) for cell in _cells(report))
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


def _cells(report: TransferReport) -> list[str]:
    return [
        report.path,
        report.direction,
        report.state,
        _done(report),
        display.size(report.size) if report.size else "",
        display.rate(report.bytes_per_second) if report.bytes_per_second else "",
        _left(report),
        ", ".join(
            f"{source.name} {display.rate(source.bytes_per_second)}" for source in report.sources
        ),
    ]


def _done(report: TransferReport) -> str:
    if report.direction == "out":
        return display.size(report.done)
    return f"{100 * report.done // report.size} %" if report.size else ""


def _left(report: TransferReport) -> str:
    """How long it will still take at this speed."""
    if report.direction == "out" or report.bytes_per_second < 1:
        return ""
    return display.duration((report.size - report.done) / report.bytes_per_second)
