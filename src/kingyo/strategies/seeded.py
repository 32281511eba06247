"""Begin with given points: they are asked first, and another strategy goes on knowing how they ended.

It is no algorithm of its own and has no name in the registry: whoever builds a search knows good points of
its space and puts them before the strategy that was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.strategies.history import History, check_count
from kingyo.types import (
    Genome,
    InformedStrategy,
    Outcome,
    PredictingStrategy,
    Strategy,
    TaskAware,
    Trial,
)


class Seeded:
    """A strategy that goes on from given points.

    The points are the first trials. The other strategy learns how they ended, as what was measured before, if
    it can learn; failures it does not. Where trials are asked for before the points are told, it begins with
    those that are. Its trials are numbered after the points, and have the parents that it gives them.

    Args:
        inner: new; it was neither asked nor told.
        points: of its space, at least one.
    """

    def __init__(self, inner: Strategy, points: Sequence[Genome]) -> None:
        self._inner = inner
        self._points = tuple(dict.fromkeys(points))
        self._history = History()
        self._known: list[Outcome] = []
        self._first: dict[int, Outcome] = {}
        self._has_begun = False

    @property
    def next_batch(self) -> int:
        """What the other strategy would like, when the points are tried."""
        return self._inner.batch

    @property
    def batch(self) -> int:
        """The points that are left, then what the other strategy would like."""
        return len(self._points) - self._history.count if self._is_first else self._inner.batch

    @property
    def _is_first(self) -> bool:
        return self._history.count < len(self._points)

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Let the strategy know the tasks."""
        if isinstance(self._inner, TaskAware):
            self._inner.learn_tasks(task_of, weights)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Keep what was measured before, for the strategy to learn beside the points."""
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)

    def ask(self, n: int) -> list[Trial]:
        """Propose the points that are left; then what the strategy proposes."""
        check_count(n)
        first = self._points[self._history.count :][:n]
        asked = [self._history.ask(point) for point in first]
        if len(asked) == n:
            return asked
        if not self._has_begun:
            self._begin()
        return [*asked, *(self._outer(trial) for trial in self._inner.ask(n - len(asked)))]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended."""
        self._history.tell(outcomes)
        n = len(self._points)
        self._first |= {each.trial.number: each for each in outcomes if each.trial.number < n}
        self._inner.tell([self._inward(each) for each in outcomes if each.trial.number >= n])

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """What the strategy expects of genomes, if it expects anything."""
        return self._inner.predict(genomes) if isinstance(self._inner, PredictingStrategy) else None

    def _begin(self) -> None:
        """Let the strategy learn what was known before and how the points ended, failures left out."""
        self._has_begun = True
        ended = [each for _, each in sorted(self._first.items()) if each.failure is None]
        known = [
            replace(each, trial=Trial(number=-1 - index, genome=each.trial.genome))
            for index, each in enumerate([*self._known, *ended])
        ]
        if isinstance(self._inner, InformedStrategy) and known:
            self._inner.warm_start(known)

    def _outer(self, trial: Trial) -> Trial:
        moved = _moved(trial, len(self._points))
        return self._history.ask(moved.genome, moved.parents)

    def _inward(self, outcome: Outcome) -> Outcome:
        return replace(outcome, trial=_moved(outcome.trial, -len(self._points)))


def population(strategy: Strategy) -> int:
    """How many trials a strategy would like at once; where points are given, after these."""
    return strategy.next_batch if isinstance(strategy, Seeded) else strategy.batch


def _moved(trial: Trial, by: int) -> Trial:
    return Trial(
        number=trial.number + by, genome=trial.genome, parents=tuple(each + by for each in trial.parents)
    )
