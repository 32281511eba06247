"""What a run.yaml asks for, as objects: the models it names, the space, the main search and its controls.

It opens headers of checkpoints; it reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.config import FRANKENMERGE, Budget, Choose, GenomeConfig, RunConfig
from kingyo.evolve import MAIN, Limits, Search, Space
from kingyo.methods import METHODS, MergeMethod, takes_base
from kingyo.plans import SearchPlan, aims_of, methods_of, search_plan, simplicity_of
from kingyo.recipe import Recipe
from kingyo.space import (
    Bounds,
    DataflowSpace,
    GenomeLayout,
    JoinedSpace,
    MergekitGenome,
    ParameterSpace,
    RecipeSpace,
    RoundedSpace,
    SourceChoice,
    Vocabularies,
    check_base,
    frankenmerge,
    known_points,
    parent_recipe,
    path_recipe,
    path_sizes,
    uniform_recipe,
    values_of,
)
from kingyo.strategies import build
from kingyo.strategies.seeds import derived
from kingyo.types import Genome, Strategy

GRID_POINTS = (5, 4, 3, 2)
GRID_LIMIT = 100_000


@dataclass(frozen=True, kw_only=True)
class Models:
    """The opened checkpoints of a run. Keys are the names in the run.yaml; ``base`` may be None."""

    base: Checkpoint | None
    sources: Mapping[str, Checkpoint]

    @property
    def skeleton(self) -> Checkpoint:
        """The model that gives config, tokenizer and the live model's shape."""
        return self.base or next(iter(self.sources.values()))

    @property
    def by_reference(self) -> dict[str, Checkpoint]:
        """All of them, as recipes name them."""
        every = [*self.sources.values(), *([self.base] if self.base else [])]
        return {each.reference: each for each in every}


def open_models(config: RunConfig, folder: Path, *, fetch: bool = True) -> Models:
    """Open base and sources; nothing is read but headers, and without ``fetch`` nothing else is fetched."""
    base = None if config.base is None else open_checkpoint(config.base, folder, fetch=fetch)
    return Models(
        base=base,
        sources={
            name: open_checkpoint(reference, folder, fetch=fetch)
            for name, reference in config.sources.items()
        },
    )


def baseline_recipes(config: RunConfig, models: Models) -> dict[str, Recipe]:
    """The models to compare with: base, every parent as it is, the uniform merge."""
    dtype = config.merge.dtype
    if config.space == "dataflow":
        return _paths_to_compare(dataflow_space(config, models), models, dtype)
    named, said, like = _named(models), _vocabularies(config), models.skeleton.reference
    has_base = models.base is not None and models.base.reference not in named.values()
    alone = {**({"base": like} if has_base else {}), **named}
    if said.is_silent:
        recipes = {name: parent_recipe(reference, dtype) for name, reference in alone.items()}
        return {**recipes, "uniform": uniform_recipe(named, None, dtype)}
    among = list(dict.fromkeys([*named.values(), like]))
    recipes = {name: said.alone(reference, among, like, dtype) for name, reference in alone.items()}
    return {**recipes, "uniform": said.said_in(uniform_recipe(named, like, dtype))}


def _paths_to_compare(space: DataflowSpace, models: Models, dtype: str | None) -> dict[str, Recipe]:
    """Base and every parent as they are, the uniform merge if there is one, the untuned frankenmerge."""
    alone = {
        name: path_recipe([(reference, k) for k in range(space.n_layers[name])], reference, dtype)
        for name, reference in space.sources.items()
    }
    if models.base is not None and models.base.reference not in space.sources.values():
        alone = {"base": parent_recipe(models.base.reference, dtype), **alone}
    stacked = frankenmerge(space.sources, space.n_layers, space.frame)
    if _is_of_one_shape(models):
        alone["uniform"] = uniform_recipe(space.sources, None, dtype)
    return {**alone, FRANKENMERGE: path_recipe(stacked, space.sources[space.frame], dtype)}


def _is_of_one_shape(models: Models) -> bool:
    """Whether sources can be merged as they are, and run in the model that merges are filled into."""
    shapes = [
        {name: info.shape for name, info in each.tensors.items()}
        for each in (models.skeleton, *models.sources.values())
    ]
    return all(each == shapes[0] for each in shapes[1:])


def _vocabularies(config: RunConfig) -> Vocabularies:
    merge, genome = config.merge, config.merge.genome
    return Vocabularies(
        resize=merge.resize,
        tokenizer_source=merge.tokenizer_source or (None if genome is None else genome.tokenizer_source),
        tokenizer=merge.tokenizer,
    )


def searches(config: RunConfig, folder: Path, models: Models, *, is_exact: bool = False) -> list[Search]:
    """The main search, then its controls: random on the same space, and a grid of one weight per source.

    Genes are rounded before they are decoded, unless ``is_exact``, or the file is one of mergekit-evolve's,
    which does not round.
    """
    wanted = search_plan(config)
    space = _space(config, folder, models, wanted)
    strategy = build(wanted.strategy, space.axes, config.seed, wanted.settings, folder)
    main = _search(MAIN, space, strategy, config, wanted, wanted.strategy)
    known: Mapping[str, Genome] = _known(config, space) if config.search.warm_start else {}
    longest = space.most_hops if isinstance(space, DataflowSpace) else None
    aims, simplicity = aims_of(config, folder, longest=longest), simplicity_of(config, folder, wanted)
    found = [replace(main, known=known)]
    if config.controls.random:
        # With the seed of the main search, it would draw the same points as many a first population.
        seed = config.seed if is_exact else derived(config.seed, 1)
        strategy = build("random", space.axes, seed, {})
        found.append(_search("random", space, strategy, config, wanted))
    has_grid = config.controls.grid and config.space == "parameters"  # of weights
    grid = _grid(config, folder, models, wanted) if has_grid else None
    every = [*found, *([grid] if grid is not None else [])]
    if is_exact or config.merge.genome is not None:
        return [replace(each, aims=aims, simplicity=simplicity) for each in every]
    return [
        replace(each, aims=aims, simplicity=simplicity, space=RoundedSpace(space=each.space))
        for each in every
    ]


def _known(config: RunConfig, space: Space) -> Mapping[str, Genome]:
    """Baselines that are points of the space."""
    if not isinstance(space, DataflowSpace):
        return known_points(space, list(config.sources))
    own = space.genome([(space.frame, number) for number in range(space.n_layers[space.frame])])
    return {} if own is None else {space.frame: own}


def _space(config: RunConfig, folder: Path, models: Models, wanted: SearchPlan) -> Space:
    if config.space == "dataflow":
        return dataflow_space(config, models)
    if config.merge.genome is not None:
        return _genome(config, config.merge.genome, models, wanted)
    choice = _choice(config.merge.choose_sources)
    if len(wanted.methods) == 1 and choice is None:
        return _part(config, folder, models, wanted)
    parts = [
        _part(config, folder, models, replace(wanted, methods=(name,), values=values), is_part=True)
        for name, (_, values) in zip(wanted.methods, methods_of(wanted, folder), strict=True)
    ]
    return RecipeSpace(parts=tuple(parts), choice=choice)


def dataflow_space(config: RunConfig, models: Models) -> DataflowSpace:
    """The paths that a run.yaml wants to be searched."""
    wanted, named = config.dataflow, _named(models)
    limits = [] if wanted.max_hops is None else [wanted.max_hops]
    if wanted.max_size is not None:
        limits.append(
            path_sizes(models.sources, frame_of(config), config.merge.dtype).hops_within(wanted.max_size)
        )
    return DataflowSpace(
        sources=named,
        n_layers={name: each.layout.n_blocks for name, each in models.sources.items()},
        frame=frame_of(config),
        repetitions=wanted.repetitions,
        order=wanted.order,
        scales=wanted.scales,
        most=wanted.most,
        inclusion=wanted.inclusion,
        max_hops=min(limits, default=None),
        dtype=config.merge.dtype,
    )


def frame_of(config: RunConfig) -> str:
    """The name of the source that gives all but the layers of paths."""
    return config.dataflow.frame or next(iter(config.sources))


def _genome(config: RunConfig, genome: GenomeConfig, models: Models, wanted: SearchPlan) -> MergekitGenome:
    return MergekitGenome(
        method=wanted.methods[0],
        sources=_named(models),
        base=models.base.reference if models.base is not None else None,
        n_layers=models.skeleton.layout.n_blocks,
        layout=_genome_layout(genome),
        dtype=config.merge.dtype,
        seed=config.seed,
    )


def _genome_layout(genome: GenomeConfig) -> GenomeLayout:
    return GenomeLayout(**genome.model_dump())


def _part(
    config: RunConfig, folder: Path, models: Models, wanted: SearchPlan, *, is_part: bool = False
) -> ParameterSpace:
    (name,) = wanted.methods
    method, sources = METHODS.get(name, folder), _named(models)
    base = models.base.reference if models.base is not None else None
    if config.merge.genome is not None and takes_base(method):  # genome files may list it, to no effect
        sources = {each: reference for each, reference in sources.items() if reference != base}
    part = ParameterSpace(
        method=method,
        method_name=name,
        sources=sources,
        base=base,
        layout=models.skeleton.layout,
        groups=wanted.groups,
        values=wanted.values,
        dtype=config.merge.dtype,
        seed=config.seed,
        is_part=is_part,
    )
    if config.merge.genome is None:  # a genome of slerp has a base of its own in each slice
        check_base(part)
    return part


def _choice(wanted: Choose | bool) -> SourceChoice | None:
    if isinstance(wanted, bool):
        return SourceChoice() if wanted else None
    return SourceChoice(at_least=wanted.at_least, at_most=wanted.at_most)


def _grid(config: RunConfig, folder: Path, models: Models, wanted: SearchPlan) -> Search | None:
    """One weight per source on a grid, everything else at its start: what people do by hand.

    Of several methods the first that merges all sources and has something to vary; of sources that may be
    left out, those that the budget lets in. None where even two points per source are too many.
    """
    methods = [METHODS.get(name, folder) for name in wanted.methods]
    if config.merge.genome is not None:
        wanted = _grid_of_genome(config.merge.genome, wanted, methods[0])
    for name, values in zip(wanted.methods, values_of(methods, wanted.values), strict=True):
        one = replace(wanted, methods=(name,), values=values)
        main = _part(config, folder, models, one, is_part=True)
        most = main.method.max_sources
        is_only = len(methods) == 1 and config.merge.genome is None  # then too many sources are an error
        if main.axes and (is_only or most is None or most >= len(models.sources)):
            return _grid_of(config, folder, models, main, one)
    return None


def _grid_of_genome(genome: GenomeConfig, wanted: SearchPlan, method: MergeMethod) -> SearchPlan:
    """One weight per source within the bounds of the genes, all else as the genome file says."""
    low, high = _genome_layout(genome).bounds(method.name)
    values: dict[str, float | bool | Bounds] = {"weight": Bounds(low=low, high=high), "density": 1.0}
    if genome.normalize is not None:
        values["normalize"] = genome.normalize
    known = {parameter.name for parameter in method.params}
    values = {name: value for name, value in values.items() if name in known}
    return replace(wanted, groups="one", values=values)


def _grid_of(
    config: RunConfig, folder: Path, models: Models, main: ParameterSpace, wanted: SearchPlan
) -> Search | None:
    searched = main.searched
    varied = "weight" if "weight" in searched else next(iter(searched))
    others = {name: bounds.first for name, bounds in searched.items() if name != varied}
    plain = replace(wanted, groups="one", values={**wanted.values, **others})
    part = _part(config, folder, models, plain)
    choice = _choice(config.merge.choose_sources)
    space = part if choice is None else RecipeSpace(parts=(part,), choice=replace(choice, is_open=False))
    for points in GRID_POINTS:
        if points ** len(space.axes) <= GRID_LIMIT:
            settings = {"points": points, "limit": GRID_LIMIT}
            strategy = build("grid", space.axes, config.seed, settings)
            return _search("grid", space, strategy, config, plain, f"grid of {points} per axis")
    return None


def _search(
    name: str,
    space: Space,
    strategy: Strategy,
    config: RunConfig,
    wanted: SearchPlan,
    how: str | None = None,
) -> Search:
    said = _vocabularies(config)
    return Search(
        name=name,
        space=space if said.is_silent else JoinedSpace(space=space, vocabularies=said),
        strategy=strategy,
        limits=_limits(config.budget),
        like=None if name == MAIN else MAIN,
        screen=wanted.screen,
        seed=config.seed,
        is_asynchronous=config.search.mode == "asynchronous",
        description={
            "strategy": how or name,
            "method": ", ".join(wanted.methods) if config.space == "parameters" else "passthrough",
            "groups": wanted.groups,
            "space": config.space,
            "settings": dict(wanted.settings) if name == MAIN else {},
            "screen": asdict(wanted.screen),
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
        },
    )


def _limits(budget: Budget) -> Limits:
    return Limits(
        candidates=budget.candidates,
        item_evaluations=budget.item_evaluations,
        seconds=None if budget.minutes is None else budget.minutes * 60,
    )


def _named(models: Models) -> dict[str, str]:
    return {name: checkpoint.reference for name, checkpoint in models.sources.items()}
