"""Print choices of people as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.rating.results import SplitRating
from kingyo.rating.tables import Row, rating_note, rating_table, rating_title


def print_ratings(ratings: Sequence[SplitRating]) -> None:
    """Print a table for each split with choices."""
    console = Console(highlight=False)
    for rating in ratings:
        head, rows = rating_table(rating)
        table = plain_table(*_texts(head), title=escape(f"{rating_title(rating)} [95% interval]"), n_left=1)
        for row in rows:
            table.add_row(*_texts(row), style="bold" if row[0] == "bred" else None)
        console.print()
        print_table(console, table)
        print_text(console, escape(rating_note(rating)))


def _texts(row: Row) -> list[str]:
    texts = (each if isinstance(each, str) else " ".join(each) for each in row)
    return [escape(each.replace("\N{NO-BREAK SPACE}", " ")) for each in texts]
