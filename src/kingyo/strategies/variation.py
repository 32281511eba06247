"""How quality-diversity searches make a child: mixes of two parents, and steps as wide as an archive is.

Float genes are rounded as ``genes`` says. Genes of the other kinds are taken from either parent, and mutated
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from kingyo.strategies import genes
from kingyo.types import Axis, Genome

SMALLEST_SUM = 0.1  # of mixing coefficients that are divided by it

Matrix = NDArray[np.float64]


def linear_mix(axes: Sequence[Axis], one: Genome, two: Genome, sigma: float, rng: Random) -> Genome:
    """Cross two parents by a linear combination with random coefficients (CycleQD, crossover).

        child = ω₁ / (ω₁ + ω₂) · one + ω₂ / (ω₁ + ω₂) · two,    ω ~ N(1, σ²)

    The coefficients hold for the whole genome, as in the paper for the whole model. They may be negative: the
    child then lies beyond a parent. Genes that are no floats come from either parent, ``one`` with the
    probability of its share (kept within 0 to 1).
    """
    w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    while abs(w1 + w2) < SMALLEST_SUM:  # a child at infinity; for σ ≤ 1 one draw in thirty at most
        w1, w2 = rng.gauss(1.0, sigma), rng.gauss(1.0, sigma)
    share = w1 / (w1 + w2)
    return tuple(
        inside(axis, share * a + (1 - share) * b)
        if axis.kind == "float"
        else (a if rng.random() < share else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


def towards(axes: Sequence[Axis], one: Genome, two: Genome, spread: float, rng: Random) -> Genome:
    """Step from a parent along the line to another one: the line of Iso+LineDD.

        child = one + σ₂ (two - one) N(0, 1)

    (Vassiliades and Mouret 2018, Discovering the Elite Hypervolume by Leveraging Interspecies Correlation,
    eq. 1 without its isotropic part.) Genes that are no floats come from either parent equally often.
    """
    along = spread * rng.gauss(0.0, 1.0)
    return tuple(
        inside(axis, a + along * (b - a)) if axis.kind == "float" else (a if rng.random() < 0.5 else b)
        for axis, a, b in zip(axes, one, two, strict=True)
    )


def singular_root(axes: Sequence[Axis], genomes: Sequence[Genome]) -> Matrix:
    """The directions in which genomes differ, scaled by how much: V diag(s / √n) Vᵀ of their float genes.

    U diag(s) Vᵀ are the genomes in the unit box, less their mean. Times a normal vector z it gives
    Σᵢ (s_i / √n) (v_i · z) v_i: a step along every singular direction, in standard deviations of the genomes
    along it. Its square is their covariance, so it is the same whichever singular vectors LAPACK picks among
    those of equal singular values.
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
    """Move the float genes by w times the root times a normal vector."""
    z = np.array([rng.gauss(0.0, 1.0) for _ in range(len(root))])
    moves = iter((w * (root @ z)).tolist())
    return tuple(
        inside(axis, gene + next(moves) * (axis.high - axis.low)) if axis.kind == "float" else gene
        for axis, gene in zip(axes, genome, strict=True)
    )


def mutated(axes: Sequence[Axis], genome: Genome, step: float, rate: float, rng: Random) -> Genome:
    """Give every float gene a Gaussian step of ``step`` times its range; mutate the others at a rate each."""
    return tuple(
        inside(axis, gene + step * (axis.high - axis.low) * rng.gauss(0.0, 1.0))
        if axis.kind == "float"
        else (genes.mutate_gene(axis, gene, step, rng) if rng.random() < rate else gene)
        for axis, gene in zip(axes, genome, strict=True)
    )


def inside(axis: Axis, value: float) -> float:
    """Clip a value to a float axis' bounds, and round it.

    Not reflected, as mutations of the genetic algorithm are: the extremes of an archive often lie on a bound
    (a source left out, or taken whole), and what is reflected away from it never gets there.
    """
    return genes.gene_at(axis, genes.place_of(axis, value))
