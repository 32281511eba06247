"""The models of a run, as origins of what was bred from them."""

from __future__ import annotations

from pathlib import Path

from kingyo.lineage import Origin, describe
from kingyo.recipe import Recipe
from kingyo.run.run_models import RunModels
from kingyo.run.trained_control import TrainedControl


def read_origins(
    recipe: Recipe, models: RunModels, folder: Path, training: TrainedControl | None = None
) -> tuple[Origin, ...]:
    """Describe the models of a recipe, the base last.

    Args:
        recipe: what is merged.
        models: the opened models of the run.
        folder: where the run's relative paths start.
        training: of the control that trains; its model stands for what was trained, as nobody else made that.
    """
    named = {**({} if models.base is None else {"base": models.base}), **models.sources}
    names = {checkpoint.reference: name for name, checkpoint in named.items()}
    parent = None if training is None else training.parent
    found = (names.get(reference, parent) for reference in recipe.references)
    return tuple(describe(name, named[name], folder) for name in found if name is not None)
