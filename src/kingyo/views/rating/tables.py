"""Write choices of people as a table and a note, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Callable

from kingyo.core.io.units import counted, percent
from kingyo.stats import Interval
from kingyo.views.rating.results import ModelRating, SplitRating

Cell = str | tuple[str, str]
"""A text, or a number and what belongs to it, such as its interval."""
Row = tuple[Cell, ...]


def rating_title(rating: SplitRating) -> str:
    return f"Choices of people on {rating.split}"


def rating_table(rating: SplitRating) -> tuple[Row, list[Row]]:
    """Return head and rows: per model its pairs, wins, strength, and how often it beats the best parent."""
    rival = () if rating.best_parent is None else (f"preferred to {rating.best_parent}",)
    head: Row = ("model", "pairs", "wins", "strength (logits)", *rival)
    return head, [_row(model)[: len(head)] for model in rating.models]


def rating_note(rating: SplitRating) -> str:
    """Return the numbers of choices by kind and by person."""
    people = counted(len(rating.raters), "person", "people")
    parts = [
        f"{counted(rating.n, 'choice')} of {people} on {counted(rating.prompts, 'prompt')} of {rating.split}",
        f"{rating.ties} of them “as good”",
        f"{counted(rating.skipped, 'pair')} skipped",
    ]
    if rating.outdated:
        parts.append(f"{rating.outdated} left out, because the run no longer has their pictures")
    if rating.left is not None:
        parts.append(f"the left picture was chosen in {rating.left.in_percent('%')}")
    names = ", ".join(f"{name} {n}" for name, n in rating.raters.items())
    return f"{', '.join(parts)}. Choices by person: {names or 'none'}."


def _row(model: ModelRating) -> Row:
    strength = _cell(model.strength, lambda value: f"{value:+.2f}")
    return model.name, _pairs(model), _cell(model.wins), strength, _cell(model.over_parent)


def _pairs(model: ModelRating) -> Cell:
    n, n_prompts = f"{model.n:,}", 0 if model.wins is None else model.wins.n_groups
    return (n, f"on {counted(n_prompts, 'prompt')}") if n_prompts else n


def _cell(value: Interval | None, text: Callable[[float], str] = percent) -> Cell:
    if value is None:
        return "–"
    score, low, high = (text(each).replace("-", "−") for each in (value.score, value.low, value.high))
    return score, f"[{low.rstrip('%')},\N{NO-BREAK SPACE}{high.rstrip('%')}]"
