"""The importance of each gene for the scores of a search: PED-ANOVA, with bootstrap intervals.

For each gene, compares the density of the best quarter of the trials with that of all trials, by the Pearson
divergence. A gene's importance is its share of the sum over all genes.

Source: Watanabe, Bansal, Hutter 2023, PED-ANOVA, arXiv:2304.10255, global importance; also in optuna.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kingyo.stats import Array, Interval
from kingyo.types import Genome

BEST = 0.25  # share of good trials
MIN_TRIALS = 12  # smallest number of trials
POINTS = 48  # grid points of a gene's range
RESAMPLES = 300


def importance(
    genomes: Sequence[Genome], scores: Sequence[float], bounds: Sequence[tuple[float, float]], seed: int = 0
) -> tuple[Interval, ...]:
    """Return each gene's importance, a share of 1, with its 95 % interval.

    Args:
        genomes: one per trial.
        scores: scores of the same trials.
        bounds: range of each gene.
        seed: for the bootstrap.

    Returns:
        One interval per gene, with ``n`` the number of trials; nothing for too few trials or equal scores.
    """
    n = len(scores)
    if n < MIN_TRIALS or max(scores) == min(scores):
        return ()
    order = np.argsort(-np.asarray(scores), kind="stable")
    low, high = np.asarray(bounds, dtype=np.float64).T
    places = (np.asarray(genomes, dtype=np.float64)[order] - low) / np.maximum(high - low, 1e-12)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    counts = np.vstack([np.ones(n), drawn.astype(np.float64)])
    good = _best(counts, BEST * n)
    divergences = np.array([_divergence(column, counts, good) for column in places.T])
    shares = divergences / np.maximum(divergences.sum(axis=0), 1e-12)
    lows, highs = np.percentile(shares[:, 1:], (2.5, 97.5), axis=1)
    return tuple(
        Interval(score=share, n=n, low=min(low, share), high=max(high, share), method="bootstrap")
        for share, low, high in zip(shares[:, 0].tolist(), lows.tolist(), highs.tolist(), strict=True)
    )


def _best(counts: Array, n: float) -> Array:
    """Return how often each trial is among the best n; columns are trials, best first."""
    before = np.cumsum(counts, axis=1) - counts
    return np.clip(n - before, 0.0, counts)


def _divergence(places: Array, counts: Array, good: Array) -> Array:
    """Return the Pearson divergence of the good trials from all trials, for each row of counts."""
    grid = np.linspace(0.0, 1.0, POINTS)
    width = max(1.06 * float(places.std()) * len(places) ** -0.2, 1 / POINTS)
    kernel = np.exp(-0.5 * ((grid - places[:, None]) / width) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    every, best = counts @ kernel, good @ kernel
    every /= every.sum(axis=1, keepdims=True)
    best /= best.sum(axis=1, keepdims=True)
    return ((best - every) ** 2 / np.maximum(every, 1e-12)).sum(axis=1)
