"""Bounds of measures of sets of answers, which are no means: from sets that are drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kingyo.stats import Array, Interval, PairedDifference, lower_quantile


def bootstrap_values(
    parts: Sequence[Sequence[object]],
    value: Callable[[Sequence[Sequence[object]]], float],
    draws: int = 1000,
    seed: int = 0,
) -> Array:
    """Return a measure of sets that are drawn anew with replacement, each part from itself.

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 8 (parts drawn on their own).
    Models with equally many answers get the same draws, so their values are paired.

    Args:
        parts: for each part, such as a task, one feature for each answer, at least one.
        value: the measure of such parts.
        draws: how many sets.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    values = np.empty(draws)
    for place in range(draws):
        chosen = [generator.integers(len(part), size=len(part)) for part in parts]
        values[place] = value([[part[i] for i in own] for part, own in zip(parts, chosen, strict=True)])
    return values


def bootstrap_bounds(
    features: Sequence[object],
    value: Callable[[Sequence[object]], float],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return percentile bounds of a measure of a set, see ``bootstrap_values``.

    For measures that are no mean (F1, FID); means have ``interval``, which keeps its level with few items.

    Args:
        features: one for each answer, at least one.
        value: the measure of a set of these; sets of which it is NaN do not count.
        level: of confidence.
        draws: how many sets.
        seed: of the draws.

    Raises:
        ValueError: no set has a value.
    """
    return percentiles(bootstrap_values([features], lambda parts: value(parts[0]), draws, seed), level)


def percentiles(drawn: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bounds of drawn values (Efron and Tibshirani 1993, section 13.3).

    Raises:
        ValueError: none of them is finite.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        raise ValueError("no finite value of any set that was drawn anew")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_difference(
    difference: float, n: int, one: Array, other: Array, level: float = 0.95
) -> PairedDifference:
    """Bound the difference of two models by their measures of the same sets, drawn anew.

    p is the smallest 1 − level at which the percentile interval leaves out 0.

    Args:
        difference: as measured, of the one minus the other.
        n: how many items it rests on.
        one, other: from ``bootstrap_values``; sets without a value of both do not count.
        level: of confidence.

    Raises:
        ValueError: no set has a value of both.
    """
    drawn = one - other
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        raise ValueError("no finite value of any set that was drawn anew")
    low, high = lower_quantile(drawn, level), -lower_quantile(-drawn, level)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    found = Interval(score=difference, n=n, low=low, high=high, method="bootstrap")
    return PairedDifference(interval=found, p=p, test="bootstrap")
