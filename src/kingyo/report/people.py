"""Choices of people between pictures, as tables of the report."""

from __future__ import annotations

from kingyo.io.units import counted
from kingyo.rating.results import ModelRating, SplitRating
from kingyo.report import wording
from kingyo.report.tables import NONE, Cell, Row, score_cell
from kingyo.stats import Interval


def people_table(rating: SplitRating) -> tuple[Row, list[Row]]:
    """Return head and rows: per model its pairs, wins, strength, and how often it beats the best parent."""
    rival: tuple[Cell, ...] = () if rating.best_parent is None else (f"preferred to {rating.best_parent}",)
    head: Row = ("model", "pairs", "wins", ("strength", "logits"), *rival)
    return head, [_row(model, has_rival=bool(rival)) for model in rating.models]


def _row(model: ModelRating, *, has_rival: bool) -> Row:
    cells: Row = (model.name, f"{model.n:,}", score_cell(model.wins), _strength(model.strength))
    return (*cells, score_cell(model.over_parent)) if has_rival else cells


def _strength(value: Interval | None) -> Cell:
    if value is None:
        return NONE
    number, low, high = (
        f"{each:+.2f}".replace("-", wording.MINUS) for each in (value.score, value.low, value.high)
    )
    return number, f"[{low},{wording.NO_BREAK}{high}]"


def people_note(rating: SplitRating) -> str:
    """Return how many choices there are, and of how many people."""
    people = counted(len(rating.raters), "person", "people")
    outdated = f", {rating.outdated} of earlier pictures left out" if rating.outdated else ""
    return (
        f"{counted(rating.n, 'choice')} of {people} on {rating.split}, {rating.ties} of them as good, "
        f"{rating.skipped} pairs skipped{outdated}."
    )
