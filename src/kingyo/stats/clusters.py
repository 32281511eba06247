"""Intervals of means of clustered values, such as choices on the same prompt.

They are Wilson's, with the effective number of values: their number divided by the design effect (Kish 1965,
Survey Sampling, section 8.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.stats.intervals import Array, Interval, finite_array, normal_quantile
from kingyo.stats.means import wilson_bounds


def clustered_share(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of values in [0, 1].

    Args:
        values: at least one.
        groups: the group of each value.
        level: confidence, between 0 and 1.
    """
    array = finite_array("values", values)
    mean, n = float(array.mean()), _effective_number(array, groups)
    low, high = wilson_bounds(mean, n, normal_quantile(level))
    return Interval(score=mean, n=len(array), low=low, high=high, method="wilson")


def clustered_difference(values: Sequence[float], groups: Sequence[object], level: float = 0.95) -> Interval:
    """Bound the mean of differences in [-1, 1].

    Newcombe's hybrid score interval for the difference of two proportions of one sample (1998, Statistics in
    Medicine 17:2635): the means of the positive and of the negative parts, which exclude each other.

    Args:
        values: at least one.
        groups: the group of each value.
        level: confidence, between 0 and 1.
    """
    array = finite_array("values", values)
    n, z = _effective_number(array, groups), normal_quantile(level)
    gains, losses = float(array.clip(min=0).mean()), float(-array.clip(max=0).mean())
    product = gains * losses
    correlation = -math.sqrt(product / ((1 - gains) * (1 - losses))) if product else 0.0
    (least_gains, most_gains), (least_losses, most_losses) = (
        wilson_bounds(share, n, z) for share in (gains, losses)
    )
    mean = gains - losses
    low = mean - _reach(gains - least_gains, most_losses - losses, correlation)
    high = mean + _reach(most_gains - gains, losses - least_losses, correlation)
    return Interval(score=mean, n=len(array), low=low, high=high, method="newcombe")


def _reach(one: float, other: float, correlation: float) -> float:
    return math.sqrt(one * one - 2 * correlation * one * other + other * other)


def _effective_number(values: Array, groups: Sequence[object]) -> float:
    """Return how many independent values are as informative as values in [-1, 1] in groups.

    The design effect is the cluster-robust variance of the mean (Liang and Zeger 1986), divided by that of
    independent values of -1, 0 and 1, and at least 1. Equal values, or a single group, show no variance: the
    effective number is then that of groups.
    """
    mean, n, sums = float(values.mean()), len(values), dict[object, float]()
    for value, group in zip(values.tolist(), groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mean
    n_groups = len(sums)
    if n_groups == 1 or np.ptp(values) == 0:
        return n_groups
    robust = sum(each * each for each in sums.values()) / n**2 * n_groups / (n_groups - 1)
    independent = (float(np.abs(values).mean()) - mean * mean) / n
    return n / max(1.0, robust / independent)
