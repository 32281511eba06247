"""A console that escapes control characters, and tables without truncated cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import console as rich_console
from rich.box import SIMPLE_HEAD
from rich.console import ConsoleOptions, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
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
    bold: str | None = None,
) -> None:
    """Print a table without borders: on a terminal cells are wrapped, elsewhere lines have any length.

    ``n_left`` columns are aligned left, by default all; ``bold`` is the first cell of a row to emphasize.
    """
    shown = None if title is None else escape(title)
    table = Table(title=shown, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        justify = "left" if n_left is None or i < n_left else "right"
        table.add_column(escape(str(name)), overflow="fold", justify=justify)
    for row in rows:
        cells = [str(each).replace("\N{NO-BREAK SPACE}", " ") for each in row]
        table.add_row(*map(escape, cells), style="bold" if cells[0] == bold else None)
    width = console.width
    if not console.is_terminal:
        width = max(width, Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum)
    Console(file=console.file, width=width).print(table)


def print_text(console: Console, text: str, style: str | None = None) -> None:
    """Print text with markup, wrapped between words on a terminal; elsewhere lines are not wrapped."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)


def print_lines(console: Console, *lines: object, style: str | None = None) -> None:
    for line in lines:
        print_text(console, escape(str(line)), style)


def model_cells(model: Checkpoint) -> tuple[str, str, str]:
    dtypes = sorted({info.stored_dtype for info in model.tensors.values()})
    size = sum(info.n_bytes for info in model.tensors.values())
    return count_text(model.n_parameters), ", ".join(dtypes), size_text(size)
