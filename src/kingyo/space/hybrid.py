"""Both spaces at once: how weights are merged, and which layers the tokens pass through, those of the merge
too.

A genome is one of each space, one after the other. What is merged is one more source of the paths (Akiba et
al. 2024, section 3.3, do the two in turn).
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
    """All merges of some models, and all paths through the layers of both.

    Genes of a merge that no path goes through, and that gives no embeddings either, are inactive.

    Attributes:
        merges: how weights are merged.
        paths: through the layers of sources, of which one is called ``merged``.
    """

    merges: SourceSpace
    paths: DataflowSpace

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those of the merges, then those of the paths."""
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
        """Return the paths."""
        return self.paths
