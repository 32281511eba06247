"""What strategies around another one share, and one that asks for given points first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kingyo.core.types import (
    Axis,
    Genome,
    InformedStrategy,
    Outcome,
    PredictingStrategy,
    Strategy,
    TaskAware,
    Trial,
)
from kingyo.errors import KingyoError
from kingyo.search.strategies import COMBINATORS, STRATEGIES, build
from kingyo.search.strategies.checks import require
from kingyo.search.strategies.history import History


class Wrapper:
    """A strategy around another one, which may be replaced and may search another space.

    The inner strategy numbers its trials from 0, and gets the outcomes of its own trials only.
    """

    def __init__(self) -> None:
        self._history = History()
        self._known: list[Outcome] = []
        self._outcomes: dict[int, Outcome] = {}
        self._tasks: tuple[Mapping[str, str], Mapping[str, float]] | None = None
        self._inner: Strategy

    @property
    def batch(self) -> int:
        return self._inner.batch

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        self._tasks = (task_of, weights)
        self._set_inner(self._inner)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._history.tell(outcomes)
        for outcome in outcomes:
            self._outcomes[outcome.number] = outcome
        asked = [(outcome, self._asked.get(outcome.trial.number)) for outcome in outcomes]
        self._inner.tell([replace(outcome, trial=trial) for outcome, trial in asked if trial is not None])

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the predictions of the inner strategy, if it predicts."""
        if not isinstance(self._inner, PredictingStrategy):
            return None
        return self._inner.predict([self._to_inner(genome) for genome in genomes])

    def _to_inner(self, genome: Genome) -> Genome:
        """Return the point of a genome in the space of the inner strategy, or the nearest."""
        return genome

    def _to_outer(self, point: Genome) -> Genome:
        return point

    def _set_inner(self, inner: Strategy) -> None:
        """Continue with a strategy that has asked for nothing yet."""
        self._inner = inner
        self._asked: dict[int, Trial] = {}  # by their own numbers, as trials of the inner strategy
        self._numbers: dict[int, int] = {}  # of inner trials -> own
        if self._tasks is not None and isinstance(inner, TaskAware):
            inner.learn_tasks(*self._tasks)

    def _warm_start_inner(self, known: Sequence[Outcome]) -> None:
        if known and isinstance(self._inner, InformedStrategy):
            self._inner.warm_start(self._known_points(known))

    def _known_points(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return outcomes as known points of the inner strategy, numbered from -1 downwards."""
        return [
            replace(outcome, trial=Trial(number=-1 - i, genome=self._to_inner(outcome.trial.genome)))
            for i, outcome in enumerate(outcomes)
        ]

    def _ask_inner(self, n: int) -> list[Trial]:
        trials: list[Trial] = []
        for inner in self._inner.ask(n):
            parents = tuple(self._numbers[parent] for parent in inner.parents)
            trial = self._history.ask(self._to_outer(inner.genome), parents)
            self._asked[trial.number], self._numbers[inner.number] = inner, trial.number
            trials.append(trial)
        return trials


def build_inner(name: str, axes: Sequence[Axis], seed: int, options: Mapping[str, object] | None) -> Strategy:
    """Build the inner strategy of a combinator from its settings ``strategy`` and ``settings``."""
    require("strategy", name, "a strategy that is not a combinator", holds=name not in COMBINATORS)
    try:
        STRATEGIES.get(name)
    except KingyoError as error:
        raise error.placed("search.settings") from error
    return build(name, axes, seed, options or {}, key="search.settings.settings")


class InitialPointsStrategy(Wrapper):
    """Ask for given points first, then continue with another strategy.

    It is not registered: code that builds a search adds good points of its space to the chosen strategy. The
    inner strategy gets the outcomes of the points, without failures, as known points if it supports them. If
    trials are asked before all points have outcomes, it starts with the outcomes so far.
    """

    def __init__(self, inner: Strategy, points: Sequence[Genome]) -> None:
        super().__init__()
        self._set_inner(inner)
        self._points = tuple(dict.fromkeys(points))
        self._has_begun = False

    @property
    def next_batch(self) -> int:
        return self._inner.batch

    @property
    def batch(self) -> int:
        """Number of points left, then the batch of the inner strategy."""
        return max(0, len(self._points) - self._history.count) or self._inner.batch

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Keep known points; the inner strategy gets them together with the outcomes of the given points."""
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)

    def ask(self, n: int) -> list[Trial]:
        first = self._points[self._history.count :][:n]
        asked = [self._history.ask(point) for point in first]
        if len(asked) == n:
            return asked
        if not self._has_begun:
            self._has_begun = True
            points = [outcome for _, outcome in sorted(self._outcomes.items()) if outcome.failure is None]
            self._warm_start_inner([*self._known, *points])
        return [*asked, *self._ask_inner(n - len(asked))]


def main_batch(strategy: Strategy) -> int:
    """Return the batch of a strategy; with given points, the batch after these."""
    return strategy.next_batch if isinstance(strategy, InitialPointsStrategy) else strategy.batch
