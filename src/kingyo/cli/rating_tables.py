"""Choices of people as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.io.units import counted
from kingyo.rating.results import SplitRating
from kingyo.stats import Interval


def print_ratings(ratings: Sequence[SplitRating]) -> None:
    """Print a table for each split with choices."""
    console = Console(highlight=False)
    for each in ratings:
        console.print()
        print_table(console, _table(each))
        print_text(console, escape(_note(each)))


def _table(rating: SplitRating) -> Table:
    people = counted(len(rating.raters), "person", "people")
    title = f"Choices of people on {rating.split} (n={rating.n:,}, {people}) [95% interval]"
    rival = "" if rating.best_parent is None else f"preferred to {rating.best_parent} in %"
    columns = ("model", "n", "wins in %", "strength", *([rival] if rival else []))
    table = plain_table(*map(escape, columns), title=escape(title), n_left=1)
    for model in rating.models:
        strength = "–" if model.strength is None else _logits(model.strength)
        cells = [model.name, f"{model.n}", _percent(model.wins), strength]
        cells += [_percent(model.over_parent)] if rival else []
        table.add_row(*map(escape, cells), style="bold" if model.name == "bred" else None)
    return table


def _percent(value: Interval | None) -> str:
    return "–" if value is None else value.in_percent()


def _logits(value: Interval) -> str:
    return f"{value.score:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def _note(rating: SplitRating) -> str:
    parts = [f"{rating.ties} as good, {rating.skipped} skipped"]
    if rating.outdated:
        parts.append(f"{rating.outdated} of pictures that the run no longer has, not counted")
    if rating.left is not None:
        parts.append(f"the left picture was chosen in {rating.left.in_percent('%')}")
    names = ", ".join(f"{name} {n}" for name, n in rating.raters.items())
    return f"{'; '.join(parts)}. Choices by person: {names or 'none'}."
