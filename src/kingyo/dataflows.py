"""What a run.yaml says of paths through layers, as objects.

Their space, the points that a search begins with, and the models that it is compared with.

It opens recipes that a run.yaml names; it reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kingyo.checkpoints.reference import whole_model
from kingyo.config import FRANKENMERGE, RunConfig
from kingyo.errors import KingyoError
from kingyo.opened import Models
from kingyo.plans import dataflow_of
from kingyo.recipe import Hop, Recipe, load_recipe, path_of_slices
from kingyo.space import (
    MERGED,
    DataflowSpace,
    HybridSpace,
    frankenmerge,
    parent_recipe,
    path_recipe,
    uniform_recipe,
)
from kingyo.types import Genome


def dataflow_space(config: RunConfig, models: Models, merge: Recipe | None = None) -> DataflowSpace:
    """The paths that a run.yaml wants to be searched.

    Args:
        config: the run.yaml.
        models: its models.
        merge: one more source, which is then the frame unless the run.yaml says otherwise; without it, a run
            of both spaces has the first source in its place.
    """
    wanted, named = dataflow_of(config), models.references
    n_layers = {name: each.layout.n_blocks for name, each in models.sources.items()}
    if merge is not None:
        named = {MERGED: MERGED, **named}
        n_layers[MERGED] = models.skeleton.layout.n_blocks
    return DataflowSpace(
        sources=named,
        n_layers=n_layers,
        frame=wanted.frame if wanted.frame in named else next(iter(named)),
        repetitions=wanted.repetitions,
        order=wanted.order,
        scales=wanted.scales,
        most=wanted.most,
        inclusion=wanted.inclusion,
        max_hops=wanted.max_hops,
        dtype=config.merge.dtype,
        merges={} if merge is None else {MERGED: merge},
    )


def first_points(
    config: RunConfig, folder: Path, models: Models, space: DataflowSpace | HybridSpace
) -> list[Genome]:
    """The points that a search of paths begins with: the space's own, and those of known paths.

    Raises:
        KingyoError: a known path cannot be read, or is none of the space.
    """
    wanted = dataflow_of(config)
    known = [_known(folder / file, folder, models, space) for file in wanted.known]
    own = space.seeds() if wanted.seeds else []
    return list(dict.fromkeys([*own, *known]))


def paths_to_compare(space: DataflowSpace, models: Models, dtype: str | None) -> dict[str, Recipe]:
    """The base and every parent as they are, the uniform merge, the frankenmerge that nobody tuned."""
    alone = {
        name: path_recipe([(reference, k) for k in range(space.n_layers[name])], reference, dtype)
        for name, reference in space.sources.items()
    }
    if models.base is not None and models.base.reference not in space.sources.values():
        alone = {"base": parent_recipe(models.base.reference, dtype), **alone}
    stacked = frankenmerge(space.sources, space.n_layers, space.frame)
    recipes = {**alone, "uniform": uniform_recipe(space.sources, None, dtype)}
    return {**recipes, FRANKENMERGE: path_recipe(stacked, space.sources[space.frame], dtype)}


def _known(file: Path, folder: Path, models: Models, space: DataflowSpace | HybridSpace) -> Genome:
    names = {whole_model(reference, folder): name for name, reference in models.references.items()}
    names[MERGED] = MERGED
    layers = [
        (names.get(hop.model) or names.get(whole_model(hop.model, file.parent), ""), hop.layer)
        for hop in _hops(file)
    ]
    genome = space.genome(layers)
    if genome is None:
        raise KingyoError(
            f"dataflow.known: {file}",
            expected="a path through layers of the sources, for which the slots have room",
            received=" ".join(f"{name or '?'}.{number}" for name, number in layers),
            remedy="Raise dataflow.repetitions, or leave it out. A '?' is a model that is no source.",
        )
    return genome


def _hops(file: Path) -> Sequence[Hop]:
    """The hops of a recipe's path, or of slices of one source each."""
    recipe = load_recipe(file)
    hops = recipe.path or path_of_slices(recipe.slices)
    if not hops or any(hop.scale != 1 for hop in hops):
        raise KingyoError(
            f"dataflow.known: {file}",
            expected="a recipe with a path, or with slices of one source each, without scales",
            received="scales" if hops else "another recipe",
            remedy="Leave the scales out; a search finds them." if hops else "Name a recipe of a path.",
        )
    return hops
