"""How does a person look at the settings, and choose?"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from sharefs.cli import arguments, display
from sharefs.cli.commands import AsJson, LocalHome, app, client_of
from sharefs.errors import BadArgument
from sharefs.node.reports import SettingReport

LIKENESS_MIN = 0.6
"""Of a name that was perhaps meant: 1 for the same."""


@app.command()
def settings(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME [VALUE]", help="A setting, and what it is to be."),
    ] = None,
    space: Annotated[str, typer.Option("--space", metavar="SPACE", help="For a space.")] = "",
    peer: Annotated[str, typer.Option("--peer", metavar="NAME", help="For a member.")] = "",
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="PATH", readable=False, help="For a file or folder."),
    ] = None,
    hours: Annotated[
        str, typer.Option("--hours", metavar="FROM-TO", help="At these hours, as 8-18 or 22-6.")
    ] = "",
    as_json: AsJson = False,
    home: LocalHome = None,
) -> None:
    """List what can be set, or set it.

    As in `sharefs settings bandwidth down 5M --space Family`. The value `default` takes a choice
    back. What is chosen holds at once, and on this node only.

    Settings: bandwidth down, bandwidth up, priority, replication, stream-only, fetching, pinned,
    cache.
    """
    with client_of(context) as client:
        reports = client.settings()
        name, value = _name_and_value(words or [], reports)
        if value:
            place = arguments.absolute(path) if path is not None else ""
            reports = client.set_setting(name, value, space, peer, place, hours)
        elif space or peer or path or hours:
            raise BadArgument("Say a setting and its value, too: `sharefs settings` lists them.")
        else:
            reports = [each for each in reports if f"{each.name} ".startswith(name)]
    if as_json:
        display.say_json(reports)
    else:
        _show(reports)


def _name_and_value(words: list[str], reports: list[SettingReport]) -> tuple[str, str]:
    """The setting, or the beginning of several, and the value that follows; both may be empty."""
    text = " ".join(" ".join(words).split()) + " "
    names = dict.fromkeys(report.name for report in reports)
    for name in names:
        if text.lower().startswith(f"{name} "):
            return f"{name} ", text[len(name) + 1 :].strip()
    if text == " " or any(f"{name} ".startswith(text.lower()) for name in names):
        return text.lower().lstrip(), ""
    raise BadArgument(
        f"There is no setting called {text.strip()!r}{_did_you_mean(text, names)}"
        f" Settings: {', '.join(names)}."
    )


def _did_you_mean(text: str, names: Iterable[str]) -> str:
    # Only a mistake needs it.
    from difflib import SequenceMatcher

    said = text.lower().split()

    def likeness(name: str) -> float:
        return SequenceMatcher(None, name, " ".join(said[: len(name.split())])).ratio()

    best = max(names, key=likeness)
    return f": did you mean {best!r}?" if likeness(best) >= LIKENESS_MIN else "."


def _show(reports: list[SettingReport]) -> None:
    display.say_table(
        ["Setting", "Value", "For", "Meaning"],
        [[report.name, report.value, _scope(report), report.help] for report in reports],
    )


def _scope(report: SettingReport) -> str:
    hours = f"{report.hours} h" if report.hours else ""
    # A path tells its space.
    space = "" if report.path else report.space
    return ", ".join(filter(None, [space, report.path, report.peer, hours])) or "everything"
