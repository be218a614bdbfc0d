"""How does a person have files here always?"""

import typer

from sharefs.cli import arguments, display
from sharefs.cli.commands import EntryPaths, LocalHome, app, client_of


@app.command()
def pin(context: typer.Context, paths: EntryPaths, home: LocalHome = None) -> None:
    """Keep files and folders here always.

    What is in them now, and what comes later.
    """
    with client_of(context) as client:
        report = client.pin([arguments.absolute(path) for path in paths], True)
    lacking = report.bytes - report.local_bytes
    said = f"Pinned: {display.plural(report.files, 'file')}, {display.size(report.bytes)}."
    if lacking > 0:
        said += f" {display.size(lacking)} of that is still to come, from whoever has it."
    display.say(said)
    display.complain_of(report.refused)


@app.command()
def unpin(context: typer.Context, paths: EntryPaths, home: LocalHome = None) -> None:
    """Take back a `pin`.

    Then `free`, or a limit of the cache, lets go of them; nothing is freed yet.
    """
    with client_of(context) as client:
        report = client.pin([arguments.absolute(path) for path in paths], False)
    if report.changed:
        display.say(f"Not pinned any more: {display.plural(report.files, 'file')}.")
    else:
        display.say("Nothing of that was pinned.")
