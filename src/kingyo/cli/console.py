"""A console that writes out characters that would steer a terminal, and tables in which no cell is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich import console as rich_console
from rich.console import ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from kingyo.cli.terminal import visible

_WIDEST = 100_000


class Console(rich_console.Console):
    """A console that writes out characters that would steer a terminal, and leaves ``:emoji:`` as text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Write them out before a text is measured and laid out."""
        options["emoji"] = False
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Write them out in everything else, such as what a grader prints during a live display."""
        for each in super().render(renderable, options):
            yield each if each.control else Segment(visible(each.text), each.style)


def print_whole(console: Console, table: Table, *, leading: int = 1) -> None:
    """Print a table as wide as what stands in it.

    On a terminal cells are broken where that makes it fit; else it is printed in parts, each with the leading
    columns, which say what its rows are.
    """
    for column in table.columns:
        if column.no_wrap:  # rich would rather cut such cells than think them wider than their words
            column.min_width = max(_width(console, cell) for cell in (column.header, *column.cells))
    if not console.is_terminal or _measured(console, table).minimum <= console.width:
        _print(console, table)
        return
    for part in _parts(console, table, leading):
        _print(console, part)


def _print(console: Console, table: Table) -> None:
    needed = _measured(console, table)
    fits = console.is_terminal and needed.minimum <= console.width
    width = console.width if fits else max(needed.maximum, console.width)
    Console(file=console.file, highlight=False, width=width).print(table)


def _parts(console: Console, table: Table, leading: int) -> Iterator[Table]:
    """Tables of the leading columns and as many of the others as fit, at least one."""
    first, chosen = table.columns[:leading], list[Column]()
    for column in table.columns[leading:]:
        if chosen and _measured(console, _of(table, [*first, *chosen, column])).minimum > console.width:
            yield _of(table, [*first, *chosen])
            table.title, chosen = None, []
        chosen.append(column)
    yield _of(table, [*first, *chosen])


def _of(table: Table, columns: Sequence[Column]) -> Table:
    """A table like another, of some of its columns."""
    found = Table(
        title=table.title,
        title_justify=table.title_justify,
        box=table.box,
        pad_edge=table.pad_edge,
        padding=table.padding,
    )
    for column in columns:
        found.add_column(
            column.header, justify=column.justify, no_wrap=column.no_wrap, min_width=column.min_width
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        found.add_row(*cells)
    return found


def _measured(console: Console, what: RenderableType) -> Measurement:
    return Measurement.get(console, console.options.update(max_width=_WIDEST), what)


def _width(console: Console, cell: RenderableType) -> int:
    return _measured(console, cell).maximum


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print text, broken between words on a terminal; elsewhere its lines stay whole, for other programs."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)
