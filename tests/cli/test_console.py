"""Tables on narrow terminals: every number is shown, and no line is too wide."""

from __future__ import annotations

import io

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kingyo.cli.console import print_table

CELLS = [[f"{row}.{column}234 %" for column in range(8)] for row in range(3)]


def printed(width: int, *, is_terminal: bool = True, is_broken: bool = False) -> list[str]:
    table = Table(title="Title", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("group", no_wrap=True)
    for column in range(8):
        table.add_column(f"head {column}", justify="right", no_wrap=not is_broken)
    for row, cells in enumerate(CELLS):
        table.add_row(f"row {row}", *cells)
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
    print_table(console, table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 50, 79, 80, 120])
def test_no_number_is_cut_and_no_line_is_too_long(width: int) -> None:
    lines = printed(width)
    text = "\n".join(lines)
    assert "…" not in text and max(map(len, lines)) <= width
    assert all(text.count(cell) == 1 for row in CELLS for cell in row)
    assert all(text.count(f"head {column}") == 1 for column in range(8))
    assert text.count("Title") == 1


def test_lines_are_not_wrapped_outside_terminals() -> None:
    assert "\n".join(printed(30, is_terminal=False)).count("group") == 1
