"""Expected mean scores of points, from posteriors of ability.

    score(x) = Σ_t w_t · (floor_t + Σ_l step_tl · mean_j σ(θ_tl(x) − d_tlj)) / Σ_t w_t

over tasks t, the levels l of their scores, and items j. Each task has its own posterior, because ability at
one task says little about another.
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

GRID = np.linspace(-20.0, 20.0, 801)  # abilities for the interpolation of scores, in logits


@dataclass(frozen=True, kw_only=True)
class LevelBelief:
    """The posterior of reaching one level of a task's scores; reaching it adds ``step`` to a score."""

    posterior: Posterior
    step: float = 1.0

    @property
    def difficulty(self) -> Vector:
        """Return the difficulty of each item; of one average item if there are none."""
        difficulty = self.posterior.prior.difficulty
        return difficulty if len(difficulty) else np.zeros(1)

    def score(self, ability: Matrix) -> Matrix:
        """Return the mean gain over all items at given abilities (of any shape)."""
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


@dataclass(frozen=True, kw_only=True)
class TaskBelief:
    """The posteriors of one task's levels, the score below all levels, and the task's weight."""

    levels: Sequence[LevelBelief]
    floor: float = 0.0
    weight: float = 1.0

    def score(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        """Return the mean score over all items, given an ability for each level."""
        return self.floor + np.sum([level.score(ability(level.posterior)) for level in self.levels], axis=0)

    def expected(self, points: Matrix) -> Vector:
        """Return the expected score of points (m × columns)."""
        return self.floor + np.sum([level.expected(points) for level in self.levels], axis=0)


@dataclass(frozen=True, kw_only=True)
class Belief:
    """The beliefs of all tasks, at least one."""

    tasks: Sequence[TaskBelief]

    @property
    def known(self) -> Vector:
        """Return the values of the observed points: abilities for a single task and level, else scores."""
        return self._combined(lambda posterior: posterior.ability)

    def predict(self, points: Matrix) -> Vector:
        """Return the values of points (m × columns) at their mean abilities; larger is better."""
        return self._combined(lambda posterior: posterior.predict(points))

    def draw(self, points: Matrix, n: int, rng: np.random.Generator) -> Matrix:
        """Draw n functions from the posterior; return their values at the points, n × m."""
        return self._combined(lambda posterior: posterior.draw(points, n, rng))

    def expected(self, points: Matrix) -> Vector:
        """Return the expected score of points (m × columns): the weighted mean of the tasks'."""
        return self._mean([task.expected(points) for task in self.tasks])

    def _combined(self, ability: Callable[[Posterior], Matrix]) -> Matrix:
        """Return mean scores; for a single task and level the ability, which orders points as scores do."""
        (first, *others) = self.tasks
        if not others and len(first.levels) == 1:
            return ability(first.levels[0].posterior)
        return self._mean([task.score(ability) for task in self.tasks])

    def _mean(self, scores: Sequence[Matrix]) -> Matrix:
        weights = [task.weight for task in self.tasks]
        total = sum(weight * own for weight, own in zip(weights, scores, strict=True))
        return np.asarray(total, dtype=np.float64) / math.fsum(weights)
