"""Limits of a search, what it has spent of them, and how many trials that leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

MAX_IDLE = 200
"""A search ends after this many consecutive candidates that were copies: it has converged."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a search, by the keys of ``budget``; the first one reached ends it. None is no limit."""

    candidates: int | None = None
    item_evaluations: int | None = None
    minutes: float | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.minutes is None else 60 * self.minutes

    def plus(self, more: Mapping[str, float]) -> Limits:
        """Return limits plus amounts by key; a missing limit stays missing."""
        own = {key: value for key, value in asdict(self).items() if value is not None}
        return replace(self, **{key: type(value)(value + more.get(key, 0)) for key, value in own.items()})


@dataclass(kw_only=True)
class BudgetSpent:
    """The cost of a search so far.

    Copied scores cost nothing, but their candidates count. A failure costs as much as a full evaluation.
    ``learned`` are the item evaluations of lessons, a part of ``items``; they also count as candidates.
    ``idle`` counts consecutive candidates, in batches that consisted of copies only.
    """

    trials: int = 0
    items: int = 0
    learned: int = 0
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
        """Return how many trials may be asked for next: a batch, or fewer if the limits are near."""
        room = batch if self.idle < MAX_IDLE else 0
        if limits.candidates is not None:
            room = min(room, limits.candidates - self.trials - in_candidates(self.learned, most_items))
        if limits.item_evaluations is not None:
            room = min(room, (limits.item_evaluations - self.items) // most_items)
        if limits.seconds is not None:
            left = limits.seconds - self.seconds
            mean = self.seconds / self.trials if self.trials else 0.0
            room = min(room, 0 if left <= 0 else room if mean == 0 else max(1, int(left / mean)))
        return room


def in_candidates(items: int, most_items: int) -> int:
    """Return how many candidates cost as much as these item evaluations."""
    return -(-items // most_items)


def expected_trials(limits: Limits, most_items: int) -> int | None:
    """Return how many trials the limits allow; None if only time limits them."""
    bounds = [limits.candidates]
    if limits.item_evaluations is not None:
        bounds.append(limits.item_evaluations // most_items)
    return min((bound for bound in bounds if bound is not None), default=None)
