"""Confidence intervals of means: of item scores, of several tasks, and of several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.stats.groups import Groups, grouped_share, size_of
from kingyo.stats.intervals import (
    ROUNDING,
    Array,
    Interval,
    finite_array,
    is_binary,
    normal_quantile,
    t_quantile,
    wilson_bounds,
    with_groups,
)

RESAMPLES = 10_000
CHUNK = 100_000  # random numbers drawn at once; they fit in the processor's cache


def interval(
    scores: Sequence[float], groups: Groups | None = None, seed: int = 0, level: float = 0.95
) -> Interval:
    """Bound the mean of item scores in [0, 1]: by Wilson if all are 0 or 1, else by Gaffke."""
    values = finite_array("scores", scores)
    if not is_binary(values):
        return bounded_mean(scores, groups=groups, seed=seed, level=level)
    if groups is not None:
        return grouped_share(values, groups, level)
    return wilson(int(values.sum()), len(values), level)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Bound a proportion by Wilson's score interval (1927), which keeps its level near 0 and 1."""
    low, high = wilson_bounds(successes / n, n, normal_quantile(level))
    return Interval(score=successes / n, n=n, low=low, high=high)


def bounded_mean(
    scores: Sequence[float],
    bounds: tuple[float, float] = (0.0, 1.0),
    *,
    groups: Groups | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bound the mean of scores that lie within known bounds (Gaffke 2005; Learned-Miller & Thomas 2020).

    Computes the mean many times with random weights (uniform on the simplex, as in the Bayesian bootstrap),
    with one additional item: it has the worst possible score for the lower limit, and the best possible for
    the upper limit. For scores of 0 and 1 this is Clopper & Pearson's interval. That it always keeps its
    level is a conjecture; ``docs/statistics.md`` shows its coverage. Scores beyond the bounds widen them. The
    weights are those of groups, if given; the additional one has the mean number of items.
    """
    values = finite_array("scores", scores)
    lower, upper = gaffke_means(values, bounds, np.random.default_rng(seed), groups)
    low, high = lower_quantile(lower, level), -lower_quantile(-upper, level)
    bounded = Interval(score=float(values.mean()), n=len(values), low=low, high=high)
    return with_groups(bounded, size_of(len(values), groups))


def gaffke_means(
    values: Array, bounds: tuple[float, float], rng: np.random.Generator, groups: Groups | None = None
) -> tuple[Array, Array]:
    """Draw randomly weighted means, with one more item at the lower and at the upper bound, respectively."""
    least, most = min(bounds[0], float(values.min())), max(bounds[1], float(values.max()))
    values = values if groups is None else groups.sums(values)
    n = len(values)
    sums, totals = np.empty(RESAMPLES), np.empty(RESAMPLES)
    rows = max(1, CHUNK // n)
    for start in range(0, RESAMPLES, rows):
        drawn = rng.standard_exponential((min(rows, RESAMPLES - start), n))
        sums[start : start + rows], totals[start : start + rows] = (
            drawn @ values,
            drawn.sum(axis=1) if groups is None else drawn @ groups.sizes,
        )
    extra = (1.0 if groups is None else groups.size) * rng.standard_exponential(RESAMPLES)
    totals += extra
    below, above = (np.clip((sums + end * extra) / totals, least, most) for end in (least, most))
    return below, above


def lower_quantile(drawn: Array, level: float) -> float:
    """Return the largest drawn value that at most (1 − level)/2 of all draws do not exceed."""
    place = math.floor((1 - level) / 2 * (1 + len(drawn)) + ROUNDING) - 1
    return float(np.partition(drawn, max(place, 0))[max(place, 0)])


def weighted_mean(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """Bound the weighted mean of independent means, such as the scores of several tasks.

    Uses the method of variance estimates recovery: Zou & Donner 2008 (Statistics in Medicine 27:1693),
    equation 2 for a sum of parts wᵢ θᵢ.
    """
    if len(parts) == 1:
        return parts[0]
    shares = [weight / math.fsum(weights) for weight in weights]
    pairs = list(zip(shares, parts, strict=True))
    mean = math.fsum(share * part.score for share, part in pairs)
    below = math.hypot(*(share * (part.score - part.low) for share, part in pairs))
    above = math.hypot(*(share * (part.high - part.score) for share, part in pairs))
    n = sum(part.n for part in parts)
    bounds = Interval(score=mean, n=n, low=mean - below, high=mean + above)
    return with_groups(bounds, *parts)


def mean_of_runs(
    values: Sequence[float], level: float = 0.95, *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Bound the mean over independent runs by Student's t (1908), clipped to ``within``, the possible means.

    With one run the bounds are ``within``. If all values are equal the interval has no width, because there
    is no spread to estimate from; this is not certainty.
    """
    array = finite_array("values", values)
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(score=mean, n=1, low=within[0], high=within[1])
    reach = t_quantile(n - 1, level) * float(array.std(ddof=1)) / math.sqrt(n)
    low, high = max(within[0], mean - reach), min(within[1], mean + reach)
    return Interval(score=mean, n=n, low=low, high=high)
