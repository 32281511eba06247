"""Random, mutated and rounded genes of each kind of axis.

Computed float genes are rounded to a millionth of their range, so that a search repeats on processors whose
arithmetic differs in the last bits.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

from kingyo.core.types import Axis, Genome

DECIMALS = 6  # of the position of a float gene within its range, 0 (low) to 1 (high)
MIN_RATE = 0.01
NOVELTY_ATTEMPTS = 20
RENEWAL_STEP = 0.1  # as a fraction of the range, for repeated genomes, in strategies without an own step


def first_point(axes: Sequence[Axis]) -> Genome:
    return tuple(float(axis.first if axis.kind == "float" else math.floor(axis.first)) for axis in axes)


def random_point(axes: Sequence[Axis], rng: Random) -> Genome:
    return tuple(random_gene(axis, rng) for axis in axes)


def random_gene(axis: Axis, rng: Random) -> float:
    if axis.kind == "float":
        return float(min(axis.high, axis.low + (axis.high - axis.low) * rng.random()))
    return float(rng.randint(int(axis.low), int(axis.high)))


def position_of(axis: Axis, value: float) -> float:
    return round((value - axis.low) / (axis.high - axis.low), DECIMALS)


def gene_at(axis: Axis, position: float) -> float:
    return float(min(axis.high, max(axis.low, axis.low + position * (axis.high - axis.low))))


def clipped(axis: Axis, value: float) -> float:
    """Clip a value to the bounds of a float axis and round it."""
    return gene_at(axis, position_of(axis, value))


def mutate_gene(axis: Axis, value: float, step: float, rng: Random) -> float:
    """Take a Gaussian step, of at least 1 for an int, or flip, or take another category.

    ``step`` is the standard deviation, as a fraction of the range.
    """
    if axis.kind == "binary":
        return 1.0 - value
    if axis.kind == "categorical":
        category = rng.randint(0, int(axis.high) - 1)
        return float(category + (category >= value))
    delta = rng.gauss(0.0, step * (axis.high - axis.low))
    return reflect(value + (delta if axis.kind == "float" else whole_step(delta)), axis)


def whole_step(delta: float) -> float:
    return math.copysign(max(1, round(abs(delta))), delta)


def reflect(value: float, axis: Axis) -> float:
    """Reflect a number at the bounds of an axis; clipping would pile up mutants on the bounds."""
    width = axis.high - axis.low
    offset = math.fmod(abs(value - axis.low), 2 * width)
    inside = axis.low + (offset if offset <= width else 2 * width - offset)
    return float(min(axis.high, max(axis.low, inside)))


def mutation_rate(axes: Sequence[Axis]) -> float:
    return max(1 / len(axes), MIN_RATE)


def mutation(axes: Sequence[Axis], step: float, rng: Random) -> Callable[[int, float], float]:
    return lambda index, gene: mutate_gene(axes[index], gene, step, rng)
