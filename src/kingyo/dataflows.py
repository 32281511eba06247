"""What a run.yaml says of paths through layers, as objects.

Their space, the points that a search begins with, and the models that it is compared with.

It opens recipes that a run.yaml names; it reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint
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
    PathSizes,
    frankenmerge,
    parent_recipe,
    path_recipe,
    path_sizes,
    uniform_recipe,
)
from kingyo.types import Genome


def dataflow_space(config: RunConfig, models: Models, merge: Recipe | None = None) -> DataflowSpace:
    """The paths that a run.yaml wants to be searched.

    Args:
        config: the run.yaml.
        models: its models.
        merge: of a run of both spaces, or of the second of its searches: what is merged. It is one more
            source, and the frame unless the run.yaml says otherwise.
    """
    wanted, passed = dataflow_of(config), _passed(config, models, merge)
    merged = MERGED if _has_merge(config, merge) else None  # else a source may be called so
    frame = wanted.frame or next(iter(passed))
    limits = [] if wanted.max_hops is None else [wanted.max_hops]
    if wanted.max_size is not None:
        limits.append(path_sizes(passed, frame, config.merge.dtype).hops_within(wanted.max_size))
    return DataflowSpace(
        sources={name: MERGED if name == merged else each.reference for name, each in passed.items()},
        n_layers={name: each.layout.n_blocks for name, each in passed.items()},
        frame=frame,
        repetitions=wanted.repetitions,
        order=wanted.order,
        scales=wanted.scales,
        most=wanted.most,
        inclusion=wanted.inclusion,
        max_hops=min(limits, default=None),
        dtype=config.merge.dtype,
        merges={} if merge is None else {MERGED: merge},
    )


def _passed(config: RunConfig, models: Models, merge: Recipe | None) -> dict[str, Checkpoint]:
    """The models whose layers are passed; a merge is like the model that it is filled into."""
    return {**({MERGED: models.skeleton} if _has_merge(config, merge) else {}), **models.sources}


def _has_merge(config: RunConfig, merge: Recipe | None) -> bool:
    return merge is not None or config.space == "hybrid"


def frame_of(config: RunConfig, models: Models) -> Checkpoint:
    """The model that gives all but the layers of paths, or the one that it is like."""
    passed = _passed(config, models, None)
    return passed[dataflow_of(config).frame or next(iter(passed))]


def path_sizes_of(config: RunConfig, models: Models) -> PathSizes:
    """What paths take when they are exported."""
    passed = _passed(config, models, None)
    return path_sizes(passed, dataflow_of(config).frame or next(iter(passed)), config.merge.dtype)


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
    """Base and every parent as they are, the uniform merge if there is one, the untuned frankenmerge."""
    sources = models.references
    alone = {
        name: path_recipe([(reference, k) for k in range(space.n_layers[name])], reference, dtype)
        for name, reference in sources.items()
    }
    if models.base is not None and models.base.reference not in sources.values():
        alone = {"base": parent_recipe(models.base.reference, dtype), **alone}
    frame = space.frame if space.frame in sources else next(iter(sources))
    stacked = frankenmerge(sources, space.n_layers, frame)
    if _is_of_one_shape(models):
        alone["uniform"] = uniform_recipe(sources, None, dtype)
    return {**alone, FRANKENMERGE: path_recipe(stacked, sources[frame], dtype)}


def _is_of_one_shape(models: Models) -> bool:
    """Whether sources can be merged as they are, and run in the model that merges are filled into."""
    shapes = [
        {name: info.shape for name, info in each.tensors.items()}
        for each in (models.skeleton, *models.sources.values())
    ]
    return all(each == shapes[0] for each in shapes[1:])


def _known(file: Path, folder: Path, models: Models, space: DataflowSpace | HybridSpace) -> Genome:
    names = {whole_model(reference, folder): name for name, reference in models.references.items()}
    if isinstance(space, HybridSpace) or space.merges:
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
