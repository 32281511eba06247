"""Memetic search: evolution, and between its generations weights that are learned by gradient.

    evolve    one factor per family of axes (``Axis.family``), such as one weight per source
    learn     all axes, by the gradient of a loss, from the best point so far
    evolve    the factors, and the strength of what was learned

Gene i of family f is a_f · (1 + Σ_k s_k (q_ki − 1)) with the factor a_f and the strengths s_k from 0 to 1.
Lesson k gives q_ki = g_i / mean |g| over the family, for the learned genes g. So s = 0 is a space of one gene
per family, and a learned point has strength 1 in its own lesson; all trials are points of one space.
(Moscato 1989, On Evolution, Search, Optimization, Genetic Algorithms and Martial Arts, Caltech C3P 826.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kingyo.core.types import Axis, ContinuingStrategy, Genome, Learn, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import Size
from kingyo.search.strategies.combinators import Grouping, Wrapper, build_inner, families_of, grouping_of

Vector = NDArray[np.float64]
SOLVED = 0.98  # a score that leaves nothing to learn
MOST_FAILURES = 2  # lessons without a gain
NEAR, NEAREST = 0.4, 0.1  # of a factor's size, and of its range: how far the search goes from a learned point
STRENGTHS = 0.25  # the same for strengths


class Memetic(Wrapper):
    """Search factors of families with another strategy, and learn all genes in between.

    Without ``learn`` it is the inner strategy in a space of one gene per family. The parent of a learned
    trial is the trial that it started from; it has none if it started from a known point or from their mean.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the memetic search.

        Attributes:
            strategy: strategy that searches factors; no combinator.
            settings: options of that strategy; default: its defaults.
            tie: whether the axes of a family share a factor; otherwise all axes are searched one by one.
            first: trials before the first lesson.
            every: trials between lessons.
            lessons: most lessons; none follows two without a gain.
        """

        strategy: str = "item-gp"
        settings: Mapping[str, object] | None = None
        tie: bool = True
        first: Size = 6
        every: Size = 8
        lessons: Size = 6

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__()
        self.learn: Learn = lambda number, start: None  # noqa: ARG005 (a Learn)
        self._settings = settings
        self._seed = seed
        groups = families_of(axes, ordered=False) if settings.tie else [[i] for i in range(len(axes))]
        self._space = LearnedSpace(axes=tuple(axes), families=grouping_of(axes, groups))
        self._points: dict[Genome, Genome] = {}  # genome -> its point in the space of factors and strengths
        self._learned: Trial | None = None  # waits for its outcome
        self._next_lesson: int | None = settings.first
        self._n_lessons = self._n_failures = 0
        self._begin_search(self._space.axes_of(None))

    def warm_start(self, known: Sequence[Outcome]) -> None:
        inside = [each for each in known if self._space.families.contains(each.trial.genome)]
        self._known = sorted(inside, key=lambda outcome: -outcome.trial.number)
        for outcome in self._known:
            self._points[outcome.trial.genome] = self._space.families.reduce(outcome.trial.genome)
        self._begin_search(self._space.axes_of(None), self._known)

    def ask(self, n: int) -> list[Trial]:
        if n == 0:
            return []
        self._take_up_lesson()
        learned = self._lesson()
        trials = [] if learned is None else [learned]
        return [*trials, *self._ask_inner(n - len(trials))]

    def _to_inner(self, genome: Genome) -> Genome:
        return self._space.padded(self._points.get(genome) or self._space.families.reduce(genome))

    def _to_outer(self, point: Genome) -> Genome:
        genome = self._space.expand(point)
        self._points.setdefault(genome, point)
        return genome

    def _lesson(self) -> Trial | None:
        count, most = self._history.count, self._settings.lessons
        if self._next_lesson is None or count < self._next_lesson or self._learned is not None:
            return None
        self._next_lesson = count + self._settings.every
        start = self._best()
        if start is not None and self._n_failures:
            start = self._centre(), ()
        result = None if start is None else self.learn(count, start[0])
        if start is None or result is None:
            return None
        self._n_lessons += 1
        if self._n_lessons == most:
            self._next_lesson = None
        self._learned = replace(self._history.ask(result[0], start[1]), lesson=result[1])
        return self._learned

    def _best(self) -> tuple[Genome, tuple[int, ...]] | None:
        scored = [each for each in (*self._known, *self._outcomes.values()) if each.failure is None]
        if not scored:
            return self._space.first, ()
        expected = self._expected(scored)
        best = scored[max(range(len(scored)), key=lambda index: expected[index])]
        if (best.score or 0.0) >= SOLVED:
            return None
        number = best.trial.number
        return best.trial.genome, (number,) if number >= 0 else ()

    def _centre(self) -> Genome:
        """Return the mean of the known points, such as the average of all sources, exactly if it is known."""
        genomes = [outcome.trial.genome for outcome in self._known]
        centre = tuple(map(fmean, zip(*genomes, strict=True))) if genomes else self._space.first
        return next((genome for genome in genomes if np.allclose(genome, centre)), centre)

    def _expected(self, outcomes: Sequence[Outcome]) -> list[float]:
        predicted = self.predict([outcome.trial.genome for outcome in outcomes])
        return predicted or [outcome.score or 0.0 for outcome in outcomes]

    def _take_up_lesson(self) -> None:
        """Search around a learned point once its outcome is known, if it is better than all others."""
        if self._learned is None or self._learned.number not in self._outcomes:
            return
        trial, self._learned = self._learned, None
        self._n_failures += not self._gains(trial)
        if self._n_failures == MOST_FAILURES:
            self._next_lesson = None

    def _gains(self, trial: Trial) -> bool:
        outcome = self._outcomes[trial.number]
        if outcome.failure is not None:
            return False
        point = self._points[trial.genome] = self._space.add_lesson(trial.genome)
        outcomes = [self._outcomes[number] for number in sorted(self._outcomes)]
        scored = [*self._known, *(each for each in outcomes if each.failure is None)]
        self._begin_search(self._space.axes_of(point), scored)
        learned, *others = self._expected([outcome, *(each for each in scored if each is not outcome)])
        is_gain = learned > max(others, default=-math.inf)
        if is_gain:
            self._begin_search(self._space.axes_around(point), scored)
        return is_gain

    def _begin_search(self, axes: Sequence[Axis], known: Sequence[Outcome] = ()) -> None:
        settings, seed = self._settings, self._seed + self._n_lessons
        self._set_inner(build_inner(settings.strategy, axes, seed, settings.settings))
        if self._n_lessons and isinstance(self._inner, ContinuingStrategy):
            self._inner.continue_from(self._known_points(known))
            return
        points = ((each, self._to_inner(each.trial.genome)) for each in known)
        self._warm_start_inner([each for each, point in points if _is_within(axes, point)])


class LearnedSpace:
    """A space of factors of families, which have one gene each, and of strengths of lessons."""

    def __init__(self, *, axes: tuple[Axis, ...], families: Grouping) -> None:
        self.families = families
        self.first = genes.first_point(axes)
        self._low, self._high = (np.array([getattr(axis, end) for axis in axes]) for end in ("low", "high"))
        self._family = np.zeros(len(axes), dtype=int)
        for number, group in enumerate(families.groups):
            self._family[list(group)] = number
        self._patterns: list[Vector] = []

    def axes_of(self, start: Genome | None) -> tuple[Axis, ...]:
        strengths = [
            Axis(name=f"strength of lesson {number}", low=0.0, high=1.0, start=0.0)
            for number, _ in enumerate(self._patterns, 1)
        ]
        axes = (*self.families.axes, *strengths)
        if start is None:
            return axes
        pairs = zip(axes, start, strict=True)
        return tuple(replace(axis, start=gene) if axis.kind == "float" else axis for axis, gene in pairs)

    def axes_around(self, point: Genome) -> tuple[Axis, ...]:
        n = len(self.families.axes)
        axes: list[Axis] = []
        for index, (axis, gene) in enumerate(zip(self.axes_of(point), point, strict=True)):
            radius = max(NEAR * abs(gene), NEAREST * (axis.high - axis.low)) if index < n else STRENGTHS
            high = axis.high if index < n else axis.high + STRENGTHS
            near = replace(
                axis, low=max(axis.low, gene - radius), high=min(high, gene + radius), neutral=None
            )
            axes.append(near if axis.kind == "float" else axis)
        return tuple(axes)

    def add_lesson(self, genome: Genome) -> Genome:
        """Add a learned genome as a lesson, and return its point."""
        learned = np.array(genome)
        factors, pattern = list(self.families.reduce(genome)), np.ones(len(learned))
        for number, group in enumerate(self.families.groups):
            size = math.fsum(abs(genome[i]) for i in group) / len(group)
            if len(group) > 1 and size > 0:
                factors[number] = size
                pattern[list(group)] = learned[list(group)] / size
        if all(len(group) == 1 for group in self.families.groups):
            return tuple(factors)
        strengths = [*(0.0 for _ in self._patterns), 1.0]
        self._patterns.append(pattern)
        return (*factors, *strengths)

    def padded(self, point: Genome) -> Genome:
        size = len(self.families.axes) + len(self._patterns)
        return (*point, *(0.0 for _ in range(size - len(point))))

    def expand(self, point: Genome) -> Genome:
        n = len(self.families.axes)
        factors = np.array(point[:n])[self._family]
        strength = 1 + sum(s * (pattern - 1) for s, pattern in zip(point[n:], self._patterns, strict=True))
        return tuple(np.clip(factors * strength, self._low, self._high).tolist())


def _is_within(axes: Sequence[Axis], point: Genome) -> bool:
    return all(axis.low <= gene <= axis.high for axis, gene in zip(axes, point, strict=True))


STRATEGIES.register("memetic")(Memetic)
