"""Build the controls of a run: searches of equal cost that the winner is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from kingyo.errors import KingyoError, unknown
from kingyo.evolution import Search
from kingyo.methods import METHODS, MergeMethod
from kingyo.run.config import TRAINED
from kingyo.run.config_sections import GenomeConfig
from kingyo.run.new_search import completed, new_search
from kingyo.run.settings import SearchSettings
from kingyo.run.setup import Setup
from kingyo.run.spaces import choice_of, genome_layout, parameter_space, space_of, vocabularies_of
from kingyo.run.trained_control import require_trainable
from kingyo.run.trained_space import TrainedSpace
from kingyo.space import (
    Bounds,
    ParameterSpace,
    RecipeSpace,
    assign_values,
)
from kingyo.strategies import build, derived_seed

GRID_POINTS = (5, 4, 3, 2)
GRID_LIMIT = 100_000


class ImpossibleControlError(KingyoError):
    """A control does not suit a run."""


def possible_controls(setup: Setup) -> tuple[str, ...]:
    """Return the controls that suit a run, except ``trained``, which needs peft."""
    names: list[str] = []
    for name in CONTROLS:
        if name == TRAINED:
            continue
        with suppress(KingyoError):
            require_control(name, setup)
            names.append(name)
    return tuple(names)


def require_control(name: str, setup: Setup) -> None:
    """Check that a control suits a run.

    Raises:
        KingyoError: it does not, or no control has this name.
    """
    if name not in CONTROLS:
        raise unknown("control", name, CONTROLS)
    CONTROLS[name](setup, ())


def controls(setup: Setup, *, like: tuple[str, ...]) -> list[Search]:
    """Return the controls that are switched on and suit the run."""
    searches: list[Search] = []
    for name, make in CONTROLS.items():
        if getattr(setup.config.controls, name):
            with suppress(ImpossibleControlError):
                search = replace(make(setup, like), like=like)
                searches.append(completed(search, setup, setup.settings.controls))
    return searches


def _random(setup: Setup, _: tuple[str, ...]) -> Search:
    wanted = setup.settings.controls
    space = space_of(setup, wanted)
    # With the seed of the main search it would draw the points of the first population.
    seed = derived_seed(setup.config.seed, 1)
    strategy = build("random", space.axes, seed, {})
    return new_search("random", space, strategy, setup, replace(wanted, strategy="random", settings={}))


def _grid(setup: Setup, _: tuple[str, ...]) -> Search:
    """Build a grid of one weight per source, with all else at its start.

    Of several methods it uses the first that merges all sources and has a parameter to vary.
    """
    wanted, genome = setup.settings.controls, setup.config.merge.genome
    if wanted.space == "dataflow":
        raise _no_grid("a space of merges", "a space of paths through layers, which have no weights")
    methods = [METHODS.get(name, setup.folder) for name in wanted.methods]
    if genome is not None:
        wanted = _grid_of_genome(genome, wanted, methods[0])
    for name, values in zip(wanted.methods, assign_values(methods, wanted.values), strict=True):
        settings = replace(wanted, methods=(name,), values=values)
        main = parameter_space(setup, settings, is_part=True)
        limit = main.method.max_sources
        is_only = len(methods) == 1 and genome is None  # too many sources are an error then
        if main.axes and (is_only or limit is None or limit >= len(setup.models.sources)):
            return _grid_of(setup, main, settings)
    raise _no_grid("a method that merges all sources, with a parameter to vary", "none")


def _no_grid(expected: str, received: str) -> ImpossibleControlError:
    return ImpossibleControlError(
        "control grid",
        expected=expected,
        received=received,
        remedy="Compare with the control random, which suits every run.",
    )


def _grid_of_genome(genome: GenomeConfig, wanted: SearchSettings, method: MergeMethod) -> SearchSettings:
    """Return settings with one weight per source, within the bounds of the genes of a genome file."""
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
            return new_search("grid", space, strategy, setup, described)
    size = f"{GRID_POINTS[-1]} ** {len(space.axes)}"
    raise _no_grid(f"a grid of at most {GRID_LIMIT:,} points", f"{size} points, with one axis per source")


def _trained(setup: Setup, like: tuple[str, ...]) -> Search:
    """Build the control that trains a LoRA, see ``kingyo.run.trained_control``."""
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
    space = TrainedSpace(config=setup.config, folder=setup.folder, models=setup.models, timed_searches=like)
    strategy = build("grid", space.axes, setup.config.seed, {})
    described = replace(wanted, strategy="LoRA training", methods=("linear",), groups="one", settings={})
    search = new_search(TRAINED, space, strategy, setup, described)
    return replace(search, prepare=space.prepare, is_asynchronous=False, learns_fit=True)


CONTROLS: Mapping[str, Callable[[Setup, tuple[str, ...]], Search]] = {
    "random": _random,
    "grid": _grid,
    TRAINED: _trained,
}
"""Key of ``controls`` in run.yaml -> function that builds the control; runs have them in this order.

Its second argument names the searches whose total cost is the budget. It raises ``ImpossibleControlError``
if the control does not suit the run.
"""
