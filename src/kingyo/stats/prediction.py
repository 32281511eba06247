"""Predict the winner's score on the test split before test is read.

The winner was picked for its validation score, among other things, so that score is biased upwards. The
prediction shrinks it towards the finalists' mean, by the share of their differences that may be chance
(empirical Bayes: Efron & Morris 1975). All finalists were scored on the same items. An easy sample of items
raises all their scores; it does not bias the pick, but it widens the interval. So

    m_k = θ_k + a + e_k,   θ_k ~ N(M, τ²),   a ~ N(0, c),   e_k ~ N(0, s)

with c the covariance of two finalists' item scores over n, s the rest of a finalist's variance over n, and τ²
the rest of the variance of the m_k. The winner's predicted score is M + τ²/(τ² + s) · (m − M).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.groups import Groups, size_of
from kingyo.stats.intervals import ROUNDING, Interval, with_groups

Matrix = NDArray[np.float64]
DRAWS = 20_000
"""Simulated test scores. Another seed moves the bounds by about 2% of a deviation."""


@dataclass(frozen=True, kw_only=True)
class SplitGroups:
    """The groups of the items that finalists were scored on, and of the test items."""

    validation: Groups | None = None
    test: Groups | None = None


def predict_winner(
    tasks: Sequence[Sequence[Sequence[float]]],
    winner: int,
    n_test: Sequence[int],
    weights: Sequence[float] = (1.0,),
    groups: Sequence[SplitGroups] | None = None,
    level: float = 0.95,
) -> Interval:
    """Predict the weighted mean of the picked finalist's test scores on one or several independent tasks.

    ``tasks`` has for each task a row per finalist and a column per validation item, with scores in [0, 1];
    ``n_test`` are the numbers of test items. The interval contains the test score with this confidence; it
    includes the sampling error of the test items, and allows for as many independent items as the groups are
    worth. ``n`` is the number of validation items. The bounds are quantiles of seeded draws: beta-binomial
    ones for scores of 0 and 1; otherwise normal ones, widened for rare scores that the items may not contain.
    """
    of_tasks = groups or [SplitGroups()] * len(tasks)
    forecasts = [
        _forecast(rows, winner, n, own) for rows, n, own in zip(tasks, n_test, of_tasks, strict=True)
    ]
    shares = [weight / math.fsum(weights) for weight in weights]
    rng, tail = np.random.default_rng(0), (1 - level) / 2

    def bound(side: Callable[[Sequence[float]], float], place: float) -> float:
        drawn = [share * task.draws(rng, side) for share, task in zip(shares, forecasts, strict=True)]
        return float(np.quantile(np.sum(drawn, axis=0), place))

    sizes = [size_of(task.n, own.validation) for task, own in zip(forecasts, of_tasks, strict=True)]
    bounds = Interval(
        score=math.fsum(share * task.score for share, task in zip(shares, forecasts, strict=True)),
        n=sum(each.n for each in sizes),
        low=max(0.0, bound(min, tail) - ROUNDING),
        high=min(1.0, bound(max, 1 - tail) + ROUNDING),
    )
    return with_groups(bounds, *sizes)


@dataclass(frozen=True, kw_only=True)
class _Forecast:
    score: float
    n: int
    n_test: int  # independent items that the test items are worth
    chances: tuple[float, ...] = ()  # means of the chance to be right, if scores are 0 or 1
    variance: float = 0.0  # of this chance
    below: float = 0.0  # otherwise standard deviations on both sides of the mean
    above: float = 0.0

    def draws(self, rng: np.random.Generator, side: Callable[[Sequence[float]], float]) -> Matrix:
        """Draw test scores; ``side`` (min or max) selects one of two chances."""
        if self.chances:
            a, b = _beta(side(self.chances), self.variance, self.n_test)
            return rng.binomial(self.n_test, rng.beta(a, b, DRAWS)) / self.n_test
        away = rng.standard_normal(DRAWS)
        return np.clip(self.score + away * np.where(away < 0, self.below, self.above), 0, 1)


def _forecast(scores: Sequence[Sequence[float]], winner: int, n_test: int, groups: SplitGroups) -> _Forecast:
    matrix = np.array(scores, dtype=np.float64)
    means, n = matrix.mean(axis=1), matrix.shape[1]
    single, shared = _noise(matrix, groups.validation)
    between = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    real = max(0.0, between - single)
    kept = 1.0 if len(means) == 1 else real / (real + single) if real + single > 0 else 0.0
    score = float(means.mean() + kept * (means[winner] - means.mean()))
    variance = shared + single * (kept + (1 - kept) / len(means))
    size, size_test = _independent_sizes(matrix, n_test, groups)
    if bool(np.all((matrix == 0) | (matrix == 1))):
        chances = (score,) if 0 < score < 1 else (score, _centre(score, size))
        centre = _centre(score, size)  # n items cannot resolve less; all-right answers would give 0
        spread = max(variance, centre * (1 - centre) / (size + 4))
        worth = max(1, round(size_test))
        return _Forecast(score=score, n=n, n_test=worth, chances=chances, variance=spread)
    per_item = float(matrix.var(axis=1).mean()) if n > 1 else 0.25
    error = math.sqrt(variance + per_item / size_test)
    below, above = (max(error, least) for least in _unseen(score, size, size_test))
    return _Forecast(score=score, n=n, n_test=n_test, below=below, above=above)


def _independent_sizes(matrix: Matrix, n_test: int, groups: SplitGroups) -> tuple[float, float]:
    """Return how many independent validation and test items these are worth.

    The correlation within groups is assumed to be the same on test (Kish 1965, section 5.4).
    """
    n, own, other = matrix.shape[1], groups.validation, groups.test
    effect = 1.0 if own is None else statistics.fmean(own.design_effect(row) for row in matrix)
    correlation = 1.0 if own is None else min(1.0, (effect - 1) / (own.size - 1))
    effect_on_test = 1.0 if other is None else 1 + (other.size - 1) * correlation
    return n / effect, n_test / effect_on_test


def _noise(matrix: Matrix, groups: Groups | None) -> tuple[float, float]:
    """Return s and c: the noise of one finalist's mean, and the noise that all share."""
    n, size = matrix.shape[1], len(matrix)

    def variance(row: Matrix) -> float:
        if groups is not None:
            return groups.variance(row)
        return float(row.var(ddof=1)) / n if n > 1 else 0.25

    own = statistics.fmean(map(variance, matrix))
    if size == 1:
        return 0.0, own
    # Var of the finalists' mean = c + s/K with own = c + s.
    rest = max(0.0, (own - variance(matrix.mean(axis=0))) * size / (size - 1))
    return rest, max(0.0, own - rest)


def _centre(score: float, n: float) -> float:
    """Return the centre of the chance to be right (Agresti & Coull 1998), not 0 if all n are wrong."""
    return (score * n + 2) / (n + 4)


def _unseen(score: float, n: float, n_test: float) -> tuple[float, float]:
    """Return deviations below and above the mean from rare scores that n items may not contain.

    Their share is as uncertain as that of wrong answers if all n are right.
    """
    share = 2 / (n + 4)
    error = math.sqrt(share * (1 - share) * (1 / (n + 4) + 1 / n_test))
    return error * score, error * (1 - score)


def _beta(mean: float, variance: float, n: int) -> tuple[float, float]:
    inside = min(max(mean, 0.5 / n), 1 - 0.5 / n)
    total = max(inside * (1 - inside) / variance - 1, 1.0)
    return inside * total, (1 - inside) * total
