"""The items of each task as processes of ability see them: columns in the order in which they were met.

A right or wrong item asks for one ability. A graded score is taken apart into levels, each of which a model
reaches or not (as in the graded response model, Samejima 1969), and each level has a process of its own:

    score = floor + Σ_l step_l · [level l is reached]

So a plateau, on which all merges earn the same partial credit, does not hide the few that get an item fully
right. Scores of more than ``MOST_LEVELS`` levels are cut at quantiles, and a level is worth its mean.

One ability does not tell which items a mixture of two models solves where each is right on items of its own,
nor does it see a merge that solves what the best model cannot, and loses what that can. So such items are
tasks of their own, see ``kingyo.irt.item_groups``. Items that some of the known models did not meet stay
together, and count by their number.

A task also holds what was last fitted to it, from where the next fit goes on. It knows no search.
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
MOST_LEVELS = 4
DECIMALS = 9  # of a score: ``.1 + .2`` and ``.3`` are one level


class TaskItems:
    """One task: its items, and what is believed of it.

    Args:
        weight: how much it counts; None: as much as it has items.
    """

    def __init__(self, weight: float | None = None) -> None:
        self._weight = weight
        self.belief: TaskBelief | None = None
        self._columns: dict[str, int] = {}

    @property
    def has_items(self) -> bool:
        """Whether it was given any item."""
        return bool(self._columns)

    def meet(self, item: str) -> None:
        """Give an item a column, if it has none."""
        self._columns.setdefault(item, len(self._columns))

    def fit(
        self, points: Matrix, known: Sequence[Observation], is_weight: NDArray[np.bool_], *, learn_shape: bool
    ) -> None:
        """Fit the processes to all that is known of this task, from where the last fit ended.

        Args:
            points: of those that are known, as rows of features.
            known: how they did.
            is_weight: for each column of the points, whether it is the weight of a source.
            learn_shape: whether lengths and variance are learned anew; they are where levels are new.
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
        """Return what the last fit found for each level; items that are new are of middling difficulty."""
        found = [] if self.belief is None else [level.posterior.prior for level in self.belief.levels]
        new = np.zeros(len(self._columns) - len(found[0].difficulty)) if found else np.zeros(0)
        return [replace(prior, difficulty=np.append(prior.difficulty, new)) for prior in found]

    def _matrix(self, known: Sequence[Observation]) -> tuple[Matrix, Matrix]:
        """Return all scores, rounded, trials × items, and 1 where there is one, 0 in gaps."""
        shape = (len(known), len(self._columns))
        scores, seen = np.zeros(shape), np.zeros(shape)
        for row, observation in enumerate(known):
            mine = [
                (self._columns[item], score)
                for item, score in observation.items.items()
                if item in self._columns
            ]
            columns = [column for column, _ in mine]
            scores[row, columns] = np.round([score for _, score in mine], DECIMALS)
            seen[row, columns] = 1.0
        return scores, seen


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The levels of a task's scores: where each begins, what it adds, and the score below all of them."""

    cuts: Sequence[float]
    steps: Sequence[float]
    floor: float = 0.0


def _scale(values: Vector) -> _Scale:
    """Read the levels off the scores that were seen."""
    distinct = np.unique(values)
    if len(distinct) < 2:
        only = float(distinct[0]) if len(distinct) else 0.0
        return (
            _Scale(cuts=[1.0], steps=[1.0 - only], floor=only)
            if only < 1
            else _Scale(cuts=[only], steps=[only])
        )
    cuts: list[float] = distinct[1:].tolist()
    if len(cuts) > MOST_LEVELS:
        shares = np.arange(MOST_LEVELS) / MOST_LEVELS
        cuts = np.unique(np.quantile(values[values > distinct[0]], shares, method="lower")).tolist()
    places = np.searchsorted(np.array(cuts), values, side="right")
    means = [float(values[places == place].mean()) for place in range(len(cuts) + 1)]
    return _Scale(cuts=cuts, steps=np.diff(means).tolist(), floor=means[0])
