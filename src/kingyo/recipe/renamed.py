"""Replace the model references of a recipe, for example by absolute paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.recipe.contents import Module, Slice, Source
from kingyo.recipe.recipe import BASE, MERGE, Recipe

Place = Callable[[str], str]


def renamed(recipe: Recipe, place: Place) -> Recipe:
    """Replace every reference of a model that is merged or gives parts by ``place(reference)``.

    References in ``tokenizer`` and names of the recipe's own ``merges`` are unchanged.
    """

    def put(reference: str) -> str:
        return reference if reference in recipe.merges else place(reference)

    return replace(
        recipe,
        base_model=None if recipe.base_model is None else put(recipe.base_model),
        sources=tuple(_source(source, put) for source in recipe.sources),
        slices=tuple(_slice(each, put) for each in recipe.slices),
        modules={name: _module(module, put) for name, module in recipe.modules.items()},
        path=tuple(replace(hop, model=put(hop.model)) for hop in recipe.path),
        parts={part: use if use in (MERGE, BASE) else put(use) for part, use in recipe.parts.items()},
        merges={name: renamed(each, place) for name, each in recipe.merges.items()},
    )


def _source(source: Source, place: Place) -> Source:
    return replace(source, model=place(source.model))


def _slice(given: Slice, place: Place) -> Slice:
    return replace(
        given,
        sources=tuple(replace(source, model=place(source.model)) for source in given.sources),
        base_model=None if given.base_model is None else place(given.base_model),
    )


def _module(module: Module, place: Place) -> Module:
    return replace(
        module,
        sources=tuple(_source(source, place) for source in module.sources),
        slices=tuple(_slice(each, place) for each in module.slices),
    )
