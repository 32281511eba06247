"""Beliefs about the mean score of points, from fields of ability.

    score(x) = Σ_t w_t · (floor_t + Σ_l step_tl · mean_j σ(θ_tl(x) − d_tlj)) / Σ_t w_t

over tasks t, the levels l of their scores, and items j.

An ability at one task says little about another, so each has a field of its own; tasks count by weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.irt.posterior import Posterior
from kingyo.irt.rasch import sigmoid

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

GRID = np.linspace(-20.0, 20.0, 801)  # abilities between which a score is interpolated, in logits


@dataclass(frozen=True, kw_only=True)
class LevelBelief:
    """The field of reaching one level of a task's scores; ``step`` is what reaching it adds to a score."""

    field: Posterior
    step: float = 1.0

    @property
    def difficulty(self) -> Vector:
        """Of each item; where none was scored, of one of middling difficulty."""
        found = self.field.prior.difficulty
        return found if len(found) else np.zeros(1)

    def score(self, ability: Matrix) -> Matrix:
        """Return the mean gain over all items that abilities (of any shape) stand for."""
        chance = sigmoid(GRID[:, None] - self.difficulty[None, :]).mean(axis=1)
        return np.asarray(np.interp(ability, GRID, self.step * chance), dtype=np.float64)

    def expected(self, points: Matrix) -> Vector:
        """Return the gain that points (m × columns) are expected to have, over all that they may be able to.

        σ under a normal ability, by MacKay 1992: E σ(θ − d) ≈ σ((mean − d) / √(1 + π · variance / 8)).
        """
        mean, variance = self.field.predict(points), self.field.variance(points)
        shrunk = 1 / np.sqrt(1 + math.pi * variance / 8)
        logit = (mean[:, None] - self.difficulty[None, :]) * shrunk[:, None]
        return self.step * sigmoid(logit).mean(axis=1)


@dataclass(frozen=True, kw_only=True)
class TaskBelief:
    """The belief about one task: a field for each level, the score below all of them, and its weight."""

    levels: Sequence[LevelBelief]
    floor: float = 0.0
    weight: float = 1.0

    def score(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        """Return the mean score over all items, given an ability for each level."""
        return self.floor + np.sum([level.score(ability(level.field)) for level in self.levels], axis=0)

    def expected(self, points: Matrix) -> Vector:
        """Return the score that points (m × columns) are expected to have."""
        return self.floor + np.sum([level.expected(points) for level in self.levels], axis=0)


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What is believed of all tasks; of one at least."""

    tasks: Sequence[TaskBelief]

    @property
    def known(self) -> Vector:
        """How good the points are that it rests on: abilities where there is one task, else scores."""
        return self._together(lambda field: field.ability)

    def predict(self, points: Matrix) -> Vector:
        """Return how good points (m × columns) are at their mean abilities; larger is better."""
        return self._together(lambda field: field.predict(points))

    def draw(self, points: Matrix, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n functions from the posterior: how good they say that points are, n × m."""
        return self._together(lambda field: field.draw(points, n, rng))

    def expected(self, points: Matrix) -> Vector:
        """Return the expected score of points (m × columns): the weighted mean of the tasks'."""
        return self._mean([task.expected(points) for task in self.tasks])

    def _together(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        """Return mean scores; of one level of one task its ability, which orders points as scores do."""
        (first, *others) = self.tasks
        if not others and len(first.levels) == 1:
            return ability(first.levels[0].field)
        return self._mean([task.score(ability) for task in self.tasks])

    def _mean(self, scores: Sequence[Matrix]) -> Matrix:
        weights = [task.weight for task in self.tasks]
        total = sum(weight * each for weight, each in zip(weights, scores, strict=True))
        return np.asarray(total, dtype=np.float64) / math.fsum(weights)
