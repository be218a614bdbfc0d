"""What is said of a transfer?"""

from sharefs.cli import display
from sharefs.node.reports import TransferReport, TransferSource

HEADINGS = ["Path", "Way", "State", "Done", "Size", "Speed", "Left", "Devices"]
NOTHING = "Nothing is travelling."


def cells(report: TransferReport) -> list[str]:
    """A row of the table."""
    return [
        report.path,
        report.direction,
        report.state,
        _done(report),
        display.size(report.size) if report.size else "",
        display.rate(report.bytes_per_second) if report.bytes_per_second else "",
        _left(report),
        ", ".join(map(_source, report.sources)),
    ]


def _source(source: TransferSource) -> str:
    rate = f" {display.rate(source.bytes_per_second)}" if source.bytes_per_second else ""
    return source.name + rate


def _done(report: TransferReport) -> str:
    if report.direction == "out":
        return display.size(report.done)
    return f"{100 * report.done // report.size} %" if report.size else ""


def _left(report: TransferReport) -> str:
    """How long it will still take at this speed."""
    if report.direction == "out" or report.bytes_per_second < 1:
        return ""
    return display.duration((report.size - report.done) / report.bytes_per_second)
