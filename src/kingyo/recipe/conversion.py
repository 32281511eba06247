"""Convert a recipe with a path to mergekit's slices and back, for the same model.

With slices, tensors before the layers come from the first slice and those after them from the last. With a
path, both come from the base. Where these differ, an empty slice of the base (``layer_range: [0, 0]``) stands
at that end, with the same meaning in mergekit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from kingyo.errors import KingyoError
from kingyo.recipe.book import NamedRecipe, RecipeBook
from kingyo.recipe.contents import Slice, SliceSource
from kingyo.recipe.layer_path import PASSTHROUGH, Hop, path_as_slices, path_of_slices
from kingyo.recipe.recipe import Recipe

Form = Literal["path", "slices"]


def rewritten(book: RecipeBook, form: Form) -> RecipeBook:
    """Convert every path to slices, or all slices of passthrough to paths.

    Merges within a path become separate named recipes.

    Raises:
        KingyoError: there is nothing to convert; or see ``as_slices`` and ``as_path``.
    """
    write = as_slices if form == "slices" else as_path
    stacks = [step for step in book.steps if step.recipe.merge_method == PASSTHROUGH]
    chosen = [step for step in stacks if (step.recipe.path if form == "slices" else step.recipe.slices)]
    if not chosen:
        raise KingyoError(
            f"--as {form}",
            expected=f"a recipe with {'a path' if form == 'slices' else 'slices, by passthrough'}",
            received=", ".join(dict.fromkeys(step.recipe.merge_method for step in book.steps)),
            remedy="Remove --as to print the recipe unchanged.",
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
    """Convert a path to slices of the same model."""
    slices = list(path_as_slices(recipe.path))
    base = recipe.base_model
    if base is not None and recipe.path[0].model != base:
        slices.insert(0, _empty(base))
    if base is not None and recipe.path[-1].model != base:
        slices.append(_empty(base))
    return replace(recipe, path=(), slices=tuple(slices))


def as_path(recipe: Recipe) -> Recipe:
    """Convert slices to a path of the same model.

    Raises:
        KingyoError: slices merge several models or have parameters, or embeddings and head come from models
            that a path cannot take them from.
    """
    hops = path_of_slices(recipe.slices)
    if not hops or recipe.parameters:
        raise KingyoError(
            "slices",
            expected="slices of one source each, without parameters, since a path cannot merge layers",
            received="other slices",
            remedy="Keep the slices: `kingyo merge` reads them.",
        )
    return replace(recipe, slices=(), path=hops, base_model=_frame(recipe, hops))


def _frame(recipe: Recipe, hops: Sequence[Hop]) -> str | None:
    """Return the base of the path: the model of both ends; None if these are the models of its end layers."""
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
        remedy="Keep the slices: `kingyo merge` reads them."
        if recipe.base_model is None
        else "Remove base_model, if its config and tokenizer equal those of the first slice's model.",
    )


def _empty(model: str) -> Slice:
    return Slice(sources=(SliceSource(model=model, layers=(0, 0)),))
