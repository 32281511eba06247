"""Models of different vocabularies: what all recipes of a run say about it, and a space whose recipes say it.

It knows recipes and no tokenizer; what becomes of tokens and rows is said in ``kingyo.recipe``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.recipe import Recipe, Source
from kingyo.space.protocol import Space
from kingyo.types import Axis, Genome


@dataclass(frozen=True, kw_only=True)
class Vocabularies:
    """How vocabularies are brought together; see ``Recipe`` for each.

    Attributes:
        resize: what to do about sizes that differ.
        tokenizer_source: whose tokenizer the output gets.
        tokenizer: the same in detail.
    """

    resize: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, object] | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing is said: then vocabularies must be equal."""
        return self.resize is None and self.tokenizer_source is None and self.tokenizer is None

    def said_in(self, recipe: Recipe) -> Recipe:
        """The recipe with what is said here; what it says itself of its tokenizer stays."""
        if self.is_silent:
            return recipe
        return replace(
            recipe,
            resize=self.resize,
            tokenizer_source=self.tokenizer_source or recipe.tokenizer_source,
            tokenizer=self.tokenizer or recipe.tokenizer,
        )

    def alone(self, reference: str, among: Sequence[str], like: str, dtype: str | None) -> Recipe:
        """One model as it is, in the vocabulary that a merge of all models has.

        Args:
            reference: of the model.
            among: all models that are merged, and it.
            like: whose config and tokenizer the output has.
            dtype: of the output.
        """
        one_hot = tuple(Source(model=each, parameters={"weight": float(each == reference)}) for each in among)
        return self.said_in(
            Recipe(
                merge_method="linear",
                base_model=like,
                sources=one_hot,
                parameters={"normalize": False},
                dtype=dtype,
            )
        )


@dataclass(frozen=True, kw_only=True)
class JoinedSpace:
    """A space whose recipes also say how vocabularies are brought together."""

    space: Space
    vocabularies: Vocabularies

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        return self.vocabularies.said_in(self.space.decode(genome))
