"""Tables that tell everything: a terminal may break their lines, but no name and no number is cut."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 100_000


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as what stands in it, whatever the width of the terminal."""
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    Console(file=console.file, highlight=False, width=max(needed, console.width)).print(table)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print text, broken between words on a terminal; elsewhere its lines stay whole, for other programs."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)
