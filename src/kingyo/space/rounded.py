"""A space whose genes are rounded before they become a recipe, so that near-duplicates are the same recipe.

A step is a power of ten, at most a thousandth of the axis: recipes stay short to read, 0.5 and 1 stay what
they are. Few answers change by it, if any. It knows neither strategies nor scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.recipe import Recipe
from kingyo.space.protocol import Space
from kingyo.types import Axis, Genome

STEPS = 1000
"""The fewest steps of an axis."""


@dataclass(frozen=True, kw_only=True)
class RoundedSpace:
    """A space of recipes with rounded numbers; what a strategy asks for stays as it asked.

    Attributes:
        space: what the rounded genes are decoded by.
    """

    space: Space

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of the nearest genome on the grid.

        Raises:
            ValueError: the genome's length is not the number of axes.
        """
        if len(genome) != len(self.axes):
            return self.space.decode(genome)
        pairs = zip(self.axes, genome, strict=True)
        return self.space.decode(tuple(_rounded(axis, gene) for axis, gene in pairs))


def _rounded(axis: Axis, gene: float) -> float:
    """The nearest multiple of the step within the bounds, never -0.0."""
    if axis.kind != "float":
        return gene
    decimals = -math.floor(math.log10(axis.high - axis.low) - math.log10(STEPS) + 1e-9)
    return min(axis.high, max(axis.low, round(gene, decimals) + 0.0))
