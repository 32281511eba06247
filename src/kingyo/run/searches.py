"""What a run.yaml asks for, as objects: the space, the main search and its controls.

It reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from kingyo.errors import KingyoError, unknown
from kingyo.evolve import MAIN, Search, Space
from kingyo.methods import METHODS, MergeMethod, takes_base
from kingyo.recipe import PASSTHROUGH, Recipe
from kingyo.run.config import PARAMETERS, TRAINED, Choose, GenomeConfig, RunConfig
from kingyo.run.extensions import limits_of
from kingyo.run.layer_paths import KnownPaths, dataflow_space, first_points, known_paths, paths_to_compare
from kingyo.run.models import Models
from kingyo.run.settings import (
    SearchPlan,
    aims_of,
    is_in_turn,
    methods_of,
    of_merges,
    of_paths,
    search_plan,
    simplicity_of,
)
from kingyo.run.trained import TrainedSpace
from kingyo.space import (
    Bounds,
    DataflowSpace,
    GenomeLayout,
    HybridSpace,
    JoinedSpace,
    MergekitGenome,
    ParameterSpace,
    RecipeSpace,
    RoundedSpace,
    SourceChoice,
    Vocabularies,
    check_base,
    known_points,
    parent_recipe,
    uniform_recipe,
    values_of,
)
from kingyo.strategies import STRATEGIES, build
from kingyo.strategies.seeded import Seeded
from kingyo.strategies.seeds import derived
from kingyo.types import Genome, Strategy

GRID_POINTS = (5, 4, 3, 2)
GRID_LIMIT = 100_000


def baseline_recipes(config: RunConfig, models: Models) -> dict[str, Recipe]:
    """The models to compare with: base, every parent as it is, the uniform merge."""
    dtype = config.merge.dtype
    if config.space != "parameters":
        return paths_to_compare(dataflow_space(config, models), models, dtype)
    named, said, like = models.references, _vocabularies(config), models.skeleton.reference
    has_base = models.base is not None and models.base.reference not in named.values()
    alone = {**({"base": like} if has_base else {}), **named}
    if said.is_silent:
        recipes = {name: parent_recipe(reference, dtype) for name, reference in alone.items()}
        return {**recipes, "uniform": uniform_recipe(named, None, dtype)}
    among = list(dict.fromkeys([*named.values(), like]))
    recipes = {name: said.alone(reference, among, like, dtype) for name, reference in alone.items()}
    return {**recipes, "uniform": said.said_in(uniform_recipe(named, like, dtype))}


def _vocabularies(config: RunConfig) -> Vocabularies:
    merge, genome = config.merge, config.merge.genome
    return Vocabularies(
        resize=merge.resize,
        tokenizer_source=merge.tokenizer_source or (None if genome is None else genome.tokenizer_source),
        tokenizer=merge.tokenizer,
    )


def searches(
    config: RunConfig,
    folder: Path,
    models: Models,
    *,
    is_exact: bool = False,
    known: KnownPaths | None = None,
) -> list[Search]:
    """The main search, then its controls: random on the same space, and a grid of one weight per source.

    Of weights and paths in turn, the search of weights alone: what follows it depends on its winner, see
    ``searches_after``. Genes are rounded before they are decoded, unless ``is_exact``, or the file is one of
    mergekit-evolve's, which does not round. ``known`` are the paths that a run began with; without them
    they are read.
    """
    if is_in_turn(config):
        return [_made(of_merges(config), folder, models, _Way(name=PARAMETERS, is_exact=is_exact))]
    known = known_paths(config, folder, models) if known is None else known
    main = _made(config, folder, models, _Way(is_exact=is_exact, known=known))
    return [main, *_controls(config, folder, models, _Way(is_exact=is_exact, like=(MAIN,)))]


def first_merge(config: RunConfig, folder: Path, models: Models) -> Recipe:
    """The merge at the start of every axis of the weights, of a run of both spaces."""
    merges = _merges(config, folder, models, search_plan(config))
    return merges.decode(tuple(axis.first for axis in merges.axes))


def searches_after(
    merge: Recipe, config: RunConfig, folder: Path, models: Models, known: KnownPaths | None = None
) -> list[Search]:
    """What follows the search of weights: paths through its winner too, and the controls.

    The controls merge weights, and may cost as much as both searches.

    Args:
        merge: the winner of the first search.
        config, folder, models, known: as for ``searches``.
    """
    known = known_paths(config, folder, models) if known is None else known
    main = _made(of_paths(config), folder, models, _Way(merge=merge, known=known))
    return [main, *_controls(config, folder, models, _Way(like=(PARAMETERS, MAIN)))]


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How one search of several differs from the others."""

    name: str = MAIN
    is_exact: bool = False
    like: tuple[str, ...] = ()
    merge: Recipe | None = None
    known: KnownPaths = field(default_factory=dict[str, Sequence[str]])


def _made(config: RunConfig, folder: Path, models: Models, way: _Way) -> Search:
    """A search as the run.yaml says it, with the points that it begins with."""
    wanted = search_plan(config)
    space = _space(config, folder, models, wanted, way.merge)
    strategy = build(wanted.strategy, space.axes, config.seed, wanted.settings, folder)
    if isinstance(space, DataflowSpace | HybridSpace):
        points = first_points(config, space, way.known)
        strategy = Seeded(strategy, points) if points else strategy
    known = known_points(space, list(config.sources)) if config.search.warm_start else {}
    found = _search(way.name, space, strategy, config, wanted)
    limit = config.search.timeout if _is_own(wanted) else None
    found = replace(found, known=known, keep=_merge_itself(space), timeout=limit)
    return _finished(found, config, folder, way)


def _is_own(wanted: SearchPlan) -> bool:
    """Whether the strategy, or the one within it, is not of this package, and might not return."""
    named = (wanted.strategy, wanted.settings.get("strategy"))
    return any(isinstance(name, str) and not STRATEGIES.is_registered(name) for name in named)


def _merge_itself(space: Space) -> tuple[Genome, ...]:
    """The path that is the winner of the search of weights, where the space has it."""
    if not isinstance(space, DataflowSpace) or space.frame not in space.merges:
        return ()
    own = space.genome([(space.frame, number) for number in range(space.n_layers[space.frame])])
    return () if own is None else (own,)


class ImpossibleControlError(KingyoError):
    """A run cannot have this control."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A search of the same cost that the winner is compared with.

    Attributes:
        make: builds it for a run; raises ``ImpossibleControlError`` where the run cannot have it.
    """

    make: Callable[[RunConfig, Path, Models, _Way], Search]


def _random(config: RunConfig, folder: Path, models: Models, way: _Way) -> Search:
    wanted = search_plan(config)
    space = _space(config, folder, models, wanted)
    # With the seed of the main search, it would draw the same points as many a first population.
    seed = config.seed if way.is_exact else derived(config.seed, 1)
    strategy = build("random", space.axes, seed, {})
    return _search("random", space, strategy, config, replace(wanted, strategy="random", settings={}))


def possible_controls(config: RunConfig, folder: Path, models: Models) -> tuple[str, ...]:
    """Return the searches of equal cost that a run may have, switched on or not."""
    found: list[str] = []
    for name in CONTROLS:
        if name == TRAINED:  # no search, and it needs peft
            continue
        with suppress(KingyoError):
            require_control(name, config, folder, models)
            found.append(name)
    return tuple(found)


def require_control(name: str, config: RunConfig, folder: Path, models: Models) -> None:
    """Check that a run can have a control.

    Raises:
        KingyoError: there is none of this name, or not for this run.
    """
    if name not in CONTROLS:
        raise unknown("control", name, CONTROLS)
    CONTROLS[name].make(config, folder, models, _Way())


def _controls(config: RunConfig, folder: Path, models: Models, way: _Way) -> list[Search]:
    """The controls that are switched on, but for those that this run cannot have."""
    found: list[Search] = []
    for name, control in CONTROLS.items():
        if getattr(config.controls, name):
            with suppress(ImpossibleControlError):
                found.append(_finished(control.make(config, folder, models, way), config, folder, way))
    return found


def _finished(search: Search, config: RunConfig, folder: Path, way: _Way) -> Search:
    """A search with what all of a run share, on rounded genes."""
    is_exact = way.is_exact or config.merge.genome is not None
    longest = search.space.most_hops if isinstance(search.space, DataflowSpace) else None
    return replace(
        search,
        aims=aims_of(config, folder, longest=longest),
        simplicity=simplicity_of(config, folder, search_plan(config)),
        like=way.like,
        space=search.space if is_exact else RoundedSpace(space=search.space),
    )


def _space(
    config: RunConfig, folder: Path, models: Models, wanted: SearchPlan, merge: Recipe | None = None
) -> Space:
    if config.space == "dataflow":
        return dataflow_space(config, models, merge)
    merges = _merges(config, folder, models, wanted)
    if config.hybrid.joint:
        paths = dataflow_space(config, models, first_merge(config, folder, models))
        return HybridSpace(merges=merges, paths=paths)
    return merges


def _merges(config: RunConfig, folder: Path, models: Models, wanted: SearchPlan) -> Space:
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


def _genome(config: RunConfig, genome: GenomeConfig, models: Models, wanted: SearchPlan) -> MergekitGenome:
    return MergekitGenome(
        method=wanted.methods[0],
        sources=models.references,
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
    method, sources = METHODS.get(name, folder), models.references
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


def _grid(config: RunConfig, folder: Path, models: Models, _: _Way) -> Search:
    """One weight per source on a grid, everything else at its start: what people do by hand.

    Of several methods the first that merges all sources and has something to vary; of sources that may be
    left out, those that the budget lets in.
    """
    if config.space == "dataflow":
        raise _no_grid("a space of merges", "a space of paths through layers, which have no weights")
    wanted = search_plan(config)
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
    raise _no_grid("a method that merges all sources, with a parameter to vary", "none")


def _no_grid(expected: str, received: str) -> ImpossibleControlError:
    return ImpossibleControlError(
        "control grid",
        expected=expected,
        received=received,
        remedy="Compare with the control random: it searches whatever the run does.",
    )


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
) -> Search:
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
            said = replace(plain, strategy=f"grid of {points} per axis", settings={})
            return _search("grid", space, strategy, config, said)
    least = f"{GRID_POINTS[-1]} ** {len(space.axes)}"
    raise _no_grid(f"a grid of at most {GRID_LIMIT:,} points", f"{least} of them, one axis per source")


def _trained(config: RunConfig, folder: Path, models: Models, way: _Way) -> Search:
    """A LoRA on the best parent, trained on the fit items; see ``kingyo.run.trained``."""
    from kingyo.models.training import require_peft

    if config.space == "dataflow" or not _vocabularies(config).is_silent:
        raise KingyoError(
            "control trained",
            expected="a run that merges weights of models with one vocabulary",
            received="space: dataflow"
            if config.space == "dataflow"
            else "one that brings vocabularies together",
            remedy="Switch it off: controls: {trained: false}.",
        )
    require_peft()
    wanted = search_plan(config)
    space = TrainedSpace(config=config, folder=folder, models=models, like=way.like)
    strategy = build("grid", space.axes, config.seed, {})
    told = replace(wanted, strategy="LoRA training", methods=("linear",), groups="one", settings={})
    found = _search(TRAINED, space, strategy, config, told)
    return replace(found, prepare=space.prepare, is_asynchronous=False, learns_fit=True)


CONTROLS: Mapping[str, Control] = {
    "random": Control(make=_random),
    "grid": Control(make=_grid),
    TRAINED: Control(make=_trained),
}
"""Name, as in ``controls:`` of a run.yaml -> the control. Runs have them in this order."""


def _search(name: str, space: Space, strategy: Strategy, config: RunConfig, wanted: SearchPlan) -> Search:
    said, is_paths = _vocabularies(config), isinstance(space, DataflowSpace)
    paths = space.paths if isinstance(space, HybridSpace) else space
    return Search(
        name=name,
        space=space if said.is_silent else JoinedSpace(space=space, vocabularies=said),
        strategy=strategy,
        limits=limits_of(config.budget),
        screen=wanted.screen,
        seed=config.seed,
        is_asynchronous=config.search.mode == "asynchronous",
        description={
            "strategy": wanted.strategy,
            "method": PASSTHROUGH if is_paths else ", ".join(wanted.methods),
            "groups": wanted.groups,
            "space": "dataflow" if is_paths else config.space,
            "settings": dict(wanted.settings),
            "screen": asdict(wanted.screen),
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
            **({"given": strategy.n_points} if isinstance(strategy, Seeded) else {}),
            **({"layers": dict(paths.n_layers)} if isinstance(paths, DataflowSpace) else {}),
        },
    )
