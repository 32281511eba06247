"""Find near-duplicates and outliers among the task vectors of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Outlier = Literal["far", "near"]

DUPLICATE_COSINE = 0.99
DUPLICATE_RATIO = 1.1
"""Near-duplicates have at least this cosine, and lengths with at most this ratio."""
OUTLIER_DEVIATIONS = 3.0
OUTLIER_RATIO = 2.0
"""An outlier is so many median absolute deviations from the median of the others, and this factor."""
_FEWEST_OTHERS = 3


def first_alike(i: int, norms: Floats, cosines: Floats, equal: Floats) -> int | None:
    """Return the first earlier member with nearly the same task vector; an equal one comes before others."""
    equals = (j for j in range(i) if equal[i, j])
    alike = (
        j
        for j in range(i)
        if cosines[i, j] >= DUPLICATE_COSINE
        and max(norms[i], norms[j]) <= DUPLICATE_RATIO * min(norms[i], norms[j])
    )
    return next(equals, None) if equal[i, :i].any() else next(alike, None)


def find_outliers(norms: Sequence[float] | Floats) -> list[Outlier | None]:
    """Return which norms are far above or below the others; norms of 0 do not count.

    A logarithm must be more than ``OUTLIER_DEVIATIONS`` median absolute deviations from the median of the
    others, and at least a factor of ``OUTLIER_RATIO``. With fewer than 3 others none is an outlier.

    Example:
        >>> find_outliers([1.0, 1.1, 0.9, 1.2, 5.0])
        [None, None, None, None, 'far']
    """
    return [_outlier(i, norms) for i in range(len(norms))]


def _outlier(i: int, norms: Sequence[float] | Floats) -> Outlier | None:
    others = np.log([each for j, each in enumerate(norms) if j != i and each > 0])
    if norms[i] <= 0 or len(others) < _FEWEST_OTHERS:
        return None
    median = np.median(others)
    gap = np.log(norms[i]) - median
    least = max(OUTLIER_DEVIATIONS * float(np.median(np.abs(others - median))), np.log(OUTLIER_RATIO))
    if abs(gap) < least:
        return None
    return "far" if gap > 0 else "near"
