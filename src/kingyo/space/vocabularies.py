"""Vocabulary options of a run, and a space that adds them to recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.recipe import Recipe, Source
from kingyo.space.protocol import Space
from kingyo.types import Axis, Genome


@dataclass(frozen=True, kw_only=True)
class Vocabularies:
    """Options for models with different vocabularies; see ``Recipe``.

    Attributes:
        resize: how to resize embeddings whose sizes differ.
        tokenizer_source: model whose tokenizer the output gets.
        tokenizer: tokenizer options in detail.
    """

    resize: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, object] | None = None

    @property
    def is_default(self) -> bool:
        """Whether no option is set, so that vocabularies must be equal."""
        return self.resize is None and self.tokenizer_source is None and self.tokenizer is None

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with these options; it keeps its tokenizer options where none are set here."""
        if self.is_default:
            return recipe
        return replace(
            recipe,
            resize=self.resize,
            tokenizer_source=self.tokenizer_source or recipe.tokenizer_source,
            tokenizer=self.tokenizer or recipe.tokenizer,
        )

    def single_model(self, reference: str, among: Sequence[str], like: str, dtype: str | None) -> Recipe:
        """Return the recipe that reproduces one model in the vocabulary of a merge of all models.

        Args:
            reference: reference of the model.
            among: references of all merged models, this one included.
            like: reference of the model whose config and tokenizer the output gets.
            dtype: dtype of the output.
        """
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
class VocabularySpace:
    """A space whose recipes get vocabulary options."""

    space: Space
    vocabularies: Vocabularies

    @property
    def axes(self) -> Sequence[Axis]:
        """Axes of the wrapped space."""
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        return self.vocabularies.apply(self.space.decode(genome))
