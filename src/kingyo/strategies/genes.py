"""Genes of every kind of axis: first, random and mutated values, rounded ones, and genomes that are new.

Float genes that arithmetic brings about are rounded to a millionth of their range, so that a search goes on
unchanged on a processor whose arithmetic differs in the last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from random import Random

from kingyo.types import Axis, Genome

DECIMALS = 6
"""Of the place of a float gene within its range, 0 (low) to 1 (high)."""
SMALLEST_RATE = 0.01
NOVELTY_ATTEMPTS = 20
RENEWAL_STEP = 0.1
"""Of the range: how far a repeated genome is moved where a strategy has no step of its own."""


def first_point(axes: Sequence[Axis]) -> Genome:
    """The first point of every axis; a middle between two whole numbers goes down."""
    return tuple(
        float(axis.first) if axis.kind == "float" else float(math.floor(axis.first)) for axis in axes
    )


def random_point(axes: Sequence[Axis], rng: Random) -> Genome:
    """A point drawn uniformly within the bounds."""
    return tuple(random_gene(axis, rng) for axis in axes)


def random_gene(axis: Axis, rng: Random) -> float:
    """A value drawn uniformly within the bounds; every whole number equally likely on the other kinds."""
    if axis.kind == "float":
        return float(min(axis.high, axis.low + (axis.high - axis.low) * rng.random()))
    return float(rng.randint(int(axis.low), int(axis.high)))


def place_of(axis: Axis, value: float) -> float:
    """Where a value of a float axis lies within its range, 0 (low) to 1 (high), rounded."""
    return round((value - axis.low) / (axis.high - axis.low), DECIMALS)


def gene_at(axis: Axis, place: float) -> float:
    """The value of a float axis at a place, or the bound that it is beyond."""
    return float(min(axis.high, max(axis.low, axis.low + place * (axis.high - axis.low))))


def mutate_gene(axis: Axis, value: float, step: float, rng: Random) -> float:
    """Change one gene.

    A float takes a Gaussian step of standard deviation ``step`` times the range, reflected at the bounds; an
    int the same, rounded, but at least 1; a binary gene flips; a categorical one becomes another category.
    """
    if axis.kind == "binary":
        return 1.0 - value
    if axis.kind == "categorical":
        other = rng.randint(0, int(axis.high) - 1)
        return float(other + (other >= value))
    move = rng.gauss(0.0, step * (axis.high - axis.low))
    if axis.kind == "float":
        return reflect(value + move, axis.low, axis.high)
    whole = math.copysign(max(1, round(abs(move))), move)
    return reflect(value + whole, axis.low, axis.high)


def mutation_rate(axes: Sequence[Axis]) -> float:
    """The usual probability that a gene mutates: 1 / number of genes, but at least 0.01."""
    return max(1 / len(axes), SMALLEST_RATE)


def mutation(axes: Sequence[Axis], step: float, rng: Random) -> Callable[[int, float], float]:
    """How a gene changes, by its place in the genome and its value: as ``mutate_gene`` says."""
    return lambda place, gene: mutate_gene(axes[place], gene, step, rng)


def renewed(
    genome: Genome,
    seen: Container[Genome],
    mutate: Callable[[int, float], float],
    rng: Random,
    attempts: int = NOVELTY_ATTEMPTS,
) -> Genome:
    """Change a genome that was asked before, which would cost an evaluation and teach nothing.

    Args:
        genome: as it was proposed.
        seen: all that were asked.
        mutate: a gene's place in the genome and its value -> another value.
        rng: chooses the place, one gene at a time.
        attempts: how many mutations at most; a small space may be used up.
    """
    for _ in range(attempts):
        if genome not in seen:
            break
        place = rng.randrange(len(genome))
        genome = (*genome[:place], mutate(place, genome[place]), *genome[place + 1 :])
    return genome


def reflect(value: float, low: float, high: float) -> float:
    """Fold a number back into [low, high], as a ball bounces between two walls.

    Unlike clipping it does not pile mutants up on the bounds.
    """
    width = high - low
    place = math.fmod(abs(value - low), 2 * width)
    return float(min(high, max(low, low + (place if place <= width else 2 * width - place))))
