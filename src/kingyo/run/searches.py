"""Build the baselines, the main search and the controls of a run."""

from __future__ import annotations

from dataclasses import replace

from kingyo.evolution import MAIN, Search
from kingyo.recipe import Recipe
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.run.controls import controls
from kingyo.run.layer_paths import dataflow_space, initial_points, path_baselines
from kingyo.run.new_search import completed, new_search
from kingyo.run.settings import SearchSettings
from kingyo.run.setup import Setup
from kingyo.run.spaces import space_of, vocabularies_of
from kingyo.space import (
    SourceSpace,
    parent_recipe,
    uniform_recipe,
)
from kingyo.strategies import STRATEGIES, build
from kingyo.strategies.initial_points import InitialPointsStrategy
from kingyo.types import Genome


def baseline_recipes(setup: Setup) -> dict[str, Recipe]:
    """Return the recipes of the baselines: base, every parent, and the uniform merge."""
    models, dtype = setup.models, setup.config.merge.dtype
    if setup.settings.paths is not None:
        return path_baselines(dataflow_space(setup), models, dtype)
    sources, vocabularies = models.references, vocabularies_of(setup.config)
    skeleton = models.skeleton.reference
    has_base = models.base is not None and models.base.reference not in sources.values()
    parents = {**({"base": skeleton} if has_base else {}), **sources}
    if vocabularies.is_default:
        recipes = {name: parent_recipe(reference, dtype) for name, reference in parents.items()}
        return {**recipes, "uniform": uniform_recipe(sources, None, dtype)}
    united = list(dict.fromkeys([*sources.values(), skeleton]))
    recipes = {
        name: vocabularies.single_model(reference, united, skeleton, dtype)
        for name, reference in parents.items()
    }
    return {**recipes, "uniform": vocabularies.apply(uniform_recipe(sources, skeleton, dtype))}


def searches(setup: Setup) -> list[Search]:
    """Return the main search and its controls.

    If weights and paths are searched in turn, return only the weight search; ``searches_after`` gives the
    others. Genes are rounded before they are decoded, except those of genome files.
    """
    if setup.settings.then is not None:
        return [_main(setup, setup.settings.first, name=WEIGHT_SEARCH)]
    return [_main(setup, setup.settings.first), *controls(setup, like=(MAIN,))]


def searches_after(merge: Recipe, setup: Setup) -> list[Search]:
    """Return the searches after a weight search: paths, and controls.

    Paths may pass through the winning merge. Controls merge weights, with the budget of both searches.

    Args:
        merge: winner of the weight search.
        setup: setup of the run.
    """
    assert setup.settings.then is not None, "weights and paths in turn"
    main = _main(setup, setup.settings.then, merge=merge)
    return [main, *controls(setup, like=(WEIGHT_SEARCH, MAIN))]


def _main(setup: Setup, wanted: SearchSettings, *, name: str = MAIN, merge: Recipe | None = None) -> Search:
    """Build a search with its initial points."""
    space = space_of(setup, wanted, merge)
    strategy = build(wanted.strategy, space.axes, setup.config.seed, wanted.settings, setup.folder)
    points = initial_points(setup, space)
    search = new_search(name, space, strategy, setup, wanted)
    if points:
        description = {**search.description, "given": len(points)}
        strategy = InitialPointsStrategy(strategy, points)
        search = replace(search, strategy=strategy, given=len(points), description=description)
    known = space.known_points() if wanted.warm_start else {}
    timeout = wanted.timeout if _has_user_strategy(wanted) else None
    search = replace(search, known=known, keep=_path_of_merge(space), timeout=timeout)
    return completed(search, setup, wanted)


def _has_user_strategy(wanted: SearchSettings) -> bool:
    """Return whether the strategy, or its inner strategy, is the user's, and might not return."""
    names = (wanted.strategy, wanted.settings.get("strategy"))
    return any(isinstance(name, str) and not STRATEGIES.is_registered(name) for name in names)


def _path_of_merge(space: SourceSpace) -> tuple[Genome, ...]:
    """Return the path that is the winner of the weight search, if the space contains it."""
    paths = space.layer_paths()
    if paths is None or paths is not space or paths.frame not in paths.merges:
        return ()
    genome = paths.genome([(paths.frame, number) for number in range(paths.n_layers[paths.frame])])
    return () if genome is None else (genome,)
