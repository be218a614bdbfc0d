"""How does it look on a terminal, and how in a pipe?

On a terminal: tables that fit, colours and progress bars. In a pipe: a line for each row, in
columns of spaces, with no colour. In both, everything is whole. Names come from other members, so
whatever could steer a terminal is escaped.
"""

import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

PLAIN_GAP = "  "
PATHS_SHOWN_MAX = 10


def say(text: str) -> None:
    """A line of the result."""
    print(printable(text))


def complain(text: str) -> None:
    """A sentence for the person, beside the result."""
    print(printable(text), file=sys.stderr)


def complain_of(refused: Iterable[tuple[str, str]]) -> None:
    """(path, sentence) pairs: a sentence that is true of many files is said once."""
    by_sentence: dict[str, list[str]] = {}
    for path, sentence in refused:
        by_sentence.setdefault(sentence, []).append(path)
    for sentence, paths in by_sentence.items():
        if len(paths) == 1:
            complain(f"{on_a_line(paths[0])}: {sentence}")
            continue
        complain(f"Of each of these {len(paths)} files: {sentence}")
        for path in paths[:PATHS_SHOWN_MAX]:
            complain(f"  {on_a_line(path)}")
        if len(paths) > PATHS_SHOWN_MAX:
            complain(f"  and {len(paths) - PATHS_SHOWN_MAX} more")


def say_json(value: object) -> None:
    """A report, for programs."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def on_terminal() -> bool:
    """Whether a person reads the result as it comes."""
    # It may have been closed.
    return sys.stdout is not None and sys.stdout.isatty()


def say_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of the result."""
    rows = [[on_a_line(cell) for cell in row] for row in rows]
    if not on_terminal():
        print("\n".join(plain_lines([[heading.upper() for heading in headings], *rows])))
        return
    # What draws takes its time to load, and few commands draw a table.
    from rich.console import Console
    from rich.text import Text

    console = Console()
    first, *others = fitting_lines(headings, rows, console.width)
    # As Text, since a name may look like rich's markup. Whatever is too long even so, the terminal
    # wraps itself: it can be copied whole.
    console.print(Text(first, style="bold"), soft_wrap=True)
    for line in others:
        console.print(Text(line), soft_wrap=True)


def fitting_lines(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table for a terminal: the widest columns, which are paths and sentences, leave it until the
    others fit, and stand below each row."""
    from rich.cells import cell_len

    table = [list(headings), *map(list, rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    kept = list(range(len(headings)))
    while len(kept) > 1 and sum(widths[at] + len(PLAIN_GAP) for at in kept) > width + len(
        PLAIN_GAP
    ):
        # The first names what the row is about.
        kept.remove(max(kept[1:], key=lambda at: widths[at]))
    below = [at for at in range(len(headings)) if at not in kept]
    first, *lines = plain_lines([[row[at] for at in kept] for row in table])
    fitting = [first]
    for line, row in zip(lines, rows, strict=True):
        fitting += [line, *(f"{PLAIN_GAP}{headings[at]}: {row[at]}" for at in below)]
    return fitting


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns of equal width, nothing cut."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        PLAIN_GAP.join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """The text, with what a terminal would obey, or can not show, escaped. Line ends stay."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text
    )


def on_a_line(text: str) -> str:
    """Printable; a name may hold a line's end, and a row of a table must not."""
    return printable(text).replace("\n", "\\n")


def size(count: float) -> str:
    """Bytes, for people."""
    from rich.filesize import decimal

    return decimal(int(count))


def rate(bytes_per_second: float) -> str:
    """Speed, for people."""
    return f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """How long, for people: `0:42`, `3:07` or `1:00:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(moment: float | None) -> str:
    """When, for people, seen from now. `moment` is seconds since 1970."""
    if moment is None:
        return "never"
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{plural(count, unit)} ago"
    return "just now"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`; for more than an s at the end, `many` says how."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
