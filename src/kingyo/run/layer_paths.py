"""What a run.yaml says of paths through layers, as objects.

Their space, the points that a search begins with, and the models that it is compared with.

It opens recipes that a run.yaml names; it reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.model_reference import whole_model
from kingyo.errors import KingyoError
from kingyo.recipe import MERGED, Hop, Recipe, load_recipe, path_of_slices
from kingyo.run.config import FRANKENMERGE, RunConfig
from kingyo.run.config_sections import DataflowConfig
from kingyo.run.run_models import RunModels
from kingyo.run.setup import KnownPaths, Setup
from kingyo.space import (
    DataflowSpace,
    PathSizes,
    SourceSpace,
    frankenmerge,
    parent_recipe,
    path_recipe,
    path_sizes,
    uniform_recipe,
)
from kingyo.types import Genome


def dataflow_space(setup: Setup, merge: Recipe | None = None) -> DataflowSpace:
    """Return the paths that a run.yaml wants to be searched.

    Args:
        setup: of the run.
        merge: of a run of both spaces, or of the second of its searches: what is merged. It is one more
            source, and the frame unless the run.yaml says otherwise.
    """
    wanted, passed, dtype = _wanted(setup), _passed(setup, merge), setup.config.merge.dtype
    merged = MERGED if _has_merge(setup, merge) else None  # else a source may be called so
    frame = wanted.frame or next(iter(passed))
    limits = [] if wanted.max_hops is None else [wanted.max_hops]
    if wanted.max_size is not None:
        limits.append(path_sizes(passed, frame, dtype).hops_within(wanted.max_size))
    return DataflowSpace(
        sources={name: MERGED if name == merged else each.reference for name, each in passed.items()},
        n_layers={name: each.layout.n_blocks for name, each in passed.items()},
        frame=frame,
        repetitions=wanted.repetitions,
        order=wanted.order,
        scales=wanted.scales,
        max_scale=wanted.max_scale,
        inclusion=wanted.inclusion,
        max_hops=min(limits, default=None),
        dtype=dtype,
        merges={} if merge is None else {MERGED: merge},
    )


def _wanted(setup: Setup) -> DataflowConfig:
    assert setup.settings.paths is not None, "the run searches paths"
    return setup.settings.paths


def _passed(setup: Setup, merge: Recipe | None) -> dict[str, Checkpoint]:
    """The models whose layers are passed; a merge is like the model that it is filled into."""
    models = setup.models
    return {**({MERGED: models.skeleton} if _has_merge(setup, merge) else {}), **models.sources}


def _has_merge(setup: Setup, merge: Recipe | None) -> bool:
    return merge is not None or setup.config.space == "hybrid"


def models_of_paths(setup: Setup) -> dict[str, Checkpoint]:
    """Return the models whose layers are passed, by name, the frame first; for a merge, one like it."""
    passed = _passed(setup, None)
    frame = _wanted(setup).frame or next(iter(passed))
    return {frame: passed[frame], **passed}


def frame_of(setup: Setup) -> Checkpoint:
    """Return the model that gives all but the layers of paths, or the one that it is like."""
    return next(iter(models_of_paths(setup).values()))


def path_sizes_of(setup: Setup) -> PathSizes:
    """Return what paths take when they are exported."""
    passed = models_of_paths(setup)
    return path_sizes(passed, next(iter(passed)), setup.config.merge.dtype)


def read_known_paths(config: RunConfig, folder: Path, models: RunModels) -> KnownPaths:
    """Read the paths of ``dataflow.known`` from their recipes.

    Raises:
        KingyoError: a recipe cannot be read, or has no path without scales.
    """
    names = {whole_model(reference, folder): name for name, reference in models.references.items()}
    if config.space == "hybrid":
        names[MERGED] = MERGED
    found = dict[str, list[str]]()
    for file in config.dataflow.known:
        hops, at = _hops(file, folder / file), (folder / file).parent
        found[file] = [f"{_source(hop.model, at, names, file)}.{hop.layer}" for hop in hops]
    return found


def _source(model: str, at: Path, names: Mapping[str, str], file: str) -> str:
    """What the run calls a model of a known path."""
    name = names.get(model) or names.get(whole_model(model, at))
    if name is None:
        raise KingyoError(
            f"dataflow.known: {file}",
            expected=f"a path through the sources: {', '.join(names.values())}",
            received=f"one through {model}",
            remedy="Name that model as a source (relative paths start at the recipe), or leave it out.",
        )
    return name


def initial_points(setup: Setup, space: SourceSpace) -> list[Genome]:
    """Return the paths that a search begins with: the space's own, and those of ``dataflow.known``.

    Raises:
        KingyoError: a known path is none of the space.
    """
    paths = space.layer_paths()
    if paths is None:
        return []
    before = tuple(axis.first for axis in space.axes[: -len(paths.axes)])
    own = paths.seeds() if _wanted(setup).seeds else []
    points = [*own, *(_point(paths, *each) for each in setup.known_paths.items())]
    return [(*before, *point) for point in dict.fromkeys(points)]


def path_baselines(space: DataflowSpace, models: RunModels, dtype: str | None) -> dict[str, Recipe]:
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


def _is_of_one_shape(models: RunModels) -> bool:
    """Whether sources can be merged as they are, and run in the model that merges are filled into."""
    shapes = [
        {name: info.shape for name, info in each.tensors.items()}
        for each in (models.skeleton, *models.sources.values())
    ]
    return all(each == shapes[0] for each in shapes[1:])


def _point(paths: DataflowSpace, file: str, layers: Sequence[str]) -> Genome:
    path = [(name, int(number)) for name, _, number in (each.rpartition(".") for each in layers)]
    genome = paths.genome(path)
    if genome is None:
        odd = any(layer not in paths.layers for layer in path)
        raise KingyoError(
            f"dataflow.known: {file}",
            expected="a path through layers of the sources, for which the slots have room"
            + ("" if odd else f", of at most {paths.most_hops} layers"),
            received=" ".join(layers),
            remedy="Leave it out, or name the models that have these layers."
            if odd
            else "Raise dataflow.repetitions, or max_hops and max_size; or leave it out.",
        )
    return genome


def _hops(file: str, at: Path) -> Sequence[Hop]:
    """The hops of a recipe's path, or of slices of one source each."""
    if not at.is_file():
        raise KingyoError(
            f"dataflow.known: {file}",
            expected="the file of a recipe",
            received=f"none at {at}",
            remedy="Correct the path, which starts at the run.yaml, or leave it out.",
        )
    recipe = load_recipe(at)
    hops = recipe.path or path_of_slices(recipe.slices)
    if not hops or any(hop.scale != 1 for hop in hops):
        raise KingyoError(
            f"dataflow.known: {file}",
            expected="a recipe with a path, or with slices of one source each, without scales",
            received="scales" if hops else "another recipe",
            remedy="Leave the scales out; a search finds them." if hops else "Name a recipe of a path.",
        )
    return hops
