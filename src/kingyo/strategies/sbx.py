"""Crossover and mutation of real-coded genetic algorithms, for axes of every kind.

Simulated binary crossover (SBX: Deb and Agrawal 1995) and polynomial mutation (Deb and Goyal 1996), both in
the form for bounded variables that the authors' program of NSGA-II uses: no child leaves the bounds, and near
a bound the spread on that side shrinks. Whole numbers are rounded; bits and categories exchanged or changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from kingyo.strategies import genes
from kingyo.types import Axis, Genome

SAME = 1e-14
"""Parents that differ by less, as a share of the range, have nothing to cross."""


def cross(axes: Sequence[Axis], one: Genome, two: Genome, eta: float, rng: Random) -> tuple[Genome, Genome]:
    """Two children of two parents: half of the genes are crossed, the others stay (Deb and Agrawal 1995).

    Args:
        axes: the space.
        one, two: the parents.
        eta: distribution index η_c; the larger, the nearer to the parents.
        rng: source of randomness.
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
    if abs(a - b) <= SAME * width:
        return a, b
    small, large = min(a, b), max(a, b)
    u = rng.random()
    middle, half = (small + large) / 2, (large - small) / 2
    children = [
        _fitted(axis, middle - half * _spread((small - axis.low) / half, eta, u)),
        _fitted(axis, middle + half * _spread((axis.high - large) / half, eta, u)),
    ]
    if rng.random() < 0.5:  # which child gets which gene
        children.reverse()
    return children[0], children[1]


def _spread(room: float, eta: float, u: float) -> float:
    """β_q: how far a child is from the middle, in half distances of the parents.

    Args:
        room: from the parent to the bound on its side, in half distances.
        eta: η_c.
        u: drawn uniformly from 0..1.
    """
    beta = 1 + room
    alpha = 2 - beta ** -(eta + 1)
    if u <= 1 / alpha:
        return (u * alpha) ** (1 / (eta + 1))
    return (1 / (2 - u * alpha)) ** (1 / (eta + 1))


def mutate(axis: Axis, value: float, eta: float, rng: Random) -> float:
    """Change one gene: polynomial mutation of index η_m; a whole number moves by 1 at least, a bit flips.

    A category becomes another one.
    """
    if axis.kind in ("binary", "categorical"):
        return genes.mutate_gene(axis, value, 0.0, rng)
    width = axis.high - axis.low
    move = width * _shift((value - axis.low) / width, (axis.high - value) / width, eta, rng.random())
    if axis.kind == "float":
        return _fitted(axis, value + move)
    whole = math.copysign(max(1, round(abs(move))), move)
    return genes.reflect(value + whole, axis.low, axis.high)


def _shift(below: float, above: float, eta: float, u: float) -> float:
    """δ_q: the step as a share of the range, with ``below`` and ``above`` the shares on either side."""
    if u < 0.5:
        return (2 * u + (1 - 2 * u) * (1 - below) ** (eta + 1)) ** (1 / (eta + 1)) - 1
    return 1 - (2 * (1 - u) + (2 * u - 1) * (1 - above) ** (eta + 1)) ** (1 / (eta + 1))


def _fitted(axis: Axis, value: float) -> float:
    value = value if axis.kind == "float" else math.floor(value + 0.5)
    return float(min(axis.high, max(axis.low, value)))
