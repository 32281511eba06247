"""Strengths of models from choices between two of their answers: Bradley and Terry 1952, Biometrika 39:324.

P(i is preferred to j) = 1 / (1 + exp(θ_j − θ_i)). A choice "as good" counts as half a win of each, which
makes the intervals slightly too wide. Strengths have a normal prior with mean 0, so that a model that won
all of its pairs has a finite one. Their sum is 0.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.groups import Groups, size_of
from kingyo.stats.intervals import Array, Interval, normal_quantile, t_quantile, with_groups
from kingyo.stats.irt import sigmoid

Places = NDArray[np.intp]
PRIOR_DEVIATION = 2.0  # of a strength, in logits; 1/4 is the Fisher information of a choice of equal models
_STEPS = 50
_SMALLEST_STEP = 1e-10


@dataclass(frozen=True, kw_only=True)
class PairChoices:
    """Choices between two of several models, numbered from 0."""

    left: Places
    right: Places
    score: Array  # 1 if the left one was preferred, 0 if the right one was, 0.5 if they were as good
    prompt: Places  # choices on one are not independent
    n_models: int

    def of(self, *models: int) -> NDArray[np.bool_]:
        return np.isin(self.left, models) | np.isin(self.right, models)

    def groups(self, chosen: NDArray[np.bool_]) -> Groups | None:
        """Return which of the chosen choices are on one prompt."""
        return Groups.of(f"prompt {number}" for number in self.prompt[chosen])


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """Fitted strengths in logits, with mean 0: [models]."""

    choices: PairChoices
    values: Array
    covariance: Array  # [models, models], if the model holds: the inverse of the curvature
    robust: Array  # if choices on one prompt depend on each other (Liang and Zeger 1986)

    def strength(self, model: int, level: float = 0.95) -> Interval:
        contrast = np.full(len(self.values), -1 / len(self.values))
        contrast[model] += 1
        return self._bounded(contrast, self.choices.of(model), level)

    def win_probability(self, one: int, other: int, level: float = 0.95) -> Interval:
        logit = self._bounded(self._difference(one, other), self.choices.of(one, other), level)
        score, low, high = sigmoid(np.array([logit.score, logit.low, logit.high])).tolist()
        return replace(logit, score=score, low=low, high=high)

    def information(self, one: int, other: int) -> float:
        """Return p (1 − p), the Fisher information of the choice, times the variance of the difference.

        The pair with the largest value increases the determinant of the information most (D-optimal design).
        """
        contrast = self._difference(one, other)
        p = float(sigmoid(np.array(contrast @ self.values)))
        return p * (1 - p) * float(contrast @ self.covariance @ contrast)

    def _difference(self, one: int, other: int) -> Array:
        contrast = np.zeros(len(self.values))
        contrast[one], contrast[other] = 1, -1
        return contrast

    def _bounded(self, contrast: Array, chosen: NDArray[np.bool_], level: float) -> Interval:
        """Return a contrast of strengths with the wider bounds: the model's, or Student's by prompt."""
        value, n, groups = float(contrast @ self.values), int(chosen.sum()), self.choices.groups(chosen)
        quantile = normal_quantile(level)
        by_prompt = quantile if groups is None else t_quantile(groups.freedom, level)
        both = ((quantile, self.covariance), (by_prompt, self.robust))
        reach = max(factor * math.sqrt(float(contrast @ own @ contrast)) for factor, own in both)
        bounds = Interval(score=value, n=n, low=value - reach, high=value + reach)
        return with_groups(bounds, size_of(n, groups))


def select(choices: PairChoices, kept: Places) -> PairChoices:
    return replace(
        choices,
        left=choices.left[kept],
        right=choices.right[kept],
        score=choices.score[kept],
        prompt=choices.prompt[kept],
    )


def fit_strengths(choices: PairChoices) -> Strengths:
    """Fit strengths by penalised maximum likelihood (Newton's method; the problem is convex)."""
    rows, values = np.arange(len(choices.score)), np.zeros(choices.n_models)
    design = np.zeros((len(rows), choices.n_models))
    design[rows, choices.left], design[rows, choices.right] = 1, -1
    curvature = np.eye(choices.n_models)
    for _ in range(_STEPS):
        p = sigmoid(design @ values)
        curvature = (design.T * (p * (1 - p))) @ design + np.eye(len(values)) / PRIOR_DEVIATION**2
        step = np.linalg.solve(curvature, design.T @ (choices.score - p) - values / PRIOR_DEVIATION**2)
        values = values + step / max(1.0, float(np.abs(step).max(initial=0.0)))  # at most one logit at once
        if float(np.abs(step).max(initial=0.0)) < _SMALLEST_STEP:
            break
    covariance: Array = np.linalg.inv(curvature).astype(np.float64)
    robust = covariance @ _scatter(choices, design, values) @ covariance
    return Strengths(choices=choices, values=values, covariance=covariance, robust=robust)


def _scatter(choices: PairChoices, design: Array, values: Array) -> Array:
    """Return the sum over prompts of the outer products of their gradients (Liang and Zeger 1986)."""
    gradients = design * (choices.score - sigmoid(design @ values))[:, None]
    prompts = np.unique(choices.prompt, return_inverse=True)[1]
    n = int(prompts.max(initial=0)) + 1
    sums = np.zeros((n, choices.n_models))
    np.add.at(sums, prompts, gradients)
    return sums.T @ sums * (n / (n - 1) if n > 1 else 1.0)
