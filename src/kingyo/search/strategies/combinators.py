"""Strategies that run another one: given points first, and coarse-to-fine search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

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
from kingyo.search.strategies.base import History, Positive, require


class Wrapper:
    """A strategy around another one, which numbers its trials from 0 and gets the outcomes of these only."""

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
        if not isinstance(self._inner, PredictingStrategy):
            return None
        return self._inner.predict([self._to_inner(genome) for genome in genomes])

    def _to_inner(self, genome: Genome) -> Genome:
        return genome

    def _to_outer(self, point: Genome) -> Genome:
        return point

    def _set_inner(self, inner: Strategy) -> None:
        self._inner = inner
        self._asked: dict[int, Trial] = {}  # by their own numbers, as trials of the inner strategy
        self._numbers: dict[int, int] = {}  # of inner trials -> own
        if self._tasks is not None and isinstance(inner, TaskAware):
            inner.learn_tasks(*self._tasks)

    def _warm_start_inner(self, known: Sequence[Outcome]) -> None:
        if known and isinstance(self._inner, InformedStrategy):
            self._inner.warm_start(self._known_points(known))

    def _known_points(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Number outcomes from -1 downwards, as known points of the inner strategy."""
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
    require("strategy", name, "a strategy that is not a combinator", holds=name not in COMBINATORS)
    try:
        STRATEGIES.get(name)
    except KingyoError as error:
        raise error.placed("search.settings") from error
    return build(name, axes, seed, options or {}, key="search.settings.settings")


class InitialPointsStrategy(Wrapper):
    """Ask for given points first, then continue with another strategy.

    The inner strategy gets their successful outcomes so far as known points.
    """

    def __init__(self, inner: Strategy, points: Sequence[Genome]) -> None:
        super().__init__()
        self._set_inner(inner)
        self.inner = inner
        self._points = tuple(dict.fromkeys(points))
        self._has_begun = False

    @property
    def batch(self) -> int:
        return max(0, len(self._points) - self._history.count) or self._inner.batch

    def warm_start(self, known: Sequence[Outcome]) -> None:
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
    return strategy.inner.batch if isinstance(strategy, InitialPointsStrategy) else strategy.batch


MAX_KNOWN = 200  # outcomes that a level begins with: half the best, half the latest


class CoarseToFine(Wrapper):
    """Run another strategy in a sequence of spaces, each finer than the one before.

        level 0     one gene per family of axes, such as one weight per source
        level k     up to 2^k genes per family, each for a group of neighbouring positions in the model
        last level  every axis on its own

    Each level begins with the outcomes of the earlier ones: a coarse point is a fine point whose genes are
    equal within each group. Axes of one family (``Axis.family``) with equal bounds and starts are grouped by
    position. If no axes can be grouped, the search is that of the inner strategy.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the coarse-to-fine search.

        Attributes:
            strategy: strategy of each level; no combinator.
            settings: options of that strategy; default: its defaults.
            per_gene: trials per gene in each level; the last level has no limit.
        """

        strategy: str = "item-gp"
        settings: Mapping[str, object] | None = None
        per_gene: Positive = 8.0

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._seed = seed
        self._groupings = build_groupings(axes)
        self._begin_level(0)

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self._known = sorted(known, key=lambda outcome: -outcome.trial.number)
        self._learn(self._known)

    def ask(self, n: int) -> list[Trial]:
        ends = self._first + math.ceil(self._settings.per_gene * len(self._grouping.axes))
        if n and self._history.count >= ends and self._level + 1 < len(self._groupings):
            self._begin_level(self._level + 1)
            self._learn([*self._known, *self._best_and_latest()])
        return self._ask_inner(n)

    def _to_inner(self, genome: Genome) -> Genome:
        return self._grouping.reduce(genome)

    def _to_outer(self, point: Genome) -> Genome:
        return self._grouping.expand(point)

    def _begin_level(self, level: int) -> None:
        self._level, self._grouping, self._first = level, self._groupings[level], self._history.count
        settings = self._settings
        self._set_inner(
            build_inner(settings.strategy, self._grouping.axes, self._seed + level, settings.settings)
        )

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        scored = [outcome for outcome in outcomes if outcome.failure is None]
        self._warm_start_inner([each for each in scored if self._grouping.contains(each.trial.genome)])

    def _best_and_latest(self) -> list[Outcome]:
        scores = {number: outcome.score for number, outcome in sorted(self._outcomes.items())}
        ranked = [(score, -number) for number, score in scores.items() if score is not None]
        best, latest = sorted(ranked, reverse=True)[: MAX_KNOWN // 2], ranked[-MAX_KNOWN // 2 :]
        return [self._outcomes[number] for number in sorted({-number for _, number in [*best, *latest]})]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """A space in which groups of axes share one gene: an axis per group, and the indices of its axes."""

    axes: tuple[Axis, ...]
    groups: tuple[tuple[int, ...], ...]

    def expand(self, genome: Genome) -> Genome:
        pairs = zip(genome, self.groups, strict=True)
        genes = {index: gene for gene, group in pairs for index in group}
        return tuple(genes[index] for index in sorted(genes))

    def reduce(self, genome: Genome) -> Genome:
        return tuple(
            float(min(max(math.fsum(genome[i] for i in group) / len(group), axis.low), axis.high))
            for axis, group in zip(self.axes, self.groups, strict=True)
        )

    def contains(self, genome: Genome) -> bool:
        return all(len({genome[i] for i in group}) == 1 for group in self.groups)


def build_groupings(axes: Sequence[Axis]) -> list[Grouping]:
    families = families_of(axes, ordered=True)
    ordered = [sorted(family, key=lambda i: axes[i].place or 0.0) for family in families]
    longest = max(len(family) for family in ordered)
    levels = range(math.ceil(math.log2(longest)) + 1)
    partitions = [sorted(tuple(g) for family in ordered for g in _halves(family, level)) for level in levels]
    return [grouping_of(axes, groups) for groups in partitions]


def families_of(axes: Sequence[Axis], *, ordered: bool) -> list[list[int]]:
    """Return the indices of axes that can share a gene: of one family, with equal bounds and starts."""
    families: dict[tuple[object, ...], list[int]] = {}
    for index, axis in enumerate(axes):
        is_groupable = axis.family and axis.kind == "float" and not (ordered and axis.place is None)
        key = (axis.family, axis.low, axis.high, axis.start) if is_groupable else (index,)
        families.setdefault(key, []).append(index)
    return list(families.values())


def grouping_of(axes: Sequence[Axis], groups: Sequence[Sequence[int]]) -> Grouping:
    return Grouping(
        axes=tuple(_group_axis(axes, group) for group in groups), groups=tuple(map(tuple, groups))
    )


def _halves(family: Sequence[int], level: int) -> list[Sequence[int]]:
    if level == 0 or len(family) == 1:
        return [family]
    middle = (len(family) + 1) // 2
    return [*_halves(family[:middle], level - 1), *_halves(family[middle:], level - 1)]


def _group_axis(axes: Sequence[Axis], group: Sequence[int]) -> Axis:
    first = axes[group[0]]
    if len(group) == 1:
        return first
    places = [axes[index].place or 0.0 for index in group]
    return replace(first, name=f"{first.name} +{len(group) - 1}", place=sum(places) / len(places))


STRATEGIES.register("coarse-to-fine")(CoarseToFine)
