"""What a search has spent, and how many trials it may still ask for."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.evolution.types import Limits

MOST_IDLE = 200
"""Candidates in a row that were copies: then a search is taken to have converged."""


@dataclass(kw_only=True)
class BudgetSpent:
    """What a search has spent so far.

    A copied score costs nothing, its candidate counts; a failed one counts as if it had been run in full.
    ``idle`` counts the candidates of batches in a row that brought copies only: at some point a search has
    converged, and ends.
    """

    trials: int = 0
    items: int = 0
    seconds: float = 0.0
    idle: int = 0

    def room(self, limits: Limits, batch: int, most_items: int) -> int:
        """How many trials may be asked for next: a batch, or what the limits leave of it.

        Args:
            limits: of the search.
            batch: how many the strategy would like.
            most_items: the most that one candidate can cost.
        """
        room = batch if self.idle < MOST_IDLE else 0
        if limits.candidates is not None:
            room = min(room, limits.candidates - self.trials)
        if limits.item_evaluations is not None:
            room = min(room, (limits.item_evaluations - self.items) // most_items)
        if limits.seconds is not None:
            left = limits.seconds - self.seconds
            each = self.seconds / self.trials if self.trials else 0.0
            room = min(room, 0 if left <= 0 else room if each == 0 else max(1, int(left / each)))
        return room


def expected_trials(limits: Limits, most_items: int) -> int | None:
    """How many trials there will be, as far as the limits say; None when time decides."""
    bounds = [limits.candidates]
    if limits.item_evaluations is not None:
        bounds.append(limits.item_evaluations // most_items)
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None
