"""The interface of search spaces, genomes for checks, and the space around that of a search."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kingyo.core.types import Axis, Genome
from kingyo.merging.recipe import Recipe, Source


class Space(Protocol):
    """A search space: axes, and recipes of genomes."""

    @property
    def axes(self) -> Sequence[Axis]: ...

    def decode(self, genome: Genome) -> Recipe: ...


def probes(axes: Sequence[Axis]) -> Iterator[Genome]:
    """Yield the first point, then one point per other choice of each categorical axis."""
    first = tuple(axis.first for axis in axes)
    yield first
    for i, axis in enumerate(axes):
        for choice in range(len(axis.choices)):
            if choice != first[i]:
                yield (*first[:i], float(choice), *first[i + 1 :])


@dataclass(frozen=True, kw_only=True)
class RecipeDefaults:
    """Keys that all recipes of a run share; see ``Recipe``."""

    frame: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    resize: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, object] | None = None

    @property
    def changes_vocabulary(self) -> bool:
        return self.resize is not None or self.tokenizer_source is not None or self.tokenizer is not None

    @property
    def is_default(self) -> bool:
        return self == RecipeDefaults()

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with these keys; it keeps its tokenizer options where none are set here.

        In a recipe with a path they are the keys of its merges: the base gives everything around the layers.
        """
        if self.is_default:
            return recipe
        if recipe.path:
            return replace(recipe, merges={name: self.apply(each) for name, each in recipe.merges.items()})
        return replace(
            recipe,
            frame=self.frame,
            parts=self.parts,
            resize=self.resize,
            tokenizer_source=self.tokenizer_source or recipe.tokenizer_source,
            tokenizer=self.tokenizer or recipe.tokenizer,
        )

    def single_model(self, reference: str, among: Sequence[str], like: str, dtype: str | None) -> Recipe:
        """Return the recipe that reproduces one model in the vocabulary of a merge of all models."""
        one_hot = tuple(Source(model=name, parameters={"weight": float(name == reference)}) for name in among)
        return self.apply(
            Recipe(
                merge_method="linear",
                base_model=like,
                sources=one_hot,
                parameters={"normalize": False},
                dtype=dtype,
            )
        )


STEPS = 1000
"""Fewest steps per axis."""


@dataclass(frozen=True, kw_only=True)
class RoundedSpace:
    """A space that decodes rounded genes, to recipes with shared keys; strategies keep their own genes."""

    space: Space
    keys: RecipeDefaults = field(default_factory=RecipeDefaults)

    @property
    def axes(self) -> Sequence[Axis]:
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        pairs = zip(self.axes, genome, strict=True)
        return self.keys.apply(self.space.decode(tuple(_rounded(axis, gene) for axis, gene in pairs)))


def _rounded(axis: Axis, gene: float) -> float:
    if axis.kind != "float":
        return gene
    decimals = -math.floor(math.log10(axis.high - axis.low) - math.log10(STEPS) + 1e-9)
    return min(axis.high, max(axis.low, round(gene, decimals) + 0.0))


def innermost(space: Space) -> Space:
    return space.space if isinstance(space, RoundedSpace) else space
