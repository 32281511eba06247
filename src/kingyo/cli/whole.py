"""Tables that tell everything: a terminal may break their lines, but no name and no number is cut."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 100_000


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as what stands in it; on a terminal cells are broken where that makes it fit."""
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table)
    fits = console.is_terminal and needed.minimum <= console.width
    width = console.width if fits else max(needed.maximum, console.width)
    Console(file=console.file, highlight=False, width=width).print(table)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print text, broken between words on a terminal; elsewhere its lines stay whole, for other programs."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)
