"""The same recipe with other references of its models: whole paths, or names that a reader knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.recipe.one import BASE, MERGE, Recipe
from kingyo.recipe.pieces import Module, Slice, Source

Place = Callable[[str], str]


def renamed(recipe: Recipe, place: Place) -> Recipe:
    """Replace every model that it merges or takes parts from by ``place(reference)``.

    Models that only its tokenizer names stay: only the vocabulary room reads that.
    """
    return replace(
        recipe,
        base_model=None if recipe.base_model is None else place(recipe.base_model),
        sources=tuple(_source(source, place) for source in recipe.sources),
        slices=tuple(_slice(each, place) for each in recipe.slices),
        modules={name: _module(module, place) for name, module in recipe.modules.items()},
        path=tuple(replace(hop, model=place(hop.model)) for hop in recipe.path),
        parts={part: use if use in (MERGE, BASE) else place(use) for part, use in recipe.parts.items()},
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
