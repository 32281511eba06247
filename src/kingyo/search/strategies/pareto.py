"""Pareto dominance: fronts, crowding distance and knee.

Points are rows of an array, objectives its columns; larger is better. A point dominates another if it is no
worse in every objective and better in at least one, so equal points share a front.

    >>> points = [[0.9, 0.1], [0.6, 0.7], [0.1, 0.8], [0.5, 0.5]]
    >>> ranks(points).tolist()
    [0, 0, 0, 1]
    >>> knee(points)
    1
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kingyo.search.strategies.base import require

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def front(points: ArrayLike) -> Indices:
    """Return the indices of the non-dominated points, ascending; all of equal points."""
    return _front(_table(points))


def ranks(points: ArrayLike) -> Indices:
    table = _table(points)
    numbers = np.zeros(len(table), dtype=np.intp)
    left = np.arange(len(table))
    while len(left):
        left = np.delete(left, _front(table[left]))
        numbers[left] += 1
    return numbers


def _front(table: Floats) -> Indices:
    left, place = np.arange(len(table)), 0
    while place < len(left):
        point, others = table[left[place]], table[left]
        stays = (others > point).any(axis=1) | (others == point).all(axis=1)
        left, place = left[stays], int(stays[:place].sum()) + 1
    return left


def crowding(points: ArrayLike) -> Floats:
    """Return the crowding distance of each point of one front (Deb et al. 2002, section III-B).

    It is the sum over objectives of the distance between both neighbours, as a fraction of the range;
    infinite at the ends. Of equal points the first gets it, the others 0 (see Fortin and Parizeau 2013).
    """
    table = _table(points)
    distinct, index = np.unique(table + 0.0, axis=0, return_inverse=True)  # -0.0 becomes 0.0
    index, total = index.reshape(-1), np.zeros(len(distinct))
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
    """Sort by the crowded-comparison operator ≺n of Deb et al. 2002: by front, then by crowding distance."""
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
    vectors instead. Ties go to the point with the best worst objective, then with the best first objective.
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


def _table(points: ArrayLike) -> Floats:
    table = np.asarray(points, dtype=np.float64)
    if table.shape == (0,):
        table = table.reshape(0, 1)
    remedy = "Pass one row per point and one column per objective, without failures."
    valid = table.ndim == 2 and table.shape[1] > 0 and bool(np.isfinite(table).all())
    require("points", f"an array of shape {table.shape}", "n × m finite numbers", holds=valid, remedy=remedy)
    return table
