"""How does a person have a home examined and mended?"""

from typing import Annotated

import typer

from sharefs.cli import display
from sharefs.cli.commands import AsJson, LocalHome, app, home_of
from sharefs.node.reports import DoctorReport
from sharefs.store.health.finding import Finding

UNWELL_EXIT_CODE = 1


@app.command()
def doctor(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended. Without, only look.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read no file's bytes, and leave the view unchecked.")
    ] = False,
    as_json: AsJson = False,
    home: LocalHome = None,
) -> None:
    """Examine what is on this disk, and mend it. The node must be down."""
    # The tree and its libraries take their time to load, and no other command needs them here.
    from sharefs.node.doctor import run_doctor

    report = run_doctor(home_of(context), repair, quick, _ignore if as_json else _show)
    if as_json:
        display.say_json(report)
    else:
        _sum_up(report, repair)
    if report.left:
        raise typer.Exit(UNWELL_EXIT_CODE)


def _ignore(finding: Finding) -> None:
    """All of it is printed at the end."""


def _show(finding: Finding) -> None:
    about = f"{finding.path}: " if finding.path else ""
    display.say(f"{about}{finding.sentence}")
    if finding.mended:
        display.say(f"    Mended: {finding.remedy}")
    elif finding.remedy:
        display.say(f"    With --repair, {finding.remedy}")
    else:
        display.say("    This can not be mended here.")


def _sum_up(report: DoctorReport, repair: bool) -> None:
    for remark in report.remarks:
        display.say(f"Note: {remark}")
    if not report.found:
        display.say(f"All is well in {report.home}.")
    elif report.left and not repair:
        display.say(f"{display.plural(report.found, 'finding')}: `sharefs doctor --repair` mends.")
    else:
        display.say(
            f"{display.plural(report.found, 'finding')}, {report.mended} mended,"
            f" {report.left} left."
        )
