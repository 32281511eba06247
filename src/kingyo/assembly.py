"""Where a run's parts are put together: the only module that knows every craft.

``begin`` checks a run.yaml against the models and the data that it names, before anything is written, and
makes the run folder; ``assemble`` builds the journey of a run folder, new or half-way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from kingyo import __version__
from kingyo.checkpoints import Checkpoint, check_finite, open_checkpoint
from kingyo.config import Budget, Range, RunConfig, parse_config
from kingyo.errors import KingyoError
from kingyo.evaluate import Evaluator
from kingyo.evolve import MAIN, Event, Journey, Limits, Search
from kingyo.merge import plan
from kingyo.methods import METHODS, MergeMethod
from kingyo.models.language import LiveModel
from kingyo.recipe import Recipe
from kingyo.space import Bounds, ParameterSpace, parent_recipe, uniform_recipe
from kingyo.store import RunStore
from kingyo.strategies import build
from kingyo.strategies.presets import Preset, preset
from kingyo.tasks import build_task, load_items, make_splits
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


def begin(config: RunConfig, folder: Path, run: Path) -> RunStore:
    """Check everything that can be known before a search, then make the run folder.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        run: the folder to make.

    Raises:
        KingyoError: whatever is wrong with models, data or settings; nothing has been written then.
    """
    models = open_models(config, folder)
    for each in models.by_reference.values():
        check_finite(each)
    loaded = load_items(config.task, folder)
    splits = make_splits(loaded.items, config.task.splits)
    for search in _searches(config, folder, models):
        plan(search.space.decode(_first(search)), models.by_reference)
    build_task(config.task, splits, folder)
    store = RunStore.create(run)
    store.begin(
        {
            "name": config.name,
            "version": __version__,
            "created": time.time(),
            "status": "running",
            "folder": str(folder.resolve()),
            "config": config.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "duplicates_dropped": loaded.duplicates,
        },
        splits,
    )
    return store


def assemble(store: RunStore, notify: Callable[[Event], None]) -> Journey:
    """Build the journey of a run folder from what it stores of itself."""
    config, folder = stored_config(store)
    models = open_models(config, folder)
    splits = store.items()
    task = build_task(config.task, splits, folder)
    model = LiveModel.load(
        models.skeleton.path, dtype=config.merge.dtype, device=config.device, batch_size=config.batch_size
    )
    return Journey(
        store=store,
        evaluate=Evaluator(model, models.by_reference, task),
        baselines=baseline_recipes(config, models),
        searches=_searches(config, folder, models),
        finalists=config.finalists,
        n_items={split: len(items) for split, items in splits.items()},
        notify=notify,
    )


def stored_config(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run and the folder where its paths start."""
    data, folder = store.fact("config"), store.fact("folder")
    if not isinstance(data, dict) or not isinstance(folder, str):
        raise KingyoError(
            str(store.folder),
            expected="a run that was set up completely",
            received="one that was stopped before its first step",
            remedy="Delete the folder and start again with `kingyo evolve`.",
        )
    return parse_config(cast(dict[str, object], data), str(store.folder)), Path(folder)


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
    if models.base is not None and models.base.reference not in _references(models):
        recipes["base"] = parent_recipe(models.base.reference, dtype)
    for name, checkpoint in models.sources.items():
        recipes[name] = parent_recipe(checkpoint.reference, dtype)
    recipes["uniform"] = uniform_recipe(_named(models), None, dtype)
    return recipes


def search_plan(config: RunConfig) -> SearchPlan:
    """Lay the user's own values over the preset's."""
    chosen = _preset(config)
    merge = chosen.merge
    method = config.merge.method or (merge.method if merge else "task_arithmetic")
    values: dict[str, float | bool | Bounds] = {}
    if merge is not None and merge.method == method:
        values |= {name: Bounds(low=low, high=high) for name, (low, high) in merge.bounds.items()}
    values |= {name: _value(value) for name, value in config.merge.parameters.items()}
    strategy = config.search.strategy or chosen.strategy
    settings = chosen.settings if strategy == chosen.strategy else {}
    return SearchPlan(
        strategy=strategy,
        settings={**settings, **config.search.settings},
        method=method,
        groups=config.merge.groups or (merge.groups if merge else "one"),
        values=values,
    )


def _preset(config: RunConfig) -> Preset:
    return preset(config.search.preset or "quick")


def _searches(config: RunConfig, folder: Path, models: Models) -> list[Search]:
    wanted = search_plan(config)
    method = METHODS.get(wanted.method, folder)
    space = _space(config, models, method, wanted)
    limits = _limits(config.budget)
    strategy = build(wanted.strategy, space.axes, config.seed, wanted.settings, folder)
    searches = [_search(MAIN, space, strategy, limits, wanted.strategy)]
    if config.controls.random:
        strategy = build("random", space.axes, config.seed, {})
        searches.append(_search("random", space, strategy, limits, "random"))
    grid = _grid(config, models, method, wanted)
    if config.controls.grid and grid is not None:
        searches.append(grid)
    return searches


def _space(config: RunConfig, models: Models, method: MergeMethod, wanted: SearchPlan) -> ParameterSpace:
    return ParameterSpace(
        method=method,
        sources=_named(models),
        base=models.base.reference if models.base is not None else None,
        layout=models.skeleton.layout,
        groups=wanted.groups,
        values=wanted.values,
        dtype=config.merge.dtype,
        seed=config.seed,
    )


def _grid(config: RunConfig, models: Models, method: MergeMethod, wanted: SearchPlan) -> Search | None:
    """One weight per source on a grid, everything else at its start: what people do by hand.

    None where even two points per source are too many.
    """
    searched = _space(config, models, method, wanted).searched
    main = "weight" if "weight" in searched else next(iter(searched))
    others = {name: bounds.first for name, bounds in searched.items() if name != main}
    plain = replace(wanted, groups="one", values={**wanted.values, **others})
    space = _space(config, models, method, plain)
    for points in GRID_POINTS:
        if points ** len(space.axes) <= GRID_LIMIT:
            strategy = build("grid", space.axes, config.seed, {"points": points, "limit": GRID_LIMIT})
            return _search("grid", space, strategy, _limits(config.budget), f"grid of {points} per axis")
    return None


def _search(name: str, space: ParameterSpace, strategy: Strategy, limits: Limits, how: str) -> Search:
    return Search(
        name=name,
        space=space,
        strategy=strategy,
        limits=limits,
        like=None if name == MAIN else MAIN,
        description={
            "strategy": how,
            "method": space.method.name,
            "groups": space.groups,
            "axes": [{"name": axis.name, "low": axis.low, "high": axis.high} for axis in space.axes],
        },
    )


def _limits(budget: Budget) -> Limits:
    return Limits(
        candidates=budget.candidates,
        item_evaluations=budget.item_evaluations,
        seconds=None if budget.minutes is None else budget.minutes * 60,
    )


def _first(search: Search) -> tuple[float, ...]:
    space = cast(ParameterSpace, search.space)
    return tuple(axis.first for axis in space.axes)


def _named(models: Models) -> dict[str, str]:
    return {name: checkpoint.reference for name, checkpoint in models.sources.items()}


def _references(models: Models) -> Sequence[str]:
    return [checkpoint.reference for checkpoint in models.sources.values()]


def _value(value: Range | bool | float) -> float | bool | Bounds:
    if isinstance(value, Range):
        return Bounds(low=value.low, high=value.high, start=value.start)
    return value
