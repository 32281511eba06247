"""Compare two models on the same items; bound measures by halves of the answers.

A measure of a random half varies around its mean as much as the measure of all answers varies around its own:
the delete-d jackknife with d = n/2 (Shao & Wu 1989, Annals of Statistics 17:1176). Unlike a bootstrap sample,
a half repeats no answer, which would bias measures such as FID.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kingyo.stats.groups import Groups, grouped_difference, size_of
from kingyo.stats.intervals import (
    Array,
    Interval,
    finite_array,
    is_binary,
    normal_quantile,
    wilson_bounds,
    with_groups,
)
from kingyo.stats.means import CHUNK, RESAMPLES, gaffke_means, lower_quantile


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The difference of two models on the same items; the interval contains 0 exactly if p > 1 − level."""

    interval: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "half-samples", "student", "bootstrap"]


def paired_difference(
    tasks: Sequence[tuple[Sequence[float], Sequence[float]]],
    weights: Sequence[float] = (1.0,),
    seed: int = 0,
    level: float = 0.95,
    *,
    groups: Sequence[Groups | None] | None = None,
) -> PairedDifference:
    """Compare two models on the same items: the weighted mean over tasks of mean(a − b), and its p-value.

    One task scored 0 or 1: McNemar's exact test, and Newcombe's hybrid score interval for paired proportions
    (1998, method 10), extended to 0 if the test, which is more conservative, finds no difference; by groups
    Student's t (``Groups.variance``). Otherwise: Gaffke's bounds of the items' differences, which lie in
    [-1, 1]; for several tasks, of the weighted sum of their drawn means. p is the smallest 1 − level at which
    the interval excludes 0. ``tasks`` has for each task the scores of both models, items in the same order.
    """
    of_tasks = groups or [None] * len(tasks)
    pairs = [(finite_array("scores", a), finite_array("scores", b)) for a, b in tasks]
    shares = [weight / math.fsum(weights) for weight in weights]
    mean = math.fsum(share * float((x - y).mean()) for share, (x, y) in zip(shares, pairs, strict=True))
    if len(pairs) == 1 and all(map(is_binary, pairs[0])):
        if of_tasks[0] is not None:
            bounds, p = grouped_difference(pairs[0][0] - pairs[0][1], of_tasks[0], level)
            return PairedDifference(interval=bounds, p=p, test="student")
        p = mcnemar(*tasks[0])
        low, high = _newcombe_bounds(*pairs[0], normal_quantile(level))
        if p > 1 - level:
            low, high = min(low, 0.0), max(high, 0.0)
        bounds = Interval(score=mean, n=len(pairs[0][0]), low=low, high=high)
        return PairedDifference(interval=bounds, p=p, test="mcnemar")
    rng = np.random.default_rng(seed)
    means = [gaffke_means(x - y, (-1.0, 1.0), rng, own) for (x, y), own in zip(pairs, of_tasks, strict=True)]
    lower, upper = (
        np.sum([share * drawn[side] for share, drawn in zip(shares, means, strict=True)], axis=0)
        for side in (0, 1)
    )
    low, high = lower_quantile(lower, level), -lower_quantile(-upper, level)
    beyond = min(int((lower <= 0).sum()), int((upper >= 0).sum()))
    sizes = [size_of(len(x), own) for own, (x, _) in zip(of_tasks, pairs, strict=True)]
    n = sum(each.n for each in sizes)
    bounds = Interval(score=mean, n=n, low=low, high=high)
    return PairedDifference(
        interval=with_groups(bounds, *sizes), p=min(1.0, 2 * (1 + beyond) / (1 + len(lower))), test="gaffke"
    )


def mcnemar(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the exact two-sided p-value that two models are equally good, from 0/1 scores (McNemar 1947)."""
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    x, y = finite_array("scores", a), finite_array("scores", b)
    only_a, only_b = int((x > y).sum()), int((y > x).sum())
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flips(
    tasks: Sequence[Sequence[float]], weights: Sequence[float], seed: int = 0, flips: int = RESAMPLES
) -> float:
    """Return the two-sided p-value that two models are equally good, from their differences by item.

    Fisher's randomisation test (1935, The Design of Experiments, section 21), on the weighted mean of the
    tasks' mean differences. ``flips`` sets of signs are drawn, and the observed one counts as another
    (Phipson & Smyth 2010). Computed here because scipy takes 24 times as long.
    """
    parts = [
        finite_array("differences", task) * (weight / len(task) if len(task) else 1.0)
        for task, weight in zip(tasks, weights, strict=True)
    ]
    terms = np.concatenate(parts)
    # The order of summation changes rounding, so allow for it.
    least = abs(float(terms.sum())) - 1e-9 * float(np.abs(terms).sum())
    rng = np.random.default_rng(seed)
    reached, left = 0, flips
    while left:
        rows = min(left, max(1, CHUNK // len(terms)))
        signs = rng.integers(0, 2, (rows, len(terms)), dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ terms) >= least).sum())
        left -= rows
    return (1 + reached) / (1 + flips)


def _newcombe_bounds(x: Array, y: Array, z: float) -> tuple[float, float]:
    """Newcombe 1998, Statistics in Medicine 17:2635, method 10; cells e, f, g, h of the 2 × 2 table."""
    n = len(x)
    e, f = int((x * y).sum()), int((x > y).sum())
    g, h = int((y > x).sum()), int(((1 - x) * (1 - y)).sum())
    p1, p2 = (e + f) / n, (e + g) / n
    (l1, u1), (l2, u2) = wilson_bounds(p1, n, z), wilson_bounds(p2, n, z)
    product, cross = (e + f) * (g + h) * (e + g) * (f + h), e * h - f * g
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = corrected / math.sqrt(product) if product else 0.0
    down, up = (p1 - l1, u2 - p2), (u1 - p1, p2 - l2)
    delta = p1 - p2
    return (
        delta - math.sqrt(max(0.0, down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2)),
        delta + math.sqrt(max(0.0, up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2)),
    )


DRAWS = 1000  # halves
FEWEST = 6
"""Answers, or groups of them, below which halves show nothing: a difference in each of five has p > 0.05."""


def half_sample_values(
    parts: Sequence[Sequence[object]],
    value: Callable[[Sequence[Sequence[object]]], float],
    groups: Sequence[Groups | None] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Array:
    """Return a measure of random halves, NaN where it has no value; each part is halved separately.

    A part, such as a task, has one feature per answer. Whole groups are drawn; all values are NaN if a part
    has fewer than ``FEWEST``. Models with the same numbers of answers get the same halves, so that their
    values are paired. Deviations from the mean value are scaled if parts have odd numbers.
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
        chosen: list[list[int]] = []
        for own, total in zip(numbers, totals, strict=True):
            is_drawn = np.zeros(total, dtype=np.bool_)
            is_drawn[generator.permutation(total)[: total // 2]] = True
            chosen.append(np.flatnonzero(is_drawn[own]).tolist())
        values[place] = value([[part[i] for i in own] for part, own in zip(parts, chosen, strict=True)])
    drawn = sum(n // 2 for n in totals)
    mean = float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan
    return mean + (values - mean) * math.sqrt(drawn / (sum(totals) - drawn))


def half_sample_bounds(
    features: Sequence[object], value: Callable[[Sequence[object]], float], groups: Groups | None = None
) -> tuple[float, float]:
    """Return 95% bounds of a measure of a set of answers; infinite if no half has a value."""
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
    """Bound the difference of two models' measures, from the same halves; ValueError if none has both."""
    drawn = difference + _deviations(one - other)
    low, high = lower_quantile(drawn, level), -lower_quantile(-drawn, level)
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    bounds = Interval(score=difference, n=n, low=low, high=high)
    return PairedDifference(interval=bounds, p=p, test="half-samples")
