"""How good are the ways to the other members' devices?"""

import typer

from sharefs.cli import display
from sharefs.cli.commands import AsJson, LocalHome, app, client_of
from sharefs.node.reports import PeerReport

_UNKNOWN = "-"


@app.command()
def peers(context: typer.Context, as_json: AsJson = False, home: LocalHome = None) -> None:
    """List the other members' devices.

    Where they are, how near, how fast, and how often online. Bytes are asked first of those that
    are near, quick and reliable.
    """
    with client_of(context) as client:
        reports = client.peers()
    if as_json:
        display.say_json(reports)
    elif reports:
        display.say_table(
            [
                "Member",
                "Device",
                "Seen",
                "Address",
                "Near",
                "Round trip",
                "From it",
                "To it",
                "Online",
                "Failures",
            ],
            [_cells(report) for report in reports],
        )
    else:
        display.complain("No other devices yet: `sharefs invite` asks somebody in.")


def _cells(report: PeerReport) -> list[str]:
    return [
        report.member,
        report.device,
        "online" if report.online else display.ago(report.last_seen),
        report.address or _UNKNOWN,
        report.near or _UNKNOWN,
        _UNKNOWN if report.round_trip_s is None else f"{report.round_trip_s * 1000:.1f} ms",
        _rate(report.down_bytes_per_second),
        _rate(report.up_bytes_per_second),
        _UNKNOWN if report.online_share is None else f"{report.online_share:.0%}",
        str(report.failures),
    ]


def _rate(bytes_per_second: float) -> str:
    return display.rate(bytes_per_second) if bytes_per_second else _UNKNOWN
