"""Origins of the models that an exported model is made of."""

from __future__ import annotations

from pathlib import Path

from kingyo.lineage import Origin, describe
from kingyo.recipe import Recipe
from kingyo.run.setup import RunModels
from kingyo.run.trained import TrainedControl


def read_origins(
    recipe: Recipe, models: RunModels, folder: Path, training: TrainedControl | None = None
) -> tuple[Origin, ...]:
    """Return the origins of the models of a recipe, the base last.

    Args:
        recipe: the recipe.
        models: opened models of the run.
        folder: start of the run's relative paths.
        training: the trained control, if any; its parent stands for the model that it trained.
    """
    named = {**({} if models.base is None else {"base": models.base}), **models.sources}
    names = {checkpoint.reference: name for name, checkpoint in named.items()}
    parent = None if training is None else training.parent
    origin_names = (names.get(reference, parent) for reference in recipe.references)
    return tuple(describe(name, named[name], folder) for name in origin_names if name is not None)
