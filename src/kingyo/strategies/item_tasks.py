"""Item scores of a task as response processes.

A binary item has one process. A graded score is split into levels that a model reaches or not (as in the
graded response model, Samejima 1969), with one process per level:

    score = floor + Σ_l step_l · [level l is reached]

So a plateau of equal partial credit does not hide the few merges that solve an item fully. Scores with more
than ``MAX_LEVELS`` levels are cut at quantiles, and a level is worth its mean.

A single ability cannot model a mixture of two models that solve different items, nor a merge that gains items
which the best model fails and loses others. Such items are tasks of their own (``kingyo.irt.item_groups``).
Items that were not scored for all known models stay in one task, weighted by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kingyo.irt.belief import LevelBelief, TaskBelief
from kingyo.irt.posterior import ObservedPoints, Prior, first_prior, fit_posterior
from kingyo.strategies.history import Observation

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FAILURE_WEIGHT = 4.0  # a failure counts as this many wrong answers
MAX_LEVELS = 4
DECIMALS = 9  # scores are rounded so that .1 + .2 and .3 are one level


class TaskItems:
    """The items of a task and the processes fitted to them.

    Args:
        weight: weight of the task; None: its number of items.
    """

    def __init__(self, weight: float | None = None) -> None:
        self._weight = weight
        self.belief: TaskBelief | None = None
        self._columns: dict[str, int] = {}

    @property
    def has_items(self) -> bool:
        """Whether the task has any item."""
        return bool(self._columns)

    def add_item(self, item: str) -> None:
        """Add an item, if it is new, as a column."""
        self._columns.setdefault(item, len(self._columns))

    def fit(
        self, points: Matrix, known: Sequence[Observation], is_weight: NDArray[np.bool_], *, learn_shape: bool
    ) -> None:
        """Fit the processes, starting from the last fit.

        Args:
            points: features of the known points, shape (points, features).
            known: outcomes of these points.
            is_weight: which features are weights of sources, shape (features,).
            learn_shape: whether to refit kernel lengths and variance; always done if the levels changed.
        """
        scores, seen = self._matrix(known)
        scale, priors = _scale(scores[seen > 0]), self._priors()
        if len(priors) != len(scale.cuts):
            priors = [first_prior(is_weight, len(self._columns))] * len(scale.cuts)
            learn_shape = True
        failures = np.array([FAILURE_WEIGHT if observation.score is None else 0.0 for observation in known])
        levels: list[LevelBelief] = []
        for cut, step, prior in zip(scale.cuts, scale.steps, priors, strict=True):
            reached = np.where(scores >= cut, 1.0, 0.0)
            observed = ObservedPoints(points=points, scores=reached, seen=seen, failures=failures)
            levels.append(
                LevelBelief(posterior=fit_posterior(observed, prior, learn_shape=learn_shape), step=step)
            )
        weight = float(len(self._columns)) if self._weight is None else self._weight
        self.belief = TaskBelief(levels=levels, floor=scale.floor, weight=weight)

    def _priors(self) -> list[Prior]:
        """Return the last fit of each level; new items get difficulty 0."""
        priors = [] if self.belief is None else [level.posterior.prior for level in self.belief.levels]
        new = np.zeros(len(self._columns) - len(priors[0].difficulty)) if priors else np.zeros(0)
        return [replace(prior, difficulty=np.append(prior.difficulty, new)) for prior in priors]

    def _matrix(self, known: Sequence[Observation]) -> tuple[Matrix, Matrix]:
        """Return rounded scores, shape (trials, items), and a mask of the same shape: 1 if scored, else 0."""
        shape = (len(known), len(self._columns))
        scores, seen = np.zeros(shape), np.zeros(shape)
        for row, observation in enumerate(known):
            items = [item for item in observation.items if item in self._columns]
            columns = [self._columns[item] for item in items]
            scores[row, columns] = np.round([observation.items[item] for item in items], DECIMALS)
            seen[row, columns] = 1.0
        return scores, seen


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Levels of a task's scores: lower ends, steps, and the score below all levels."""

    cuts: Sequence[float]
    steps: Sequence[float]
    floor: float = 0.0


def _scale(values: Vector) -> _Scale:
    """Derive the levels from the observed scores."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        value = float(distinct[0]) if len(distinct) else 0.0
        if value < 1:
            return _Scale(cuts=[1.0], steps=[1.0 - value], floor=value)
        return _Scale(cuts=[value], steps=[value])
    cuts: list[float] = distinct[1:].tolist()
    if len(cuts) > MAX_LEVELS:
        shares = np.arange(MAX_LEVELS) / MAX_LEVELS
        cuts = np.unique(np.quantile(values[values > distinct[0]], shares, method="lower")).tolist()
    levels = np.searchsorted(np.array(cuts), values, side="right")
    means = [float(values[levels == level].mean()) for level in range(len(cuts) + 1)]
    return _Scale(cuts=cuts, steps=np.diff(means).tolist(), floor=means[0])
