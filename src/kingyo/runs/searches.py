"""Build the baselines, the main search and the controls of a run."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from kingyo.core.io.extras import require_extra
from kingyo.core.types import Genome, Strategy
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.recipe import PASSTHROUGH, Recipe
from kingyo.models.kinds import TrainsLora, require_ability
from kingyo.runs.adapters import MAX_SETTINGS, AdapterSpace, AdapterTrainer, TrainedSpace
from kingyo.runs.config import RANDOM_SOURCES, TRAINED, WEIGHT_SEARCH
from kingyo.runs.settings import SearchSettings
from kingyo.runs.setup import Setup
from kingyo.runs.spaces import (
    by_method,
    choice_of,
    dataflow_space,
    initial_points,
    objectives_of,
    parameter_space,
    path_baselines,
    shared_keys,
    simplicity_of,
    space_of,
)
from kingyo.search.evolution import MAIN, Search
from kingyo.search.space import (
    Bounds,
    ParameterSpace,
    RecipeSpace,
    RoundedSpace,
    SourceValues,
    Space,
    parent_recipe,
    paths_of,
    uniform_recipe,
)
from kingyo.search.space.parameter import ParameterValues
from kingyo.search.strategies import STRATEGIES, build, derived_seed
from kingyo.search.strategies.combinators import InitialPointsStrategy


def baseline_recipes(run: Setup) -> dict[str, Recipe]:
    models, dtype = run.models, run.config.merge.dtype
    if run.settings.paths is not None:
        return path_baselines(dataflow_space(run), models, shared_keys(run), dtype)
    sources, keys = models.references, shared_keys(run)
    base = None if models.base is None else models.base.reference
    has_base = base is not None and base not in sources.values()
    parents = {**({"base": base} if base is not None and has_base else {}), **sources}
    if not keys.changes_vocabulary:
        recipes = {name: keys.apply(parent_recipe(reference, dtype)) for name, reference in parents.items()}
        return {**recipes, "uniform": keys.apply(uniform_recipe(sources, None, dtype))}
    like = base or models.skeleton.reference
    united = list(dict.fromkeys([*sources.values(), like]))
    recipes = {name: keys.single_model(reference, united, like, dtype) for name, reference in parents.items()}
    return {**recipes, "uniform": keys.apply(uniform_recipe(sources, like, dtype))}


def searches(run: Setup) -> list[Search]:
    """Return the main search and its controls, or the weight search alone if a path search follows."""
    if run.settings.then is not None:
        return [_main(run, run.settings.first, name=WEIGHT_SEARCH)]
    return [_main(run, run.settings.first), *controls(run, like=(MAIN,))]


def searches_after(merge: Recipe, run: Setup) -> list[Search]:
    """Return the searches after a weight search: paths through its winner, and controls of weights."""
    assert run.settings.then is not None, "weights and paths in turn"
    main = _main(run, run.settings.then, merge=merge)
    return [main, *controls(run, like=(WEIGHT_SEARCH, MAIN))]


def _main(run: Setup, wanted: SearchSettings, *, name: str = MAIN, merge: Recipe | None = None) -> Search:
    space = space_of(run, wanted, merge)
    strategy = build(wanted.strategy, space.axes, run.config.seed, wanted.settings, run.folder)
    points = initial_points(run, space)
    known = space.known_points() if wanted.warm_start and isinstance(space, ParameterSpace) else {}
    strategies = (wanted.strategy, wanted.settings.get("strategy"))
    is_own = any(isinstance(each, str) and not STRATEGIES.is_registered(each) for each in strategies)
    return replace(
        new_search(name, space, strategy, run, wanted, {"given": len(points)} if points else None),
        strategy=InitialPointsStrategy(strategy, points) if points else strategy,
        given=len(points),
        known=known,
        keep=_path_of_merge(space),
        timeout=wanted.timeout if is_own else None,  # a user's might not return
    )


def _path_of_merge(space: Space) -> tuple[Genome, ...]:
    paths = paths_of(space)
    if paths is None or paths is not space or paths.frame not in paths.merges:
        return ()
    genome = paths.genome([(paths.frame, number) for number in range(paths.n_layers[paths.frame])])
    return () if genome is None else (genome,)


def new_search(
    name: str,
    space: Space,
    strategy: Strategy,
    run: Setup,
    wanted: SearchSettings,
    described: Mapping[str, object] | None = None,
) -> Search:
    """Build a search without known points; ``described`` says what differs from the wanted settings."""
    paths = paths_of(space)
    is_paths = paths is space
    return Search(
        name=name,
        space=RoundedSpace(space=space, keys=shared_keys(run)),
        strategy=strategy,
        limits=wanted.budget,
        screen=wanted.screen,
        seed=run.config.seed,
        objectives=objectives_of(run, wanted),
        simplicity=simplicity_of(run, wanted),
        is_asynchronous=wanted.is_asynchronous,
        description={
            "strategy": wanted.strategy,
            "method": PASSTHROUGH if is_paths else ", ".join(wanted.methods),
            "groups": wanted.groups,
            "space": "dataflow" if is_paths else run.config.space,
            "settings": dict(wanted.settings),
            "screen": asdict(wanted.screen),
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
            **({"layers": dict(paths.n_layers)} if paths is not None else {}),
            **(described or {}),
        },
    )


GRID_POINTS = (5, 4, 3, 2)
GRID_LIMIT = 100_000


class ImpossibleControlError(KingyoError):
    """A control does not suit a run."""


def possible_controls(run: Setup) -> tuple[str, ...]:
    """Return the controls that suit a run, except ``trained``, which needs peft."""
    names: list[str] = []
    for name in CONTROLS:
        if name == TRAINED:
            continue
        with suppress(KingyoError):
            require_control(name, run)
            names.append(name)
    return tuple(names)


def require_control(name: str, run: Setup) -> None:
    if name not in CONTROLS:
        raise unknown_name_error("control", name, CONTROLS)
    CONTROLS[name](run, ())


def controls(run: Setup, *, like: tuple[str, ...]) -> list[Search]:
    searches: list[Search] = []
    for name, make in CONTROLS.items():
        if getattr(run.config.controls, name):
            with suppress(ImpossibleControlError):
                searches.append(replace(make(run, like), like=like))
    return searches


def _random(run: Setup, _: tuple[str, ...]) -> Search:
    wanted = run.settings.controls
    space = space_of(run, wanted)
    # With the seed of the main search it would draw the points of the first population.
    seed = derived_seed(run.config.seed, 1)
    strategy = build("random", space.axes, seed, {})
    return new_search("random", space, strategy, run, wanted, {"strategy": "random", "settings": {}})


def _grid(run: Setup, _: tuple[str, ...]) -> Search:
    """Build a grid of one weight per source, with all else at its start.

    Of several methods it uses the first that merges all sources and has a parameter to vary.
    """
    wanted = run.settings.controls
    if wanted.space == "dataflow":
        raise _no_grid("a search of methods and their parameters", "layer paths")
    for settings in by_method(wanted, run.folder):
        main = parameter_space(run, settings, is_part=True)
        limit = main.method.max_sources
        is_only = len(wanted.methods) == 1  # too many sources are an error then
        if main.axes and (is_only or limit is None or limit >= len(run.models.sources)):
            return _grid_of(run, main, settings)
    raise _no_grid("a method that merges all sources, with a parameter to vary", "none")


def _no_grid(expected: str, received: str) -> ImpossibleControlError:
    return ImpossibleControlError(
        "control grid",
        expected=expected,
        received=received,
        remedy="Compare with the control random, which suits every run.",
    )


def _grid_of(run: Setup, main: ParameterSpace, wanted: SearchSettings) -> Search:
    searched = main.searched
    varied = "weight" if "weight" in searched else next(iter(searched))
    others = {name: bounds.first for name, bounds in searched.items() if name != varied}
    own = {
        source: SourceValues(values=_one_start({k: v for k, v in each.values.items() if k not in others}))
        for source, each in wanted.own.items()
    }
    plain = replace(wanted, groups="one", values={**_one_start(wanted.values), **others}, own=own)
    part = parameter_space(run, plain)
    choice = choice_of(run.config.merge.choose_sources)
    space = part if choice is None else RecipeSpace(parts=(part,), choice=replace(choice, is_open=False))
    for points in GRID_POINTS:
        if points ** len(space.axes) <= GRID_LIMIT:
            strategy = build("grid", space.axes, run.config.seed, {"points": points})
            described: dict[str, object] = {"strategy": f"grid of {points} per axis", "settings": {}}
            described |= {"method": part.method_name, "groups": plain.groups}
            return new_search("grid", space, strategy, run, run.settings.controls, described)
    size = f"{GRID_POINTS[-1]} ** {len(space.axes)}"
    raise _no_grid(f"a grid of at most {GRID_LIMIT:,} points", f"{size} points, with one axis per source")


def _one_start(values: ParameterValues) -> ParameterValues:
    return {
        name: replace(value, start=value.first) if isinstance(value, Bounds) and value.starts else value
        for name, value in values.items()
    }


def _trained(run: Setup, like: tuple[str, ...]) -> Search:
    remedy = "Switch it off: controls: {trained: false}."
    merges_weights = run.settings.controls.space != "dataflow"
    require_adapters("control trained", run, remedy, merges_weights=merges_weights)
    trainer = AdapterTrainer(name=TRAINED, argument="control trained", run=run, taught_by=like)
    n = max(1, min(MAX_SETTINGS, run.config.finalists))  # fit cannot rank models trained on it
    unprepared = parent_recipe(run.models.skeleton.reference, run.config.merge.dtype)
    return training_search(run, TrainedSpace(trainer=trainer, n=n, unprepared=unprepared))


def require_adapters(argument: str, run: Setup, remedy: str, *, merges_weights: bool) -> None:
    """Check that LoRAs can be trained in a run; an error names ``argument``, and ``remedy``: do without."""
    if not merges_weights or not shared_keys(run).is_default:
        expected = "a run that merges weights of models with one vocabulary"
        united = "one that brings vocabularies together, or merges parts"
        received = united if merges_weights else f"space: {run.config.space}"
        raise KingyoError(argument, expected, received, remedy)
    require_ability(argument, TrainsLora, run.kind, remedy)
    require_extra(argument, "lora")


def training_search(run: Setup, space: AdapterSpace) -> Search:
    """Return the search that scores all candidates of a training, in their order."""
    wanted = run.settings.controls
    strategy = build("grid", space.axes, run.config.seed, {"shuffle": False})
    described: dict[str, object] = {"strategy": "LoRA training", "method": "linear", "groups": "one"}
    described["settings"] = {}
    search = new_search(space.trainer.name, space, strategy, run, wanted, described)
    return replace(search, prepare=space.prepare, is_asynchronous=False, learns_fit=True)


def _random_sources(run: Setup, _: tuple[str, ...]) -> Search:
    others = run.models.random_sources
    if not others or run.settings.then is not None or run.settings.paths is not None:
        raise ImpossibleControlError(
            f"control {RANDOM_SOURCES}",
            expected="a run that merges weights, with models in controls.random_sources",
            received="no models" if not others else f"space: {run.config.space}",
            remedy="`kingyo scout --task` writes them into its run.yaml.",
        )
    changed = replace(run, models=replace(run.models, sources=others))
    wanted = run.settings.controls
    space = space_of(changed, replace(wanted, own={}))
    strategy = build(wanted.strategy, space.axes, run.config.seed, wanted.settings, run.folder)
    return new_search(RANDOM_SOURCES, space, strategy, run, wanted)


CONTROLS: Mapping[str, Callable[[Setup, tuple[str, ...]], Search]] = {
    "random": _random,
    "grid": _grid,
    TRAINED: _trained,
    RANDOM_SOURCES: _random_sources,
}
"""Key of ``controls`` in run.yaml -> function that builds the control; runs have them in this order.

Its second argument names the searches whose total cost is the budget. It raises ``ImpossibleControlError``
if the control does not suit the run.
"""
