"""Convert between recipes and rows of trials."""

import json

from kingyo.core.types import Trial
from kingyo.merging.recipe import Recipe
from kingyo.store import StoredTrial


def new_trial(trial: Trial, recipe: Recipe, name: str | None = None) -> StoredTrial:
    text = json.dumps(recipe.to_dict(), ensure_ascii=False)
    return StoredTrial(asked=trial, recipe=text, recipe_hash=recipe.hash, name=name)


def read_recipe(trial: StoredTrial) -> Recipe:
    return Recipe.from_dict(json.loads(trial.recipe))
