"""Rounding of genes before decoding, so that near-duplicates become the same recipe.

The step is a power of ten, at most a thousandth of the axis, which keeps recipes readable and 0.5 and 1
exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.recipe import Recipe
from kingyo.space.protocol import Space
from kingyo.types import Axis, Genome

STEPS = 1000
"""Fewest steps per axis."""


@dataclass(frozen=True, kw_only=True)
class RoundedSpace:
    """A space that decodes rounded genes; strategies keep their own.

    Attributes:
        space: the space that decodes the rounded genome.
    """

    space: Space

    @property
    def axes(self) -> Sequence[Axis]:
        """Axes of the wrapped space."""
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of the rounded genome.

        Raises:
            ValueError: the genome's length is not the number of axes.
        """
        if len(genome) != len(self.axes):
            return self.space.decode(genome)
        pairs = zip(self.axes, genome, strict=True)
        return self.space.decode(tuple(_rounded(axis, gene) for axis, gene in pairs))


def _rounded(axis: Axis, gene: float) -> float:
    """Return the nearest multiple of the step within the bounds, never -0.0."""
    if axis.kind != "float":
        return gene
    decimals = -math.floor(math.log10(axis.high - axis.low) - math.log10(STEPS) + 1e-9)
    return min(axis.high, max(axis.low, round(gene, decimals) + 0.0))
