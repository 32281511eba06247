"""Convert between recipes and rows of trials."""

from __future__ import annotations

import json
from typing import cast

from kingyo.errors import KingyoError, MistakesError
from kingyo.recipe import Recipe
from kingyo.store import NewTrial, StoredTrial
from kingyo.types import Trial


def new_trial(trial: Trial, recipe: Recipe, name: str | None = None) -> NewTrial:
    """Return the row of a trial; baselines have names."""
    text = json.dumps(recipe.to_dict(), ensure_ascii=False)
    return NewTrial(asked=trial, recipe=text, recipe_hash=recipe.hash, name=name)


def read_recipe(trial: StoredTrial) -> Recipe:
    """Return the recipe of a trial.

    Raises:
        KingyoError: the row was edited: it has no recipe, or not the one with the stored hash.
    """
    try:
        stored: object = json.loads(trial.recipe)
    except (TypeError, ValueError):
        raise _edited(trial, "text that is not JSON") from None
    if not isinstance(stored, dict):
        raise _edited(trial, "JSON that is not a mapping")
    try:
        recipe = Recipe.from_dict(cast("dict[str, object]", stored), _place(trial))
    except KingyoError as error:
        first = error.mistakes[0] if isinstance(error, MistakesError) else error
        raise _edited(trial, f"no recipe: {first.argument}: {first.received}") from error
    if recipe.hash != trial.recipe_hash:
        raise _edited(trial, "another recipe than that of its scores")
    return recipe


def _place(trial: StoredTrial) -> str:
    return f"the recipe of trial {trial.id} in run.db"


def _edited(trial: StoredTrial, received: str) -> KingyoError:
    return KingyoError(
        _place(trial),
        expected="the recipe that the trial was scored with",
        received=received,
        remedy="The database was edited. Restore it from a copy, or start a new run.",
    )
