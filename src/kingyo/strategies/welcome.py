"""What lets a strategy take in points that others measured, while it searches: the door for migrants.

A strategy may be told only of trials that it asked for; a migrant was asked for by another one. So it comes
in by a door of its own, under a number that no trial of the host can have.
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.strategies.checks import require
from kingyo.strategies.history import Told
from kingyo.types import Outcome


def strangers(outcomes: Sequence[Outcome], n_axes: int) -> list[Told]:
    """Points from elsewhere in the order of their numbers, without failures.

    Raises:
        KingyoError: the number of a trial that the strategy could have asked for, or another number of genes.
    """
    for outcome in outcomes:
        number, genes = outcome.trial.number, len(outcome.trial.genome)
        where, remedy = f"known point {number}", "Give points from elsewhere numbers below 0."
        require(where, number, "a number below 0", holds=number < 0, remedy=remedy)
        remedy = "Give points of the same space."
        require(where, genes, f"{n_axes} genes", holds=genes == n_axes, remedy=remedy)
    told = sorted(map(Told.of, outcomes), key=lambda each: -each.number)
    return [each for each in told if each.score is not None]
