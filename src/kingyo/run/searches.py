"""The searches that a run.yaml asks for, as objects: the main search and its controls; and the baselines.

It reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from kingyo.errors import KingyoError, unknown
from kingyo.evolution import MAIN, Search
from kingyo.methods import METHODS, MergeMethod
from kingyo.recipe import PASSTHROUGH, Recipe
from kingyo.run.config import PARAMETERS, TRAINED, GenomeConfig
from kingyo.run.extensions import limits_of
from kingyo.run.layer_paths import dataflow_space, first_points, paths_to_compare
from kingyo.run.settings import SearchSettings, objectives_of, simplicity_of
from kingyo.run.setup import Setup
from kingyo.run.spaces import choice_of, genome_layout, parameter_space, space_of, vocabularies_of
from kingyo.run.trained_control import TrainedSpace, require_trainable
from kingyo.space import (
    Bounds,
    ParameterSpace,
    RecipeSpace,
    RoundedSpace,
    SourceSpace,
    VocabularySpace,
    assign_values,
    parent_recipe,
    uniform_recipe,
)
from kingyo.strategies import STRATEGIES, build, derived_seed
from kingyo.strategies.initial_points import InitialPointsStrategy
from kingyo.types import Genome, Strategy

GRID_POINTS = (5, 4, 3, 2)
GRID_LIMIT = 100_000


def baseline_recipes(setup: Setup) -> dict[str, Recipe]:
    """Return the models to compare with: base, every parent as it is, the uniform merge."""
    models, dtype = setup.models, setup.config.merge.dtype
    if setup.settings.paths is not None:
        return paths_to_compare(dataflow_space(setup), models, dtype)
    named, said, like = models.references, vocabularies_of(setup.config), models.skeleton.reference
    has_base = models.base is not None and models.base.reference not in named.values()
    alone = {**({"base": like} if has_base else {}), **named}
    if said.is_default:
        recipes = {name: parent_recipe(reference, dtype) for name, reference in alone.items()}
        return {**recipes, "uniform": uniform_recipe(named, None, dtype)}
    among = list(dict.fromkeys([*named.values(), like]))
    recipes = {name: said.single_model(reference, among, like, dtype) for name, reference in alone.items()}
    return {**recipes, "uniform": said.apply(uniform_recipe(named, like, dtype))}


def searches(setup: Setup) -> list[Search]:
    """Return the main search, then its controls: random on the same space, a grid of one weight per source.

    Of weights and paths in turn, the search of weights alone: what follows it depends on its winner, see
    ``searches_after``. Genes are rounded before they are decoded, unless the setup says ``is_exact``, or the
    file is one of mergekit-evolve's, which does not round.
    """
    if setup.settings.then is not None:
        return [_main(setup, setup.settings.first, name=PARAMETERS)]
    return [_main(setup, setup.settings.first), *_controls(setup, like=(MAIN,))]


def searches_after(merge: Recipe, setup: Setup) -> list[Search]:
    """Return what follows the search of weights: paths through its winner too, and the controls.

    The controls merge weights, and may cost as much as both searches.

    Args:
        merge: the winner of the first search.
        setup: of the run.
    """
    assert setup.settings.then is not None, "only such a search is followed by another"
    main = _main(setup, setup.settings.then, merge=merge)
    return [main, *_controls(setup, like=(PARAMETERS, MAIN))]


def _main(setup: Setup, wanted: SearchSettings, *, name: str = MAIN, merge: Recipe | None = None) -> Search:
    """Return a search as the run.yaml says it, with the points that it begins with."""
    space = space_of(setup, wanted, merge)
    strategy = build(wanted.strategy, space.axes, setup.config.seed, wanted.settings, setup.folder)
    points = first_points(setup, space)
    search = _search(name, space, strategy, setup, wanted)
    if points:
        description = {**search.description, "given": len(points)}
        strategy = InitialPointsStrategy(strategy, points)
        search = replace(search, strategy=strategy, given=len(points), description=description)
    known = space.known_points() if wanted.warm_start else {}
    limit = wanted.timeout if _is_own(wanted) else None
    search = replace(search, known=known, keep=_merge_itself(space), timeout=limit)
    return _finished(search, setup, wanted)


def _is_own(wanted: SearchSettings) -> bool:
    """Whether the strategy, or the one within it, is not of this package, and might not return."""
    named = (wanted.strategy, wanted.settings.get("strategy"))
    return any(isinstance(name, str) and not STRATEGIES.is_registered(name) for name in named)


def _merge_itself(space: SourceSpace) -> tuple[Genome, ...]:
    """Return the path that is the winner of the search of weights, where the space has it."""
    paths = space.layer_paths()
    if paths is None or paths is not space or paths.frame not in paths.merges:
        return ()
    own = paths.genome([(paths.frame, number) for number in range(paths.n_layers[paths.frame])])
    return () if own is None else (own,)


class ImpossibleControlError(KingyoError):
    """A run cannot have this control."""


def _random(setup: Setup, _: tuple[str, ...]) -> Search:
    wanted = setup.settings.controls
    space = space_of(setup, wanted)
    # With the seed of the main search, it would draw the same points as many a first population.
    seed = setup.config.seed if setup.is_exact else derived_seed(setup.config.seed, 1)
    strategy = build("random", space.axes, seed, {})
    return _search("random", space, strategy, setup, replace(wanted, strategy="random", settings={}))


def possible_controls(setup: Setup) -> tuple[str, ...]:
    """Return the searches of equal cost that a run may have, switched on or not."""
    found: list[str] = []
    for name in CONTROLS:
        if name == TRAINED:  # no search, and it needs peft
            continue
        with suppress(KingyoError):
            require_control(name, setup)
            found.append(name)
    return tuple(found)


def require_control(name: str, setup: Setup) -> None:
    """Check that a run can have a control.

    Raises:
        KingyoError: there is none of this name, or not for this run.
    """
    if name not in CONTROLS:
        raise unknown("control", name, CONTROLS)
    CONTROLS[name](setup, ())


def _controls(setup: Setup, *, like: tuple[str, ...]) -> list[Search]:
    """The controls that are switched on, but for those that this run cannot have."""
    found: list[Search] = []
    for name, make in CONTROLS.items():
        if getattr(setup.config.controls, name):
            with suppress(ImpossibleControlError):
                search = replace(make(setup, like), like=like)
                found.append(_finished(search, setup, setup.settings.controls))
    return found


def _finished(search: Search, setup: Setup, wanted: SearchSettings) -> Search:
    """Add to a search what all of a run share, and round its genes."""
    config, folder = setup.config, setup.folder
    is_exact = setup.is_exact or config.merge.genome is not None
    longest = dataflow_space(setup).most_hops if wanted.space == "dataflow" else None
    return replace(
        search,
        objectives=objectives_of(config, folder, wanted, longest=longest),
        simplicity=simplicity_of(config, folder, wanted),
        space=search.space if is_exact else RoundedSpace(space=search.space),
    )


def _grid(setup: Setup, _: tuple[str, ...]) -> Search:
    """One weight per source on a grid, everything else at its start: what people do by hand.

    Of several methods the first that merges all sources and has something to vary; of sources that may be
    left out, those that the budget lets in.
    """
    wanted, genome = setup.settings.controls, setup.config.merge.genome
    if wanted.space == "dataflow":
        raise _no_grid("a space of merges", "a space of paths through layers, which have no weights")
    methods = [METHODS.get(name, setup.folder) for name in wanted.methods]
    if genome is not None:
        wanted = _grid_of_genome(genome, wanted, methods[0])
    for name, values in zip(wanted.methods, assign_values(methods, wanted.values), strict=True):
        one = replace(wanted, methods=(name,), values=values)
        main = parameter_space(setup, one, is_part=True)
        most = main.method.max_sources
        is_only = len(methods) == 1 and genome is None  # then too many sources are an error
        if main.axes and (is_only or most is None or most >= len(setup.models.sources)):
            return _grid_of(setup, main, one)
    raise _no_grid("a method that merges all sources, with a parameter to vary", "none")


def _no_grid(expected: str, received: str) -> ImpossibleControlError:
    return ImpossibleControlError(
        "control grid",
        expected=expected,
        received=received,
        remedy="Compare with the control random: it searches whatever the run does.",
    )


def _grid_of_genome(genome: GenomeConfig, wanted: SearchSettings, method: MergeMethod) -> SearchSettings:
    """One weight per source within the bounds of the genes, all else as the genome file says."""
    low, high = genome_layout(genome).bounds(method.name)
    values: dict[str, float | bool | Bounds] = {"weight": Bounds(low=low, high=high), "density": 1.0}
    if genome.normalize is not None:
        values["normalize"] = genome.normalize
    known = {parameter.name for parameter in method.params}
    values = {name: value for name, value in values.items() if name in known}
    return replace(wanted, groups="one", values=values)


def _grid_of(setup: Setup, main: ParameterSpace, wanted: SearchSettings) -> Search:
    searched = main.searched
    varied = "weight" if "weight" in searched else next(iter(searched))
    others = {name: bounds.first for name, bounds in searched.items() if name != varied}
    plain = replace(wanted, groups="one", values={**wanted.values, **others})
    part = parameter_space(setup, plain)
    choice = choice_of(setup.config.merge.choose_sources)
    space = part if choice is None else RecipeSpace(parts=(part,), choice=replace(choice, is_open=False))
    for points in GRID_POINTS:
        if points ** len(space.axes) <= GRID_LIMIT:
            settings = {"points": points, "limit": GRID_LIMIT}
            strategy = build("grid", space.axes, setup.config.seed, settings)
            described = replace(plain, strategy=f"grid of {points} per axis", settings={})
            return _search("grid", space, strategy, setup, described)
    least = f"{GRID_POINTS[-1]} ** {len(space.axes)}"
    raise _no_grid(f"a grid of at most {GRID_LIMIT:,} points", f"{least} of them, one axis per source")


def _trained(setup: Setup, like: tuple[str, ...]) -> Search:
    """A LoRA on the best parent, trained on the fit items; see ``kingyo.run.trained_control``."""
    from kingyo.models.training import require_peft

    wanted = setup.settings.controls
    if wanted.space == "dataflow" or not vocabularies_of(setup.config).is_default:
        raise KingyoError(
            "control trained",
            expected="a run that merges weights of models with one vocabulary",
            received="space: dataflow"
            if wanted.space == "dataflow"
            else "one that brings vocabularies together",
            remedy="Switch it off: controls: {trained: false}.",
        )
    require_trainable(setup.kind)
    require_peft()
    space = TrainedSpace(config=setup.config, folder=setup.folder, models=setup.models, like=like)
    strategy = build("grid", space.axes, setup.config.seed, {})
    described = replace(wanted, strategy="LoRA training", methods=("linear",), groups="one", settings={})
    search = _search(TRAINED, space, strategy, setup, described)
    return replace(search, prepare=space.prepare, is_asynchronous=False, learns_fit=True)


CONTROLS: Mapping[str, Callable[[Setup, tuple[str, ...]], Search]] = {
    "random": _random,
    "grid": _grid,
    TRAINED: _trained,
}
"""Name, as in ``controls:`` of a run.yaml -> makes that control. Runs have them in this order.

The second argument names the searches that together cost as much. Raises ``ImpossibleControlError`` where the
run cannot have the control.
"""


def _search(
    name: str, space: SourceSpace, strategy: Strategy, setup: Setup, wanted: SearchSettings
) -> Search:
    vocabularies, paths = vocabularies_of(setup.config), space.layer_paths()
    is_paths = paths is space
    return Search(
        name=name,
        space=space if vocabularies.is_default else VocabularySpace(space=space, vocabularies=vocabularies),
        strategy=strategy,
        limits=limits_of(wanted.budget),
        screen=wanted.screen,
        seed=setup.config.seed,
        is_asynchronous=wanted.is_asynchronous,
        description={
            "strategy": wanted.strategy,
            "method": PASSTHROUGH if is_paths else ", ".join(wanted.methods),
            "groups": wanted.groups,
            "space": "dataflow" if is_paths else setup.config.space,
            "settings": dict(wanted.settings),
            "screen": asdict(wanted.screen),
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
            **({"layers": dict(paths.n_layers)} if paths is not None else {}),
        },
    )
