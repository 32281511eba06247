"""From the row of a trial to its recipe, which must be the one that was asked for."""

from __future__ import annotations

import json
from typing import cast

from kingyo.errors import KingyoError, MistakesError
from kingyo.recipe import Recipe
from kingyo.store import StoredTrial


def read_recipe(trial: StoredTrial) -> Recipe:
    """Return the recipe of a trial.

    Raises:
        KingyoError: the row was edited: what it holds is no recipe, or another than that whose scores it has.
    """
    try:
        found: object = json.loads(trial.recipe)
    except (TypeError, ValueError):
        raise _edited(trial, "what is no JSON") from None
    if not isinstance(found, dict):
        raise _edited(trial, "what is no mapping")
    try:
        recipe = Recipe.from_dict(cast("dict[str, object]", found), _place(trial))
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
        expected="what was written when it was asked for",
        received=received,
        remedy="The database was edited. Restore it from a copy, or start a new run.",
    )
