"""Objectives of a search, and what ranks equal merges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.evolution import Objectives
from kingyo.methods import METHODS, MergeMethod
from kingyo.recipe import Recipe
from kingyo.run.config import RunConfig
from kingyo.run.settings import SearchSettings, deciding_measures
from kingyo.space import Bounds, assign_values
from kingyo.space.recipe_objectives import (
    CLOSENESS,
    FEW_HOPS,
    FEW_SOURCES,
    closeness,
    few_hops,
    few_sources,
    has_closeness,
    require_closeness,
)


def objectives_of(
    config: RunConfig, folder: Path, search: SearchSettings, *, longest: int | None = None
) -> Objectives:
    """Return the objectives of a search.

    Args:
        config: the run.yaml.
        folder: start of its relative paths.
        search: settings of the search.
        longest: maximum number of layers of a path, if paths are searched.

    Raises:
        KingyoError: an objective that its merges do not have, or fewer items per candidate than tasks.
    """
    specs, n_items = config.specs, search.screen.items
    if n_items is not None and n_items < len(specs):
        raise KingyoError(
            "search.screen.items",
            expected=f"at least {len(specs)}, one for each task",
            received=str(n_items),
            remedy="Raise it, or delete tasks.",
        )
    tasks = {name: spec.weight for name, spec in specs.items()} if len(specs) > 1 else {"": 1.0}
    measures: dict[str, Callable[[Recipe], float]] = {}
    if CLOSENESS in config.objectives:
        _require_closeness(config, folder, search)
        measures[CLOSENESS] = closeness
    if FEW_SOURCES in config.objectives:
        measures[FEW_SOURCES] = partial(few_sources, n_sources=_n_sources_to_choose(config))
    if FEW_HOPS in config.objectives:
        assert longest is not None, "run.yaml is checked"
        measures[FEW_HOPS] = partial(few_hops, longest=longest)
    return Objectives(
        tasks=tasks, names=config.objectives, measures=measures, by_set=deciding_measures(config)
    )


def simplicity_of(
    config: RunConfig, folder: Path, search: SearchSettings
) -> Callable[[Recipe], float] | None:
    """Return the key that ranks recipes of equal score by simplicity, or None."""
    if config.merge.genome is not None or search.space == "dataflow" or config.hybrid.joint:
        return None
    return closeness if all(has_closeness(*pair) for pair in methods_with_values(search, folder)) else None


def _require_closeness(config: RunConfig, folder: Path, search: SearchSettings) -> None:
    if config.merge.genome is not None:
        raise KingyoError(
            f"objectives: {CLOSENESS}",
            expected="merges of complete models",
            received="merge.genome",
            remedy=f"Delete {CLOSENESS}: recipes of genome files consist of slices.",
        )
    for method, values in methods_with_values(search, folder):
        require_closeness(method, values)


def methods_with_values(
    search: SearchSettings, folder: Path
) -> list[tuple[MergeMethod, Mapping[str, float | bool | Bounds]]]:
    """Return the searched methods, each with the values of its own parameters."""
    methods = [METHODS.get(name, folder) for name in search.methods]
    return list(zip(methods, assign_values(methods, search.values), strict=True))


def _n_sources_to_choose(config: RunConfig) -> int:
    """Return the number of sources besides the base; an error unless merges may leave sources out."""
    if config.merge.choose_sources is False:
        raise KingyoError(
            f"objectives: {FEW_SOURCES}",
            expected="merge.choose_sources",
            received="all sources in every merge",
            remedy=f"Write merge.choose_sources: true, or delete {FEW_SOURCES}.",
        )
    return sum(reference != config.base for reference in config.sources.values())
