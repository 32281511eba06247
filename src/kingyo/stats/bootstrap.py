"""Bootstrap intervals of measures that are not means, such as F1 or FID."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kingyo.stats import Array, Groups, Interval, PairedDifference, lower_quantile


def bootstrap_values(
    parts: Sequence[Sequence[object]],
    value: Callable[[Sequence[Sequence[object]]], float],
    draws: int = 1000,
    seed: int = 0,
    groups: Sequence[Groups | None] | None = None,
) -> Array:
    """Return a measure of bootstrap samples; each part is resampled separately, with replacement.

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 8 (stratified resampling).
    Models with the same numbers of answers get the same samples, so their values are paired.

    Args:
        parts: for each part, such as a task, one feature per answer, at least one.
        value: the measure of such parts.
        draws: number of samples.
        seed: for the samples.
        groups: for each part, which answers belong together; whole groups are drawn.
    """
    generator = np.random.default_rng(seed)
    values = np.empty(draws)
    draw = [_sampler(len(part), own) for part, own in zip(parts, groups or [None] * len(parts), strict=True)]
    for place in range(draws):
        chosen = [sample(generator) for sample in draw]
        values[place] = value([[part[i] for i in own] for part, own in zip(parts, chosen, strict=True)])
    return values


def _sampler(n: int, groups: Groups | None) -> Callable[[np.random.Generator], NDArray[np.intp]]:
    """Return a function that draws the places of a sample."""
    if groups is None:
        return lambda generator: generator.integers(n, size=n)
    members = [np.flatnonzero(groups.numbers == number) for number in range(len(groups.sizes))]
    n_groups = len(members)

    def sample(generator: np.random.Generator) -> NDArray[np.intp]:
        chosen: list[int] = generator.integers(n_groups, size=n_groups).tolist()
        return np.concatenate([members[place] for place in chosen])

    return sample


def bootstrap_bounds(
    features: Sequence[object],
    value: Callable[[Sequence[object]], float],
    groups: Groups | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return percentile bounds of a measure of a set of answers, see ``bootstrap_values``.

    For means use ``interval``, which keeps its level with few items. Samples with the value NaN are left out.

    Raises:
        ValueError: no sample has a value.
    """
    return percentiles(
        bootstrap_values([features], lambda parts: value(parts[0]), draws, seed, [groups]), level
    )


def percentiles(drawn: Array, level: float = 0.95) -> tuple[float, float]:
    """Return percentile bounds of bootstrap values (Efron and Tibshirani 1993, section 13.3).

    Raises:
        ValueError: no value is finite.
    """
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        raise ValueError("no bootstrap sample has a finite value")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_difference(
    difference: float, n: int, one: Array, other: Array, level: float = 0.95
) -> PairedDifference:
    """Bound the difference of two models' measures, from paired bootstrap samples.

    p is the smallest 1 − level at which the percentile interval excludes 0.

    Args:
        difference: the measured difference, one minus other.
        n: number of items.
        one, other: values from ``bootstrap_values``; samples that lack one of them are left out.
        level: confidence.

    Raises:
        ValueError: no sample has both values.
    """
    drawn = one - other
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        raise ValueError("no bootstrap sample has a finite value")
    low, high = lower_quantile(drawn, level), -lower_quantile(-drawn, level)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    bounds = Interval(score=difference, n=n, low=low, high=high, method="bootstrap")
    return PairedDifference(interval=bounds, p=p, test="bootstrap")
