"""Pareto dominance: fronts, crowding distance and knee.

Points are rows of an array, objectives its columns; larger is better. A point dominates another if it is no
worse in every objective and better in at least one, so equal points share a front.

    >>> points = [[0.9, 0.1], [0.6, 0.7], [0.1, 0.8], [0.5, 0.5]]
    >>> ranks(points).tolist()
    [0, 0, 0, 1]
    >>> knee(points)
    1
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kingyo.strategies.checks import require

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def ranks(points: ArrayLike, most: int | None = None) -> Indices:
    """Return the number of each point's front: 0 for non-dominated points.

    Args:
        points: shape (n, m), larger is better.
        most: largest number to return; points of later fronts get it too. None: no limit.

    Raises:
        KingyoError: ``points`` is not a table of finite numbers.
    """
    table = _table(points)
    distinct, index = _distinct(table)
    m = table.shape[1]
    if m == 1:
        numbers = np.arange(len(distinct))[::-1]
    else:
        # In descending lexicographic order no point is dominated by a later one.
        numbers = (_ranks_of_two if m == 2 else _ranks_of_more)(distinct[::-1], most)[::-1]
    numbers = np.asarray(numbers, dtype=np.intp)
    return (numbers if most is None else np.minimum(numbers, most))[index]


def front(points: ArrayLike) -> Indices:
    """Return the indices of the non-dominated points, ascending; all of equal points."""
    return np.flatnonzero(ranks(points, most=1) == 0)


def crowding(points: ArrayLike) -> Floats:
    """Return the crowding distance of each point of one front (Deb et al. 2002, section III-B).

    It is the sum over objectives of the distance between both neighbours, as a fraction of the range;
    infinite at the ends. Constant objectives count 0. Of equal points the first gets the distance and the
    others 0 (see Fortin and Parizeau 2013).
    """
    table = _table(points)
    distinct, index = _distinct(table)
    total = np.zeros(len(distinct))
    if len(distinct) <= 2:
        total[:] = np.inf
    for column in distinct.T if len(distinct) > 2 else ():
        order = np.argsort(column, kind="stable")
        values = column[order]
        if values[-1] > values[0]:
            total[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
            total[order[[0, -1]]] = np.inf
    _, firsts = np.unique(index, return_index=True)
    distances = np.zeros(len(table))
    distances[firsts] = total
    return distances


def best_first(points: ArrayLike) -> tuple[Indices, Indices]:
    """Sort by the crowded-comparison operator ≺n of Deb et al. 2002: by front, then by crowding distance.

    Returns:
        Indices, best first (ties in the given order), and the class of each point in this order: 0 for the
        best; ties share a class.
    """
    table = _table(points)
    rank = ranks(table)
    distance = np.zeros(len(table))
    for number in range(int(rank.max(initial=-1)) + 1):
        members = np.flatnonzero(rank == number)
        distance[members] = crowding(table[members])
    order = np.lexsort((-distance, rank))
    new = (np.diff(rank[order]) != 0) | (distance[order][1:] != distance[order][:-1])
    classes = np.zeros(len(table), dtype=np.intp)
    classes[order[1:]] = np.cumsum(new)
    return order, classes


def knee(points: ArrayLike) -> int:
    """Return the index of the knee: the point of the front farthest beyond the plane through its extremes.

    Das 1999, On characterizing the "knee" of the Pareto curve based on normal-boundary intersection.
    Objectives of the front are scaled to 0 to 1; constant ones are left out. The plane contains the best
    point of each objective; if these do not define a plane that faces the ideal point, it contains the unit
    vectors instead. Ties (a front of two points, a straight front) go to the point with the best worst
    objective, then with the best first objective. On a concave front no point lies beyond the plane, and the
    best point of the first objective is returned.

    Raises:
        KingyoError: there are no points.
    """
    table = _table(points)
    require("points", "none", "at least one", holds=len(table) > 0, remedy="Wait for the first outcome.")
    members = front(table)
    low, high = table[members].min(axis=0), table[members].max(axis=0)
    varies = high > low
    if not varies.any():
        return int(members[0])
    scaled = (table[members][:, varies] - low[varies]) / (high - low)[varies]
    # Rounded, so that the last bit does not break ties.
    distance: Floats = (scaled @ _normal(scaled)).round(12)
    worst: Floats = scaled.min(axis=1).round(12)
    return int(members[np.lexsort((-scaled[:, 0], -worst, -distance))[0]])


def _normal(scaled: Floats) -> Floats:
    """Return the unit normal w of the plane {x: w·x = const} through the best point of each objective."""
    m = scaled.shape[1]
    even = np.full(m, 1 / np.sqrt(m))
    sums = scaled.sum(axis=1)
    extremes = scaled[[np.lexsort((-sums, -column))[0] for column in scaled.T]]
    if np.linalg.matrix_rank(extremes) < m:
        return even
    w = np.linalg.solve(extremes, np.ones(m))
    return w / np.linalg.norm(w) if (w > 0).all() else even


def _ranks_of_two(points: Floats, most: int | None) -> list[int]:
    """Return front numbers for two objectives: the largest second objective represents a front."""
    lowest: list[float] = []  # minus the largest second objective of each front, ascending
    numbers: list[int] = []
    for second in points[:, 1].tolist():
        # By the sort order, earlier points are no worse in the first objective.
        number = bisect_right(lowest, -second)
        lowest[number : number + 1] = [-second] if number != most else []
        numbers.append(number)
    return numbers


def _ranks_of_more(points: Floats, most: int | None) -> list[int]:
    """Efficient non-dominated sort with binary search (ENS-BS, Zhang et al. 2015).

    A point dominated by front k is dominated by all earlier fronts, which allows bisection.
    """
    fronts: list[_Front] = []
    numbers: list[int] = []
    for point in points[:, 1:]:
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if fronts[middle].dominates(point) else (low, middle)
        if low == len(fronts) and low != most:
            fronts.append(_Front(len(point)))
        if low < len(fronts):
            fronts[low].add(point)
        numbers.append(low)
    return numbers


class _Front:
    """Members of a front, stored by objective; the capacity doubles when full."""

    def __init__(self, m: int) -> None:
        self._columns = np.empty((m, 8))
        self._count = 0

    def dominates(self, point: Floats) -> bool:
        columns = self._columns[:, : self._count]
        good = columns[0] >= point[0]
        for column, value in zip(columns[1:], point[1:], strict=True):
            good &= column >= value
        return bool(good.any())

    def add(self, point: Floats) -> None:
        if self._count == self._columns.shape[1]:
            self._columns = np.concatenate((self._columns, np.empty_like(self._columns)), axis=1)
        self._columns[:, self._count] = point
        self._count += 1


def _distinct(table: Floats) -> tuple[Floats, Indices]:
    """Return the distinct rows in ascending lexicographic order, and the index of each row among them."""
    distinct, index = np.unique(table + 0.0, axis=0, return_inverse=True)  # -0.0 becomes 0.0
    return distinct, index.reshape(-1)


def _table(points: ArrayLike) -> Floats:
    table = np.asarray(points, dtype=np.float64)
    if table.shape == (0,):
        table = table.reshape(0, 1)
    remedy = "Pass one row per point and one column per objective, without failures."
    valid = table.ndim == 2 and table.shape[1] > 0 and bool(np.isfinite(table).all())
    require("points", f"an array of shape {table.shape}", "n × m finite numbers", holds=valid, remedy=remedy)
    return table
