"""Intervals of means of values that come in groups, such as choices on the same prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.stats.intervals import Interval, finite_array, normal_quantile
from kingyo.stats.means import wilson_bounds


def share_of_groups(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of values in [0, 1] by Wilson's interval with the effective number of values.

    That is their number over the design effect (Kish 1965, Survey Sampling, section 8.2): the variance with
    groups, divided by the variance of independent values. It is at least 1.

    Args:
        values: at least one.
        groups: the group of each value.
        level: confidence, between 0 and 1.
    """
    array = finite_array("values", values)
    mean, n = float(array.mean()), len(array)
    independent = mean * (1 - mean) / n
    effect = max(1.0, _variance(values, groups) / independent) if independent > 0 else 1.0
    low, high = wilson_bounds(mean, n / effect, normal_quantile(level))
    return Interval(score=mean, n=n, low=low, high=high, method="wilson")


def mean_of_groups(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of values in [-1, 1] by Student's t, with the variance between groups."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    mean, n_groups = float(np.mean(values)), len(set(groups))
    if n_groups < 2:
        return Interval(score=mean, n=len(values), low=-1.0, high=1.0, method="student")
    reach = float(stdtrit(n_groups - 1, (1 + level) / 2)) * math.sqrt(_variance(values, groups))
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Interval(score=mean, n=len(values), low=low, high=high, method="student")


def _variance(values: Sequence[float], groups: Sequence[object]) -> float:
    """Return the variance of the mean if values of a group depend on each other (Liang and Zeger 1986)."""
    mean, sums = float(np.mean(values)), dict[object, float]()
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    n = len(sums)
    return sum(each * each for each in sums.values()) / len(values) ** 2 * (n / (n - 1) if n > 1 else 1.0)
