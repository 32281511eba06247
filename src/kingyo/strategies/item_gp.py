"""Bayesian search through single items: where a few items per candidate go a long way.

A Gaussian process of ability over the space (``kingyo.irt.posterior``) pools all item scores of all trials:
how hard each item is, and how able the neighbours are. So a candidate needs a handful of items, and the best
point is one that its neighbourhood vouches for, not the luckiest of many.

    start   mixtures of half of the sources, which bring as many pairs together as they can, and points
            spread over the space
    ask     the point of the highest posterior mean; the others by Thompson sampling: each is the best of a
            pool of points under one function drawn from the posterior (Thompson 1933; Kandasamy et al. 2018).
            While no trial is believed to be better than the best known model, one of each batch is a mixture
            far from all known points. While all known points score about the same, such as 0, all are strong
            mixtures. Asked for one trial at a time, it does the same in turn.
    tell    the item scores; what an estimate says of the items that were not scored is not used

Items that only one of the known models solves have a process of their own, model by model, or those that the
best of them solves.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kingyo.irt.belief import Belief
from kingyo.irt.item_groups import group_items
from kingyo.strategies import STRATEGIES, genes
from kingyo.strategies.checks import check_search, require, require_size
from kingyo.strategies.history import History, Observation, check_count
from kingyo.strategies.item_tasks import TaskItems
from kingyo.strategies.sampling import Box
from kingyo.types import Axis, Genome, Outcome, Trial

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

EQUAL = 0.02  # scores closer than this count as equal; one more right answer of 32 is more
REFITS = 1.3  # relearn the shape when the number of points has grown by this factor
GROWTH = 0.02  # of the trials so far: a generation is as large, if that is more than the batch
TOP = 6  # points that others are sought around
NEAR = (0.07, 0.2)  # steps of the pool around them, as shares of each axis' range
MIXED = 0.75  # of the first points, and of those of the pool that are anywhere: mixtures of sources
ANYWHERE = {True: 1 / 8, False: 1 / 3}  # of the pool, by whether axes are weights of sources
CLIMB = (0.1, 0.05, 0.025, 0.0125)  # steps towards the highest posterior mean
NEIGHBOURS = 200  # points tried at each
CHANGED = 4.0  # genes that such a step changes, on average
PRUNED = 0.2  # of the pool is added: able points without some of their sources, or of another strength
NEW = 0.06  # of an axis' range: the points to choose from differ as much from all known ones
FEW = 0.05  # of the pool are too few to choose from: then points count as new that are not the same
SAME = 1e-6  # of an axis' range
MIXTURES = 12  # of which the one farthest from all known points is taken where nothing is gained


class ItemGp:
    """A Gaussian process that learns from single items, by Thompson sampling; for axes of every kind.

    It learns from item scores, so it gains most where candidates are scored on some of the items
    (``screen: {items: 32}``). At most ``memory`` points are kept: the most able and the latest. Trials have
    no parents: all that was told decides about the next.

    Args:
        axes: the space.
        seed: 0 or more.
        settings: see ``Settings``.

    Raises:
        KingyoError: axes or settings that make no sense, each named.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Options of the item-response Gaussian process."""

        batch: int = field(
            default=3,
            metadata={
                "doc": "trials per generation; after 50 times as many trials, 2 % of all so far, up to a "
                "quarter of the memory"
            },
        )
        initial: int = field(
            default=8, metadata={"doc": "trials spread over the space before the process is asked"}
        )
        pool: int = field(
            default=500,
            metadata={
                "doc": "points compared to choose each trial; a fifth more where axes are weights of sources"
            },
        )
        memory: int = field(default=256, metadata={"doc": "points that the process rests on, at most"})

    def __init__(self, axes: Sequence[Axis], seed: int, settings: Settings) -> None:
        self._axes = check_search(axes, seed)
        _check_settings(settings)
        self._settings = settings
        self._seed = seed
        self._box = Box(self._axes)
        self._history = History()
        self._known: list[Observation] = []
        self._models: set[int] = set()
        self._tasks = [TaskItems()]
        self._task_of: Mapping[str, TaskItems] = {}
        self._shaped = 0
        rng = np.random.default_rng(seed)
        first = self._box.points([genes.first_point(self._axes)])
        mixed = round(MIXED * settings.initial) if self._box.has_weights else 0
        rest = max(1, settings.initial - 1 - mixed)
        self._spread = np.concatenate(
            [first, self._box.first_mixtures(mixed, rng), self._box.spread(rest, rng)]
        )
        self._bold: list[Vector] = []
        self._bolder = self._box.bold_mixtures(rng)

    @property
    def batch(self) -> int:
        """The size of a generation: as it is set, later a share of the trials that there are.

        A fit takes as long for many proposals as for few, and a few more scores tell a long search little.
        """
        least, most = self._settings.batch, self._settings.memory // 4
        return max(least, min(most, int(GROWTH * self._history.count)))

    def learn_tasks(self, task_of: Mapping[str, str], weights: Mapping[str, float]) -> None:
        """Give each task a process of its own; what is sought is their weighted mean."""
        tasks = {name: TaskItems(weight) for name, weight in weights.items()}
        self._tasks = list(tasks.values())
        self._task_of = {item: tasks[name] for item, name in task_of.items()}

    def warm_start(self, known: Sequence[Outcome]) -> None:
        """Begin with points that were measured before; those that were to be tried first need not be.

        Those that were scored on most items are the known models: trials of an earlier search have fewer.
        """
        observations = sorted(map(Observation.of, known), key=lambda observation: -observation.number)
        most = max((len(each.items) for each in observations), default=0)
        models = [each for each in observations if each.items and len(each.items) == most]
        self._models |= {each.number for each in models}
        if len(self._tasks) == 1:  # of several tasks each has a process already
            self._divide(models)
        self._add(observations)
        met = {observation.genome for observation in self._known}
        fresh = [point for point in self._spread if self._box.genome(point) not in met]
        self._spread = np.array(fresh).reshape(-1, len(self._axes))

    def ask(self, n: int) -> list[Trial]:
        """Propose n trials: spread over the space at first, then by what the process says."""
        check_count(n)
        if n == 0:
            return []
        self._catch_up()
        count = self._history.count
        rng = np.random.default_rng([self._seed, count])
        fresh = self._spread[: self._settings.initial][count : count + n]
        rest = range(count + len(fresh), count + n)
        if self._box.has_weights and self._sees_no_difference():
            more = self._bold_mixtures(rest)
        else:
            more = self._proposals(rest, rng)
        points = [*fresh, *more]
        return [self._history.ask(self._box.genome(point)) for point in points]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Learn how trials ended; the process is fitted at the next ask."""
        self._history.tell(outcomes)

    def predict(self, genomes: Sequence[Genome]) -> list[float] | None:
        """Return the mean score over all items that the process expects of each genome; None before any."""
        self._catch_up()
        belief = self._belief
        if belief is None:
            return None
        return belief.expected(self._box.features(self._box.points(genomes))).tolist()

    @property
    def _belief(self) -> Belief | None:
        """What is believed so far; None before the first fit."""
        tasks = [task.belief for task in self._tasks if task.belief is not None]
        return Belief(tasks=tasks) if tasks else None

    def _sees_no_difference(self) -> bool:
        """Whether all scored points have about the same mean."""
        means = [
            statistics.fmean(observation.items.values()) for observation in self._known if observation.items
        ]
        return bool(means) and max(means) - min(means) < EQUAL

    def _features(self) -> Matrix:
        return self._box.features(self._box.points([observation.genome for observation in self._known]))

    def _divide(self, models: Sequence[Observation]) -> None:
        """Give the items that only one known model solves, or else those that the best does, a process."""
        groups = group_items([model.items for model in models])
        if groups:
            own = [TaskItems() for _ in groups]
            self._tasks += own
            self._task_of = {item: task for task, group in zip(own, groups, strict=True) for item in group}

    def _add(self, observations: Sequence[Observation]) -> None:
        for each in observations:
            for item in each.items:
                self._task_of.get(item, self._tasks[0]).meet(item)
        self._known += observations

    def _catch_up(self) -> None:
        """Take in what was told, and fit the process to it; its shape only when enough is new."""
        fresh = self._history.take_all()
        self._add(fresh)
        is_fitted = self._belief is not None or not self._known
        if is_fitted and not fresh:
            return
        self._forget()
        count = self._history.count + 1
        again = count >= REFITS * self._shaped
        points = self._features()
        fitted = [task for task in self._tasks if task.has_items] or self._tasks  # failures have no items
        for task in fitted:
            task.fit(points, self._known, self._box.is_weight, learn_shape=again)
        self._shaped = count if again else self._shaped

    def _bold_mixtures(self, numbers: range) -> list[Vector]:
        """Strong mixtures of the series for the trials of these numbers."""
        self._bold += itertools.islice(self._bolder, max(0, numbers.stop - len(self._bold)))
        return self._bold[numbers.start : numbers.stop]

    def _proposals(self, numbers: range, rng: np.random.Generator) -> list[Vector]:
        """Points for the trials of these numbers."""
        n, belief, turn = len(numbers), self._belief, numbers.start % max(3, self.batch)
        if n == 0 or belief is None:
            return list(self._box.random(n, rng))
        able = self._able(belief)
        best = self._best(belief, able, rng)
        pool = self._pool(able, best, rng)
        points = list(pool[belief.draw(self._box.features(pool), n, rng).argmax(axis=1)])
        if n > 1 or turn == 0:
            points[0] = best
        if (n > 2 or turn == 1) and self._box.has_weights and self._gains_nothing(belief):
            far = self._far_mixture(rng)
            points[-1] = far if self._is_new(far[None, :], NEW)[0] else points[-1]
        return points

    def _gains_nothing(self, belief: Belief) -> bool:
        """Whether no trial is believed to be better than the best of the known models."""
        is_model = np.array([observation.number in self._models for observation in self._known])
        scores = belief.expected(self._features())
        return bool(is_model.any()) and scores.max() < scores[is_model].max() + EQUAL

    def _far_mixture(self, rng: np.random.Generator) -> Vector:
        """Return the mixture that is farthest from all known points, of some that are drawn."""
        drawn, known = self._box.first_mixtures(MIXTURES, rng), self._features()
        gaps = self._box.features(drawn)[:, None, :] - known[None, :, :]
        return drawn[np.linalg.norm(gaps, axis=2).min(axis=1).argmax()]

    def _able(self, belief: Belief) -> Matrix:
        """The most able of the known points."""
        points = self._box.points([observation.genome for observation in self._known])
        return points[np.argsort(-belief.known, kind="stable")[:TOP]]

    def _best(self, belief: Belief, able: Matrix, rng: np.random.Generator) -> Vector:
        """Climb the posterior mean from the most able points."""
        centres = able
        for step in CLIMB:
            around = centres[rng.integers(0, len(centres), NEIGHBOURS)]
            tried = np.concatenate([centres, self._box.near(around, step, CHANGED, rng)])
            mean = belief.predict(self._box.features(tried))
            centres = tried[np.argsort(-mean, kind="stable")[:TOP]]
        return centres[0]

    def _pool(self, able: Matrix, best: Vector, rng: np.random.Generator) -> Matrix:
        """New points to choose from: some anywhere, the others around the most able and the best point."""
        has_weights = self._box.has_weights
        anywhere = round(ANYWHERE[has_weights] * self._settings.pool)
        mixed = round(MIXED * anywhere) if has_weights else 0
        parts = [self._box.random(anywhere - mixed, rng), self._box.mixtures(mixed, rng)]
        n = (self._settings.pool - anywhere) // len(NEAR)
        centres = np.concatenate([best[None, :], able])
        for step in NEAR:
            around = centres[rng.integers(0, len(centres), n)]
            parts.append(self._box.near(around, step, CHANGED, rng))
        if has_weights:
            n = round(PRUNED * self._settings.pool)
            parts.append(self._box.pruned(centres[rng.integers(0, len(centres), n)], rng))
        pool = np.concatenate([best[None, :], *parts])
        new = pool[self._is_new(pool, NEW)]
        if len(new) < FEW * self._settings.pool:
            new = pool[self._is_new(pool, SAME)]
        return new if len(new) else pool

    def _is_new(self, points: Matrix, least: float) -> NDArray[np.bool_]:
        return self._box.apart(
            points, self._box.points([observation.genome for observation in self._known]), least
        )

    def _forget(self) -> None:
        """Keep as many points as there is room for: half the most able by the last fit, half the latest."""
        memory, before = self._settings.memory, self._belief
        if len(self._known) <= memory or before is None:
            return
        ranked = np.argsort(-before.known, kind="stable")[: memory // 2]
        latest = range(len(self._known) - memory // 2, len(self._known))
        self._known = [self._known[index] for index in sorted({*map(int, ranked), *latest})]


def _check_settings(settings: ItemGp.Settings) -> None:
    require_size("batch", settings.batch, 1)
    require_size("initial", settings.initial, 1)
    require("pool", settings.pool, "10 to 2000", holds=10 <= settings.pool <= 2000)
    require("memory", settings.memory, "20 to 1000", holds=20 <= settings.memory <= 1000)


STRATEGIES.register("item-gp")(ItemGp)
