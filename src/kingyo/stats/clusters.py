"""Intervals of means of clustered values, such as choices on the same prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.stats.intervals import Interval, finite_array, normal_quantile
from kingyo.stats.means import wilson_bounds


def clustered_share(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of values in [0, 1] by Wilson's interval with their effective number.

    The effective number is their number divided by the design effect (Kish 1965, Survey Sampling, section
    8.2). The design effect is the cluster-robust variance of the mean divided by the variance of independent
    values, and at least 1; it is 1 if all values are 0 or all are 1.

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


def clustered_mean(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of values in [-1, 1] by Student's t with a cluster-robust variance.

    The degrees of freedom are the number of groups minus 1. A single group bounds nothing: [-1, 1].

    Args:
        values: at least one.
        groups: the group of each value.
        level: confidence, between 0 and 1.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    mean, n_groups = float(np.mean(values)), len(set(groups))
    if n_groups < 2:
        return Interval(score=mean, n=len(values), low=-1.0, high=1.0, method="student")
    reach = float(stdtrit(n_groups - 1, (1 + level) / 2)) * math.sqrt(_variance(values, groups))
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Interval(score=mean, n=len(values), low=low, high=high, method="student")


def _variance(values: Sequence[float], groups: Sequence[object]) -> float:
    """Return the cluster-robust variance of the mean (Liang and Zeger 1986)."""
    mean, sums = float(np.mean(values)), dict[object, float]()
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    n = len(sums)
    return sum(each * each for each in sums.values()) / len(values) ** 2 * (n / (n - 1) if n > 1 else 1.0)
