"""Subsets of sources as a space: one axis per source, its weight, which is 0 if it is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from kingyo.recipe import Recipe, Source
from kingyo.space.parameter import parent_recipe
from kingyo.space.protocol import SourceSpace
from kingyo.types import Axis, Genome

HIGHEST = 1.5
"""The highest weight."""


@dataclass(frozen=True, kw_only=True)
class SubsetSpace(SourceSpace):
    """Merges of some of many sources by task arithmetic. Recipes name only the sources that they merge.

    Attributes:
        sources: name -> model reference.
        base: model reference of the common ancestor.
        dtype: dtype of the merged weights; None keeps the models' own.
    """

    sources: Mapping[str, str]
    base: str
    dtype: str | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One axis per source, named ``weight/ja``."""
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        names = (f"weight/{name}" for name in self.sources)
        return tuple(Axis(name=name, low=0.0, high=HIGHEST, family=name, neutral=0.0) for name in names)

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome; without sources that of the base, with one at 1 that source's."""
        pairs = zip(self.sources.values(), genome, strict=True)
        weights = {reference: weight for reference, weight in pairs if weight != 0}
        if not weights:
            return parent_recipe(self.base, self.dtype)
        if list(weights.values()) == [1.0]:
            return parent_recipe(next(iter(weights)), self.dtype)
        return Recipe(
            merge_method="task_arithmetic",
            base_model=self.base,
            sources=tuple(Source(model=name, parameters={"weight": each}) for name, each in weights.items()),
            dtype=self.dtype,
        )
