"""What the winner will score on the test split, said before anybody looks.

The best of several finalists was picked by its validation score among other things, so that score
flatters it. It is drawn towards the finalists' mean as far as their differences may be luck (empirical
Bayes: Efron & Morris 1975).
All of them met the same items. What an easy draw of items gives to all is no reason for the pick, and does
not average out: it stays in the interval. So

    m_k = θ_k + a + e_k,   θ_k ~ N(M, τ²),   a ~ N(0, c),   e_k ~ N(0, s)

with c the covariance of two finalists' item scores over n, s the rest of a finalist's variance over n, and τ²
what is left of the variance of the m_k. The winner's predicted score is M + τ²/(τ² + s) · (m − M).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError
from kingyo.stats import NORMAL, ROUNDING, Interval

Matrix = NDArray[np.float64]


def predict_winner(
    scores: Sequence[Sequence[float]], winner: int, n_test: int, level: float = 0.95
) -> Interval:
    """Predict the mean score of the picked finalist over test items that are still unread.

    Args:
        scores: a row per finalist, a column per validation item; in [0, 1].
        winner: the row that was picked.
        n_test: how many test items there are; their luck is part of the interval.
        level: confidence, between 0 and 1.

    Returns:
        The prediction with an interval that the test score lies in with this confidence; ``n`` is the number
        of validation items. Where scores are right or wrong: beta-binomial quantiles; else normal ones, or
        where each finalist has one score for all items, room for as many others as these may have missed.

    Raises:
        KingyoError: no finalist, rows of different lengths, or no items.
    """
    matrix = _matrix(scores)
    means, n = matrix.mean(axis=1), matrix.shape[1]
    single, shared = _noise(matrix)
    between = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    real = max(0.0, between - single)
    kept = 1.0 if len(means) == 1 else real / (real + single) if real + single > 0 else 0.0
    score = float(means.mean() + kept * (means[winner] - means.mean()))
    variance = shared + single * (kept + (1 - kept) / len(means))
    per_item = float(matrix[winner].var()) if n > 1 else 0.25
    is_binary = bool(np.all((matrix == 0) | (matrix == 1)))
    if is_binary:
        spread = _floored(variance, score, n)
        chances = (score,) if 0 < score < 1 else (score, _centre(score, n))
        ends = [_beta_binomial(each, spread, n_test, level) for each in chances]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        return Interval(score=score, n=n, low=low, high=high, method="beta-binomial")
    sure = NORMAL.inv_cdf((1 + level) / 2)
    reach = sure * math.sqrt(variance + per_item / n_test)
    down, up = (reach, reach) if reach > ROUNDING else _unseen(score, n, n_test, sure)
    return Interval(score=score, n=n, low=max(0.0, score - down), high=min(1.0, score + up), method="normal")


def _noise(matrix: Matrix) -> tuple[float, float]:
    """s and c: what a finalist's mean has of luck of its own, and what all share."""
    n = matrix.shape[1]
    own = float(matrix.var(axis=1, ddof=1).mean()) if n > 1 else 0.25
    if len(matrix) == 1:
        return 0.0, own / n
    together = float(matrix.mean(axis=0).var(ddof=1)) if n > 1 else 0.0
    # Var of the finalists' mean = c' + s'/K with own = c' + s'.
    size = len(matrix)
    rest = max(0.0, (own - together) * size / (size - 1))
    return rest / n, max(0.0, own - rest) / n


def _floored(variance: float, score: float, n: int) -> float:
    """No surer than n items can make one: of right answers alone the variance is 0 (Agresti & Coull 1998)."""
    centre = _centre(score, n)
    return max(variance, centre * (1 - centre) / (n + 4))


def _centre(score: float, n: int) -> float:
    """The middle of the chances that n items leave open, which is not 0 where all n were wrong."""
    return (score * n + 2) / (n + 4)


def _unseen(score: float, n: int, n_test: int, sure: float) -> tuple[float, float]:
    """How far down and up a mean may be where no item scored otherwise; those that do may score anything.

    Their share is as uncertain as that of wrong answers where all n are right; see ``_floored``.
    """
    share = 2 / (n + 4)
    reach = min(1.0, sure * math.sqrt(share * (1 - share) * (1 / (n + 4) + 1 / n_test)))
    return reach * score, reach * (1 - score)


def _beta_binomial(mean: float, variance: float, n: int, level: float) -> tuple[float, float]:
    """Quantiles of the share of n items that are right, whose chance is beta of this mean and variance."""
    inside = min(max(mean, 0.5 / n), 1 - 0.5 / n)
    total = max(inside * (1 - inside) / variance - 1, 1.0)
    a, b = inside * total, (1 - inside) * total
    k = np.arange(n + 1)
    terms = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + math.lgamma(a + i)
        + math.lgamma(b + n - i)
        for i in map(int, k)
    ]
    chances = np.exp(np.array(terms) - max(terms))
    below = np.cumsum(chances / chances.sum())
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail))
    high = int(np.searchsorted(below, 1 - tail))
    return low / n, min(high, n) / n


def _matrix(scores: Sequence[Sequence[float]]) -> Matrix:
    lengths = {len(row) for row in scores}
    if len(lengths) != 1 or 0 in lengths:
        raise KingyoError(
            "scores",
            expected="a row for each finalist, all of one length, of one item or more",
            received=f"lengths {sorted(lengths)}",
            remedy="Score every finalist on the same validation items.",
        )
    return np.array(scores, dtype=np.float64)
