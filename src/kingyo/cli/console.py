"""A console that escapes control characters, and tables without truncated cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich import console as rich_console
from rich.box import SIMPLE_HEAD
from rich.console import ConsoleOptions, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from kingyo.cli.output import visible
from kingyo.core.io.units import count_text, size_text

if TYPE_CHECKING:
    from kingyo.merging.checkpoints import Checkpoint

_WIDEST = 100_000


class Console(rich_console.Console):
    """A console that escapes control characters and keeps ``:emoji:`` as text."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("highlight", False)
        super().__init__(**options)

    def render_str(self, text: str, **options: Any) -> Text:
        options["emoji"] = False
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape all other output, such as that of a grader during a live display."""
        for each in super().render(renderable, options):
            yield each if each.control else Segment(visible(each.text), each.style)


def print_rows(
    console: Console,
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    n_left: int | None = None,
    leading: int = 1,
    bold: str | None = None,
    folds: bool = False,
) -> None:
    """Print a table without borders.

    Args:
        console: where.
        head: headings.
        rows: cells of each row.
        title: title, aligned left.
        n_left: number of columns that are aligned left, the others right. Default: all.
        leading: see ``print_table``.
        bold: first cell of the row to emphasize.
        folds: whether cells of the first column, such as paths, may take several lines on a terminal.
    """
    shown = None if title is None else escape(title)
    table = Table(title=shown, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        justify = "left" if n_left is None or i < n_left else "right"
        table.add_column(escape(str(name)), no_wrap=True, justify=justify)
    for row in rows:
        cells = [str(each).replace("\N{NO-BREAK SPACE}", " ") for each in row]
        table.add_row(*map(escape, cells), style="bold" if cells[0] == bold else None)
    if folds and console.is_terminal:
        column = table.columns[0]
        column.no_wrap, column.overflow = False, "fold"
        column.max_width = min(console.width // min(3, len(table.columns)), console.width - 4)
    print_table(console, table, leading=leading)


def print_table(console: Console, table: Table, *, leading: int = 1) -> None:
    """Print a table without truncating cells.

    If it is too wide for the terminal, cells are wrapped. If that is not enough, the table is printed in
    parts, each with the leading columns.
    """
    for column in table.columns:
        if column.no_wrap:  # else rich truncates cells with several words
            column.min_width = max(_measure(console, cell).maximum for cell in (column.header, *column.cells))
    for part in _parts(console, table, leading) if console.is_terminal else [table]:
        needed = _measure(console, part)
        fits = console.is_terminal and needed.minimum <= console.width
        width = console.width if fits else max(needed.maximum, console.width)
        Console(file=console.file, width=width).print(part)


def _parts(console: Console, table: Table, leading: int) -> Iterator[Table]:
    """Yield the table; if it is too wide, parts with the leading columns and as many others as fit."""
    if _measure(console, table).minimum <= console.width:
        yield table
        return
    first, chosen = table.columns[:leading], list[Column]()
    for column in table.columns[leading:]:
        if chosen and _measure(console, _select(table, [*first, *chosen, column])).minimum > console.width:
            yield _select(table, [*first, *chosen])
            table.title, chosen = None, []
        chosen.append(column)
    yield _select(table, [*first, *chosen])


def _select(table: Table, columns: Sequence[Column]) -> Table:
    selection = copy(table)
    selection.columns = [replace(column, _index=i) for i, column in enumerate(columns)]
    return selection


def _measure(console: Console, content: RenderableType) -> Measurement:
    return Measurement.get(console, console.options.update(max_width=_WIDEST), content)


def print_text(console: Console, text: str, style: str | None = None) -> None:
    """Print text with markup, wrapped between words on a terminal; elsewhere lines are not wrapped."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)


def print_lines(console: Console, *lines: object, style: str | None = None) -> None:
    """Print each line as it is, see ``print_text``."""
    for line in lines:
        print_text(console, escape(str(line)), style)


def model_cells(model: Checkpoint) -> tuple[str, str, str]:
    """Return cells with the number of parameters, the dtypes and the size of a model."""
    dtypes = sorted({info.stored_dtype for info in model.tensors.values()})
    size = sum(info.n_bytes for info in model.tensors.values())
    return count_text(model.n_parameters), ", ".join(dtypes), size_text(size)
