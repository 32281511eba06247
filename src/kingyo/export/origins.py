"""The models of a run, as origins of what was bred from them."""

from __future__ import annotations

from pathlib import Path

from kingyo.lineage import Origin, describe
from kingyo.opened import Models
from kingyo.recipe import Recipe


def read_origins(recipe: Recipe, models: Models, folder: Path) -> tuple[Origin, ...]:
    """Describe the models of a recipe, the base last.

    Args:
        recipe: what is merged.
        models: the opened models of the run.
        folder: where the run's relative paths start.
    """
    names = {checkpoint.reference: name for name, checkpoint in models.sources.items()}
    by_reference = models.by_reference
    return tuple(
        describe(names.get(reference, "base"), by_reference[reference], folder)
        for reference in recipe.references
    )
