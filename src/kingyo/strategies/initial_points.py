"""Wrap a strategy so that given points are its first trials.

The wrapper is not registered: code that builds a search adds good points of its space to the chosen strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.strategies.history import History
from kingyo.types import Genome, InformedStrategy, Outcome, PredictingStrategy, Strategy, TaskAware, Trial


class InitialPointsStrategy:
    """Ask for given points first, then continue with another strategy.

    The inner strategy gets the outcomes of the points, without failures, as known points if it supports them.
    If trials are asked before all points have outcomes, it starts with the outcomes so far. Its trials are
    numbered after the points.
    """

    def __init__(self, inner: Strategy, points: Sequence[Genome]) -> None:
        self._inner = inner
        self._points = tuple(dict.fromkeys(points))
        self._history = History()
        self._known: list[Outcome] = []
        self._initial_outcomes: dict[int, Outcome] = {}
        self._has_begun = False

    @property
    def next_batch(self) -> int:
        """Batch of the inner strategy."""
        return self._inner.batch

    @property
    def batch(self) -> int:
        """Number of points left, then the batch of the inner strategy."""
        return max(0, len(self._points) - self._history.count) or self._inner.batch

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Pass the tasks to the inner strategy."""
        if isinstance(self._inner, TaskAware):
            self._inner.learn_tasks(task_of, weights)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Keep known points; the inner strategy gets them together with the outcomes of the given points."""
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)

    def ask(self, n: int) -> list[Trial]:
        """Propose the points that are left, then trials of the inner strategy."""
        first = self._points[self._history.count :][:n]
        asked = [self._history.ask(point) for point in first]
        if len(asked) == n:
            return asked
        if not self._has_begun:
            self._begin()
        for trial in self._inner.ask(n - len(asked)):
            moved = _renumbered(trial, len(self._points))
            asked.append(self._history.ask(moved.genome, moved.parents))
        return asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Record how trials ended."""
        self._history.tell(outcomes)
        n, inner = len(self._points), list[Outcome]()
        for outcome in outcomes:
            if outcome.trial.number < n:
                self._initial_outcomes[outcome.trial.number] = outcome
            else:
                inner.append(replace(outcome, trial=_renumbered(outcome.trial, -n)))
        self._inner.tell(inner)

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the predictions of the inner strategy, if it predicts."""
        return self._inner.predict(genomes) if isinstance(self._inner, PredictingStrategy) else None

    def _begin(self) -> None:
        """Warm-start the inner strategy with the known and the given points, without failures."""
        self._has_begun = True
        scored = [outcome for _, outcome in sorted(self._initial_outcomes.items()) if outcome.failure is None]
        outcomes = [*self._known, *scored]
        known = known_points(outcomes, [outcome.trial.genome for outcome in outcomes])
        if isinstance(self._inner, InformedStrategy) and known:
            self._inner.warm_start(known)


def main_batch(strategy: Strategy) -> int:
    """Return the batch of a strategy; with given points, the batch after these."""
    return strategy.next_batch if isinstance(strategy, InitialPointsStrategy) else strategy.batch


def known_points(outcomes: Sequence[Outcome], genomes: Sequence[Genome]) -> list[Outcome]:
    """Return outcomes as known points with these genomes, numbered from -1 downwards."""
    return [
        replace(outcome, trial=Trial(number=-1 - index, genome=genome))
        for index, (outcome, genome) in enumerate(zip(outcomes, genomes, strict=True))
    ]


def _renumbered(trial: Trial, by: int) -> Trial:
    parents = tuple(parent + by for parent in trial.parents)
    return Trial(number=trial.number + by, genome=trial.genome, parents=parents)
