"""How sure a score is: intervals, paired differences, and what picking the best of many does to its score.

Scores in, plain numbers out. It knows no store, no trial and no task: callers give it item scores, and for
comparisons the scores of the same items in the same order. Everything random takes a seed.

Distributions are scipy's, imported where they are used, so that commands that compute nothing start without
it. Wilson's interval and the random signs are here: by scipy they take 270 and 24 times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kingyo.errors import KingyoError

Array = NDArray[np.float64]
RESAMPLES = 10_000
_CHUNK = 100_000  # numbers drawn at once: stays in the processor's cache
NORMAL = NormalDist()
ROUNDING = 1e-9
"""Scores that differ by less are equal."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean score, or a difference of two, with the range that it may really have.

    Attributes:
        score: the mean over the items, or the mean of the differences.
        n: how many items it rests on.
        low, high: bounds, both inclusive, at the confidence level that was asked for.
        method: how the bounds were found.
    """

    score: float
    n: int
    low: float
    high: float
    method: Literal[
        "wilson",
        "gaffke",
        "newcombe",
        "beta-binomial",
        "normal",
        "simulated",
        "student",
        "mover",
        "bootstrap",
    ]

    def in_percent(self, unit: str = "", sign: Literal["", "+"] = "") -> str:
        """Return "71.5 [65.0, 77.2]", with a unit after the score, and "+" for signs of differences."""
        score, low, high = (f"{100 * each:{sign}.1f}" for each in (self.score, self.low, self.high))
        return f"{score}{unit} [{low}, {high}]"

    def plain(self, sign: Literal["", "+"] = "") -> str:
        """Return "0.8124 [0.771, 0.8493]", for what is no share; "+" for signs of differences."""
        score, low, high = (f"{each:{sign}.4g}" for each in (self.score, self.low, self.high))
        return f"{score} [{low}, {high}]"


def percent(value: float) -> str:
    """Return a score as "42.1 %"."""
    return f"{100 * value:.1f} %"


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two models compared on the same items.

    The interval holds 0 where p is above 1 − level. At 95 % it holds 0 nowhere else, so the two agree.

    Attributes:
        interval: of the mean difference.
        p: two-sided, that the two are equally good.
        test: how p was found.
    """

    interval: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "bootstrap"]


def interval(scores: Sequence[float], seed: int = 0, level: float = 0.95) -> Interval:
    """Bound the mean of item scores in [0, 1]: by Wilson when all are 0 or 1, else by Gaffke.

    Raises:
        KingyoError: no scores, or one that is not finite.
    """
    values = _array("scores", scores)
    if _is_binary(values):
        return wilson(int(values.sum()), len(values), level)
    return bounded_mean(scores, seed=seed, level=level)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Bound a proportion by Wilson's score interval (1927).

    It holds its level for small n and near 0 and 1, where "score ± 1.96 standard errors" does not.

    Args:
        successes: 0 to n.
        n: items, 1 or more.
        level: confidence, between 0 and 1.

    Raises:
        KingyoError: numbers out of these ranges.
    """
    if not 0 <= successes <= n or n < 1:
        raise KingyoError(
            "successes",
            expected="0 <= successes <= n and n >= 1",
            received=f"{successes} of {n}",
            remedy="Count the right ones among all items, of which there must be one.",
        )
    low, high = _wilson_bounds(successes / n, n, _quantile(level))
    return Interval(score=successes / n, n=n, low=low, high=high, method="wilson")


def bounded_mean(
    scores: Sequence[float], bounds: tuple[float, float] = (0.0, 1.0), *, seed: int = 0, level: float = 0.95
) -> Interval:
    """Bound the mean of scores that lie within known bounds (Gaffke 2005; Learned-Miller & Thomas 2020).

    The mean is taken again and again with random weights (uniform on the simplex, as in the Bayesian
    bootstrap), with one more item that has the worst possible score for the lower limit and the best possible
    one for the upper limit. So it allows for a rare score that was not met, which a bootstrap of the items
    does not. Of scores of 0 and 1 this is Clopper & Pearson's interval. That it always holds its level is a
    conjecture; ``docs/statistics.md`` has coverage by simulation.

    Args:
        scores: one per item.
        bounds: least and largest score that an item can have; a score beyond moves them.
        seed: for the weights, of which ``RESAMPLES`` sets are drawn.
        level: confidence, between 0 and 1.

    Raises:
        KingyoError: no scores, or one that is not finite.
    """
    values = _array("scores", scores)
    lower, upper = _gaffke_means(values, bounds, np.random.default_rng(seed))
    low, high = lower_quantile(lower, level), -lower_quantile(-upper, level)
    return Interval(score=float(values.mean()), n=len(values), low=low, high=high, method="gaffke")


def mean_name(weights: Iterable[float]) -> str:
    """Return what to call a mean with these weights: ``mean``, or ``weighted mean`` where they differ."""
    return "weighted mean" if len(set(weights)) > 1 else "mean"


def weighted_mean(parts: Sequence[Interval], weights: Sequence[float]) -> Interval:
    """Bound the weighted mean of independent means, such as the scores of several tasks.

    The method of variance estimates recovery: Zou & Donner 2008 (Statistics in Medicine 27:1693), equation 2
    for a sum of parts wᵢ θᵢ. ``n`` is the sum over the parts. The mean of one part is that part.

    Raises:
        KingyoError: no part, another number of weights, or a weight that is not above 0.
    """
    _require_weights(len(parts), weights)
    if len(parts) == 1:
        return parts[0]
    shares = [weight / math.fsum(weights) for weight in weights]
    pairs = list(zip(shares, parts, strict=True))
    mean = math.fsum(share * part.score for share, part in pairs)
    below = math.hypot(*(share * (part.score - part.low) for share, part in pairs))
    above = math.hypot(*(share * (part.high - part.score) for share, part in pairs))
    n = sum(part.n for part in parts)
    return Interval(score=mean, n=n, low=mean - below, high=mean + above, method="mover")


def paired_difference(
    tasks: Sequence[tuple[Sequence[float], Sequence[float]]],
    weights: Sequence[float] = (1.0,),
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two models on the same items: the weighted mean over tasks of mean(a − b), and its p-value.

    One task scored 0 or 1: McNemar's exact test, and Newcombe's hybrid score interval for paired proportions
    (1998, method 10), drawn out to 0 where the test, which is more careful, does not tell the two apart.
    Else: Gaffke's bounds of the items' differences, which lie in [-1, 1], see ``bounded_mean``; of several
    tasks the weighted sum of their drawn means. p is the smallest 1 − level at which the interval leaves
    out 0.

    Args:
        tasks: for each task the scores of both models, of the same items in the same order.
        weights: of each task, above 0.
        seed: for ``bounded_mean``.
        level: confidence, between 0 and 1.

    Raises:
        KingyoError: different lengths, no scores, one that is not finite, or weights that do not fit.
    """
    _require_weights(len(tasks), weights)
    pairs = [_pair(a, b) for a, b in tasks]
    shares = [weight / math.fsum(weights) for weight in weights]
    mean = math.fsum(share * float((x - y).mean()) for share, (x, y) in zip(shares, pairs, strict=True))
    n = sum(len(x) for x, _ in pairs)
    if len(pairs) == 1 and all(map(_is_binary, pairs[0])):
        (x, y), p = pairs[0], mcnemar(*tasks[0])
        low, high = _newcombe_bounds(x, y, _quantile(level))
        if p > 1 - level:
            low, high = min(low, 0.0), max(high, 0.0)
        found = Interval(score=mean, n=n, low=low, high=high, method="newcombe")
        return PairedDifference(interval=found, p=p, test="mcnemar")
    rng = np.random.default_rng(seed)
    means = [_gaffke_means(x - y, (-1.0, 1.0), rng) for x, y in pairs]
    lower, upper = (
        np.sum([share * each[side] for share, each in zip(shares, means, strict=True)], axis=0)
        for side in (0, 1)
    )
    found = Interval(
        score=mean,
        n=n,
        low=lower_quantile(lower, level),
        high=-lower_quantile(-upper, level),
        method="gaffke",
    )
    beyond = min(int((lower <= 0).sum()), int((upper >= 0).sum()))
    return PairedDifference(interval=found, p=min(1.0, 2 * (1 + beyond) / (1 + RESAMPLES)), test="gaffke")


def mean_of_runs(
    values: Sequence[float], level: float = 0.95, *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """Bound the mean over independent runs by Student's t (1908); with one run nothing is known of others.

    Where all are equal its width is zero, which is no certainty: they have no spread to tell it from.

    Args:
        values: one per run.
        level: of the interval.
        within: what the mean can be at all; the interval is cut there, which no true mean notices.

    Raises:
        KingyoError: no values, or one that is not finite.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    array = _array("values", values)
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(score=mean, n=1, low=within[0], high=within[1], method="student")
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * float(array.std(ddof=1)) / math.sqrt(n)
    low, high = max(within[0], mean - reach), min(within[1], mean + reach)
    return Interval(score=mean, n=n, low=low, high=high, method="student")


def mcnemar(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the exact two-sided p-value that two models are equally good, from 0/1 scores on the same items.

    Only the items on which they differ count: under equality each is a fair coin (McNemar 1947, exact form).

    Raises:
        KingyoError: different lengths, or a score that is neither 0 nor 1.
    """
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    x, y = _pair(a, b)
    if not (_is_binary(x) and _is_binary(y)):
        raise KingyoError(
            "scores", expected="0 or 1 for every item", received="others", remedy="Use paired_difference."
        )
    only_a, only_b = int((x > y).sum()), int((y > x).sum())
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flips(
    tasks: Sequence[Sequence[float]], weights: Sequence[float], seed: int = 0, flips: int = RESAMPLES
) -> float:
    """Return the two-sided p-value that two models are equally good, from their differences item by item.

    If they are, each difference might as well have the other sign: the test by randomisation of Fisher (1935,
    The Design of Experiments, section 21), on the weighted mean of the tasks' mean differences. Of all signs
    so many are drawn, and what was observed counts as one of them (Phipson & Smyth 2010), so p is never 0.

    Args:
        tasks: for each task the score of the one minus that of the other, of every item.
        weights: of each task, above 0.
        seed: for the signs.
        flips: how many are drawn.

    Raises:
        KingyoError: no task, one without items, a difference that is not finite, or weights that do not fit.
    """
    _require_weights(len(tasks), weights)
    parts = [
        _array("differences", task) * (weight / len(task) if len(task) else 1.0)
        for task, weight in zip(tasks, weights, strict=True)
    ]
    terms = np.concatenate(parts)
    # Sums of another order differ by rounding: what is as large but for that has reached it.
    least = abs(float(terms.sum())) - 1e-9 * float(np.abs(terms).sum())
    rng = np.random.default_rng(seed)
    reached, left = 0, flips
    while left:
        rows = min(left, max(1, _CHUNK // len(terms)))
        signs = rng.integers(0, 2, (rows, len(terms)), dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ terms) >= least).sum())
        left -= rows
    return (1 + reached) / (1 + flips)


def selection_bias(scores: Sequence[Sequence[float]], seed: int = 0, splits: int = 1000) -> float:
    """Estimate by how much the best of several candidates is overrated by the score that it was picked for.

    The winner's curse, measured without new evaluations: pick the best on a random half of the items, and see
    what it loses on the other half, averaged over many splits. That is the bias of a pick on n/2 items; noise
    falls as 1/√n, so the bias on all n is 1/√2 of it: about right among equals, somewhat too high where
    candidates really differ. It is the bias of the last pick alone: a search that bred its candidates on
    these items has used both halves already, and what it gained by that is not seen here.

    Args:
        scores: one row per candidate, one column per item.
        seed: for the splits.
        splits: how many random halves.

    Returns:
        The expected overrating, in units of the score; about 0 when one candidate is far ahead.

    Raises:
        KingyoError: no candidate, rows of different lengths, fewer than two items, or a score not finite.
    """
    lengths = {len(row) for row in scores}
    if len(lengths) != 1 or min(lengths) < 2:
        raise KingyoError(
            "scores",
            expected="rows of one length, of 2 items or more",
            received=f"lengths {sorted(lengths)}",
            remedy="Score every candidate on the same items, and on two or more.",
        )
    matrix = np.stack([_array("scores", row) for row in scores])
    n = matrix.shape[1]
    half = n // 2
    # Each row of `chosen` marks half of the items: those whose random keys are the smallest.
    keys = np.random.default_rng(seed).random((splits, n))
    chosen = np.zeros((splits, n))
    np.put_along_axis(chosen, keys.argsort(axis=1)[:, :half], 1.0, axis=1)
    sums = matrix @ chosen.T  # candidates x splits
    best = sums.argmax(axis=0)
    seen = sums[best, np.arange(splits)]
    unseen = matrix.sum(axis=1)[best] - seen
    return float((seen / half - unseen / (n - half)).mean()) / math.sqrt(2)


def _require_weights(n: int, weights: Sequence[float]) -> None:
    if not n or n != len(weights) or min(weights) <= 0:
        raise KingyoError(
            "weights",
            expected=f"a number above 0 for each of {n} parts, of which there is one at least",
            received=str(list(weights)),
            remedy="Give each part its weight.",
        )


def _wilson_bounds(p: float, n: int, z: float) -> tuple[float, float]:
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At p = 0 and 1 the bound is p itself; rounding would put it a hair beyond.
    low = 0.0 if p == 0 else (centre - reach) / scale
    high = 1.0 if p == 1 else (centre + reach) / scale
    return low, high


def _newcombe_bounds(x: Array, y: Array, z: float) -> tuple[float, float]:
    """Newcombe 1998, Statistics in Medicine 17:2635, method 10; cells e, f, g, h of the 2 × 2 table."""
    n = len(x)
    e, f = int((x * y).sum()), int((x > y).sum())
    g, h = int((y > x).sum()), int(((1 - x) * (1 - y)).sum())
    p1, p2 = (e + f) / n, (e + g) / n
    (l1, u1), (l2, u2) = _wilson_bounds(p1, n, z), _wilson_bounds(p2, n, z)
    product, cross = (e + f) * (g + h) * (e + g) * (f + h), e * h - f * g
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = corrected / math.sqrt(product) if product else 0.0
    down, up = (p1 - l1, u2 - p2), (u1 - p1, p2 - l2)
    delta = p1 - p2
    return (
        delta - math.sqrt(max(0.0, down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2)),
        delta + math.sqrt(max(0.0, up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2)),
    )


def _gaffke_means(
    values: Array, bounds: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw means, with random weights, of the items and one more at the lower or at the upper bound."""
    n = len(values)
    least, most = min(bounds[0], float(values.min())), max(bounds[1], float(values.max()))
    sums, totals = np.empty(RESAMPLES), np.empty(RESAMPLES)
    rows = max(1, _CHUNK // n)
    for start in range(0, RESAMPLES, rows):
        drawn = rng.standard_exponential((min(rows, RESAMPLES - start), n))
        sums[start : start + rows], totals[start : start + rows] = drawn @ values, drawn.sum(axis=1)
    extra = rng.standard_exponential(RESAMPLES)
    totals += extra
    below, above = (np.clip((sums + end * extra) / totals, least, most) for end in (least, most))
    return below, above


def lower_quantile(drawn: Array, level: float) -> float:
    """Return the largest drawn value that at most (1 − level)/2 of all are below or equal to."""
    _quantile(level)
    place = math.floor((1 - level) / 2 * (1 + len(drawn)) + ROUNDING) - 1
    return float(np.partition(drawn, max(place, 0))[max(place, 0)])


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise KingyoError(
            "level",
            expected="a confidence between 0 and 1",
            received=str(level),
            remedy="Give a level such as 0.95.",
        )
    return NORMAL.inv_cdf((1 + level) / 2)


def _array(name: str, values: Sequence[float]) -> Array:
    array = np.array(values, dtype=np.float64)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise KingyoError(
            name,
            expected="one finite number or more",
            received=f"{list(values)[:5]}",
            remedy="Give scores of items that could be scored, and leave out the others.",
        )
    return array


def _pair(a: Sequence[float], b: Sequence[float]) -> tuple[Array, Array]:
    if len(a) != len(b):
        raise KingyoError(
            "scores",
            expected="two models' scores on the same items",
            received=f"{len(a)} and {len(b)} scores",
            remedy="Compare on the items that both were scored on, in the same order.",
        )
    return _array("scores", a), _array("scores", b)


def _is_binary(values: Array) -> bool:
    return bool(np.all((values == 0) | (values == 1)))
