"""Rank correlation, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 4
"""Pairs that a correlation needs."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A rank correlation from -1 to 1, its 95% interval, and the number of pairs."""

    value: float
    low: float
    high: float
    n: int


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> Correlation | None:
    """Return Spearman's rank correlation; None for fewer than four pairs, or if one side is constant.

    The interval is Fisher's, with the standard error sqrt((1 + r² / 2) / (n - 3)) of Bonett and Wright 2000,
    Sample size requirements for estimating Pearson, Kendall and Spearman correlations.
    It is not defined for 1 and -1, so values beyond 1 - 1 / n get the interval of that one, and include it.

    Example:
        >>> rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).value
        0.8
    """
    n = len(xs)
    if n < FEWEST or len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    value = round(float(np.corrcoef(_ranks(xs), _ranks(ys))[0, 1]), 12)
    inner = np.clip(value, 1 / n - 1, 1 - 1 / n)
    centre, half = np.arctanh(inner), 1.96 * np.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = (float(np.tanh(centre + sign * half)) for sign in (-1, 1))
    return Correlation(value=value, low=min(low, value), high=max(high, value), n=n)


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    smaller = (array[:, None] > array[None, :]).sum(axis=1)
    return smaller + ((array[:, None] == array[None, :]).sum(axis=1) + 1) / 2
