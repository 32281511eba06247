"""How much a front of several objectives covers: what searches for a front are judged by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def hypervolume(points: ArrayLike, reference: Sequence[float]) -> float:
    """The exact volume between a reference point and the points' front, for one to three objectives.

    Args:
        points: n × m, larger better; those that do not exceed the reference everywhere add nothing.
        reference: the worst that counts, one number per objective.
    """
    worst = np.asarray(reference, dtype=np.float64)
    m = len(worst)
    table = np.asarray(points, dtype=np.float64).reshape(-1, m)
    assert 1 <= m <= 3, "one to three objectives"
    above = table[(table > worst).all(axis=1)] - worst
    if m == 1 or not len(above):
        return float(above.max(initial=0.0))
    padded = above if m == 3 else np.column_stack((above, np.ones(len(above))))
    return _volume(padded[np.argsort(-padded[:, 2], kind="stable")])


def _volume(points: Floats) -> float:
    """Sweep down the last objective; between two points, the staircase so far times the height."""
    xs: list[float] = []  # the staircase: x ascending, y descending
    ys: list[float] = []
    area = volume = 0.0
    heights = [*points[1:, 2].tolist(), 0.0]
    for (x, y, z), below in zip(points.tolist(), heights, strict=True):
        area += _step(xs, ys, x, y)
        volume += area * (z - below)
    return volume


def _step(xs: list[float], ys: list[float], x: float, y: float) -> float:
    """Put a point on the staircase and return the area that it adds; 0 when the staircase covers it."""
    covering = bisect_left(xs, x)
    if covering < len(xs) and ys[covering] >= y:
        return 0.0
    begin = end = bisect_right(xs, x)
    while begin and ys[begin - 1] <= y:
        begin -= 1
    left = xs[begin - 1] if begin else 0.0
    added = (x - left) * y
    for old_x, old_y in zip(xs[begin:end], ys[begin:end], strict=True):
        added -= (old_x - left) * old_y
        left = old_x
    if end < len(xs):
        added -= (x - left) * ys[end]
    xs[begin:end], ys[begin:end] = [x], [y]
    return added
