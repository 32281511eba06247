"""Make the paths in recipes absolute, or relative to the folder that a recipe is written to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from kingyo.checkpoints.model_reference import path_from, whole_model
from kingyo.recipe import Recipe, RecipeBook
from kingyo.registry import is_in_file, whole_reference
from kingyo.vocabulary import replaced


def rooted(recipe: Recipe, folder: Path, names: Collection[str] = (), *, out: Path | None = None) -> Recipe:
    """Return a recipe with absolute paths of local files.

    Args:
        recipe: the recipe as written.
        folder: base of its relative paths.
        names: references that are names of other recipes and not paths.
        out: write paths relative to this folder instead, where possible; see ``path_from``.
    """

    def place(reference: str) -> str:
        return reference if reference in names else whole_model(reference, folder, out)

    inner = {name: rooted(each, folder, names, out=out) for name, each in recipe.merges.items()}
    return replace(
        replaced(recipe, place), merge_method=_method(recipe.merge_method, folder, out), merges=inner
    )


def rooted_book(book: RecipeBook, folder: Path, *, out: Path | None = None) -> RecipeBook:
    """Return recipes with absolute paths of local files; see ``rooted``."""
    names = [step.name for step in book.steps if step.name is not None]
    return RecipeBook(
        steps=tuple(replace(step, recipe=rooted(step.recipe, folder, names, out=out)) for step in book.steps)
    )


def _method(method: str, folder: Path, out: Path | None) -> str:
    """Return the name of a method, with the path of its file if a user's file defines it."""
    if out is None or not is_in_file(method):
        return whole_reference(method, folder)
    file, _, name = method.rpartition(":")
    return f"{path_from(out, file, folder)}:{name}"
