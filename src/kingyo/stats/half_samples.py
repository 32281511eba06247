"""Intervals of measures that are not means, such as F1 or FID, from half of the answers at a time.

A measure of a random half, drawn without replacement, varies around its mean as much as the measure of all
answers varies around its own: the delete-d jackknife with d = n/2 (Shao & Wu 1989, Annals of Statistics
17:1176). Unlike a bootstrap sample, a half repeats no answer, which would bias measures such as FID.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.stats import Array, Groups, Interval, PairedDifference, lower_quantile

DRAWS = 1000
"""Halves that are drawn."""
FEWEST = 6
"""Answers, or groups of them, below which halves show nothing: a difference in each of five has p > 0.05."""


def half_sample_values(
    parts: Sequence[Sequence[object]],
    value: Callable[[Sequence[Sequence[object]]], float],
    groups: Sequence[Groups | None] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Array:
    """Return a measure of random halves; each part is halved separately.

    Models with the same numbers of answers get the same halves, so their values are paired. Deviations from
    the mean value are scaled if parts have odd numbers.

    Args:
        parts: for each part, such as a task, one feature per answer, at least one.
        value: the measure of such parts; NaN if it has none.
        groups: for each part, which answers belong together: whole groups are drawn. All values are NaN if a
            part has fewer than ``FEWEST`` groups, or answers.
        draws: number of halves.
        seed: for the halves.
    """
    generator = np.random.default_rng(seed)
    numbers = [
        np.arange(len(part)) if own is None else own.numbers
        for part, own in zip(parts, groups or [None] * len(parts), strict=True)
    ]
    totals = [int(own.max()) + 1 for own in numbers]
    if min(totals) < FEWEST:
        return np.full(draws, np.nan)
    values = np.empty(draws)
    for place in range(draws):
        chosen = [_half(own, generator) for own in numbers]
        values[place] = value([[part[i] for i in own] for part, own in zip(parts, chosen, strict=True)])
    drawn = sum(n // 2 for n in totals)
    mean = float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan
    return mean + (values - mean) * math.sqrt(drawn / (sum(totals) - drawn))


def _half(numbers: NDArray[np.intp], generator: np.random.Generator) -> list[int]:
    n_groups = int(numbers.max()) + 1
    is_drawn = np.zeros(n_groups, dtype=np.bool_)
    is_drawn[generator.permutation(n_groups)[: n_groups // 2]] = True
    return np.flatnonzero(is_drawn[numbers]).tolist()


def half_sample_bounds(
    features: Sequence[object], value: Callable[[Sequence[object]], float], groups: Groups | None = None
) -> tuple[float, float]:
    """Return 95% bounds of a measure of a set of answers; infinite if no half has a value.

    For means use ``interval``, which keeps its level with few items.
    """
    drawn = half_sample_values([features], lambda parts: value(parts[0]), [groups])
    return bounds_around(value(features), drawn)


def bounds_around(measured: float, drawn: Array, level: float = 0.95) -> tuple[float, float]:
    """Return bounds of a measure, from its values of halves; infinite if none is finite."""
    if not np.isfinite(drawn).any():
        return -math.inf, math.inf
    low, high = np.quantile(_deviations(drawn), [(1 - level) / 2, (1 + level) / 2])
    return measured + min(0.0, float(low)), measured + max(0.0, float(high))


def _deviations(drawn: Array) -> Array:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        raise ValueError("no half of the answers has a finite value")
    return finite - finite.mean()


def half_sample_difference(
    difference: float, n: int, one: Array, other: Array, level: float = 0.95
) -> PairedDifference:
    """Bound the difference of two models' measures, from the same halves.

    p is the smallest 1 − level at which the interval excludes 0.

    Args:
        difference: the measured difference, one minus other.
        n: number of items.
        one, other: values from ``half_sample_values``; halves that lack one of them are left out.
        level: confidence.

    Raises:
        ValueError: no half has both values.
    """
    drawn = difference + _deviations(one - other)
    low, high = lower_quantile(drawn, level), -lower_quantile(-drawn, level)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    bounds = Interval(score=difference, n=n, low=low, high=high, method="half-samples")
    return PairedDifference(interval=bounds, p=p, test="half-samples")
