"""Selection bias: how much picking the best of several candidates overrates its score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.errors import KingyoError
from kingyo.stats.checks import finite_array


def selection_bias(scores: Sequence[Sequence[float]], seed: int = 0, splits: int = 1000) -> float:
    """Estimate by how much the best of several candidates is overrated by the score that it was picked for.

    Picks the best on a random half of the items, and measures what it loses on the other half, averaged over
    many splits. This is the bias of a pick on n/2 items; noise falls as 1/√n, so the bias on all n is 1/√2 of
    it: about right among equals, somewhat too high if candidates differ. It covers the final pick only: if
    the search bred its candidates on these items, both halves are already biased, and this is not included.

    Args:
        scores: one row per candidate, one column per item.
        seed: for the splits.
        splits: number of random halves.

    Returns:
        The expected bias, in units of the score; about 0 if one candidate is far ahead.

    Raises:
        KingyoError: no candidate, rows of different lengths, fewer than two items, or a score not finite.
    """
    lengths = {len(row) for row in scores}
    if len(lengths) != 1 or min(lengths) < 2:
        raise KingyoError(
            "scores",
            expected="rows of one length, with at least 2 items",
            received=f"lengths {sorted(lengths)}",
            remedy="Score every candidate on the same items, and on two or more.",
        )
    matrix = np.stack([finite_array("scores", row) for row in scores])
    n = matrix.shape[1]
    half = n // 2
    # Each row of `chosen` marks half of the items: those with the smallest random keys.
    keys = np.random.default_rng(seed).random((splits, n))
    chosen = np.zeros((splits, n))
    np.put_along_axis(chosen, keys.argsort(axis=1)[:, :half], 1.0, axis=1)
    sums = matrix @ chosen.T  # candidates x splits
    best = sums.argmax(axis=0)
    seen = sums[best, np.arange(splits)]
    unseen = matrix.sum(axis=1)[best] - seen
    return float((seen / half - unseen / (n - half)).mean()) / math.sqrt(2)
