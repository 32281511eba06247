"""What a run searches: spaces of merges and of layer paths, initial points, objectives, path baselines."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, Layout, select
from kingyo.merging.methods import METHODS, MergeMethod
from kingyo.merging.recipe import MERGE, MERGED, Recipe
from kingyo.runs.config import FRANKENMERGE, Choose, DataflowConfig
from kingyo.runs.settings import SearchSettings, deciding_measures
from kingyo.runs.setup import RunModels, Setup
from kingyo.search.evolution import Objectives
from kingyo.search.evolution.objectives import (
    CLOSENESS,
    FEW_HOPS,
    FEW_SOURCES,
    closeness,
    few_hops,
    few_sources,
    has_closeness,
    require_closeness,
)
from kingyo.search.space import (
    Bounds,
    DataflowSpace,
    HybridSpace,
    ParameterSpace,
    RecipeDefaults,
    RecipeSpace,
    SourceChoice,
    Space,
    assign_values,
    check_base,
    frankenmerge,
    parent_recipe,
    path_recipe,
    paths_of,
    uniform_recipe,
)
from kingyo.tasks.answer_objectives import ANSWER_OBJECTIVES


def dataflow_space(run: Setup, merge: Recipe | None = None) -> DataflowSpace:
    paths, sources, dtype = _paths(run), _path_sources(run, merge), run.config.merge.dtype
    merged = None if sources is run.models.sources else MERGED  # else a source may have this name
    frame = _frame_name(run, sources)
    return DataflowSpace(
        sources={name: MERGED if name == merged else model.reference for name, model in sources.items()},
        n_layers={name: model.layout.n_blocks for name, model in sources.items()},
        frame=frame,
        dtype=dtype,
        merges={} if merge is None else {MERGED: merge},
        **paths.model_dump(include={"repetitions", "order", "scales", "max_scale", "inclusion", "max_hops"}),
    )


def _paths(run: Setup) -> DataflowConfig:
    assert run.settings.paths is not None, "only runs that search paths"
    return run.settings.paths


def _path_sources(run: Setup, merge: Recipe | None) -> Mapping[str, Checkpoint]:
    models = run.models
    if merge is None and run.config.space != "hybrid":
        return models.sources
    return {MERGED: models.skeleton, **models.sources}


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
    """Return the model that gives embeddings, head and tokenizer."""
    return next(iter(models_of_paths(run).values()))


def initial_points(run: Setup, space: Space) -> list[Genome]:
    """Return the points that a search of paths begins with."""
    paths = paths_of(space)
    if paths is None or not _paths(run).seeds:
        return []
    other_genes = tuple(axis.first for axis in space.axes[: -len(paths.axes)])
    return [(*other_genes, *point) for point in dict.fromkeys(paths.seeds())]


def path_baselines(
    space: DataflowSpace, models: RunModels, keys: RecipeDefaults, dtype: str | None
) -> dict[str, Recipe]:
    """Return base, all parents, the uniform merge if shapes allow it, and the untuned frankenmerge."""
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
    shapes = [_shapes(model, models.frame) for model in (models.skeleton, *models.sources.values())]
    if all(other == shapes[0] for other in shapes[1:]):
        recipes["uniform"] = keys.apply(uniform_recipe(sources, None, dtype))
    return {**recipes, FRANKENMERGE: path_recipe(stacked, keys.frame or sources[frame], dtype)}


def _shapes(model: Checkpoint, frame: str | None) -> dict[str, tuple[int, ...]]:
    main = model.layout.main
    if frame is None or main is None:
        return {name: info.shape for name, info in model.tensors.items()}
    inside = (name for names in main.blocks.values() for name in names)
    return {name.removeprefix(main.prefix): model.tensors[name].shape for name in inside}


def objectives_of(run: Setup, search: SearchSettings) -> Objectives:
    config, specs, n_items = run.config, run.config.specs, search.screen.items
    if n_items is not None and n_items < len(specs):
        expected = f"at least {len(specs)}, one for each task"
        raise KingyoError("search.screen.items", expected, str(n_items), "Raise it, or delete tasks.")
    tasks = {name: spec.weight for name, spec in specs.items()} if len(specs) > 1 else {"": 1.0}
    measures: dict[str, Callable[[Recipe], float]] = {}
    if CLOSENESS in config.objectives:
        for method, values in _methods_with_values(search, run.folder):
            require_closeness(method, values)
        measures[CLOSENESS] = closeness
    if FEW_SOURCES in config.objectives:
        if config.merge.choose_sources is False:
            expected = "merge.choose_sources"
            remedy = f"Write merge.choose_sources: true, or delete {FEW_SOURCES}."
            raise KingyoError(f"objectives: {FEW_SOURCES}", expected, "all sources in every merge", remedy)
        n_sources = sum(reference != config.base for reference in config.sources.values())
        measures[FEW_SOURCES] = partial(few_sources, n_sources=n_sources)
    if FEW_HOPS in config.objectives:
        measures[FEW_HOPS] = partial(few_hops, longest=dataflow_space(run).most_hops)
    return Objectives(
        tasks=tasks,
        names=config.objectives,
        measures=measures,
        answers={name: ANSWER_OBJECTIVES.get(name, run.folder) for name in config.answer_objectives},
        model=run.models.skeleton.path,
        by_set=deciding_measures(config),
    )


def simplicity_of(run: Setup, search: SearchSettings) -> Callable[[Recipe], float] | None:
    """Return the key that ranks recipes of equal score by simplicity, or None."""
    if search.space == "dataflow" or run.config.hybrid.joint:
        return None
    pairs = _methods_with_values(search, run.folder)
    return closeness if all(has_closeness(*pair) for pair in pairs) else None


def _methods_with_values(
    search: SearchSettings, folder: Path
) -> list[tuple[MergeMethod, Mapping[str, float | bool | Bounds]]]:
    methods = [METHODS.get(name, folder) for name in search.methods]
    return list(zip(methods, assign_values(methods, search.values), strict=True))


def by_method(search: SearchSettings, folder: Path) -> list[SearchSettings]:
    """Return the settings of a search for each of its methods, with the values of its own parameters."""
    methods = [METHODS.get(name, folder) for name in search.methods]
    shared = assign_values(methods, search.values)
    own = {source: assign_values(methods, each.values) for source, each in search.own.items()}
    return [
        replace(
            search,
            methods=(name,),
            values=shared[i],
            own={source: replace(search.own[source], values=values[i]) for source, values in own.items()},
        )
        for i, name in enumerate(search.methods)
    ]


def space_of(run: Setup, wanted: SearchSettings, merge: Recipe | None = None) -> Space:
    if wanted.space == "dataflow":
        return dataflow_space(run, merge)
    if run.config.hybrid.joint:
        return HybridSpace(merges=merges_of(run, wanted), paths=dataflow_space(run, first_merge(run)))
    return merges_of(run, wanted)


def first_merge(run: Setup) -> Recipe:
    """Return the merge at the start of every axis of weights."""
    merges = merges_of(run, run.settings.controls)
    return shared_keys(run).apply(merges.decode(tuple(axis.first for axis in merges.axes)))


def merges_of(run: Setup, wanted: SearchSettings) -> Space:
    choice = choice_of(run.config.merge.choose_sources)
    if len(wanted.methods) == 1 and choice is None:
        return parameter_space(run, wanted)
    parts = [parameter_space(run, each, is_part=True) for each in by_method(wanted, run.folder)]
    return RecipeSpace(parts=tuple(parts), choice=choice)


def parameter_space(run: Setup, wanted: SearchSettings, *, is_part: bool = False) -> ParameterSpace:
    (name,), config, models = wanted.methods, run.config, run.models
    part = ParameterSpace(
        method=METHODS.get(name, run.folder),
        method_name=name,
        sources=models.references,
        base=None if models.base is None else models.base.reference,
        layout=merged_layout(run),
        groups=wanted.groups,
        values=wanted.values,
        own=wanted.own,
        dtype=config.merge.dtype,
        seed=config.seed,
        is_part=is_part,
    )
    check_base(part)
    return part


def merged_layout(run: Setup) -> Layout:
    skeleton, keys = run.models.skeleton, shared_keys(run)
    if keys.frame is None and not keys.parts:
        return skeleton.layout
    uses = select(skeleton.layout, keys.parts, keys.frame)
    merged = [name for name, use in uses.items() if use == MERGE]
    if not merged:
        expected = f"a part with {MERGE}: one of {', '.join(skeleton.layout.parts)}"
        received = ", ".join(f"{part}: {use}" for part, use in run.config.merge.parts.items())
        remedy = "Name the parts to merge, such as parts: {language: merge}."
        raise KingyoError("merge.parts", expected, received, remedy)
    return Layout(merged, skeleton.config)


def merged_before_language(run: Setup) -> list[str]:
    """Return the parts that image features depend on and candidates merge, such as ``vision``."""
    keys, layout = shared_keys(run), run.models.skeleton.layout
    if keys.frame is None or run.config.space == "dataflow":
        return []
    uses = select(layout, keys.parts, keys.frame)
    merged = {layout.part(name) for name, use in uses.items() if use == MERGE}
    return [part for part in layout.parts if part in merged and part != "language"]


def choice_of(choose: Choose | bool) -> SourceChoice | None:
    if isinstance(choose, bool):
        return SourceChoice() if choose else None
    return SourceChoice(at_least=choose.at_least, at_most=choose.at_most)


def shared_keys(run: Setup) -> RecipeDefaults:
    """Return the keys that all recipes of a run share."""
    merge = run.config.merge
    framing, models = run.models.framing, run.models.named
    return RecipeDefaults(
        frame=None if framing is None else framing.reference,
        parts={part: models[use].reference if use in models else use for part, use in merge.parts.items()},
        resize=merge.resize,
        tokenizer_source=merge.tokenizer_source,
        tokenizer=merge.tokenizer,
    )
