"""Read and replace the references of a recipe's models, including those in its ``tokenizer`` key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.recipe import Recipe
from kingyo.vocabulary.tokenizer_key import TokenizerChoice, parse_tokenizer


def tokenizer_choice(recipe: Recipe) -> TokenizerChoice | None:
    """Return the tokenizer that a recipe asks for; None if the output keeps that of its template.

    Raises:
        KingyoError: ``tokenizer`` or ``tokenizer_source`` is invalid.
    """
    if recipe.tokenizer is not None:
        return parse_tokenizer(recipe.tokenizer)
    if recipe.tokenizer_source is not None:
        return parse_tokenizer(recipe.tokenizer_source, "tokenizer_source")
    return None


def all_references(recipe: Recipe) -> tuple[str, ...]:
    """Return the references of all models, including models used only for the tokenizer.

    Raises:
        KingyoError: see ``tokenizer_choice``.
    """
    choice = tokenizer_choice(recipe)
    inner = (reference for each in recipe.merges.values() for reference in all_references(each))
    tokenizers = (each for each in (choice.references if choice else ()) if each not in recipe.merges)
    return tuple(dict.fromkeys((*recipe.references, *tokenizers, *inner)))


def replaced(recipe: Recipe, place: Callable[[str], str]) -> Recipe:
    """Replace every reference of a model by ``place(reference)``."""
    choice = tokenizer_choice(recipe)
    placed = None if choice is None else choice.renamed(place)
    has_key = recipe.tokenizer is not None
    return replace(
        recipe.renamed(place),
        merges={name: replaced(inner, place) for name, inner in recipe.merges.items()},
        tokenizer_source=placed.source if placed is not None and not has_key else None,
        tokenizer=placed.to_dict() if placed is not None and has_key else None,
    )
