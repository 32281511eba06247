"""Variation operators of the quality-diversity strategies.

Float genes are rounded as ``genes`` describes. Other genes are taken from either parent and mutated one by
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies import genes
from kingyo.types import Axis, Genome

MIN_SUM = 0.1  # of the mixing coefficients, which are divided by their sum

Matrix = NDArray[np.float64]


def linear_mix(axes: Sequence[Axis], one: Genome, two: Genome, sigma: float, rng: Random) -> Genome:
    """Return a linear combination of two parents with random coefficients (CycleQD, crossover).

        child = ω₁ / (ω₁ + ω₂) · one + ω₂ / (ω₁ + ω₂) · two,    ω ~ N(1, σ²)

    All float genes share the coefficients, as all weights of a model do in the paper. Coefficients may be
    negative: the child then lies beyond a parent. Other genes come from ``one`` with the probability of its
    share, clipped to 0 to 1.
    """
    w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    while abs(w1 + w2) < MIN_SUM:  # redraw; for σ ≤ 1 at most one draw in thirty
        w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    share = w1 / (w1 + w2)
    return tuple(
        clipped(axis, share * a + (1 - share) * b)
        if axis.kind == "float"
        else (a if rng.random() < share else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


def line_step(axes: Sequence[Axis], one: Genome, two: Genome, spread: float, rng: Random) -> Genome:
    """Step from a parent along the line to another: the directional part of Iso+LineDD.

        child = one + σ₂ (two − one) N(0, 1)

    Vassiliades and Mouret 2018, Discovering the Elite Hypervolume by Leveraging Interspecies Correlation, eq.
    1 without the isotropic part. Genes that are not floats come from either parent with equal probability.
    """
    along = spread * rng.gauss(0.0, 1.0)
    return tuple(
        clipped(axis, a + along * (b - a)) if axis.kind == "float" else (a if rng.random() < 0.5 else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


def singular_root(axes: Sequence[Axis], genomes: Sequence[Genome]) -> Matrix:
    """Return the square root of the covariance of float genes, V diag(s / √n) Vᵀ, shape (floats, floats).

    U diag(s) Vᵀ is the decomposition of the centred genomes in the unit box. The root times a standard normal
    vector z is Σᵢ (s_i / √n) (v_i · z) v_i: a step along each singular direction, in standard deviations of
    the genomes. It does not depend on the basis that LAPACK chooses for equal singular values.
    """
    floats = [place for place, axis in enumerate(axes) if axis.kind == "float"]
    if not floats:
        return np.zeros((0, 0))
    low = np.array([axes[place].low for place in floats])
    width = np.array([axes[place].high for place in floats]) - low
    X = (np.array(genomes, dtype=np.float64)[:, floats] - low) / width  # noqa: N806  (n × d)
    _, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)  # noqa: N806
    return np.asarray((Vt.T * (s / np.sqrt(len(genomes)))) @ Vt, dtype=np.float64)


def singular_step(axes: Sequence[Axis], genome: Genome, root: Matrix, w: float, rng: Random) -> Genome:
    """Add w · root · z to the float genes, with z standard normal."""
    z = np.array([rng.gauss(0.0, 1.0) for _ in range(len(root))])
    moves = iter((w * (root @ z)).tolist())
    return tuple(
        clipped(axis, gene + next(moves) * (axis.high - axis.low)) if axis.kind == "float" else gene
        for axis, gene in zip(axes, genome, strict=True)
    )


def mutate_all(axes: Sequence[Axis], genome: Genome, step: float, rate: float, rng: Random) -> Genome:
    """Add a Gaussian step of ``step`` × range to each float gene, and mutate other genes with probability
    ``rate``.
    """
    return tuple(
        clipped(axis, gene + step * (axis.high - axis.low) * rng.gauss(0.0, 1.0))
        if axis.kind == "float"
        else (genes.mutate_gene(axis, gene, step, rng) if rng.random() < rate else gene)
        for axis, gene in zip(axes, genome, strict=True)
    )


def clipped(axis: Axis, value: float) -> float:
    """Clip a value to the bounds of a float axis and round it.

    Clipped, not reflected: the best genes often lie on a bound (a source with weight 0 or 1).
    """
    return genes.gene_at(axis, genes.position_of(axis, value))
