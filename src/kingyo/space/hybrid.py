"""Hybrid space: a merge of weights, and a path through layers that may include those of the merge.

The merge is another source of the paths. (Akiba et al. 2024, section 3.3, search the two in turn.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kingyo.recipe import MERGED, Recipe
from kingyo.space.bounds import Bounds
from kingyo.space.dataflow import DataflowSpace
from kingyo.space.protocol import SourceSpace
from kingyo.types import Axis, Genome


@dataclass(frozen=True, kw_only=True)
class HybridSpace(SourceSpace):
    """All merges of some models combined with all paths through their layers and those of the merge.

    A genome is one of the merge followed by one of the path. Genes of a merge that the path does not use are
    inactive.

    Attributes:
        merges: space of merges.
        paths: space of paths; one of its sources is called ``merged``.
    """

    merges: SourceSpace
    paths: DataflowSpace

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the merges, then of the paths."""
        return (*self.merges.axes, *self.paths.axes)

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome.

        Raises:
            ValueError: the genome's length is not the number of axes.
        """
        if len(genome) != len(self.axes):
            raise ValueError(f"genome: expected {len(self.axes)} genes, received {len(genome)}")
        n = len(self.merges.axes)
        merged = self.merges.decode(genome[:n])
        return replace(self.paths, merges={MERGED: merged}).decode(genome[n:])

    def bounds_without_known(self) -> Bounds | None:
        """Return those of the merges."""
        return self.merges.bounds_without_known()

    def layer_paths(self) -> DataflowSpace:
        """Return the space of paths."""
        return self.paths
