"""Points with several objectives: who dominates whom, fronts, crowding and the knee.

Points are the rows of an array, objectives its columns; larger is better. A point dominates another when it
is nowhere worse and somewhere better, so equal points share a front and none of them dominates the other.
It knows arrays only: no genome, no trial.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kingyo.strategies.checks import require

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def ranks(points: ArrayLike, most: int | None = None) -> Indices:
    """Number of each point's front: 0 for those that nobody dominates, 1 for those dominated by these only.

    Args:
        points: n × m, larger better.
        most: how many fronts to tell apart; all points beyond them have this number. All when None.

    Raises:
        KingyoError: points that are no table of finite numbers.
    """
    table = _table(points)
    distinct, place = _distinct(table)
    m = table.shape[1]
    if m == 1:
        found = np.arange(len(distinct))[::-1]
    else:
        # From the lexicographically largest down: nobody is dominated by a point after it.
        found = (_ranks_of_two if m == 2 else _ranks_of_more)(distinct[::-1], most)[::-1]
    found = np.asarray(found, dtype=np.intp)
    return (found if most is None else np.minimum(found, most))[place]


def front(points: ArrayLike) -> Indices:
    """Indices, in order, of the points that nobody dominates; of equal points all."""
    return np.flatnonzero(ranks(points, most=1) == 0)


def crowding(points: ArrayLike) -> Floats:
    """How far the neighbours of each point of one front are: Deb et al. 2002, section III-B.

    The sum over objectives of the distance between both neighbours, as a share of the objective's range;
    infinite at either end. Objectives without a range count nothing. Of equal points the first has the
    distance, its copies have 0, since they add nothing (Fortin and Parizeau 2013 say why copies mislead).
    """
    table = _table(points)
    distinct, place = _distinct(table)
    total = np.zeros(len(distinct))
    if len(distinct) <= 2:
        total[:] = np.inf
    for column in distinct.T if len(distinct) > 2 else ():
        order = np.argsort(column, kind="stable")
        values = column[order]
        if values[-1] > values[0]:
            total[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
            total[order[[0, -1]]] = np.inf
    _, firsts = np.unique(place, return_index=True)
    distances = np.zeros(len(table))
    distances[firsts] = total
    return distances


def best_first(points: ArrayLike) -> tuple[Indices, Indices]:
    """The crowded-comparison order ≺n of Deb et al. 2002: by rank, then the less crowded.

    Returns:
        Indices of all points, the best first (equals in the order given), and each point's class in this
        order: 0 for the best, the same number for those that it cannot tell apart.
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
    """The index of the front's best compromise: the point farthest beyond the plane through its extremes.

    Das 1999 (On characterizing the "knee" of the Pareto curve based on normal-boundary intersection), with
    every objective of the front scaled to 0..1 and those without a range left out. The plane goes through
    the best point of each objective; where these span none that faces the ideal, it is the one through the
    unit vectors. Equal distances (a front of two points, a straight front) go to the point whose worst
    objective is best, then to the one whose first objective is. A front of one point is its own knee; on a
    front that is hollow everywhere no point lies beyond the plane, and the best in the first objective is it.

    Raises:
        KingyoError: no point at all.
    """
    table = _table(points)
    require("points", "none", "at least one", holds=len(table) > 0, remedy="Ask once something is measured.")
    members = front(table)
    low, high = table[members].min(axis=0), table[members].max(axis=0)
    varies = high > low
    if not varies.any():
        return int(members[0])
    scaled = (table[members][:, varies] - low[varies]) / (high - low)[varies]
    # Rounded, else the last bit decides between equals.
    distance: Floats = (scaled @ _normal(scaled)).round(12)
    worst: Floats = scaled.min(axis=1).round(12)
    return int(members[np.lexsort((-scaled[:, 0], -worst, -distance))[0]])


def _normal(scaled: Floats) -> Floats:
    """The unit normal w of the plane {x: w·x = const} through the best point of each objective."""
    m = scaled.shape[1]
    even = np.full(m, 1 / np.sqrt(m))
    sums = scaled.sum(axis=1)
    extremes = scaled[[np.lexsort((-sums, -column))[0] for column in scaled.T]]
    if np.linalg.matrix_rank(extremes) < m:
        return even
    w = np.linalg.solve(extremes, np.ones(m))
    return w / np.linalg.norm(w) if (w > 0).all() else even


def _ranks_of_two(points: Floats, most: int | None) -> list[int]:
    """Two objectives: a front's last point has its largest second objective, so one number stands for it."""
    lowest: list[float] = []  # minus the largest second objective of each front: ascending
    found: list[int] = []
    for second in points[:, 1].tolist():
        # The first front without a point at least as good; the first objective is, by the order.
        number = bisect_right(lowest, -second)
        lowest[number : number + 1] = [-second] if number != most else []
        found.append(number)
    return found


def _ranks_of_more(points: Floats, most: int | None) -> list[int]:
    """Efficient non-dominated sort with binary search: Zhang et al. 2015.

    A point that front k dominates is dominated by all fronts before it too, so its own is found by halves.
    """
    fronts: list[_Front] = []
    found: list[int] = []
    for point in points[:, 1:]:
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if fronts[middle].dominates(point) else (low, middle)
        if low == len(fronts) and low != most:
            fronts.append(_Front(len(point)))
        if low < len(fronts):
            fronts[low].add(point)
        found.append(low)
    return found


class _Front:
    """Members of a front, column by column: room is doubled when it is full."""

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
    """The different rows in ascending lexicographic order, and which of them each row is."""
    distinct, place = np.unique(table + 0.0, axis=0, return_inverse=True)  # -0.0 is 0.0
    return distinct, place.reshape(-1)


def _table(points: ArrayLike) -> Floats:
    table = np.asarray(points, dtype=np.float64)
    if table.shape == (0,):
        table = table.reshape(0, 1)
    remedy = "Give one row per point, one column per objective; leave failures out."
    fine = table.ndim == 2 and table.shape[1] > 0 and bool(np.isfinite(table).all())
    require("points", f"an array of shape {table.shape}", "n × m finite numbers", holds=fine, remedy=remedy)
    return table
