"""How is the demo told? Acts, commands and claims: in colour on a terminal, plain in a pipe."""

import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text


class Teller:
    """Prints the story, and keeps count of the claims that were not true."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._acts = 0
        self.claims = 0
        self.untrue: list[str] = []

    def act(self, title: str) -> None:
        """Begin the next part."""
        self._acts += 1
        self._print("")
        self._print(f"{self._acts}. {title}", "bold cyan")

    def say(self, sentence: str) -> None:
        """Explain."""
        self._print(f"   {sentence}")

    def command(self, who: str, command: Sequence[str], output: str = "") -> None:
        """Show what somebody typed, and what they got."""
        line = Text(f"   {who}$ ", "bold magenta")
        line.append(shlex.join(command), "bold")
        self._console.print(line)
        for text in output.splitlines():
            self._print(f"     {text}", "dim")

    def claim(self, sentence: str, truth: bool) -> None:
        """Say that something is so, after it has been looked up whether it is."""
        self.claims += 1
        if not truth:
            self.untrue.append(sentence)
        if self._console.is_terminal:
            mark = Text("   ✔ " if truth else "   ✘ ", "bold green" if truth else "bold red")
        else:
            mark = Text("   [true] " if truth else "   [NOT TRUE] ")
        self._console.print(mark + Text(sentence, "green" if truth else "bold red"))

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))


def complain(sentence: str) -> None:
    """Say what went wrong, beside the story."""
    print(sentence, file=sys.stderr)
