"""Simulated binary crossover (SBX) and polynomial mutation, for axes of every kind.

Deb and Agrawal 1995; Deb and Goyal 1996. Both are the bounded forms of the authors' NSGA-II program: children
stay within the bounds, and near a bound the spread on its side shrinks. Integers are rounded; binary and
categorical genes are exchanged or changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from kingyo.strategies import genes
from kingyo.types import Axis, Genome

MIN_DISTANCE = 1e-14
"""Parents closer than this, as a fraction of the range, are copied."""


def simulated_binary_crossover(
    axes: Sequence[Axis], one: Genome, two: Genome, eta: float, rng: Random
) -> tuple[Genome, Genome]:
    """Return two children; each gene is crossed with probability 1/2, else copied (Deb and Agrawal 1995).

    Args:
        axes: the search space.
        one: first parent.
        two: second parent.
        eta: distribution index η_c; larger values keep children nearer to the parents.
        rng: random source.
    """
    pairs = [
        _cross_gene(axis, a, b, eta, rng) if rng.random() < 0.5 else (a, b)
        for axis, a, b in zip(axes, one, two, strict=True)
    ]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def _cross_gene(axis: Axis, a: float, b: float, eta: float, rng: Random) -> tuple[float, float]:
    if axis.kind in ("binary", "categorical"):
        return b, a
    width = axis.high - axis.low
    if abs(a - b) <= MIN_DISTANCE * width:
        return a, b
    small, large = min(a, b), max(a, b)
    u = rng.random()
    middle, half = (small + large) / 2, (large - small) / 2
    children = [
        _rounded(axis, middle - half * _spread((small - axis.low) / half, eta, u)),
        _rounded(axis, middle + half * _spread((axis.high - large) / half, eta, u)),
    ]
    if rng.random() < 0.5:  # assign the genes to the children at random
        children.reverse()
    return children[0], children[1]


def _spread(room: float, eta: float, u: float) -> float:
    """Return β_q, the distance of a child from the middle in half distances of the parents.

    Args:
        room: distance from the parent to the bound on its side, in half distances.
        eta: η_c.
        u: uniform sample from 0 to 1.
    """
    beta = 1 + room
    alpha = 2 - beta ** -(eta + 1)
    if u <= 1 / alpha:
        return (u * alpha) ** (1 / (eta + 1))
    return (1 / (2 - u * alpha)) ** (1 / (eta + 1))


def polynomial_mutation(axis: Axis, value: float, eta: float, rng: Random) -> float:
    """Mutate one gene with distribution index η_m.

    An integer moves by at least 1, a binary gene flips, a categorical gene takes another category.
    """
    if axis.kind in ("binary", "categorical"):
        return genes.mutate_gene(axis, value, 0.0, rng)
    width = axis.high - axis.low
    delta = width * _shift((value - axis.low) / width, (axis.high - value) / width, eta, rng.random())
    if axis.kind == "float":
        return _rounded(axis, value + delta)
    rounded = math.copysign(max(1, round(abs(delta))), delta)
    return genes.reflect(value + rounded, axis.low, axis.high)


def _shift(below: float, above: float, eta: float, u: float) -> float:
    """Return δ_q, the step as a fraction of the range.

    Args:
        below: distance to the lower bound, as a fraction of the range.
        above: distance to the upper bound, as a fraction of the range.
        eta: η_m.
        u: uniform sample from 0 to 1.
    """
    if u < 0.5:
        return (2 * u + (1 - 2 * u) * (1 - below) ** (eta + 1)) ** (1 / (eta + 1)) - 1
    return 1 - (2 * (1 - u) + (2 * u - 1) * (1 - above) ** (eta + 1)) ** (1 / (eta + 1))


def _rounded(axis: Axis, value: float) -> float:
    value = value if axis.kind == "float" else math.floor(value + 0.5)
    return float(min(axis.high, max(axis.low, value)))
