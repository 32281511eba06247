"""The models of a run, as origins of what was bred from them."""

from __future__ import annotations

from pathlib import Path

from kingyo.config import TRAINED
from kingyo.lineage import Origin, describe
from kingyo.merge import Sources
from kingyo.opened import Models
from kingyo.recipe import Recipe


def read_origins(recipe: Recipe, models: Models, sources: Sources) -> tuple[Origin, ...]:
    """Describe the models of a recipe, the base last.

    Args:
        recipe: what is merged.
        models: the opened models of the run.
        sources: the same, and what the run trained.
    """
    names = {checkpoint.reference: name for name, checkpoint in models.sources.items()}
    folder = sources.folder or Path()
    if models.base is not None:
        names.setdefault(models.base.reference, "base")
    return tuple(
        describe(names.get(reference, TRAINED), sources[reference], folder) for reference in recipe.references
    )
