"""Spaces around spaces: one rounds genes before decoding, one adds keys that all recipes of a run share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kingyo.recipe import Recipe, Source
from kingyo.space.protocol import Space
from kingyo.types import Axis, Genome

STEPS = 1000
"""Fewest steps per axis."""


@dataclass(frozen=True, kw_only=True)
class RoundedSpace:
    """A space that decodes rounded genes; strategies keep their own."""

    space: Space

    @property
    def axes(self) -> Sequence[Axis]:
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        pairs = zip(self.axes, genome, strict=True)
        return self.space.decode(tuple(_rounded(axis, gene) for axis, gene in pairs))


def _rounded(axis: Axis, gene: float) -> float:
    """Return the nearest multiple of the step within the bounds, never -0.0."""
    if axis.kind != "float":
        return gene
    decimals = -math.floor(math.log10(axis.high - axis.low) - math.log10(STEPS) + 1e-9)
    return min(axis.high, max(axis.low, round(gene, decimals) + 0.0))


@dataclass(frozen=True, kw_only=True)
class SharedKeys:
    """Keys that all recipes of a run share; see ``Recipe``."""

    frame: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    resize: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, object] | None = None

    @property
    def changes_vocabulary(self) -> bool:
        """Whether vocabularies may differ between models."""
        return self.resize is not None or self.tokenizer_source is not None or self.tokenizer is not None

    @property
    def is_default(self) -> bool:
        return self == SharedKeys()

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


@dataclass(frozen=True, kw_only=True)
class SharedKeysSpace:
    """A space whose recipes get shared keys."""

    space: Space
    keys: SharedKeys

    @property
    def axes(self) -> Sequence[Axis]:
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        return self.keys.apply(self.space.decode(genome))


def innermost(space: Space) -> Space:
    while isinstance(space, RoundedSpace | SharedKeysSpace):
        space = space.space
    return space
