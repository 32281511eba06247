"""Tables on narrow terminals: every number is shown, and no line is too wide."""

import io

import pytest

from kingyo.cli.console import Console, print_rows

CELLS = [[f"row {row}", *(f"{row}.{column}2%" for column in range(8))] for row in range(3)]


def printed(width: int, *, is_terminal: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
    print_rows(console, ["group", *(f"head {column}" for column in range(8))], CELLS, title="Title", n_left=1)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_and_no_line_is_too_long(width: int) -> None:
    lines = printed(width)
    text = "\n".join(lines)
    assert "…" not in text and max(map(len, lines)) <= width
    assert all(text.count(cell) == 1 for row in CELLS for cell in row[1:])


def test_lines_are_not_wrapped_outside_terminals() -> None:
    assert len(printed(30, is_terminal=False)) == len(printed(200))
