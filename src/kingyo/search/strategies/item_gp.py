"""Bayesian optimisation with a Gaussian process over item scores.

A Gaussian process of ability over the space (``stats.irt.posterior``) pools the item scores of all trials:
item difficulties and the ability of neighbouring points. A candidate therefore needs few items, and the best
point is one with good neighbours, not the luckiest of many.

    start   mixtures of half of the sources that cover many pairs, and points spread over the space
    ask     the point of the highest posterior mean; the others by Thompson sampling: each is the best of a
            pool of points under one function sampled from the posterior (Kandasamy et al. 2018). While no
            trial is expected to beat the best known model, one trial per batch is a mixture far from all
            known points. While all scores are about equal, all trials are strong mixtures.

Items that only one of the known models solves, or else those that the best model solves, have a process of
their own.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import STRATEGIES, genes
from kingyo.search.strategies.base import BaseStrategy, Size, Whole
from kingyo.search.strategies.sampling import PointSampler
from kingyo.stats.irt.item_tasks import Belief, TaskItems, group_items

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

EQUAL = 0.02  # scores closer than this count as equal; one right answer in 32 is more
REFITS = 1.3  # refit the kernel when the number of points has grown by this factor
GROWTH = 0.02  # a generation is at least this fraction of the trials so far
TOP = 6  # number of best points whose neighbourhood is searched
NEAR = (0.07, 0.2)  # step sizes around them, as fractions of each axis' range
MIXED = 0.75  # fraction of mixtures among initial points and global points of the pool
ANYWHERE = {True: 1 / 8, False: 1 / 3}  # fraction of global points in the pool, with and without weights
CLIMB = (0.1, 0.05, 0.025, 0.0125)  # step sizes of the search for the highest posterior mean
NEIGHBOURS = 200  # points evaluated per step size
CHANGED = 4.0  # mean number of genes that a step changes
PRUNED = 0.2  # pruned points added to the pool, as a fraction of it
NEW = 0.06  # distance of pool points from known ones, as a fraction of an axis' range
FEW = 0.05  # if fewer than this fraction of the pool is new, any point that is not known counts
SAME = 1e-6  # as a fraction of an axis' range
MIXTURES = 12  # mixtures from which the one farthest from all known points is taken


class ItemGp(BaseStrategy):
    """Gaussian process over item scores with Thompson sampling, for axes of every kind.

    It gains most if candidates are scored on some of the items (``screen: {items: 32}``). At most ``memory``
    points are kept, the best and the latest. Trials have no parents.
    """

    handles_objectives: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the item-response Gaussian process.

        Attributes:
            batch: trials per generation; in long searches 2% of the trials, up to a quarter of memory.
            initial: trials spread over the space before the process is used.
            pool: points compared to choose each trial; a fifth more if axes are weights of sources.
            memory: most points that the process is fitted to.
        """

        batch: Size = 3
        initial: Whole = 8
        pool: Annotated[int, Field(ge=10, le=2000)] = 500
        memory: Annotated[int, Field(ge=20, le=1000)] = 256

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        super().__init__(axes, seed, settings.batch)
        self._settings = settings
        self._sampler = PointSampler(self._axes)
        self._known: list[Outcome] = []
        self._models: set[int] = set()
        self._tasks = [TaskItems()]
        self._task_of: dict[str, TaskItems] = {}
        self._n_at_kernel_fit = 0
        rng = np.random.default_rng(seed)
        first = self._sampler.points([genes.first_point(self._axes)])
        mixed = round(MIXED * settings.initial) if self._sampler.has_weights else 0
        rest = max(1, settings.initial - 1 - mixed)
        self._initial_points = np.concatenate(
            [first, self._sampler.initial_mixtures(mixed, rng), self._sampler.latin_hypercube(rest, rng)]
        )
        self._bold_points: list[Vector] = []
        self._bold_generator = self._sampler.bold_mixtures(rng)

    @property
    def batch(self) -> int:
        """Trials per generation, later 2% of all trials: a fit costs the same for many proposals."""
        least, most = self._settings.batch, self._settings.memory // 4
        return max(least, min(most, int(GROWTH * self._history.count)))

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        tasks = {name: TaskItems(weight) for name, weight in weights.items()}
        self._tasks = list(tasks.values())
        self._task_of = {item: tasks[name] for item, name in task_of.items()}

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with measured points, and drop initial points that are among them."""
        outcomes = sorted(known, key=lambda outcome: -outcome.number)
        most = max((len(outcome.items) for outcome in outcomes), default=0)
        models = [each for each in outcomes if each.items and len(each.items) == most]
        self._models |= {model.number for model in models}
        # Items that only one known model solves, or that the best solves, get a process. Tasks have theirs.
        groups = group_items([model.items for model in models]) if len(self._tasks) == 1 else []
        own = [TaskItems() for _ in groups]
        self._tasks += own
        self._task_of |= {item: task for task, group in zip(own, groups, strict=True) for item in group}
        self._add(outcomes)
        known_genomes = {outcome.genome for outcome in self._known}
        fresh = [point for point in self._initial_points if tuple(point.tolist()) not in known_genomes]
        self._initial_points = np.array(fresh).reshape(-1, len(self._axes))

    def continue_from(self, known: Sequence[Outcome]) -> None:
        """Begin with points of another search, beyond the axes too, and no initial points."""
        self._initial_points = self._initial_points[:0]
        self.warm_start(known)

    def ask(self, n: int) -> list[Trial]:
        if n == 0:
            return []
        self._refit()
        count = self._history.count
        rng = np.random.default_rng([self._seed, count])
        fresh = self._initial_points[: self._settings.initial][count : count + n]
        rest = range(count + len(fresh), count + n)
        means = [statistics.fmean(each.items.values()) for each in self._known if each.items]
        if self._sampler.has_weights and means and max(means) - min(means) < EQUAL:
            points = [*fresh, *self._bold_mixtures(rest)]
        else:
            points = [*fresh, *self._proposals(rest, rng)]
        return [self._history.ask(tuple(point.tolist())) for point in points]

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        self._refit()
        belief = self._belief
        if belief is None:
            return None
        return belief.expected(self._sampler.features(self._sampler.points(genomes))).tolist()

    @property
    def _belief(self) -> Belief | None:
        tasks = [task for task in self._tasks if task.levels]
        return Belief(tasks=tasks) if tasks else None

    def _points(self) -> Matrix:
        return self._sampler.points([outcome.genome for outcome in self._known])

    def _features(self) -> Matrix:
        return self._sampler.features(self._points())

    def _add(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            for item in sorted(outcome.items):
                self._task_of.get(item, self._tasks[0]).add_item(item)
        self._known += outcomes

    def _refit(self) -> None:
        fresh = self._history.take_all()
        self._add(fresh)
        is_fitted = self._belief is not None or not self._known
        if is_fitted and not fresh:
            return
        self._forget()
        count = self._history.count + 1
        again = count >= REFITS * self._n_at_kernel_fit
        points, items = self._features(), [outcome.items for outcome in self._known]
        for task in [task for task in self._tasks if task.columns] or self._tasks:  # failures have no items
            task.fit(points, items, self._sampler.is_weight, learn_shape=again)
        self._n_at_kernel_fit = count if again else self._n_at_kernel_fit

    def _bold_mixtures(self, numbers: range) -> list[Vector]:
        n = max(0, numbers.stop - len(self._bold_points))
        self._bold_points += itertools.islice(self._bold_generator, n)
        return self._bold_points[numbers.start : numbers.stop]

    def _proposals(self, numbers: range, rng: np.random.Generator) -> list[Vector]:
        n, belief, turn = len(numbers), self._belief, numbers.start % max(3, self.batch)
        if n == 0 or belief is None:
            return list(self._sampler.uniform(n, rng))
        best_known = self._points()[np.argsort(-belief.known, kind="stable")[:TOP]]
        best = self._climb(belief, best_known, rng)
        pool = self._pool(best_known, best, rng)
        points = list(pool[belief.draw(self._sampler.features(pool), n, rng).argmax(axis=1)])
        if n > 1 or turn == 0:
            points[0] = best
        if (n > 2 or turn == 1) and self._sampler.has_weights and self._no_gain_expected(belief):
            mixtures, known = self._sampler.initial_mixtures(MIXTURES, rng), self._features()
            offsets = self._sampler.features(mixtures)[:, None, :] - known[None, :, :]
            far = mixtures[np.linalg.norm(offsets, axis=2).min(axis=1).argmax()]
            points[-1] = far if self._is_new(far[None, :], NEW)[0] else points[-1]
        return points

    def _no_gain_expected(self, belief: Belief) -> bool:
        is_model = np.array([outcome.number in self._models for outcome in self._known])
        scores = belief.expected(self._features())
        return bool(is_model.any()) and scores.max() < scores[is_model].max() + EQUAL

    def _climb(self, belief: Belief, best_known: Matrix, rng: np.random.Generator) -> Vector:
        centres = best_known
        for step in CLIMB:
            around = centres[rng.integers(0, len(centres), NEIGHBOURS)]
            candidates = np.concatenate([centres, self._sampler.perturbed(around, step, CHANGED, rng)])
            mean = belief.predict(self._sampler.features(candidates))
            centres = candidates[np.argsort(-mean, kind="stable")[:TOP]]
        return centres[0]

    def _pool(self, best_known: Matrix, best: Vector, rng: np.random.Generator) -> Matrix:
        has_weights = self._sampler.has_weights
        anywhere = round(ANYWHERE[has_weights] * self._settings.pool)
        mixed = round(MIXED * anywhere) if has_weights else 0
        parts = [self._sampler.uniform(anywhere - mixed, rng), self._sampler.mixtures(mixed, rng)]
        n = (self._settings.pool - anywhere) // len(NEAR)
        centres = np.concatenate([best[None, :], best_known])
        for step in NEAR:
            around = centres[rng.integers(0, len(centres), n)]
            parts.append(self._sampler.perturbed(around, step, CHANGED, rng))
        if has_weights:
            n = round(PRUNED * self._settings.pool)
            parts.append(self._sampler.pruned(centres[rng.integers(0, len(centres), n)], rng))
        pool = np.concatenate([best[None, :], *parts])
        new = pool[self._is_new(pool, NEW)]
        if len(new) < FEW * self._settings.pool:
            new = pool[self._is_new(pool, SAME)]
        return new if len(new) else pool

    def _is_new(self, points: Matrix, least: float) -> NDArray[np.bool_]:
        return self._sampler.differ(points, self._points(), least)

    def _forget(self) -> None:
        memory, before = self._settings.memory, self._belief
        if len(self._known) <= memory or before is None:
            return
        ranked = np.argsort(-before.known, kind="stable")[: memory // 2]
        latest = range(len(self._known) - memory // 2, len(self._known))
        self._known = [self._known[index] for index in sorted({*map(int, ranked), *latest})]


STRATEGIES.register("item-gp")(ItemGp)
