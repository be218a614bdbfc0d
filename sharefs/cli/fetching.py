"""How is a fetch shown while it runs?

On a terminal by a bar, else by one line when it has ended.
"""

import sys
from collections.abc import Iterator

import typer

from sharefs.cli import display
from sharefs.errors import NodeFailed
from sharefs.node.reports import FetchProgress
from sharefs.web.client import Client

INTERRUPTED_EXIT_CODE = 130
"""As shells tell of a program that SIGINT ended."""


def fetch_and_show(client: Client, paths: list[str]) -> list[tuple[str, str]]:
    """Fetch, show how it goes, and return the failures. Ctrl-C ends the fetch, and the command."""
    try:
        with client.fetch(paths) as steps:
            steps = _told_of_pauses(steps)
            last = _show_bar(steps) if display.on_terminal() else _last(steps)
    except KeyboardInterrupt:
        display.complain("Stopped. What arrived stays, and `sharefs fetch` goes on from there.")
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
    display.complain_of(last.failures)
    display.say(_summary(last))
    return last.failures


def _summary(last: FetchProgress) -> str:
    failed = f", {len(last.failures)} failed" if last.failures else ""
    files = display.plural(last.files, "file")
    return f"Fetched {last.files_done} of {files}, {display.size(last.bytes_done)}{failed}."


def _told_of_pauses(steps: Iterator[FetchProgress]) -> Iterator[FetchProgress]:
    told = False
    for step in steps:
        if step.files_paused and not told:
            told = True
            files = display.plural(step.files_paused, "file is", "files are")
            display.complain(f"{files} paused: `sharefs transfers resume` goes on.")
        yield step


def _last(steps: Iterator[FetchProgress]) -> FetchProgress:
    for step in steps:
        if step.finished:
            return step
    raise NodeFailed("The node ended the fetch without a word: its log may say why.")


def _show_bar(steps: Iterator[FetchProgress]) -> FetchProgress:
    # What draws bars takes its time to load, and without a terminal none is drawn.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.fields[files]}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stdout),
        transient=True,
    )
    with bar:
        task = bar.add_task("fetch", total=None, files="")

        def shown() -> Iterator[FetchProgress]:
            for step in steps:
                files = f"{step.files_done} of {display.plural(step.files, 'file')}"
                bar.update(task, completed=step.bytes_done, total=step.bytes, files=files)
                yield step

        return _last(shown())
