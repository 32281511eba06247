"""Item scores of tasks as response processes, and the scores that they lead to expect.

A binary item has one process. A graded score is split into levels that a model reaches or not (as in the
graded response model, Samejima 1969), with one process per level:

    score(x) = Σ_t w_t · (floor_t + Σ_l step_tl · mean_j σ(θ_tl(x) − d_tlj)) / Σ_t w_t

over tasks t, the levels l of their scores, and items j. Each task has its own posterior, because ability at
one task says little about another. A plateau of equal partial credit does not hide the few merges that solve
an item fully. Scores with more than ``MAX_LEVELS`` levels are cut at quantiles, and a level is worth its
mean.

A single ability cannot model a mixture of two models that solve different items, nor a merge that gains items
which the best model fails and loses others. Such items are tasks of their own (``group_items``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.irt.posterior import ObservedPoints, Posterior, Prior, first_prior, fit_posterior
from kingyo.stats.irt.rasch import ScoredEntries, sigmoid

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

CLEAR = 0.25  # a model is better on an item if its score is higher by more than this
MIN_SHARE = 0.15  # smallest group, as a share of the common items
MIN_ITEMS = 12  # fewest common items
MAX_GROUPS = 4
SOLVED = 0.5  # a model solves an item if its score is above this
BEST_SHARE = 0.1  # smallest share of items that the best model solves, or does not solve
GRID = np.linspace(-20.0, 20.0, 801)  # abilities for the interpolation of scores, in logits
FAILURE_WEIGHT = 4.0  # a failure counts as this many wrong answers
MAX_LEVELS = 4
DECIMALS = 9  # scores are rounded so that .1 + .2 and .3 are one level


@dataclass(frozen=True, kw_only=True)
class _Level:
    """The posterior of reaching one level of a task's scores; reaching it adds ``step`` to a score."""

    posterior: Posterior
    step: float

    @property
    def difficulty(self) -> Vector:
        """The difficulty of each item; of one average item if there are none."""
        difficulty = self.posterior.prior.difficulty
        return difficulty if len(difficulty) else np.zeros(1)

    def score(self, ability: Matrix) -> Matrix:
        chance = sigmoid(GRID[:, None] - self.difficulty[None, :]).mean(axis=1)
        return np.asarray(np.interp(ability, GRID, self.step * chance), dtype=np.float64)

    def expected(self, points: Matrix) -> Vector:
        """Return the expected gain of points (m × columns), over the posterior of their abilities.

        σ under a normal ability, by MacKay 1992: E σ(θ − d) ≈ σ((mean − d) / √(1 + π · variance / 8)).
        """
        mean, variance = self.posterior.predict(points), self.posterior.variance(points)
        shrunk = 1 / np.sqrt(1 + math.pi * variance / 8)
        logit = (mean[:, None] - self.difficulty[None, :]) * shrunk[:, None]
        return self.step * sigmoid(logit).mean(axis=1)


class TaskItems:
    """The items of a task and the processes fitted to them; its weight is by default its number of items."""

    def __init__(self, weight: float | None = None) -> None:
        self._given_weight = weight
        self.columns: dict[str, int] = {}
        self._floor = 0.0
        self.weight = 0.0
        self.levels: Sequence[_Level] = ()  # empty before the first fit

    def add_item(self, item: str) -> None:
        self.columns.setdefault(item, len(self.columns))

    def score(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        return self._floor + np.sum([level.score(ability(level.posterior)) for level in self.levels], axis=0)

    def expected(self, points: Matrix) -> Vector:
        return self._floor + np.sum([level.expected(points) for level in self.levels], axis=0)

    def fit(
        self,
        points: Matrix,
        known: Sequence[Mapping[str, float]],
        is_weight: NDArray[np.bool_],
        *,
        learn_shape: bool,
    ) -> None:
        """Fit the processes, starting from the last fit, to item scores of points; none for a failure.

        ``is_weight`` says which features of points are weights of sources. Kernel lengths and variance are
        refitted if ``learn_shape``, or if the levels changed.
        """
        scores, seen = self._matrix(known)
        (cuts, steps, floor), priors = _scale(scores[seen > 0]), self._priors()
        if len(priors) != len(cuts):
            priors = [first_prior(is_weight, len(self.columns))] * len(cuts)
            learn_shape = True
        failures = np.array([0.0 if items else FAILURE_WEIGHT for items in known])
        levels: list[_Level] = []
        for cut, step, prior in zip(cuts, steps, priors, strict=True):
            scored = ScoredEntries.of(np.where(scores >= cut, 1.0, 0.0), seen)
            observed = ObservedPoints(points=points, scored=scored, failures=failures)
            posterior = fit_posterior(observed, prior, learn_shape=learn_shape)
            levels.append(_Level(posterior=posterior, step=step))
        self.levels, self._floor = levels, floor
        self.weight = float(len(self.columns)) if self._given_weight is None else self._given_weight

    def _priors(self) -> list[Prior]:
        priors = [level.posterior.prior for level in self.levels]
        new = np.zeros(len(self.columns) - len(priors[0].difficulty)) if priors else np.zeros(0)
        return [replace(prior, difficulty=np.append(prior.difficulty, new)) for prior in priors]

    def _matrix(self, known: Sequence[Mapping[str, float]]) -> tuple[Matrix, Matrix]:
        """Return rounded scores, shape (trials, items), and a mask of the same shape: 1 if scored, else 0."""
        shape = (len(known), len(self.columns))
        scores, seen = np.zeros(shape), np.zeros(shape)
        for row, scored in enumerate(known):
            items = [item for item in scored if item in self.columns]
            columns = [self.columns[item] for item in items]
            scores[row, columns] = np.round([scored[item] for item in items], DECIMALS)
            seen[row, columns] = 1.0
        return scores, seen


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What fitted tasks, at least one, say about points."""

    tasks: Sequence[TaskItems]

    @property
    def known(self) -> Vector:
        """The values of the observed points: abilities for a single task and level, else scores."""
        return self._combined(lambda posterior: posterior.ability)

    def predict(self, points: Matrix) -> Vector:
        return self._combined(lambda posterior: posterior.predict(points))

    def draw(self, points: Matrix, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n functions from the posterior; return their values at the points, n × m."""
        return self._combined(lambda posterior: posterior.draw(points, n, rng))

    def expected(self, points: Matrix) -> Vector:
        return self._mean([task.expected(points) for task in self.tasks])

    def _combined(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        """Return mean scores; for a single task and level the ability, which orders points as scores do."""
        if len(self.tasks) == 1 and len(self.tasks[0].levels) == 1:
            return ability(self.tasks[0].levels[0].posterior)
        return self._mean([task.score(ability) for task in self.tasks])

    def _mean(self, scores: Sequence[Matrix]) -> Matrix:
        weights = [task.weight for task in self.tasks]
        total = sum(weight * own for weight, own in zip(weights, scores, strict=True))
        return np.asarray(total, dtype=np.float64) / math.fsum(weights)


def _scale(values: Vector) -> tuple[Sequence[float], Sequence[float], float]:
    """Return the lower ends of the levels of a task's scores, their steps, and the score below all levels."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        value = float(distinct[0]) if len(distinct) else 0.0
        return ([1.0], [1.0 - value], value) if value < 1 else ([value], [value], 0.0)
    cuts: list[float] = distinct[1:].tolist()
    if len(cuts) > MAX_LEVELS:
        shares = np.arange(MAX_LEVELS) / MAX_LEVELS
        cuts = np.unique(np.quantile(values[values > distinct[0]], shares, method="lower")).tolist()
    levels = np.searchsorted(np.array(cuts), values, side="right")
    means = [float(values[levels == level].mean()) for level in range(len(cuts) + 1)]
    return cuts, np.diff(means).tolist(), means[0]


def group_items(rows: Sequence[Mapping[str, float]]) -> list[list[str]]:
    """Group the items that all models have scores for by the models that are best at them.

    Starts with the two models that each beat the other on the most items, and adds models as long as each is
    the best on at least 15% of the items. If no two models differ that much, the items that the best model
    solves are the only group; none if it solves nearly all or none, or if there are too few common items.
    """
    items = sorted(set(rows[0]).intersection(*rows[1:])) if rows else []
    if len(items) < MIN_ITEMS:
        return []
    scores = np.array([[row[item] for item in items] for row in rows])
    groups = _by_model(scores)
    solved = scores[scores.mean(axis=1).argmax()] > SOLVED
    if not groups and BEST_SHARE <= solved.mean() <= 1 - BEST_SHARE:
        groups = [np.flatnonzero(solved).tolist()]
    return [[items[column] for column in group] for group in groups]


def _by_model(scores: Matrix) -> list[list[int]]:
    """Return, for each of the most different models (rows), the columns where it beats the others."""
    better = (scores[:, None, :] > scores[None, :, :] + CLEAR).mean(axis=2)
    chosen = list(divmod(int(np.minimum(better, better.T).argmax()), len(scores)))
    groups = _groups(scores[chosen])
    if not _are_large(groups, scores.shape[1]):
        return []
    while len(chosen) < MAX_GROUPS:
        gains = (scores > scores[chosen].max(axis=0) + CLEAR).mean(axis=1)
        more = [*chosen, int(gains.argmax())]
        finer = _groups(scores[more])
        if not _are_large(finer, scores.shape[1]):
            break
        chosen, groups = more, finer
    return groups


def _groups(scores: Matrix) -> list[list[int]]:
    """Return, for each model (row), the columns where it beats all others."""
    ranked = np.sort(scores, axis=0)
    best = np.where(ranked[-1] > ranked[-2] + CLEAR, scores.argmax(axis=0), -1)
    return [np.flatnonzero(best == row).tolist() for row in range(len(scores))]


def _are_large(groups: Sequence[Sequence[int]], n_items: int) -> bool:
    return min(map(len, groups)) >= MIN_SHARE * n_items
