"""The cost of a search so far, and how many more trials its limits allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kingyo.evolution.types import Limits

MAX_IDLE = 200
"""A search ends after this many consecutive candidates that were copies: it has converged."""


@dataclass(kw_only=True)
class BudgetSpent:
    """The cost of a search so far.

    Copied scores cost nothing, but their candidates count. A failure costs as much as a full evaluation.
    ``idle`` counts consecutive candidates, in batches that consisted of copies only.
    """

    trials: int = 0
    items: int = 0
    seconds: float = 0.0
    idle: int = 0

    def add(self, costs: Iterable[tuple[int, float]]) -> None:
        """Add a batch of trials, given the evaluated items and the seconds of each."""
        before, n = self.items, self.trials
        for items, seconds in costs:
            self.trials += 1
            self.items += items
            self.seconds += seconds
        self.idle = 0 if self.items > before else self.idle + self.trials - n

    def room(self, limits: Limits, batch: int, most_items: int) -> int:
        """Return how many trials may be asked for next: a batch, or fewer if the limits are near.

        Args:
            limits: limits of the search.
            batch: how many trials the strategy prefers.
            most_items: the largest number of items per trial.
        """
        room = batch if self.idle < MAX_IDLE else 0
        if limits.candidates is not None:
            room = min(room, limits.candidates - self.trials)
        if limits.item_evaluations is not None:
            room = min(room, (limits.item_evaluations - self.items) // most_items)
        if limits.seconds is not None:
            left = limits.seconds - self.seconds
            mean = self.seconds / self.trials if self.trials else 0.0
            room = min(room, 0 if left <= 0 else room if mean == 0 else max(1, int(left / mean)))
        return room


def expected_trials(limits: Limits, most_items: int) -> int | None:
    """Return how many trials the limits allow; None if only time limits them."""
    bounds = [limits.candidates]
    if limits.item_evaluations is not None:
        bounds.append(limits.item_evaluations // most_items)
    return min((bound for bound in bounds if bound is not None), default=None)
