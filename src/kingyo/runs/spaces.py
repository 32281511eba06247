"""Build the search spaces of a run, and the objectives of its searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout, select
from kingyo.merging.methods import METHODS, MergeMethod
from kingyo.merging.recipe import MERGE, Recipe
from kingyo.runs.config import Choose, RunConfig
from kingyo.runs.layer_paths import dataflow_space
from kingyo.runs.settings import SearchSettings, deciding_measures
from kingyo.runs.setup import Setup
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
    HybridSpace,
    ParameterSpace,
    RecipeDefaults,
    RecipeSpace,
    SourceChoice,
    SourceSpace,
    assign_values,
    check_base,
)
from kingyo.tasks.answer_objectives import ANSWER_OBJECTIVES


def objectives_of(
    config: RunConfig, folder: Path, search: SearchSettings, model: Path, *, longest: int | None = None
) -> Objectives:
    """Return the objectives of a search; ``model``: folder of a model whose tokenizer candidates have."""
    specs, n_items = config.specs, search.screen.items
    if n_items is not None and n_items < len(specs):
        expected = f"at least {len(specs)}, one for each task"
        raise KingyoError("search.screen.items", expected, str(n_items), "Raise it, or delete tasks.")
    tasks = {name: spec.weight for name, spec in specs.items()} if len(specs) > 1 else {"": 1.0}
    measures: dict[str, Callable[[Recipe], float]] = {}
    if CLOSENESS in config.objectives:
        for method, values in methods_with_values(search, folder):
            require_closeness(method, values)
        measures[CLOSENESS] = closeness
    if FEW_SOURCES in config.objectives:
        measures[FEW_SOURCES] = partial(few_sources, n_sources=_n_sources_to_choose(config))
    if FEW_HOPS in config.objectives:
        assert longest is not None, "run.yaml is checked"
        measures[FEW_HOPS] = partial(few_hops, longest=longest)
    return Objectives(
        tasks=tasks,
        names=config.objectives,
        measures=measures,
        answers={name: ANSWER_OBJECTIVES.get(name, folder) for name in config.answer_objectives},
        model=model,
        by_set=deciding_measures(config),
    )


def simplicity_of(
    config: RunConfig, folder: Path, search: SearchSettings
) -> Callable[[Recipe], float] | None:
    """Return the key that ranks recipes of equal score by simplicity, or None."""
    if search.space == "dataflow" or config.hybrid.joint:
        return None
    return closeness if all(has_closeness(*pair) for pair in methods_with_values(search, folder)) else None


def methods_with_values(
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


def _n_sources_to_choose(config: RunConfig) -> int:
    if config.merge.choose_sources is False:
        expected = "merge.choose_sources"
        remedy = f"Write merge.choose_sources: true, or delete {FEW_SOURCES}."
        raise KingyoError(f"objectives: {FEW_SOURCES}", expected, "all sources in every merge", remedy)
    return sum(reference != config.base for reference in config.sources.values())


def space_of(run: Setup, wanted: SearchSettings, merge: Recipe | None = None) -> SourceSpace:
    if wanted.space == "dataflow":
        return dataflow_space(run, merge)
    if run.config.hybrid.joint:
        return HybridSpace(merges=merges_of(run, wanted), paths=dataflow_space(run, first_merge(run)))
    return merges_of(run, wanted)


def first_merge(run: Setup) -> Recipe:
    """Return the merge at the start of every axis of weights."""
    merges = merges_of(run, run.settings.controls)
    return shared_keys(run).apply(merges.decode(tuple(axis.first for axis in merges.axes)))


def merges_of(run: Setup, wanted: SearchSettings) -> SourceSpace:
    """Return the space of weights of a search: one method, or a choice of methods and sources."""
    choice = choice_of(run.config.merge.choose_sources)
    if len(wanted.methods) == 1 and choice is None:
        return parameter_space(run, wanted)
    parts = [parameter_space(run, each, is_part=True) for each in by_method(wanted, run.folder)]
    return RecipeSpace(parts=tuple(parts), choice=choice)


def parameter_space(run: Setup, wanted: SearchSettings, *, is_part: bool = False) -> ParameterSpace:
    (name,) = wanted.methods
    config, models = run.config, run.models
    method, sources = METHODS.get(name, run.folder), models.references
    base = models.base.reference if models.base is not None else None
    part = ParameterSpace(
        method=method,
        method_name=name,
        sources=sources,
        base=base,
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
    """Return the layout of the tensors that are merged."""
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
    """Return the keys that all recipes of a run share: what is merged, and how vocabularies are united."""
    merge = run.config.merge
    framing, models = run.models.framing, run.models.named
    return RecipeDefaults(
        frame=None if framing is None else framing.reference,
        parts={part: models[use].reference if use in models else use for part, use in merge.parts.items()},
        resize=merge.resize,
        tokenizer_source=merge.tokenizer_source,
        tokenizer=merge.tokenizer,
    )
