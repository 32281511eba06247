"""How a run chose its sources: its candidates, with their gains, as a table."""

import math
from collections.abc import Iterator, Mapping

from kingyo.core.io.units import counted, joined
from kingyo.runs.choice import ChosenSources
from kingyo.search.strategies.source_changes import Gain
from kingyo.search.strategies.stepwise import Verdict, best_measured
from kingyo.views.results.trials import NONE, SHARES
from kingyo.views.view import Cell, Row, Table

MOST_OTHERS = 12
"""Candidates that were not chosen and are shown: those with the largest last gains."""


def candidates_table(choice: ChosenSources) -> Table:
    """Return the chosen sources, then the others by their last gains, and whether each was chosen."""
    rows: list[Row] = []
    for name in shown_candidates(choice):
        alone = choice.alone.get(name)
        score = (
            Cell(NONE) if alone is None else Cell(SHARES.text(alone.score), SHARES.bounds(alone), alone.score)
        )
        gains = map(_gain_cell, (last_gain(choice, name), choice.contributions.get(name)))
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


def _gain_cell(gain: Gain | None) -> Cell:
    if gain is None:
        return Cell(NONE)
    return Cell(SHARES.signed(gain.mean), SHARES.signed_bounds(gain.interval), gain.mean)


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


def _outcome(choice: ChosenSources, name: str) -> str:
    gain = last_gain(choice, name)
    if name in choice.chosen:
        return "chosen"
    if name in choice.failed:
        return "cannot be scored"
    if gain is None:
        return "not tried"
    return "no gain is shown" if gain.interval.low <= 0 else "not chosen"


ENDS: Mapping[Verdict, str] = {
    "open": "The budget of the choice ended before this was decided.",
    "cannot tell": "Whether a further source adds something cannot be told from these items.",
    "enough": "No further source adds enough.",
    "full": "The limits allow no further source.",
    "all": "No other candidate is left.",
}
"""Verdict -> what to say about it."""


def choice_statements(choice: ChosenSources) -> Iterator[str]:
    """Yield the sentences on a choice, the most important first."""
    n, answers = counted(len(choice.sources), "candidate"), counted(choice.item_evaluations, "answer")
    chosen = f"{len(choice.chosen)} of {n} {'was' if len(choice.chosen) == 1 else 'were'} chosen as sources"
    yield f"{chosen}, by {answers} to fit items in {choice.minutes:.1f} minutes."
    if choice.score is not None:
        merge = "Their plain merge" if choice.chosen else "The base alone"
        yield f"{merge} solves {SHARES.bounded(choice.score)} of {choice.score.items} of fit."
    if choice.contributions:
        yield _doubts(choice)
    if (after := next_gain(choice)) is not None:
        whole = "others" if choice.chosen else "candidates"
        gain = SHARES.bounded_difference(after[1].interval)
        yield f"Of the {whole}, '{after[0]}' is nearest to being added: {gain}."
    yield ENDS[choice.verdict]
    for name, reason in choice.failed.items():
        yield f"{name} cannot be scored: {reason}"


def next_gain(choice: ChosenSources) -> tuple[str, Gain] | None:
    """Return the best of the sources that were not added at the end, and its gain."""
    last = choice.steps[-1] if choice.steps else None
    if last is None or last.added is not None or not last.gains:
        return None
    best = best_measured(last.gains)
    return choice.sources[best], last.gains[best]


def _doubts(choice: ChosenSources) -> str:
    gains = choice.contributions
    unsure = [f"'{name}'" for name in choice.chosen if name in gains and gains[name].interval.low <= 0]
    if not unsure:
        return "Each of them helps: the merge is worse without it."
    return f"The merge may do as well without {joined(unsure, last='or')}."
