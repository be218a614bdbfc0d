"""How does a person watch what travels, and stop it?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sharefs.cli import arguments, display
from sharefs.cli.commands import AsJson, LocalHome, app, client_of
from sharefs.cli.travelling import HEADINGS, NOTHING, cells
from sharefs.errors import BadArgument
from sharefs.node.reports import TransferVerb

transfers = typer.Typer(
    help="Show what is travelling; stop it, or let it go on.\n\n"
    "From and to whom, how far and how fast: on a terminal, until Ctrl-C. What you say of a folder"
    " holds for all in it, in place of what you said there before; only a reject stays, until you"
    " resume its own path.",
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
            # What draws it takes its time to load, and nothing else needs it.
            from sharefs.cli.watching import watch

            watch(client)
            return
        reports = client.transfers()
    if as_json:
        display.say_json(reports)
    elif not reports:
        display.complain(NOTHING)
    elif display.on_terminal():
        from sharefs.cli.watching import print_once

        print_once(reports)
    else:
        display.say_table(HEADINGS, [cells(report) for report in reports])


@transfers.command()
def pause(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """Fetch nothing of these for now, until `resume`.

    That holds after a restart, too. A `fetch` of them waits, and nothing of them comes by itself.
    Programs that read them get their bytes all the same, and what others fetch from you is sent.
    """
    _order(context, TransferVerb.PAUSE, paths, everything)


@transfers.command()
def resume(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """Take back a `pause`; with paths, a `reject` of just these, too."""
    _order(context, TransferVerb.RESUME, paths, everything)


@transfers.command()
def cancel(
    context: typer.Context, paths: Paths = None, everything: All = False, home: LocalHome = None
) -> None:
    """End the transfers to this device that are under way.

    A `fetch` of them fails, and a program that waits for their bytes gets the error ECANCELED.
    What came stays. They come again when they are fetched, read, or changed.
    """
    _order(context, TransferVerb.CANCEL, paths, everything)


@transfers.command()
def reject(context: typer.Context, paths: Paths = None, home: LocalHome = None) -> None:
    """Never fetch these, nor their later versions, until `resume`.

    A `fetch` of them is refused, and nothing of them comes by itself. Programs that read them get
    their bytes all the same.
    """
    _order(context, TransferVerb.REJECT, paths, False)


_DONE = {
    TransferVerb.PAUSE: "Paused",
    TransferVerb.RESUME: "Resumed",
    TransferVerb.CANCEL: "Cancelled",
    TransferVerb.REJECT: "Rejected",
}


def _order(
    context: typer.Context, verb: TransferVerb, paths: Sequence[Path] | None, everything: bool
) -> None:
    if bool(paths) == everything:
        whole = "" if verb is TransferVerb.REJECT else ", or --all"
        raise BadArgument(f"Say what to {verb}: files or folders{whole}.")
    with client_of(context) as client:
        report = client.order(verb, [arguments.absolute(path) for path in paths or []])
    if verb is TransferVerb.CANCEL:
        display.say(f"{_DONE[verb]}: {display.plural(report.count, 'transfer')}.")
    else:
        what = "" if everything else f": {display.plural(report.count, 'path')}"
        display.say(f"{_DONE[verb]}{what}.")
    if report.rejected and verb is not TransferVerb.REJECT:
        stay = display.plural(report.rejected, "path stays", "paths stay")
        display.complain(
            f"{stay} rejected: `sharefs transfers resume` with that very path takes it back."
        )
