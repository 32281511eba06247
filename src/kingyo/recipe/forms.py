"""A recipe with a path as mergekit's slices, and slices that merge nothing as a path: the same model.

Slices take what comes before the layers from the first of them, and what comes behind from the last; a path
takes both from its base. Where these differ, an empty slice of the base (``layer_range: [0, 0]``) stands at
that end, which mergekit reads so too. It knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kingyo.errors import KingyoError
from kingyo.recipe.book import NamedRecipe, RecipeBook
from kingyo.recipe.one import Recipe
from kingyo.recipe.path import PASSTHROUGH, Hop, path_as_slices, path_of_slices
from kingyo.recipe.pieces import Slice, SliceSource

Form = Literal["path", "slices"]


def rewritten(book: RecipeBook, form: Form) -> RecipeBook:
    """The recipes with every path written as slices, or all slices that merge nothing as a path.

    Merges within a path become recipes of their own, with names.

    Raises:
        KingyoError: there is nothing to rewrite, or see ``as_slices`` and ``as_path``.
    """
    write = as_slices if form == "slices" else as_path
    chosen = [step for step in book.steps if (step.recipe.path if form == "slices" else _stacks(step.recipe))]
    if not chosen:
        raise KingyoError(
            f"--as {form}",
            expected=f"a recipe with {'a path' if form == 'slices' else 'slices, by passthrough'}",
            received=", ".join(dict.fromkeys(_kind(step.recipe) for step in book.steps)),
            remedy="Leave --as out to print the recipe as it is.",
        )
    steps: list[NamedRecipe] = []
    for step in book.steps:
        if step not in chosen:
            steps.append(step)
            continue
        steps += [NamedRecipe(name=name, recipe=inner) for name, inner in step.recipe.merges.items()]
        steps.append(replace(step, recipe=write(replace(step.recipe, merges={}))))
    return RecipeBook(steps=tuple(steps))


def as_slices(recipe: Recipe) -> Recipe:
    """Write a path as slices, which mergekit stacks to the same model.

    Raises:
        KingyoError: a hop has a scale, or a model is a merge, which slices cannot say.
    """
    slices = list(path_as_slices(recipe.path))
    base = recipe.base_model
    if base is not None and recipe.path[0].model != base:
        slices.insert(0, _empty(base))
    if base is not None and recipe.path[-1].model != base:
        slices.append(_empty(base))
    return replace(recipe, path=(), slices=tuple(slices))


def as_path(recipe: Recipe) -> Recipe:
    """Write slices as a path that is the same model.

    Raises:
        KingyoError: slices that merge several models or have parameters, or whose embeddings and head are
            those of models that no path could take them from.
    """
    hops = path_of_slices(recipe.slices)
    if not hops or recipe.parameters:
        raise KingyoError(
            "slices",
            expected="slices of one source each, without parameters, as a path merges nothing",
            received="others",
            remedy="Leave them as slices: `kingyo merge` reads them.",
        )
    return replace(recipe, slices=(), path=hops, base_model=_frame(recipe, hops))


def _frame(recipe: Recipe, hops: Sequence[Hop]) -> str | None:
    """The base of the path: the model of both ends; None where they are those of its outer layers."""
    first, last = (recipe.slices[at].sources[0].model for at in (0, -1))
    is_own = (first, last) == (hops[0].model, hops[-1].model)
    if recipe.base_model is None and is_own:
        return None
    if first == last and recipe.base_model in (None, first):
        return first
    raise KingyoError(
        "slices",
        expected="embeddings, final norm and head of one model, which is base_model if there is one",
        received=f"embeddings of {first}, final norm and head of {last}"
        + ("" if recipe.base_model is None else f", base_model {recipe.base_model}"),
        remedy="Leave them as slices: `kingyo merge` reads them."
        if recipe.base_model is None
        else "Leave base_model out, if its config and tokenizer are those of the first slice's model.",
    )


def _empty(model: str) -> Slice:
    return Slice(sources=(SliceSource(model=model, layers=(0, 0)),))


def _stacks(recipe: Recipe) -> bool:
    return bool(recipe.slices) and recipe.merge_method == PASSTHROUGH


def _kind(recipe: Recipe) -> str:
    if recipe.path:
        return "a path"
    what = "slices" if recipe.slices else "modules" if recipe.modules else "whole models"
    return f"{what} by {recipe.merge_method}"
