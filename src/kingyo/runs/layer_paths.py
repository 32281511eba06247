"""Layer paths of a run: their space, the initial points of a search, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.model_reference import whole_model
from kingyo.merging.recipe import MERGED, Hop, Recipe, load_recipe, path_of_slices
from kingyo.runs.config import FRANKENMERGE, DataflowConfig, RunConfig
from kingyo.runs.setup import RunModels, Setup
from kingyo.search.space import (
    DataflowSpace,
    PathSizes,
    RecipeDefaults,
    SourceSpace,
    frankenmerge,
    parent_recipe,
    path_recipe,
    path_sizes,
    paths_of,
    uniform_recipe,
)
from kingyo.store import Fact

KNOWN_PATHS = Fact("known_paths", dict[str, list[str]], {})
"""File of a recipe -> the layers of its path, such as ``ja.0``."""


def dataflow_space(run: Setup, merge: Recipe | None = None) -> DataflowSpace:
    paths, sources, dtype = _paths(run), _path_sources(run, merge), run.config.merge.dtype
    merged = MERGED if _has_merge(run, merge) else None  # else a source may have this name
    frame = _frame_name(run, sources)
    limits = [] if paths.max_hops is None else [paths.max_hops]
    if paths.max_size is not None:
        limits.append(path_sizes(sources, frame, dtype).hops_within(paths.max_size))
    return DataflowSpace(
        sources={name: MERGED if name == merged else model.reference for name, model in sources.items()},
        n_layers={name: model.layout.n_blocks for name, model in sources.items()},
        frame=frame,
        max_hops=min(limits, default=None),
        dtype=dtype,
        merges={} if merge is None else {MERGED: merge},
        **paths.model_dump(include={"repetitions", "order", "scales", "max_scale", "inclusion"}),
    )


def _paths(run: Setup) -> DataflowConfig:
    assert run.settings.paths is not None, "only runs that search paths"
    return run.settings.paths


def _path_sources(run: Setup, merge: Recipe | None) -> dict[str, Checkpoint]:
    models = run.models
    return {**({MERGED: models.skeleton} if _has_merge(run, merge) else {}), **models.sources}


def _has_merge(run: Setup, merge: Recipe | None) -> bool:
    return merge is not None or run.config.space == "hybrid"


def models_of_paths(run: Setup) -> dict[str, Checkpoint]:
    """Return the models that give layers by name, frame first; the skeleton stands for a merge."""
    sources = _path_sources(run, None)
    frame = _frame_name(run, sources)
    return {frame: sources[frame], **sources}


def _frame_name(run: Setup, sources: Mapping[str, Checkpoint]) -> str:
    """Return the frame of run.yaml; by default the merge, the first vision-language model or the first."""
    default = run.models.frame if run.config.space == "dataflow" else None
    return _paths(run).frame or default or next(iter(sources))


def frame_of(run: Setup) -> Checkpoint:
    """Return the model that gives embeddings, head and tokenizer; the skeleton stands for a merge."""
    return next(iter(models_of_paths(run).values()))


def path_sizes_of(run: Setup) -> PathSizes:
    models = models_of_paths(run)
    return path_sizes(models, next(iter(models)), run.config.merge.dtype)


def read_known_paths(config: RunConfig, folder: Path, models: RunModels) -> dict[str, list[str]]:
    """Read the paths of ``dataflow.known`` from their recipes."""
    names = {whole_model(reference, folder): name for name, reference in models.references.items()}
    if config.space == "hybrid":
        names[MERGED] = MERGED
    paths = dict[str, list[str]]()
    for file in config.dataflow.known:
        hops, at = _hops(file, folder / file), (folder / file).parent
        paths[file] = [f"{_source(hop.model, at, names, file)}.{hop.layer}" for hop in hops]
    return paths


def _source(model: str, at: Path, names: Mapping[str, str], file: str) -> str:
    name = names.get(model) or names.get(whole_model(model, at))
    if name is None:
        expected = f"a path through the sources: {', '.join(names.values())}"
        remedy = "Add that model to the sources (paths are relative to the recipe), or delete the path."
        raise KingyoError(f"dataflow.known: {file}", expected, f"one through {model}", remedy)
    return name


def initial_points(run: Setup, space: SourceSpace) -> list[Genome]:
    """Return the initial points of a search: those of the space, and the paths of ``dataflow.known``."""
    paths = paths_of(space)
    if paths is None:
        return []
    other_genes = tuple(axis.first for axis in space.axes[: -len(paths.axes)])
    seeds = paths.seeds() if _paths(run).seeds else []
    points = [*seeds, *(_point(paths, *known) for known in run.known_paths.items())]
    return [(*other_genes, *point) for point in dict.fromkeys(points)]


def path_baselines(
    space: DataflowSpace, models: RunModels, keys: RecipeDefaults, dtype: str | None
) -> dict[str, Recipe]:
    """Return base, all parents, the uniform merge if shapes allow it, and the untuned frankenmerge.

    If ``keys`` have a frame, all are in that frame.
    """
    sources = models.references
    recipes = {
        name: path_recipe(
            [(reference, k) for k in range(space.n_layers[name])], keys.frame or reference, dtype
        )
        for name, reference in sources.items()
    }
    if models.base is not None and models.base.reference not in sources.values():
        recipes = {"base": keys.apply(parent_recipe(models.base.reference, dtype)), **recipes}
    frame = next(name for name in (space.frame, models.frame, *sources) if name in sources)
    stacked = frankenmerge(sources, space.n_layers, frame)
    if _has_equal_shapes(models):
        recipes["uniform"] = keys.apply(uniform_recipe(sources, None, dtype))
    return {**recipes, FRANKENMERGE: path_recipe(stacked, keys.frame or sources[frame], dtype)}


def _has_equal_shapes(models: RunModels) -> bool:
    shapes = [_shapes(model, models.frame) for model in (models.skeleton, *models.sources.values())]
    return all(other == shapes[0] for other in shapes[1:])


def _shapes(model: Checkpoint, frame: str | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that are merged: with a frame, those of its layers."""
    main = model.layout.main
    if frame is None or main is None:
        return {name: info.shape for name, info in model.tensors.items()}
    inside = (name for names in main.blocks.values() for name in names)
    return {name.removeprefix(main.prefix): model.tensors[name].shape for name in inside}


def _point(paths: DataflowSpace, file: str, layers: Sequence[str]) -> Genome:
    path = [(name, int(number)) for name, _, number in (layer.rpartition(".") for layer in layers)]
    genome = paths.genome(path)
    if genome is None:
        expected = f"a path of at most {paths.most_hops} layers that the search space contains"
        remedy = "Delete it, or raise dataflow.repetitions, max_hops or max_size."
        raise KingyoError(f"dataflow.known: {file}", expected, " ".join(layers), remedy)
    return genome


def _hops(file: str, at: Path) -> Sequence[Hop]:
    recipe = load_recipe(at)
    hops = recipe.path or path_of_slices(recipe.slices)
    if not hops or any(hop.scale != 1 for hop in hops):
        expected = "a recipe with a path, or with slices of one source each, without scales"
        remedy = "Name another recipe, or delete its scales."
        raise KingyoError(f"dataflow.known: {file}", expected, "scales" if hops else "another recipe", remedy)
    return hops
