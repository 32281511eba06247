"""How a run chose its sources: its candidates, with their gains, as a table."""

from __future__ import annotations

import math

from kingyo.results.unit import NONE, SHARES
from kingyo.run.chosen import ChosenSources
from kingyo.strategies.gain_model import Gain
from kingyo.views.view import Cell, Row, Table

MOST_OTHERS = 12
"""Candidates that were not chosen and are shown: those with the largest last gains."""


def candidates_table(choice: ChosenSources) -> Table:
    """Return the chosen sources, then the others by their last gains, and whether each was chosen."""
    rows: list[Row] = []
    for name in shown_candidates(choice):
        alone = choice.alone.get(name)
        score = Cell(NONE) if alone is None else Cell(*_parts(SHARES.bounded(alone)), alone.score)
        gains = (_gain_cell(gain) for gain in (last_gain(choice, name), choice.contributions.get(name)))
        rows.append((Cell(name), score, *gains, Cell(_outcome(choice, name))))
    n_left = len(choice.sources) - len(rows)
    note = (
        "On fit items; gains are in points. “When tried”: what the source added to those that were chosen by "
        "then, in the last step that tried it; that of a chosen one was the largest of several, so luck has "
        "a part in it. “In the set”: what the merge of all chosen sources loses without it."
    )
    return Table(
        title="Candidates [95% interval]",
        head=tuple(map(Cell, ("candidate", "alone", "gain when tried", "gain in the set", "so"))),
        rows=tuple(rows),
        note=f"{note} {n_left} others gained less, or were not tried." if n_left else note,
    )


def shown_candidates(choice: ChosenSources) -> list[str]:
    """Return the chosen sources, and the others with the largest last gains."""

    def gain(name: str) -> float:
        found = last_gain(choice, name)
        return -math.inf if found is None else found.mean

    others = [name for name in choice.sources if name not in choice.chosen]
    return [*choice.chosen, *sorted(others, key=gain, reverse=True)[:MOST_OTHERS]]


def last_gain(choice: ChosenSources, name: str) -> Gain | None:
    """Return the gain of a candidate in the last step that tried it, or None if none did."""
    place = choice.sources.index(name)
    return next((step.gains[place] for step in reversed(choice.steps) if place in step.gains), None)


def _gain_cell(gain: Gain | None) -> Cell:
    if gain is None:
        return Cell(NONE)
    return Cell(*_parts(SHARES.bounded_difference(gain.interval).replace(" points", "")), gain.mean)


def _parts(bounded: str) -> tuple[str, str]:
    number, _, bounds = bounded.partition(" ")
    return number, bounds


def _outcome(choice: ChosenSources, name: str) -> str:
    gain = last_gain(choice, name)
    if name in choice.chosen:
        return "chosen"
    if name in choice.failed:
        return "cannot be scored"
    if any(step.added == choice.sources.index(name) for step in choice.steps):
        return "dropped again"
    if gain is None:
        return "not tried"
    return "no gain is shown" if gain.interval.low <= 0 else "not chosen"
