"""What a run.yaml asks for, as objects: the models it names, the space, the main search and its controls.

It opens headers of checkpoints; it reads no weight and no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.config import Budget, Range, RunConfig
from kingyo.errors import KingyoError
from kingyo.evolve import MAIN, Limits, Search
from kingyo.methods import METHODS, MergeMethod
from kingyo.recipe import Recipe
from kingyo.space import Bounds, ParameterSpace, parent_recipe, uniform_recipe
from kingyo.strategies import build
from kingyo.strategies.presets import preset
from kingyo.types import Strategy

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


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What config and preset together say of the search."""

    strategy: str
    settings: Mapping[str, object]
    method: str
    groups: str
    values: Mapping[str, float | bool | Bounds]


def open_models(config: RunConfig, folder: Path) -> Models:
    """Open base and sources; nothing is read but headers."""
    base = None if config.base is None else open_checkpoint(config.base, folder)
    return Models(
        base=base,
        sources={name: open_checkpoint(reference, folder) for name, reference in config.sources.items()},
    )


def baseline_recipes(config: RunConfig, models: Models) -> dict[str, Recipe]:
    """The models to compare with: base, every parent as it is, the uniform merge."""
    dtype = config.merge.dtype
    recipes: dict[str, Recipe] = {}
    if models.base is not None and models.base.reference not in _named(models).values():
        recipes["base"] = parent_recipe(models.base.reference, dtype)
    for name, checkpoint in models.sources.items():
        recipes[name] = parent_recipe(checkpoint.reference, dtype)
    recipes["uniform"] = uniform_recipe(_named(models), None, dtype)
    return recipes


def search_plan(config: RunConfig) -> SearchPlan:
    """Lay the user's own values over the preset's."""
    chosen = preset(config.search.preset)
    merge = chosen.merge
    if "preset" in config.search.model_fields_set:
        _require_its_own("merge.method", config.merge.method, merge and merge.method, chosen.name)
        _require_its_own("search.strategy", config.search.strategy, chosen.strategy, chosen.name)
    method = config.merge.method or (merge.method if merge else "task_arithmetic")
    values: dict[str, float | bool | Bounds] = {}
    if merge is not None and merge.method == method:
        values |= {name: Bounds(low=low, high=high) for name, (low, high) in merge.bounds.items()}
    values |= {name: _value(value) for name, value in config.merge.parameters.items()}
    strategy = config.search.strategy or chosen.strategy
    settings: dict[str, object] = dict(chosen.settings) if strategy == chosen.strategy else {}
    return SearchPlan(
        strategy=strategy,
        settings={**settings, **config.search.settings},
        method=method,
        groups=config.merge.groups or (merge.groups if merge else "one"),
        values=values,
    )


def _require_its_own(key: str, given: str | None, own: str | None, preset_name: str) -> None:
    """A run that names a preset but searches or merges otherwise would go by a name that is not its own."""
    if given is not None and own is not None and given != own:
        raise KingyoError(
            key,
            expected=f"'{own}', which belongs to the preset {preset_name}",
            received=f"'{given}'",
            remedy=f"Delete {key} (and its parameters or settings), or delete search.preset.",
        )


def searches(config: RunConfig, folder: Path, models: Models) -> list[Search]:
    """The main search, then its controls: random on the same space, and a grid of one weight per source."""
    wanted = search_plan(config)
    method = METHODS.get(wanted.method, folder)
    space = _space(config, models, method, wanted)
    limits = _limits(config.budget)
    strategy = build(wanted.strategy, space.axes, config.seed, wanted.settings, folder)
    found = [_search(MAIN, space, strategy, limits, wanted.strategy, wanted.settings)]
    if config.controls.random:
        strategy = build("random", space.axes, config.seed, {})
        found.append(_search("random", space, strategy, limits, "random"))
    grid = _grid(config, models, space, wanted) if config.controls.grid else None
    return [*found, *([grid] if grid is not None else [])]


def _space(config: RunConfig, models: Models, method: MergeMethod, wanted: SearchPlan) -> ParameterSpace:
    return ParameterSpace(
        method=method,
        method_name=wanted.method,
        sources=_named(models),
        base=models.base.reference if models.base is not None else None,
        layout=models.skeleton.layout,
        groups=wanted.groups,
        values=wanted.values,
        dtype=config.merge.dtype,
        seed=config.seed,
    )


def _grid(config: RunConfig, models: Models, main: ParameterSpace, wanted: SearchPlan) -> Search | None:
    """One weight per source on a grid, everything else at its start: what people do by hand.

    None where even two points per source are too many.
    """
    searched = main.searched
    varied = "weight" if "weight" in searched else next(iter(searched))
    others = {name: bounds.first for name, bounds in searched.items() if name != varied}
    plain = replace(wanted, groups="one", values={**wanted.values, **others})
    space = _space(config, models, main.method, plain)
    for points in GRID_POINTS:
        if points ** len(space.axes) <= GRID_LIMIT:
            strategy = build("grid", space.axes, config.seed, {"points": points, "limit": GRID_LIMIT})
            return _search("grid", space, strategy, _limits(config.budget), f"grid of {points} per axis")
    return None


def _search(
    name: str,
    space: ParameterSpace,
    strategy: Strategy,
    limits: Limits,
    how: str,
    settings: Mapping[str, object] | None = None,
) -> Search:
    return Search(
        name=name,
        space=space,
        strategy=strategy,
        limits=limits,
        like=None if name == MAIN else MAIN,
        description={
            "strategy": how,
            "method": space.method_name,
            "groups": space.groups,
            "settings": dict(settings or {}),
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


def _value(value: Range | bool | float) -> float | bool | Bounds:
    if isinstance(value, Range):
        return Bounds(low=value.low, high=value.high, start=value.start)
    return value
