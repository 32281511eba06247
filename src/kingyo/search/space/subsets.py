"""Subsets of sources as a space: the weights of each source, which are 0 if it is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from kingyo.core.types import Axis, Genome
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.recipe import Recipe, Source, Value
from kingyo.search.space.parameter import parent_recipe
from kingyo.search.space.protocol import SourceSpace

HIGHEST = 1.5
"""The highest weight."""


@dataclass(frozen=True, kw_only=True)
class SubsetSpace(SourceSpace):
    """Merges of some of many sources by task arithmetic. Recipes name only the sources that they merge.

    Attributes:
        sources: name -> model reference.
        base: model reference of the common ancestor.
        layout: groups of tensors of the models.
        groups: granularity, as in ``Layout.groups``.
        dtype: dtype of the merged weights; None keeps the models' own.
    """

    sources: Mapping[str, str]
    base: str
    layout: Layout
    groups: str = "one"
    dtype: str | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(name=f"weight/{name}/{group}", low=0.0, high=HIGHEST, family=f"weight/{name}", neutral=0.0)
            for name in self.sources
            for group in self.layout.groups(self.groups)
        )

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome; without sources that of the base, with one at 1 that source's."""
        genes = {axis.name: gene for axis, gene in zip(self.axes, genome, strict=True)}
        groups = tuple(self.layout.groups(self.groups))
        merged: dict[str, Value] = {}
        for name, reference in self.sources.items():
            weights = {group: genes[f"weight/{name}/{group}"] for group in groups}
            if len(set(weights.values())) > 1:
                merged[reference] = self.layout.conditionals(self.groups, weights)
            elif weights[groups[0]] != 0:
                merged[reference] = weights[groups[0]]
        if not merged:
            return parent_recipe(self.base, self.dtype)
        if list(merged.values()) == [1.0]:
            return parent_recipe(next(iter(merged)), self.dtype)
        return Recipe(
            merge_method="task_arithmetic",
            base_model=self.base,
            sources=tuple(Source(model=model, parameters={"weight": each}) for model, each in merged.items()),
            dtype=self.dtype,
        )
